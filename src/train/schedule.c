/* Schedules by step. */
#include "train/schedule.h"

#include <math.h>

double dn_schedule_at(const struct schedule *s, int64_t step)
{
    const double pi = 3.14159265358979323846;
    int64_t into = step - s->freeze;

    if (step >= s->total)
        return s->final;
    if (step < s->hold || into < 0)
        return 0;
    if (into < s->warmup) {
        if (into > 0 && into == s->warmup - 1)
            return s->base;
        return s->warmup > 1
                   ? s->start + (s->base - s->start) * ((double)into / (double)(s->warmup - 1))
                   : s->start;
    }
    double part = (double)(into - s->warmup) / (double)(s->total - s->warmup - s->freeze);
    return s->final + 0.5 * (s->base - s->final) * (1 + cos(pi * part));
}

double dn_schedule_scaled_lr(double base_lr, int64_t batch)
{
    return base_lr * sqrt((double)batch / 1024.0);
}

/* As build_schedulers of dinov2/train/train.py. */
void dn_schedules_init(struct schedules *schedules, const struct train_config *config,
                       int64_t batch, int64_t epoch_length)
{
    int64_t total = config->optim.epochs * epoch_length;
    int64_t temp_warmup = config->teacher.warmup_temp_epochs * epoch_length;

    schedules->lr = (struct schedule){
        .base = dn_schedule_scaled_lr(config->optim.base_lr, batch),
        .final = config->optim.min_lr,
        .warmup = config->optim.warmup_epochs * epoch_length,
        .total = total,
    };
    schedules->last_layer_lr = schedules->lr;
    schedules->last_layer_lr.hold = config->optim.freeze_last_layer_epochs * epoch_length;
    schedules->backbone_lr = schedules->lr;
    schedules->backbone_lr.freeze = config->optim.freeze_backbone_epochs * epoch_length;
    schedules->weight_decay = (struct schedule){
        .base = config->optim.weight_decay,
        .final = config->optim.weight_decay_end,
        .total = total,
    };
    schedules->momentum = (struct schedule){
        .base = config->teacher.momentum,
        .final = config->teacher.final_momentum,
        .total = total,
    };
    schedules->teacher_temp = (struct schedule){
        .start = config->teacher.warmup_temp,
        .base = config->teacher.temp,
        .final = config->teacher.temp,
        .warmup = temp_warmup,
        .total = temp_warmup,
    };
}

struct schedule_values dn_schedules_at(const struct schedules *schedules, int64_t step)
{
    return (struct schedule_values){
        .lr = dn_schedule_at(&schedules->lr, step),
        .last_layer_lr = dn_schedule_at(&schedules->last_layer_lr, step),
        .backbone_lr = dn_schedule_at(&schedules->backbone_lr, step),
        .weight_decay = dn_schedule_at(&schedules->weight_decay, step),
        .momentum = dn_schedule_at(&schedules->momentum, step),
        .teacher_temp = dn_schedule_at(&schedules->teacher_temp, step),
    };
}
