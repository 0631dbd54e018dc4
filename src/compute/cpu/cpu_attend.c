/* Attention over packed sequences: who does which head and queries. The arithmetic is in
 * attend_template.h. */
#include "compute/cpu/cpu_attend.h"

#include "compute/cpu/cpu_device.h"

const struct attend_kernels *dn_attend_choose(enum dn_isa isa)
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
    struct queue *queue;
    const struct op_attend *op; /* NULL for a map */
    struct op_attention_map map;
    struct mat qkv;
    int heads;
    float scale;
    int longest, share; /* tokens of the longest sequence, and of a task */
    struct attend_sizes sizes;
    size_t bytes; /* of scratch a thread */
    char *scratch;
    struct team_tasks tasks;
};

/* Queries of a task: the least time that all tasks take, where packing a head costs about as
 * much as 12 queries and an uneven end something besides; and never more scores than take a
 * quarter of a second, so that whoever wants to stop need not wait. */
static int choose_share(const struct plan *p, int sequences, int threads)
{
    int best = p->longest, from = 1 + (int)((int64_t)p->longest * p->longest >> 28);
    double least = 0;

    for (int parts = from; parts < from + 4 * threads && parts * 16 <= p->longest + 15;
         parts++) {
        int share = dn_blocks_of(p->longest, parts);
        double rounds = dn_blocks_of(parts * sequences * p->heads, threads);
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
static struct attend_head head_of(const struct plan *p, int first, int tokens, int head,
                                  int thread)
{
    int dim = p->qkv.cols / 3, width = dim / p->heads;
    char *mine = p->scratch + (size_t)thread * p->bytes;

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

/* Where one thread is among the sequences. */
struct place {
    int sequence, task; /* the first task of the sequence */
    int packed;         /* sequence * heads + head whose keys are packed, or -1 */
    int thread;
};

static void run_task(const struct plan *p, int task, struct place *at)
{
    const struct op_attend *op = p->op;
    if (task < at->task)
        at->sequence = at->task = 0;
    int tokens = op->starts[at->sequence + 1] - op->starts[at->sequence];
    int parts = dn_blocks_of(tokens, p->share);

    while (task - at->task >= parts * p->heads) {
        at->task += parts * p->heads;
        at->sequence++;
        tokens = op->starts[at->sequence + 1] - op->starts[at->sequence];
        parts = dn_blocks_of(tokens, p->share);
    }
    int head = (task - at->task) / parts, part = (task - at->task) % parts;
    int first = op->starts[at->sequence], from = tokens * part / parts;
    int to = tokens * (part + 1) / parts, key = at->sequence * p->heads + head;
    struct attend_head h = head_of(p, first, tokens, head, at->thread);

    if (at->packed != key)
        p->kernels->pack(&h);
    at->packed = key;
    p->kernels->rows(&h, from, to - from, dn_cpu_at(op->y, first + from, head * h.width),
                     op->y.stride);
}

static void attend_tasks(void *argument, int thread)
{
    struct plan *p = argument;
    struct place at = {.packed = -1, .thread = thread};

    for (int t; (t = dn_tasks_take(&p->tasks, thread)) >= 0;) {
        run_task(p, t, &at);
        if (thread == 0 && dn_queue_stopped(p->queue))
            dn_tasks_stop(&p->tasks);
    }
}

void dn_cpu_attend(struct queue *q, const struct op_attend *op)
{
    struct plan p = {.kernels = dn_attend_choose(dn_cpu_queue(q)->device->features.isa),
                     .queue = q,
                     .op = op,
                     .qkv = op->qkv,
                     .heads = op->heads,
                     .scale = op->scale};

    for (int s = 0; s < op->sequences; s++)
        if (op->starts[s + 1] - op->starts[s] > p.longest)
            p.longest = op->starts[s + 1] - op->starts[s];
    p.share = choose_share(&p, op->sequences, q->threads);
    int tasks = 0;
    for (int s = 0; s < op->sequences; s++)
        tasks += dn_blocks_of(op->starts[s + 1] - op->starts[s], p.share) * op->heads;
    dn_tasks_init(&p.tasks, tasks, q->threads);
    if (plan_scratch(&p, q, q->threads))
        dn_team_run(dn_cpu_queue(q)->team, q->threads, attend_tasks, &p);
}

static void map_heads(void *argument, int thread)
{
    struct plan *p = argument;

    for (int head; (head = dn_tasks_take(&p->tasks, thread)) >= 0;) {
        struct attend_head h = head_of(p, 0, p->longest, head, thread);
        p->kernels->pack(&h);
        p->kernels->map(&h, 0, p->longest, dn_cpu_at(p->map.y, head * p->longest, 0),
                        p->map.y.stride);
    }
}

void dn_cpu_attention_map(struct queue *q, const struct op_attention_map *op)
{
    struct plan p = {.kernels = dn_attend_choose(dn_cpu_queue(q)->device->features.isa),
                     .map = *op,
                     .qkv = op->qkv,
                     .heads = op->heads,
                     .scale = op->scale,
                     .longest = op->qkv.rows};

    dn_tasks_init(&p.tasks, op->heads, q->threads);
    if (plan_scratch(&p, q, q->threads))
        dn_team_run(dn_cpu_queue(q)->team, q->threads, map_heads, &p);
}

const char *dn_cpu_attend_name(const struct cpu_device *d)
{
    return dn_isa_name(dn_attend_choose(d->features.isa)->isa);
}
