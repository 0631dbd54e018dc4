/*
 * What happens to the blocks of numbers after the gradient: clipping of each module on its own,
 * AdamW with a rate a parameter, and the teacher's moving average. Of many processes, each
 * updates the shards that it owns.
 */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "compute/device.h"
#include "train/groups.h"
#include "train/params_block.h"
#include "train/schedule.h"
#include "train/sharding.h"

/* Blocks of one layout in device memory. */
struct train_blocks {
    enum dino_dtype dtype;
    void *student, *teacher, *grads;
    void *first, *second; /* moments of AdamW, of own shards only */
    double *squares;      /* [pieces of the shards * modules] of the gradient, summed */
    double scale;         /* grads are so many times the gradient (train/loss_scale) */
    struct shards shards;
};

/* Five zeroed blocks, and the sums, in one allocation; release with the same table. comm NULL:
 * alone. */
bool dn_train_blocks_init(struct train_blocks *blocks, struct queue *queue,
                          const struct params_table *table, struct dino_comm *comm,
                          struct dino_error *err);
/* Memory of all in this process. */
size_t dn_train_blocks_bytes(const struct train_blocks *blocks);
void dn_train_blocks_release(struct train_blocks *blocks, const struct device *device,
                             const struct params_table *table);

void dn_zero_grads(struct queue *queue, const struct params_table *table,
                   const struct train_blocks *blocks);

struct clipping {
    double norm[MODULE_COUNT];        /* of each module's gradient */
    double coefficient[MODULE_COUNT]; /* min(1, limit / (norm + 1e-6)) / blocks->scale */
};

/* Is every number of the gradient one? Norms are not, where one of its squares is not. */
bool dn_clip_finite(const struct clipping *clip);

/* limit <= 0: no limit. Norms are those of the whole batch's gradient, of which each
 * process has its shards. Waits for the norms; false if the queue failed, on any process. */
bool dn_clip(struct queue *queue, const struct params_table *table,
             const struct train_blocks *blocks, double limit, struct clipping *clip,
             struct dino_error *err);

struct param_rate {
    double lr, decay;
};

/* What the schedules say at this step, times the multipliers of each parameter's group: rates
 * [table->count]. */
void dn_param_rates(const struct params_table *table, const struct group_rule *rule,
                    const struct schedule_values *at, struct param_rate *rates);

struct adamw_options {
    double beta1, beta2, eps;
    int64_t step;                   /* from 1 */
    const struct param_rate *rates; /* one for each item of the table */
};

/* The gradient counts clip->coefficient times. All processes have the new student after it. */
void dn_optimizer_step(struct queue *queue, const struct params_table *table,
                       const struct train_blocks *blocks, const struct clipping *clip,
                       const struct adamw_options *options);

/* teacher = momentum teacher + (1 - momentum) student */
void dn_teacher_follow(struct queue *queue, const struct params_table *table,
                       const struct train_blocks *blocks, double momentum);

#endif
