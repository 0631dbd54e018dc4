#include "train/targets.h"

#include <math.h>

enum { ROUNDS = 3 };

void dn_targets_layout(struct target_scratch *s, struct tape *tape, int prototypes)
{
    s->top = dn_tape_mat(tape, 1, 1);
    s->sums = dn_tape_mat(tape, 1, prototypes);
}

/* y [1, n] = alpha * the sum over the rows of all processes; one may have none. */
static void sum_rows(struct queue *queue, struct dino_comm *comm, struct mat y, struct mat x,
                     double alpha)
{
    if (x.rows > 0)
        dn_sum_columns(queue, (struct op_sum_columns){.y = y, .x = x, .alpha = alpha});
    else
        dn_fill(queue, (struct op_fill){.y = y});
    dn_comm_device_sum(comm, y);
}

/* One maximum for all samples cancels in the first round; one for each would not. Factors that
 * all numbers share (prototypes, samples, the first sum) cancel in the last division. */
void dn_targets_sinkhorn(struct queue *queue, struct dino_comm *comm,
                         const struct target_scratch *s, struct target_rows rows,
                         double temperature)
{
    struct mat logits = rows.logits;

    if (rows.all == 0)
        return;
    if (logits.rows > 0)
        dn_largest(queue, (struct op_largest){.y = s->top, .x = logits});
    else
        dn_fill(queue, (struct op_fill){.y = s->top, .value = -INFINITY});
    dn_comm_device_largest(comm, s->top);
    dn_exponential(queue,
                   (struct op_exponential){
                       .y = logits, .x = logits, .top = s->top, .temperature = temperature});
    for (int round = 0; round < ROUNDS; round++) {
        sum_rows(queue, comm, s->sums, logits, 1);
        dn_sinkhorn(queue, (struct op_sinkhorn){.q = logits, .sums = s->sums});
    }
}

void dn_targets_softmax(struct queue *queue, struct dino_comm *comm,
                        const struct target_scratch *s, struct target_rows rows,
                        struct mat centre, double temperature)
{
    struct mat logits = rows.logits;

    if (rows.all == 0)
        return;
    sum_rows(queue, comm, s->sums, logits, 1.0 / (double)rows.all);
    dn_softmax(queue,
               (struct op_softmax){
                   .y = logits, .x = logits, .centre = centre, .temperature = temperature});
}

void dn_targets_follow(struct queue *queue, const struct target_scratch *s, struct mat centre,
                       double momentum)
{
    dn_lerp(queue,
            (struct op_lerp){.y = centre, .x = s->sums, .keep = momentum, .add = 1 - momentum});
}
