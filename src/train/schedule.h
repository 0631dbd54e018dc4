/*
 * Schedules: learning rate, weight decay, teacher momentum and temperature as functions of the
 * step, in double. The official code keeps tables; any entry of them can be computed alone.
 */
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include "train/train_config.h"

/*
 * `freeze` zeros, then `warmup` steps on a line from start to base (both included), then a
 * half cosine that would reach `final` at `total`, where it stays. As CosineScheduler of
 * dinov2/utils/utils.py. The first `hold` values are zero, whatever they would be.
 */
struct schedule {
    double start, base, final;
    int64_t freeze, warmup, total, hold;
};

double dn_schedule_at(const struct schedule *schedule, int64_t step);

/* base_lr by sqrt(batch / 1024), `batch` over all processes. */
double dn_schedule_scaled_lr(double base_lr, int64_t batch);

struct schedules {
    struct schedule lr, last_layer_lr, backbone_lr, weight_decay, momentum, teacher_temp;
};

struct schedule_values {
    double lr, last_layer_lr; /* of the heads */
    double backbone_lr;       /* the same, warmed up once the heads are no longer alone */
    double weight_decay, momentum, teacher_temp;
};

/* `epoch_length` in steps (config's own may be 0: one pass over the pictures). */
void dn_schedules_init(struct schedules *schedules, const struct train_config *config,
                       int64_t batch, int64_t epoch_length);
struct schedule_values dn_schedules_at(const struct schedules *schedules, int64_t step);

#endif
