/* The backward of attention: a task is one head of one sequence, which owns its columns of the
 * gradient. The arithmetic is in attend_back_template.h. */
#include "compute/cpu/cpu_attend.h"
#include "compute/cpu/cpu_train.h"

struct plan {
    const struct attend_kernels *kernels;
    const struct op_attend_back *op;
    size_t bytes; /* of scratch a thread */
    char *scratch;
    struct team_tasks tasks;
};

static struct attend_back back_of(const struct plan *p, int sequence, int head, int thread)
{
    const struct op_attend_back *op = p->op;
    int dim = op->y.cols, width = dim / op->heads, first = op->starts[sequence];
    int at = head * width;

    return (struct attend_back){
        .head = {.q = dn_cpu_at(op->qkv, first, at),
                 .k = dn_cpu_at(op->qkv, first, dim + at),
                 .v = dn_cpu_at(op->qkv, first, 2 * dim + at),
                 .stride = op->qkv.stride,
                 .bf16 = op->qkv.dtype == DINO_BF16,
                 .tokens = op->starts[sequence + 1] - first,
                 .width = width,
                 .scale = (float)op->scale},
        .y = dn_cpu_at(op->y, first, at),
        .d_y = dn_cpu_at(op->d_y, first, at),
        .d_q = dn_cpu_at(op->d_qkv, first, at),
        .d_k = dn_cpu_at(op->d_qkv, first, dim + at),
        .d_v = dn_cpu_at(op->d_qkv, first, 2 * dim + at),
        .y_stride = op->y.stride,
        .d_y_stride = op->d_y.stride,
        .d_stride = op->d_qkv.stride,
        .scratch = p->scratch + (size_t)thread * p->bytes,
    };
}

static void back_tasks(void *argument, int thread)
{
    struct plan *p = argument;

    for (int t; (t = dn_tasks_take(&p->tasks, thread)) >= 0;) {
        struct attend_back b = back_of(p, t / p->op->heads, t % p->op->heads, thread);
        if (b.head.tokens > 0)
            p->kernels->back(&b);
    }
}

void dn_cpu_attend_back(struct queue *q, const struct op_attend_back *op)
{
    struct plan p = {.kernels = dn_attend_choose(dn_cpu_queue(q)->device->features.isa),
                     .op = op};
    int longest = 0, width = op->y.cols / op->heads;

    for (int s = 0; s < op->sequences; s++)
        if (op->starts[s + 1] - op->starts[s] > longest)
            longest = op->starts[s + 1] - op->starts[s];
    p.bytes = p.kernels->back_bytes(longest, width, op->qkv.dtype == DINO_BF16);
    p.scratch = dn_cpu_scratch(q, (size_t)q->threads * p.bytes);
    if (!p.scratch)
        return;
    dn_tasks_init(&p.tasks, op->sequences * op->heads, q->threads);
    dn_team_run(dn_cpu_queue(q)->team, q->threads, back_tasks, &p);
}
