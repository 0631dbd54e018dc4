/*
 * One step's input: the crops of a process's pictures, crop-major, and the masks of the global
 * ones. It is a function of (pictures, settings, seed, step, part).
 */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H

#include "train/augment.h"
#include "train/dataset.h"
#include "train/masks.h"

struct batch {
    int64_t step;
    struct batch_part part;
    int locals;                  /* crops a picture, beside the two global ones */
    int global_size, local_size; /* pixels */
    uint8_t *global; /* [2, part.count, size, size, 3]: crop 1 of all pictures, then crop 2 */
    uint8_t *local;  /* [locals, part.count, size, size, 3]; NULL without local crops */
    struct masks masks;
};

bool dn_batch_init(struct batch *batch, const struct train_config *config,
                   struct batch_part part, struct dino_error *err);
void dn_batch_release(struct batch *batch);

/* All crops of one of the part's pictures, 0 <= slot < part.count, of batch->step. Different
 * slots may be filled by different threads at once. */
bool dn_batch_fill(struct batch *batch, const struct dataset *dataset,
                   const struct augment *augment, int slot, struct misses *misses,
                   struct dino_error *err);

#endif
