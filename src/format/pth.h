/* Writing an official .pth: a zip with data.pkl and one stored member a tensor, as torch.save
 * lays it out (64-byte aligned, zip64 where needed). Reading is dn_pth_read in tensors.h. */
#ifndef FORMAT_PTH_H
#define FORMAT_PTH_H

#include "base/file.h"

struct pth_tensor {
    const char *name;
    enum dino_dtype dtype;
    int dims;
    int64_t shape[DINO_MAX_DIMS];
};

/* `fill` writes the row-major bytes of tensor `index` through dn_output_write. */
typedef bool (*pth_fill_fn)(void *context, size_t index, struct output *out,
                            struct dino_error *err);

bool dn_pth_write(const char *path, const struct pth_tensor *tensors, size_t count,
                  pth_fill_fn fill, void *context, struct dino_error *err);
/* The same as the one entry `key` of a dict: {"teacher": {...}}. key NULL: as above. */
bool dn_pth_write_under(const char *path, const char *key, const struct pth_tensor *tensors,
                        size_t count, pth_fill_fn fill, void *context, struct dino_error *err);

#endif
