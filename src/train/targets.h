/* From the teacher's logits to targets, in place, over the whole batch. */
#ifndef TRAIN_TARGETS_H
#define TRAIN_TARGETS_H

#include "compute/device.h"
#include "train/tape.h"

/* Scratch for one kind of targets. */
struct target_scratch {
    struct mat top;  /* [1, 1] */
    struct mat sums; /* [1, prototypes] */
};

void dn_targets_layout(struct target_scratch *s, struct tape *tape, int prototypes);

/*
 * logits [samples, prototypes] become distributions. Sinkhorn-Knopp: three rounds, the last
 * division by row. Softmax: minus `centre` [1, prototypes], which then moves to
 * momentum centre + (1 - momentum) mean(logits): the official code applies that mean at the
 * start of the next step, which is the same.
 */
void dn_targets_sinkhorn(struct queue *queue, const struct target_scratch *s, struct mat logits,
                         double temperature);
void dn_targets_softmax(struct queue *queue, const struct target_scratch *s, struct mat logits,
                        struct mat centre, double momentum, double temperature);

#endif
