/*
 * The files an embed job ends in. How many part files a plan takes and how much room the
 * first one leaves for a header is decided before the first row; the header is written last.
 *
 * .safetensors: header | patches.starts, patches.grid | first array | the others. The header
 * is padded so that the integers end where the first array, written long ago, begins.
 */
#ifndef TASK_EMBED_FILE_H
#define TASK_EMBED_FILE_H

#include "task/embed_plan.h"
#include "task/embed_store.h"

struct embed_layout {
    int files;
    uint64_t head;
    uint64_t *row_bytes; /* [files]; 0: differs from picture to picture */
};

bool dn_embed_layout_init(struct embed_layout *layout, const struct embed_plan *plan,
                          struct dino_error *err);
void dn_embed_layout_release(struct embed_layout *layout);

/* Header, sidecar, rename. `source` is the model's path, for the sidecar. */
bool dn_embed_file_finish(const struct embed_plan *plan, struct embed_store *store,
                          const struct embed_names *names, const char *source,
                          struct dino_error *err);

#endif
