/* Attention over packed sequences: who does which head and queries. The arithmetic is in
 * attend_template.h. */
#include "compute/cpu/cpu_attend.h"

#include <omp.h>
#include <stdatomic.h>

#include "compute/cpu/cpu_device.h"

static const struct attend_kernels *choose(enum dn_isa isa)
{
    if (isa >= DN_ISA_AVX512BF16)
        return &dn_attend_avx512bf16;
    if (isa >= DN_ISA_AVX512)
        return &dn_attend_avx512;
    return isa >= DN_ISA_AVX2 ? &dn_attend_avx2 : &dn_attend_c;
}

/*
 * A task is a share of the queries of one head of one sequence; a thread packs the keys and
 * values when it comes to another head. Tasks are handed out as threads come: who does one
 * does not change its result.
 */
struct plan {
    const struct attend_kernels *kernels;
    struct mat qkv;
    int heads;
    float scale;
    int longest, share; /* tokens of the longest sequence, and of a task */
    struct attend_sizes sizes;
    size_t bytes; /* of scratch a thread */
    char *scratch;
};

static int blocks_of(int count, int size)
{
    return count / size + (count % size != 0);
}

/* Queries of a task: the least time that all tasks take, where packing a head costs about as
 * much as 12 queries and an uneven end something besides. */
static int choose_share(const struct plan *p, int sequences, int threads)
{
    int best = p->longest;
    double least = 0;

    for (int parts = 1; parts <= 4 * threads && parts * 16 <= p->longest + 15; parts++) {
        int share = blocks_of(p->longest, parts);
        double rounds = blocks_of(parts * sequences * p->heads, threads);
        double cost = (rounds + 0.1) * (share + 12);
        if (least == 0 || cost < least) {
            least = cost;
            best = share;
        }
    }
    return best;
}

static bool plan_scratch(struct plan *p, struct queue *q, int threads)
{
    int width = p->qkv.cols / 3 / p->heads;

    p->sizes = p->kernels->sizes(p->longest, width, p->qkv.dtype == DINO_BF16);
    p->bytes = p->sizes.keys + p->sizes.values + p->sizes.tile;
    p->scratch = dn_cpu_scratch(q, p->bytes * (size_t)threads);
    return p->scratch;
}

/* Head `head` of the sequence in rows [first, first + tokens), with this thread's scratch. */
static struct attend_head head_of(const struct plan *p, int first, int tokens, int head)
{
    int dim = p->qkv.cols / 3, width = dim / p->heads;
    char *mine = p->scratch + (size_t)omp_get_thread_num() * p->bytes;

    return (struct attend_head){
        .q = dn_cpu_at(p->qkv, first, head * width),
        .k = dn_cpu_at(p->qkv, first, dim + head * width),
        .v = dn_cpu_at(p->qkv, first, 2 * dim + head * width),
        .stride = p->qkv.stride,
        .bf16 = p->qkv.dtype == DINO_BF16,
        .tokens = tokens,
        .width = width,
        .scale = p->scale,
        .keys = mine,
        .values = mine + p->sizes.keys,
        .tile = mine + p->sizes.keys + p->sizes.values,
    };
}

/* Where one thread is among the sequences, for it never goes back. */
struct place {
    int sequence, task; /* the first task of the sequence */
    int packed;         /* sequence * heads + head whose keys are packed, or -1 */
};

static void run_task(const struct plan *p, const struct op_attend *op, int task,
                     struct place *at)
{
    int tokens = op->starts[at->sequence + 1] - op->starts[at->sequence];
    int parts = blocks_of(tokens, p->share);

    while (task - at->task >= parts * p->heads) {
        at->task += parts * p->heads;
        at->sequence++;
        tokens = op->starts[at->sequence + 1] - op->starts[at->sequence];
        parts = blocks_of(tokens, p->share);
    }
    int head = (task - at->task) / parts, part = (task - at->task) % parts;
    int first = op->starts[at->sequence], from = tokens * part / parts;
    int to = tokens * (part + 1) / parts, key = at->sequence * p->heads + head;
    struct attend_head h = head_of(p, first, tokens, head);

    if (at->packed != key)
        p->kernels->pack(&h);
    at->packed = key;
    p->kernels->rows(&h, from, to - from, dn_cpu_at(op->y, first + from, head * h.width),
                     op->y.stride);
}

void dn_cpu_attend(struct queue *q, const struct op_attend *op)
{
    struct plan p = {.kernels = choose(dn_cpu_queue(q)->device->features.isa),
                     .qkv = op->qkv,
                     .heads = op->heads,
                     .scale = op->scale};
    int tasks = 0;
    atomic_int next = 0;

    for (int s = 0; s < op->sequences; s++)
        if (op->starts[s + 1] - op->starts[s] > p.longest)
            p.longest = op->starts[s + 1] - op->starts[s];
    p.share = choose_share(&p, op->sequences, q->threads);
    for (int s = 0; s < op->sequences; s++)
        tasks += blocks_of(op->starts[s + 1] - op->starts[s], p.share) * op->heads;
    if (!plan_scratch(&p, q, q->threads))
        return;

#pragma omp parallel num_threads(q->threads)
    {
        struct place at = {.packed = -1};
        for (int t; (t = atomic_fetch_add(&next, 1)) < tasks;)
            run_task(&p, op, t, &at);
    }
}

void dn_cpu_attention_map(struct queue *q, const struct op_attention_map *op)
{
    struct plan p = {.kernels = choose(dn_cpu_queue(q)->device->features.isa),
                     .qkv = op->qkv,
                     .heads = op->heads,
                     .scale = op->scale,
                     .longest = op->qkv.rows};

    if (!plan_scratch(&p, q, q->threads))
        return;
#pragma omp parallel for num_threads(q->threads) schedule(static)
    for (int head = 0; head < op->heads; head++) {
        struct attend_head h = head_of(&p, 0, p.longest, head);
        p.kernels->pack(&h);
        p.kernels->map(&h, 0, p.longest, dn_cpu_at(op->y, head * p.longest, 0), op->y.stride);
    }
}

const char *dn_cpu_attend_name(const struct cpu_device *d)
{
    return dn_isa_name(choose(d->features.isa)->isa);
}
