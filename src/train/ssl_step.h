/*
 * The gradient of one step of self-supervised training: teacher targets, student losses (DINO
 * on class tokens, iBOT on masked patches, KoLeo on class tokens), backward.
 *
 * A batch may pass in parts of `micro` images and gives the gradient of the whole one: first
 * the teacher sees all parts, so that Sinkhorn-Knopp and centring work on all targets at once;
 * then, if there is more than one part, the student shows its class tokens, so that KoLeo finds
 * neighbours in the whole batch; then each part passes forward and backward.
 *
 * Many processes have a share of the batch each, and together the gradient of the whole one: it
 * is summed over them as backward finishes it, so that each has its shards of it in the end.
 */
#ifndef TRAIN_SSL_STEP_H
#define TRAIN_SSL_STEP_H

#include "train/backbone_train.h"
#include "train/head_train.h"
#include "train/optimizer.h"
#include "train/targets.h"
#include "train/train_config.h"

/* A frozen network that makes the targets, of a shape of its own: the student's are only the
 * size of its patches, which heads there are and how many prototypes they have. */
struct ssl_teacher {
    const struct params_table *table; /* NULL: none */
    void *params;                     /* device: its block */
};

struct ssl_config {
    struct ssl_teacher frozen;   /* distillation; without it blocks->teacher makes targets */
    int images, micro;           /* of this process's share of a batch, and of a part */
    int all_images, first_image; /* of the whole batch, and where the share begins; 0: alone */
    struct dino_comm *comm;      /* NULL: alone */
    int global_size, local_size; /* side of a crop in pixels */
    int local_crops;             /* an image; there are two global ones */
    int most_masked;             /* patches of the share */
    enum train_centering centering;
    double centre_momentum, student_temperature;
    double dino_weight, ibot_weight, koleo_weight;
    bool koleo_distributed; /* neighbours in the whole batch; else in each process's share */
    double drop_path;
    bool show_masked; /* to the student, as distillation does: patches are asked for, not hidden
                       */
    bool checkpointing;
};

/* One process's share, in host memory. Crops are crop-major: crop 0 of all images, crop 1 of
 * all images, ... Each is [size, size, 3] in bytes or, where there are planes, f32 [3, size,
 * size], normalised. masked: ascending positions in [2 images, patches of a global crop]: where
 * the iBOT loss asks. With `featured` the step's teacher_rows are filled already. */
struct ssl_batch {
    const float *global, *local;
    const int *masked;
    int masked_count;
    bool featured;
    const uint8_t *global_pixels, *local_pixels; /* without global and local */
};

/* As optimised, with their weights, of the whole batch. The official log shows koleo and ibot
 * halved. */
struct ssl_losses {
    double dino_local, dino_global, koleo, ibot, total;
};

/* Rows that go through the heads: class tokens of local crops, of global crops, patches. */
struct ssl_rows {
    int local, global, masked;
};

struct ssl_step {
    struct ssl_config config;
    const struct params_table *table, *teacher_table; /* the same without a frozen teacher */
    struct queue *queue;
    struct backbone teacher, student;
    struct head_pass teacher_dino, teacher_ibot, dino, ibot;
    struct target_scratch dino_scratch, ibot_scratch;
    void *memory; /* device */
    size_t bytes;
    void *student_factors, *teacher_factors; /* parameters for products; NULL: as they are */
    bool frozen_rounded;
    void *centres; /* device: [1, K] of dino, [1, K] of ibot, behind each other */
    struct mat dino_centre, ibot_centre;

    double scale;                 /* of the gradient, in this step */
    int repelled, first_repelled; /* images among which KoLeo looks; the share's first */
    int64_t all_masked;           /* patches of the whole batch, in this step */

    /* the whole share, device */
    struct mat teacher_rows;               /* [2 images + masked, teacher's dim], normed */
    struct mat dino_targets, ibot_targets; /* logits, then targets */
    struct mat class_rows, unit_rows;      /* [2 repelled, dim] of the student */
    struct mat d_class;                    /* [2 repelled, dim] KoLeo's gradient */
    struct mat koleo_losses;               /* [2 repelled, 1] */
    int *nearest;                          /* [2 repelled] */

    /* one part, device */
    struct mat rows_x, rows; /* [all rows, dim] before and after the norm */
    struct mat d_rows, d_x;  /* and [tokens, dim] */
    struct mat dino_logits, ibot_logits;
    struct mat losses; /* [all rows, 1] */
    struct ssl_rows count;

    /* host */
    struct view *views;
    int *mask_first, *mask_patch; /* [2 images + 1], [masked] */
    int *from, *to;               /* rows of the stream, and where they go */
    int *target_rows;
    double *weights, *host_losses;
    size_t *share_starts; /* [processes + 1] */
};

/* Only count: the shapes and bytes of a step that cannot run. Release it. */
bool dn_ssl_step_count(struct ssl_step *s, struct queue *queue,
                       const struct params_table *table, const struct ssl_config *config,
                       struct dino_error *err);
/* A step for a queue that rehearses: as if the device's memory were at `base`. */
bool dn_ssl_step_pretend(struct ssl_step *s, struct queue *queue,
                         const struct params_table *table, const struct ssl_config *config,
                         void *base, struct dino_error *err);
bool dn_ssl_step_init(struct ssl_step *s, struct queue *queue, const struct params_table *table,
                      const struct ssl_config *config, struct dino_error *err);
void dn_ssl_step_release(struct ssl_step *s);

/* The teacher's part alone: its rows at the class tokens of all global crops, then at the
 * masked places, in teacher_rows. They may be kept and put there again. */
bool dn_ssl_step_features(struct ssl_step *s, const struct train_blocks *blocks,
                          const struct ssl_batch *batch, struct dino_error *err);

/* blocks->grads += blocks->scale times the gradient of the batch, and no state moves. Losses
 * are as they are. seed decides what stochastic
 * depth drops. Of many processes, all call, and each has the whole batch's gradient in its own
 * shards, to which it may have added only what all have added. */
bool dn_ssl_step_run(struct ssl_step *s, const struct train_blocks *blocks,
                     const struct ssl_batch *batch, double teacher_temperature, uint64_t seed,
                     struct ssl_losses *losses, struct dino_error *err);

/* The centres move on with what the last run saw, as the teacher does with the student. */
void dn_ssl_step_follow(struct ssl_step *s);

#endif
