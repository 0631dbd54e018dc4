/*
 * Dynamic scaling of the loss, for gradients in f16: they are kept `value` times as large, so
 * that small ones do not vanish. Where one overflows, the step is left out and the scale is
 * halved; after many good steps in a row it is doubled. As torch.cuda.amp.GradScaler and FSDP's
 * ShardedGradScaler, with their defaults.
 */
#ifndef TRAIN_LOSS_SCALE_H
#define TRAIN_LOSS_SCALE_H

#include <stdbool.h>
#include <stdint.h>

/* Part of a run's state: a resumed run goes on within the same row of good steps. */
struct loss_scale {
    double value;    /* a power of two; 0: losses are not scaled */
    int64_t good;    /* steps in a row since it was last changed */
    int64_t skipped; /* steps that were left out: the optimizer has not seen them */
};

struct loss_scale dn_loss_scale_first(void);
/* After a step whose gradient was, or was not, made of numbers. */
void dn_loss_scale_follow(struct loss_scale *s, bool finite);
/* So small that what overflows is not the scale's doing. */
bool dn_loss_scale_lost(const struct loss_scale *s);

#endif
