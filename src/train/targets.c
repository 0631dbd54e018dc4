#include "train/targets.h"

enum { ROUNDS = 3 };

void dn_targets_layout(struct target_scratch *s, struct tape *tape, int prototypes)
{
    s->top = dn_tape_mat(tape, 1, 1);
    s->sums = dn_tape_mat(tape, 1, prototypes);
}

/* One maximum for all samples cancels in the first round; one for each would not. Factors that
 * all numbers share (prototypes, samples, the first sum) cancel in the last division. */
void dn_targets_sinkhorn(struct queue *queue, const struct target_scratch *s, struct mat logits,
                         double temperature)
{
    if (logits.rows == 0)
        return;
    dn_largest(queue, (struct op_largest){.y = s->top, .x = logits});
    dn_exponential(queue,
                   (struct op_exponential){
                       .y = logits, .x = logits, .top = s->top, .temperature = temperature});
    for (int round = 0; round < ROUNDS; round++) {
        dn_sum_columns(queue, (struct op_sum_columns){.y = s->sums, .x = logits, .alpha = 1});
        dn_sinkhorn(queue, (struct op_sinkhorn){.q = logits, .sums = s->sums});
    }
}

void dn_targets_softmax(struct queue *queue, const struct target_scratch *s, struct mat logits,
                        struct mat centre, double momentum, double temperature)
{
    if (logits.rows == 0)
        return;
    dn_sum_columns(
        queue, (struct op_sum_columns){.y = s->sums, .x = logits, .alpha = 1.0 / logits.rows});
    dn_softmax(queue,
               (struct op_softmax){
                   .y = logits, .x = logits, .centre = centre, .temperature = temperature});
    dn_lerp(queue,
            (struct op_lerp){.y = centre, .x = s->sums, .keep = momentum, .add = 1 - momentum});
}
