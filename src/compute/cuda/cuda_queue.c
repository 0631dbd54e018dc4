/*
 * Queues of the device "cuda": lists of commands that run when somebody waits.
 *
 * What an operation brings from the host (index arrays, pixels) is copied at once into one of
 * two page-locked stages, and from there to the device when the list runs; while a list runs,
 * the next one fills the other stage. A stage that is full gets one more block, each larger
 * than those before, so that what lies in it stays where it is. Lists are kept byte by byte:
 * one that comes again, whatever its host data, is captured as a graph and from then on
 * launched as one. A queue that rehearses keeps lists and stages as ever, without memory of
 * the GPU, and runs nothing.
 */
#include <string.h>

#include "base/alloc.h"
#include "compute/cuda/cuda_device.h"
#include "compute/cuda/cuda_product.h"

enum {
    LISTS_KEPT = 64,
    WORTH_A_GRAPH = 8,     /* commands; fewer are launched one by one */
    LONGEST_LIST = 512,    /* commands; then it runs */
    STAGE_MOST = 32 << 20, /* bytes; the same */
    STAGE_LEAST = 1 << 20,
    STAGE_BLOCKS = 16,
    STAGE_ALIGN = 256,
};

enum command_kind { LAUNCH, PRODUCT };

/* What stands in a list, each followed by its arguments in 8-byte units. */
struct command {
    uint32_t kind, bytes; /* of the arguments */
    const void *kernel;
    int32_t grid_x, grid_y, threads, shared;
};

struct list {
    unsigned char *bytes;
    size_t size, room;
    int commands;
    size_t staged;
};

/* A list that ran, and its graph once it came again. */
struct known {
    struct list list;
    cudaGraphExec_t graph;
    uint64_t used;
};

struct stage {
    struct stage_block {
        unsigned char *host, *device;
        size_t bytes, used;
    } blocks[STAGE_BLOCKS];
    int count;
    cudaEvent_t free; /* the list that used it has run */
    bool busy;
};

struct cuda_queue {
    struct queue base;
    const struct cuda_device *device;
    cudaStream_t stream;
    struct product_engine *products;
    struct list list; /* being made */
    struct known known[LISTS_KEPT];
    uint64_t runs;
    struct stage stages[2];
    int stage; /* the one being filled */
    void *scratch;
    size_t scratch_bytes;
    size_t scratch_most; /* that was asked for in a rehearsal */
    bool rehearses;
    unsigned char *pretended; /* what a rehearsal stages */
    size_t pretended_room;
};

/* In the place of the GPU's memory in a rehearsal; only how it is aligned is looked at. */
static void *pretended_memory(void)
{
    return (void *)((uintptr_t)1 << 40);
}

static struct cuda_queue *queue_of(struct queue *q)
{
    return (struct cuda_queue *)q;
}

/* The GPU belongs to a host thread until that thread chooses another. */
static bool check(struct cuda_queue *q, cudaError_t result, const char *what)
{
    struct dino_error err;

    if (dn_cuda_ok(result, q->device, what, &err))
        return true;
    dn_queue_fail(&q->base, err.code, "%s", err.message);
    return false;
}

static bool enter(struct cuda_queue *q)
{
    return q->device->described ||
           check(q, cudaSetDevice(q->device->index), "choosing the GPU");
}

/* ---- opening and closing ---- */

struct queue *dn_cuda_queue_new(const struct device *d, int threads, struct dino_error *err)
{
    struct cuda_queue *q = dn_calloc(1, sizeof *q, "a queue", err);

    if (!q)
        return NULL;
    q->base = (struct queue){.device = d, .threads = threads};
    q->device = dn_cuda_device(d);
    q->rehearses = q->device->described;
    if (q->device->described)
        return &q->base;
    if (!dn_cuda_ok(cudaSetDevice(q->device->index), q->device, "choosing the GPU", err) ||
        !dn_cuda_ok(cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking), q->device,
                    "a stream", err))
        goto failed;
    for (int i = 0; i < 2; i++)
        if (!dn_cuda_ok(cudaEventCreateWithFlags(&q->stages[i].free, cudaEventDisableTiming),
                        q->device, "an event", err))
            goto failed;
    q->products = dn_product_open(err);
    if (q->products)
        return &q->base;
failed:
    dn_cuda_queue_free(&q->base);
    return NULL;
}

static void drop(struct known *known)
{
    if (known->graph)
        cudaGraphExecDestroy(known->graph);
    free(known->list.bytes);
    *known = (struct known){0};
}

static void drop_stage(struct cuda_queue *q, struct stage *s)
{
    for (int i = 0; i < s->count; i++) {
        cudaFreeHost(s->blocks[i].host);
        dn_cuda_free(&q->device->base, s->blocks[i].device, s->blocks[i].bytes);
    }
    s->count = 0;
}

void dn_cuda_queue_free(struct queue *base)
{
    struct cuda_queue *q = queue_of(base);

    if (!q->device->described)
        cudaSetDevice(q->device->index);
    if (q->stream)
        cudaStreamSynchronize(q->stream);
    for (int i = 0; i < LISTS_KEPT; i++)
        drop(&q->known[i]);
    for (int i = 0; i < 2; i++) {
        drop_stage(q, &q->stages[i]);
        if (q->stages[i].free)
            cudaEventDestroy(q->stages[i].free);
    }
    dn_cuda_free(&q->device->base, q->scratch, q->scratch_bytes);
    dn_product_close(q->products);
    if (q->stream)
        cudaStreamDestroy(q->stream);
    free(q->list.bytes);
    free(q->pretended);
    free(q);
}

/* ---- running a list ---- */

static bool run_command(struct cuda_queue *q, const struct command *c, void *args)
{
    struct dino_error err;

    if (c->kind == PRODUCT) {
        if (dn_product_run(q->products, args, q->stream, &err))
            return true;
        dn_queue_fail(&q->base, err.code, "%s: %s", q->device->base.name, err.message);
        return false;
    }
    dim3 grid = {(unsigned)c->grid_x, (unsigned)c->grid_y, 1};
    dim3 block = {(unsigned)c->threads, 1, 1};
    if (c->shared > 48 << 10 &&
        !check(q,
               cudaFuncSetAttribute(c->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    c->shared),
               "shared memory"))
        return false;
    return check(q,
                 cudaLaunchKernel(c->kernel, grid, block, &args, (size_t)c->shared, q->stream),
                 "a launch");
}

static void run_one_by_one(struct cuda_queue *q)
{
    for (size_t at = 0; at < q->list.size;) {
        struct command *c = (struct command *)(void *)(q->list.bytes + at);
        if (!run_command(q, c, c + 1))
            return;
        at += sizeof *c + c->bytes;
    }
}

static void capture(struct cuda_queue *q, struct known *known)
{
    cudaGraph_t graph = NULL;

    if (!check(q, cudaStreamBeginCapture(q->stream, cudaStreamCaptureModeThreadLocal),
               "capturing"))
        return;
    run_one_by_one(q);
    cudaError_t ended = cudaStreamEndCapture(q->stream, &graph);
    if (q->base.error.code == DINO_OK && check(q, ended, "capturing"))
        check(q, cudaGraphInstantiate(&known->graph, graph, 0), "a graph");
    if (graph)
        cudaGraphDestroy(graph);
}

static bool same_list(const struct list *a, const struct list *b)
{
    return a->size == b->size && a->commands == b->commands &&
           memcmp(a->bytes, b->bytes, a->size) == 0;
}

static void remember(struct cuda_queue *q)
{
    struct known *oldest = &q->known[0];
    struct dino_error ignored;

    for (int i = 1; i < LISTS_KEPT; i++)
        if (q->known[i].used < oldest->used)
            oldest = &q->known[i];
    drop(oldest);
    oldest->list = q->list;
    oldest->list.bytes = dn_calloc(1, q->list.size, "a list of commands", &ignored);
    if (!oldest->list.bytes)
        return; /* it will be met as new again */
    memcpy(oldest->list.bytes, q->list.bytes, q->list.size);
    oldest->used = q->runs;
}

static void run_list(struct cuda_queue *q)
{
    struct known *known = NULL;

    for (int i = 0; i < LISTS_KEPT && !known; i++)
        if (q->known[i].list.bytes && same_list(&q->known[i].list, &q->list))
            known = &q->known[i];
    if (!known || q->list.commands < WORTH_A_GRAPH) {
        run_one_by_one(q);
        if (!known && q->list.commands >= WORTH_A_GRAPH)
            remember(q);
        return;
    }
    known->used = q->runs;
    if (!known->graph)
        capture(q, known);
    if (known->graph)
        check(q, cudaGraphLaunch(known->graph, q->stream), "a graph");
}

/* What was staged goes to the GPU, and its room is free for the list after next. */
static bool send_stage(struct cuda_queue *q, struct stage *s)
{
    bool ok = true;

    for (int i = 0; i < s->count; i++) {
        struct stage_block *b = &s->blocks[i];
        if (b->used > 0)
            ok = ok && check(q,
                             cudaMemcpyAsync(b->device, b->host, b->used,
                                             cudaMemcpyHostToDevice, q->stream),
                             "a copy to the GPU");
        b->used = 0;
    }
    return ok;
}

static void forget_staged(struct stage *s)
{
    for (int i = 0; i < s->count; i++)
        s->blocks[i].used = 0;
}

/* Hand over what was listed; nobody waits. */
static void flush(struct cuda_queue *q)
{
    struct stage *s = &q->stages[q->stage];

    if (q->list.size == 0 && q->list.staged == 0)
        return;
    q->runs++;
    if (q->rehearses) {
        forget_staged(s);
    } else if (q->base.error.code == DINO_OK && enter(q)) {
        if (send_stage(q, s))
            run_list(q);
        if (q->list.staged)
            s->busy = check(q, cudaEventRecord(s->free, q->stream), "an event");
    }
    if (q->list.staged)
        q->stage = !q->stage;
    q->list.size = q->list.staged = 0;
    q->list.commands = 0;
}

bool dn_cuda_flush(struct queue *base)
{
    struct cuda_queue *q = queue_of(base);

    flush(q);
    return cudaSetDevice(q->device->index) == cudaSuccess;
}

void dn_cuda_cut(struct queue *base)
{
    flush(queue_of(base));
}

cudaStream_t dn_cuda_stream(const struct queue *base)
{
    return ((const struct cuda_queue *)base)->stream;
}

static void wait_for(struct cuda_queue *q, const char *what)
{
    if (!q->rehearses && enter(q))
        check(q, cudaStreamSynchronize(q->stream), what);
}

/* Nothing is under way, and no operation half listed: the first stage is free, and what is
 * listed from here on has the same addresses each time. */
static void begin_anew(struct cuda_queue *q)
{
    q->stage = 0;
    q->stages[0].busy = q->stages[1].busy = false;
}

void dn_cuda_sync(struct queue *base)
{
    struct cuda_queue *q = queue_of(base);

    flush(q);
    wait_for(q, "running");
    begin_anew(q);
}

static void transfer(struct queue *base, void *to, const void *from, size_t bytes,
                     enum cudaMemcpyKind kind)
{
    struct cuda_queue *q = queue_of(base);

    flush(q);
    if (q->base.error.code == DINO_OK && !q->rehearses && enter(q) &&
        check(q, cudaMemcpyAsync(to, from, bytes, kind, q->stream), "a copy"))
        wait_for(q, "a copy");
    begin_anew(q);
}

void dn_cuda_upload(struct queue *q, void *to, const void *from, size_t bytes)
{
    transfer(q, to, from, bytes, cudaMemcpyHostToDevice);
}

void dn_cuda_download(struct queue *q, void *to, const void *from, size_t bytes)
{
    transfer(q, to, from, bytes, cudaMemcpyDeviceToHost);
}

/* ---- making a list ---- */

/* Room for one more command; its arguments, zeroed, or NULL after a failure. */
static void *add(struct cuda_queue *q, struct command command, size_t bytes)
{
    size_t padded = (bytes + 7) / 8 * 8, at;
    struct dino_error err;

    if (q->base.error.code != DINO_OK)
        return NULL;
    if (q->list.commands >= LONGEST_LIST || q->list.staged >= STAGE_MOST)
        flush(q); /* what this command reads was staged before: it stays until the next one */
    at = q->list.size;
    if (!dn_grow(&q->list.bytes, &q->list.room, at + sizeof command + padded, 1,
                 "a list of commands", &err)) {
        dn_queue_fail(&q->base, err.code, "%s", err.message);
        return NULL;
    }
    command.bytes = (uint32_t)padded;
    memset(q->list.bytes + at, 0, sizeof command + padded);
    memcpy(q->list.bytes + at, &command, sizeof command);
    q->list.size = at + sizeof command + padded;
    q->list.commands++;
    return q->list.bytes + at + sizeof command;
}

void dn_cuda_launch(struct queue *base, const void *kernel, int grid_x, int grid_y, int threads,
                    size_t shared, const void *args, size_t bytes)
{
    struct command command = {.kind = LAUNCH,
                              .kernel = kernel,
                              .grid_x = grid_x,
                              .grid_y = grid_y,
                              .threads = threads,
                              .shared = (int32_t)shared};

    if (grid_x < 1 || grid_y < 1)
        return;
    void *to = add(queue_of(base), command, bytes);
    if (to)
        memcpy(to, args, bytes);
}

/* What the library declines (odd addresses and strides) a kernel of ours does. */
static void plain_product(struct queue *base, const struct product *p)
{
    enum { TILE = 64 };
    struct cuda_product a = {
        .y = p->y,
        .x = p->x,
        .w = p->w,
        .residual = p->residual,
        .bias = p->bias,
        .y_stride = p->y_stride,
        .residual_stride = p->residual_stride,
        .x_row = p->x_turned ? 1 : p->x_stride,
        .x_col = p->x_turned ? p->x_stride : 1,
        .w_row = p->w_turned ? 1 : p->w_stride,
        .w_col = p->w_turned ? p->w_stride : 1,
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .y_dtype = p->y_dtype,
        .x_dtype = p->in_dtype,
        .w_dtype = p->in_dtype,
    };
    CUDA_LAUNCH(base, dn_product_kernel, (p->m + TILE - 1) / TILE, (p->n + TILE - 1) / TILE,
                256, 2 * 16 * (TILE + 1) * sizeof(float), a);
}

void dn_cuda_product(struct queue *base, const struct product *p)
{
    struct cuda_queue *q = queue_of(base);

    if (!enter(q))
        return;
    if (p->k == 0 || (q->products && !dn_product_plan(q->products, p))) {
        plain_product(base, p);
        return;
    }
    void *to = add(q, (struct command){.kind = PRODUCT}, sizeof *p);
    if (to)
        memcpy(to, p, sizeof *p);
}

/* One more block of the stage, at least `bytes` large. */
static struct stage_block *add_block(struct cuda_queue *q, struct stage *s, size_t bytes)
{
    size_t wanted = (size_t)STAGE_LEAST << s->count;
    struct stage_block *b = &s->blocks[s->count];
    struct dino_error err;
    void *host = NULL;

    if (s->count == STAGE_BLOCKS) {
        dn_queue_fail(&q->base, DINO_ENOMEM, "too much of the host in one list");
        return NULL;
    }
    while (wanted < bytes)
        wanted *= 2;
    if (q->rehearses) {
        *b = (struct stage_block){.device = pretended_memory(), .bytes = wanted};
        s->count++;
        return b;
    }
    if (!check(q, cudaHostAlloc(&host, wanted, cudaHostAllocDefault), "page-locked memory"))
        return NULL;
    *b = (struct stage_block){
        .host = host, .device = dn_cuda_alloc(&q->device->base, wanted, &err), .bytes = wanted};
    if (!b->device) {
        cudaFreeHost(host);
        dn_queue_fail(&q->base, err.code, "%s", err.message);
        return NULL;
    }
    s->count++;
    return b;
}

/* The first block that has room, the same for the same list. */
static struct stage_block *block_for(struct cuda_queue *q, struct stage *s, size_t bytes)
{
    for (int i = 0; i < s->count; i++)
        if (s->blocks[i].bytes - s->blocks[i].used >= bytes)
            return &s->blocks[i];
    return add_block(q, s, bytes);
}

/* Host memory for what is staged in a rehearsal, the same each time. */
static void *pretended_room(struct cuda_queue *q, size_t bytes)
{
    struct dino_error err;

    if (dn_grow(&q->pretended, &q->pretended_room, bytes + 1, 1, "a stage", &err))
        return q->pretended;
    dn_queue_fail(&q->base, err.code, "%s", err.message);
    return NULL;
}

void *dn_cuda_stage_room(struct queue *base, size_t bytes, const void **device)
{
    struct cuda_queue *q = queue_of(base);
    struct stage *s = &q->stages[q->stage];
    size_t padded = (bytes + STAGE_ALIGN - 1) / STAGE_ALIGN * STAGE_ALIGN;

    *device = NULL;
    if (q->base.error.code != DINO_OK || !enter(q))
        return NULL;
    if (q->list.staged == 0 && s->busy) {
        s->busy = false;
        if (!check(q, cudaEventSynchronize(s->free), "running"))
            return NULL;
    }
    struct stage_block *b = block_for(q, s, padded);
    if (!b)
        return NULL;
    size_t at = b->used;
    b->used += padded;
    q->list.staged += padded;
    *device = b->device + at;
    return q->rehearses ? pretended_room(q, bytes) : b->host + at;
}

const void *dn_cuda_stage(struct queue *q, const void *host, size_t bytes)
{
    const void *device = NULL;
    void *room = host ? dn_cuda_stage_room(q, bytes, &device) : NULL;

    if (room && !queue_of(q)->rehearses)
        memcpy(room, host, bytes);
    return device;
}

void *dn_cuda_scratch(struct queue *base, size_t bytes)
{
    struct cuda_queue *q = queue_of(base);
    struct dino_error err;

    if (q->base.error.code != DINO_OK || !enter(q))
        return NULL;
    if (q->rehearses) {
        q->scratch_most = bytes > q->scratch_most ? bytes : q->scratch_most;
        return pretended_memory();
    }
    if (bytes <= q->scratch_bytes && q->scratch)
        return q->scratch;
    bytes = bytes > q->scratch_most ? bytes : q->scratch_most;
    if (q->scratch) { /* lists read and write it */
        flush(q);
        wait_for(q, "running");
        dn_cuda_free(&q->device->base, q->scratch, q->scratch_bytes);
    }
    q->scratch = dn_cuda_alloc(&q->device->base, bytes, &err);
    q->scratch_bytes = q->scratch ? bytes : 0;
    if (!q->scratch)
        dn_queue_fail(base, err.code, "%s", err.message);
    return q->scratch;
}

/* ---- rehearsing ---- */

/* Stages begin anew on either side of it: what they point to differs. */
size_t dn_cuda_rehearse(struct queue *base, bool on)
{
    struct cuda_queue *q = queue_of(base);
    size_t bytes = dn_product_bytes();

    dn_cuda_sync(base);
    for (int i = 0; i < 2; i++) {
        struct stage *s = &q->stages[i];
        for (int b = 0; b < s->count; b++)
            bytes += s->blocks[b].bytes;
        if (q->rehearses)
            s->count = 0;
        else
            drop_stage(q, s);
    }
    if (on)
        q->scratch_most = 0;
    q->rehearses = on || q->device->described;
    return bytes + q->scratch_most;
}
