/* From the teacher's logits to targets, in place, over the whole batch of all processes. */
#ifndef TRAIN_TARGETS_H
#define TRAIN_TARGETS_H

#include "compute/device.h"
#include "train/comm.h"
#include "train/tape.h"

/* Scratch for one kind of targets. */
struct target_scratch {
    struct mat top;  /* [1, 1] */
    struct mat sums; /* [1, prototypes] */
};

void dn_targets_layout(struct target_scratch *s, struct tape *tape, int prototypes);

/*
 * logits [samples, prototypes], this process's rows, become distributions; `all` counts the
 * rows of all processes, who call together. Sinkhorn-Knopp: three rounds, the last division by
 * row. Softmax: minus `centre` [1, prototypes]; the mean of the logits stays in the scratch. It
 * is over all rows; the official one of masked patches weighs processes alike, however many
 * rows each has. dn_targets_follow, once the step is good, moves the centre to
 * momentum centre + (1 - momentum) mean: the official code does it at the start of the next
 * step, which is the same.
 */
struct target_rows {
    struct mat logits;
    int64_t all;
};

void dn_targets_sinkhorn(struct queue *queue, struct dino_comm *comm,
                         const struct target_scratch *s, struct target_rows rows,
                         double temperature);
void dn_targets_softmax(struct queue *queue, struct dino_comm *comm,
                        const struct target_scratch *s, struct target_rows rows,
                        struct mat centre, double temperature);
void dn_targets_follow(struct queue *queue, const struct target_scratch *s, struct mat centre,
                       double momentum);

#endif
