/*
 * Block masks for iBOT, as dinov2/data/masking.py and collate.py: which patches of the global
 * crops the student does not see. The masks of a step are functions of (seed, step).
 */
#ifndef TRAIN_MASKS_H
#define TRAIN_MASKS_H

#include "train/draws.h"
#include "train/train_config.h"

/* How one mask is drawn. */
struct mask_rule {
    int rows, cols;         /* of the patch grid */
    int min_area, max_area; /* of a block, in patches */
    double min_aspect;      /* height / width lies between this and its inverse */
    int tries;              /* per block */
};

/* The official rule for square crops of `size` pixels. */
struct mask_rule dn_mask_rule(int size, int patch);

/* mask [rows, cols] becomes 0 or 1. Returns how many patches are masked: `target` or fewer. */
int dn_mask_draw(uint8_t *mask, const struct mask_rule *rule, int target, struct draws *draws);

/* A process's part of a step's pictures: [first, first + count) of `all`. */
struct batch_part {
    int all, first, count;
};

/* The masks of a part's 2 count global crops, crop-major, and what the losses need of them. */
struct masks {
    int crops, patches;
    uint8_t *cells;   /* [crops, patches] */
    int32_t *indices; /* [count] places of the ones in cells, ascending */
    float *weights;   /* [count] 1 / masked patches of the crop */
    int count;
    int upperbound; /* of count, whatever is drawn: the sum of this step's largest targets */
};

/* The largest upperbound of any step: a part may be dealt the largest masks. */
int dn_masks_most(const struct train_config *config, struct batch_part part);

bool dn_masks_init(struct masks *masks, const struct train_config *config,
                   struct batch_part part, struct dino_error *err);
void dn_masks_release(struct masks *masks);

/*
 * Exactly int(2 all * mask_sample_probability) crops of the whole step are masked, their ratios
 * spread evenly over mask_ratio_min_max, and dealt out at random. Every process deals alike and
 * draws its own part.
 */
void dn_masks_make(struct masks *masks, const struct train_config *config,
                   struct batch_part part, uint64_t seed, int64_t step);

#endif
