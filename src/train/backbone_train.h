/*
 * The backbone over a packed list of views - crops of up to MOST_GROUPS sizes, masked or not,
 * all in one pass - forward with a tape, and backward.
 *
 * Memory is planned for the largest pass; a pass may be smaller. Keeping the inputs of blocks
 * only (checkpointing) costs a second forward and saves most of the tape; keeping nothing is
 * for the teacher.
 */
#ifndef TRAIN_BACKBONE_TRAIN_H
#define TRAIN_BACKBONE_TRAIN_H

#include "train/block_train.h"

enum backbone_keep { KEEP_TAPE, KEEP_INPUTS, KEEP_NOTHING };

/* All views of a group have one size. */
struct view_group {
    int height, width; /* in pixels, multiples of the patch */
    int most_views;    /* in one pass */
};

struct view {
    const float *planes;   /* [channels, height, width] host or device, normalised; or NULL: */
    const uint8_t *pixels; /* [height, width, 3] host */
    int group;
    int sample;        /* which of its group in the whole batch: stochastic depth's choice */
    const int *masked; /* patches that are replaced by the mask token, or NULL */
    int masked_count;
};

/* Stochastic depth: of all `samples` of a group, each branch sees max(1, samples (1 - rate)),
 * chosen by (seed, block, branch, group). The choice is made over the whole batch, so that a
 * batch in parts is the same batch. rate 0: everything. */
struct drop_path {
    double rate;
    uint64_t seed;
    int samples[MOST_GROUPS];
};

struct backbone {
    struct queue *queue;
    const struct params_table *table;
    enum backbone_keep keep;
    int groups;
    struct view_group group[MOST_GROUPS];

    /* the pass */
    int views, tokens, patches;
    int *starts;                      /* [views + 1] rows of the stream */
    int *patch_starts;                /* [views + 1] rows of the patches */
    int *view_group_of;               /* [views] */
    int *index, *from;                /* [most tokens] scratch */
    int *masked, masked_count;        /* rows of the patches */
    int *branch_rows, *branch_starts; /* [2 depth][most tokens], [2 depth][most views + 1] */
    struct branch_rows *branches;     /* [2 depth] */
    uint64_t *keys;                   /* [2][most samples] scratch */
    int most_views, most_tokens, most_patches, most_samples;

    /* told by backward when the gradients of a block are finished, -1: of the embedding; may
     * be NULL */
    void (*finished)(const void *context, int block);
    const void *context;

    /* device memory, placed by dn_backbone_layout */
    struct mat pixels, embedded;       /* [patches, channels patch^2], [patches, dim] */
    struct mat nothing;                /* [1, dim] zeros: fixed */
    struct mat resample[MOST_GROUPS];  /* [grid of the group, stored grid]: fixed */
    struct mat positions[MOST_GROUPS]; /* [grid of the group, dim] */
    struct mat d_positions[MOST_GROUPS];
    struct mat *x;            /* [depth + 1] the stream before each block and at the end */
    struct block_tape *tapes; /* [depth] */
    struct block_scratch scratch;
};

/* Host memory, sized for the groups; most_samples: of one group in the whole batch. */
bool dn_backbone_init(struct backbone *b, struct queue *queue, const struct params_table *table,
                      const struct view_group *group, int groups, int most_samples,
                      enum backbone_keep keep, struct dino_error *err);
void dn_backbone_release(struct backbone *b);

/* Place what stays as it is from pass to pass, and then what each pass writes, for keep as
 * given to init. */
void dn_backbone_layout_fixed(struct backbone *b, struct tape *tape);
void dn_backbone_layout(struct backbone *b, struct tape *tape);
/* Fill what stays, once it has memory. */
bool dn_backbone_prepare(struct backbone *b, struct dino_error *err);

/* The stream after the last block, before the final norm: rows b->starts[v] .. of view v, class
 * token first, then registers, then patches. Views of a group stand together, group 0 first.
 * drop NULL: none. */
struct mat dn_backbone_forward(struct backbone *b, struct net_params params,
                               const struct view *views, int count,
                               const struct drop_path *drop);
/* d_x: gradient of what forward returned; used up. Gradients accumulate in `grads`. */
void dn_backbone_backward(struct backbone *b, struct net_params params, void *grads,
                          struct mat d_x);

#endif
