/* NumPy's .npy, version 1 and 2: one array a file. */
#ifndef FORMAT_NPY_H
#define FORMAT_NPY_H

#include "base/file.h"

struct npy_header {
    enum dino_dtype dtype;
    int dims;
    int64_t shape[DINO_MAX_DIMS];
    size_t data_offset;
    bool fortran;
};

bool dn_npy_parse(struct span file, struct npy_header *header, const char *name,
                  struct dino_error *err);

/* A version 1 header of fixed size DN_NPY_HEADER whatever the row count, so that rows can be
 * appended and the count filled in at the end. */
enum { DN_NPY_HEADER = 128 };
bool dn_npy_header(uint8_t header[DN_NPY_HEADER], enum dino_dtype dtype, const int64_t *shape,
                   int dims, struct dino_error *err);

#endif
