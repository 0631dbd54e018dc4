/*
 * Multi-crop augmentation of one picture: two global crops and some local ones, as
 * dinov2/data/augmentations.py runs (its blur probabilities are inverted on the way, which is
 * how the released models were trained: the first global crop is never blurred, the second
 * nine times in ten).
 */
#ifndef TRAIN_AUGMENT_H
#define TRAIN_AUGMENT_H

#include "train/draws.h"
#include "train/train_config.h"

enum { GLOBAL_CROPS = 2, MOST_CROPS = 128 };

enum jitter { JITTER_BRIGHTNESS, JITTER_CONTRAST, JITTER_SATURATION, JITTER_HUE, JITTER_COUNT };

/* Everything that is decided about one crop; the steps are taken in the order of fields. */
struct crop_plan {
    int left, top, width, height; /* of the picture */
    int size;                     /* of the crop */
    bool flip, jitter;
    enum jitter order[JITTER_COUNT];
    double factor[JITTER_COUNT]; /* by kind, not by order; of hue: the turn */
    bool gray;
    double sigma; /* of the blur; 0: none */
    bool solarize;
};

struct crop_kind {
    int size;
    double scale[2];       /* part of the picture's area */
    double blur, solarize; /* effective probabilities */
    double blur_most;      /* the largest sigma, in pixels of the crop */
};

struct augment {
    struct crop_kind global[GLOBAL_CROPS], local;
    int locals;
};

void dn_augment_init(struct augment *augment, const struct train_config *config);

/* The crop-th of 2 + locals, global ones first, for a picture of this size. */
struct crop_plan dn_crop_plan(const struct augment *augment, int crop, int width, int height,
                              struct draws draws);

/* `to` [size, size, 3]. */
bool dn_crop_apply(const struct crop_plan *plan, const struct dino_image *from, uint8_t *to,
                   struct dino_error *err);

#endif
