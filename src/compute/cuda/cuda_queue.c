/*
 * Queues of the device "cuda": lists of commands that run when somebody waits.
 *
 * What an operation brings from the host (index arrays, pixels) is copied at once into one of
 * two page-locked stages, and from there to the device when the list is handed over; while a
 * list runs, the next one fills the other stage. A stage that is full gets one more block, each
 * larger than those before, so that what lies in it stays where it is. Lists are kept byte by
 * byte: one that comes again, whatever its host data, is captured as a graph and from then on
 * launched as one. A queue that rehearses keeps lists and stages as ever, without memory of
 * the GPU, and runs nothing.
 *
 * Three streams: one works, one brings stages while the list before still runs, one takes
 * results back while the next list runs. Events order them: work waits for its stage, a result
 * for its work. The host waits before it fills a stage again, so no stage is overwritten early.
 */
#include <string.h>

#include "base/alloc.h"
#include "compute/cuda/cuda_queue.h"

enum {
    WORTH_A_GRAPH = 8,     /* commands; fewer are launched one by one */
    LONGEST_LIST = 512,    /* commands; then it runs */
    STAGE_MOST = 32 << 20, /* bytes; the same */
};

/* The GPU belongs to a host thread until that thread chooses another. */
bool dn_cuda_check(struct cuda_queue *q, cudaError_t result, const char *what)
{
    struct dino_error err;

    if (dn_cuda_ok(result, q->device, what, &err))
        return true;
    dn_queue_fail(&q->base, err.code, "%s", err.message);
    return false;
}

bool dn_cuda_enter(struct cuda_queue *q)
{
    return q->device->described ||
           dn_cuda_check(q, cudaSetDevice(q->device->index), "choosing the GPU");
}

/* ---- opening and closing ---- */

static bool make_streams(struct cuda_queue *q, struct dino_error *err)
{
    cudaStream_t *streams[] = {&q->stream, &q->up, &q->down};
    cudaEvent_t *events[] = {&q->stages[0].sent,     &q->stages[0].free,    &q->stages[1].sent,
                             &q->stages[1].free,     &q->results[0].made,   &q->results[1].made,
                             &q->results[0].arrived, &q->results[1].arrived};

    if (!dn_cuda_ok(cudaSetDevice(q->device->index), q->device, "choosing the GPU", err))
        return false;
    for (int i = 0; i < 3; i++)
        if (!dn_cuda_ok(cudaStreamCreateWithFlags(streams[i], cudaStreamNonBlocking), q->device,
                        "a stream", err))
            return false;
    for (int i = 0; i < 8; i++)
        if (!dn_cuda_ok(cudaEventCreateWithFlags(events[i], cudaEventDisableTiming), q->device,
                        "an event", err))
            return false;
    return true;
}

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
    if (make_streams(q, err))
        q->products = dn_product_open(err);
    if (q->products)
        return &q->base;
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

static void drop_streams(struct cuda_queue *q)
{
    for (int i = 0; i < 2; i++) {
        cudaEvent_t events[] = {q->stages[i].sent, q->stages[i].free, q->results[i].made,
                                q->results[i].arrived};
        for (int e = 0; e < 4; e++)
            if (events[e])
                cudaEventDestroy(events[e]);
    }
    if (q->down)
        cudaStreamDestroy(q->down);
    if (q->up)
        cudaStreamDestroy(q->up);
    if (q->stream)
        cudaStreamDestroy(q->stream);
}

/* Wait for all three streams; the first error. */
static cudaError_t wait_all(struct cuda_queue *q)
{
    cudaStream_t streams[] = {q->up, q->stream, q->down};
    cudaError_t first = cudaSuccess;

    for (int i = 0; i < 3; i++) {
        cudaError_t result = streams[i] ? cudaStreamSynchronize(streams[i]) : cudaSuccess;
        first = first == cudaSuccess ? result : first;
    }
    return first;
}

void dn_cuda_queue_free(struct queue *base)
{
    struct cuda_queue *q = dn_cuda_queue_of(base);

    if (!q->device->described)
        cudaSetDevice(q->device->index);
    wait_all(q);
    for (int i = 0; i < LISTS_KEPT; i++)
        drop(&q->known[i]);
    for (int i = 0; i < 2; i++)
        dn_cuda_stage_drop(q, &q->stages[i]);
    dn_cuda_free(&q->device->base, q->scratch, q->scratch_bytes);
    dn_product_close(q->products);
    drop_streams(q);
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
        !dn_cuda_check(q,
                       cudaFuncSetAttribute(
                           c->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, c->shared),
                       "shared memory"))
        return false;
    return dn_cuda_check(
        q, cudaLaunchKernel(c->kernel, grid, block, &args, (size_t)c->shared, q->stream),
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

    if (!dn_cuda_check(q, cudaStreamBeginCapture(q->stream, cudaStreamCaptureModeThreadLocal),
                       "capturing"))
        return;
    run_one_by_one(q);
    cudaError_t ended = cudaStreamEndCapture(q->stream, &graph);
    if (q->base.error.code == DINO_OK && dn_cuda_check(q, ended, "capturing"))
        dn_cuda_check(q, cudaGraphInstantiate(&known->graph, graph, 0), "a graph");
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
        dn_cuda_check(q, cudaGraphLaunch(known->graph, q->stream), "a graph");
}

/* From here on nothing that was handed over reads the stage. */
static void free_stage(struct cuda_queue *q, struct stage *s)
{
    s->busy = dn_cuda_check(q, cudaEventRecord(s->free, q->stream), "an event");
}

/* Hand over what was listed; nobody waits. */
static void flush(struct cuda_queue *q)
{
    struct stage *s = &q->stages[q->stage], *last = &q->stages[!q->stage];

    if (q->list.size == 0 && q->list.staged == 0)
        return;
    q->runs++;
    if (!q->rehearses && q->base.error.code == DINO_OK && dn_cuda_enter(q)) {
        if (!q->list.staged || dn_cuda_stage_send(q, s))
            run_list(q);
        if (q->list.staged)
            free_stage(q, s);
        if (q->goes_on)
            free_stage(q, last);
    }
    for (int i = 0; i < s->count; i++)
        s->blocks[i].used = 0;
    if (q->list.staged)
        q->stage = !q->stage;
    q->list.size = q->list.staged = 0;
    q->list.commands = 0;
    q->goes_on = false;
}

bool dn_cuda_flush(struct queue *base)
{
    struct cuda_queue *q = dn_cuda_queue_of(base);

    flush(q);
    return cudaSetDevice(q->device->index) == cudaSuccess;
}

void dn_cuda_cut(struct queue *base)
{
    flush(dn_cuda_queue_of(base));
}

cudaStream_t dn_cuda_stream(const struct queue *base)
{
    return ((const struct cuda_queue *)base)->stream;
}

static void wait_for(struct cuda_queue *q, const char *what)
{
    if (!q->rehearses && dn_cuda_enter(q))
        dn_cuda_check(q, wait_all(q), what);
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
    struct cuda_queue *q = dn_cuda_queue_of(base);

    flush(q);
    wait_for(q, "running");
    begin_anew(q);
}

static void transfer(struct queue *base, void *to, const void *from, size_t bytes,
                     enum cudaMemcpyKind kind)
{
    struct cuda_queue *q = dn_cuda_queue_of(base);

    flush(q);
    if (q->base.error.code == DINO_OK && !q->rehearses && dn_cuda_enter(q) &&
        dn_cuda_check(q, cudaMemcpyAsync(to, from, bytes, kind, q->stream), "a copy"))
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

void dn_cuda_fetch(struct queue *base, int place, void *to, const void *from, size_t bytes)
{
    struct cuda_queue *q = dn_cuda_queue_of(base);
    struct result *r = &q->results[place];

    flush(q);
    r->behind = q->runs;
    if (q->base.error.code == DINO_OK && dn_cuda_enter(q) &&
        dn_cuda_check(q, cudaEventRecord(r->made, q->stream), "an event") &&
        dn_cuda_check(q, cudaStreamWaitEvent(q->down, r->made, 0), "an event") &&
        dn_cuda_check(q, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, q->down),
                      "a copy"))
        dn_cuda_check(q, cudaEventRecord(r->arrived, q->down), "an event");
}

void dn_cuda_arrive(struct queue *base, int place)
{
    struct cuda_queue *q = dn_cuda_queue_of(base);

    if (dn_cuda_enter(q))
        dn_cuda_check(q, cudaEventSynchronize(q->results[place].arrived), "running");
    if (q->results[place].behind == q->runs && q->list.size == 0)
        begin_anew(q);
}

/* ---- making a list ---- */

/* Room for one more command; its arguments, zeroed, or NULL after a failure. */
static void *add(struct cuda_queue *q, struct command command, size_t bytes)
{
    size_t padded = (bytes + 7) / 8 * 8, at;
    struct dino_error err;

    if (q->base.error.code != DINO_OK)
        return NULL;
    if (q->list.commands >= LONGEST_LIST || q->list.staged >= STAGE_MOST) {
        flush(q);
        q->goes_on = true; /* what this command reads may lie in the stage just sent */
    }
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
    void *to = add(dn_cuda_queue_of(base), command, bytes);
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

bool dn_cuda_offers(struct queue *base, const struct product *p)
{
    struct cuda_queue *q = dn_cuda_queue_of(base);

    return p->k > 0 && dn_cuda_enter(q) &&
           (!q->products || dn_product_plan(q->products, p)); /* described: as it would be */
}

void dn_cuda_product(struct queue *base, const struct product *p)
{
    struct cuda_queue *q = dn_cuda_queue_of(base);

    if (!dn_cuda_offers(base, p)) {
        plain_product(base, p); /* nothing, after a failure */
        return;
    }
    void *to = add(q, (struct command){.kind = PRODUCT}, sizeof *p);
    if (to)
        memcpy(to, p, sizeof *p);
}

void *dn_cuda_scratch(struct queue *base, size_t bytes)
{
    struct cuda_queue *q = dn_cuda_queue_of(base);
    struct dino_error err;

    if (q->base.error.code != DINO_OK || !dn_cuda_enter(q))
        return NULL;
    if (q->rehearses) {
        q->scratch_most = bytes > q->scratch_most ? bytes : q->scratch_most;
        return dn_cuda_pretended();
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
    struct cuda_queue *q = dn_cuda_queue_of(base);
    size_t bytes = dn_product_bytes();

    dn_cuda_sync(base);
    for (int i = 0; i < 2; i++) {
        struct stage *s = &q->stages[i];
        for (int b = 0; b < s->count; b++)
            bytes += s->blocks[b].bytes;
        if (q->rehearses)
            s->count = 0;
        else
            dn_cuda_stage_drop(q, s);
    }
    if (on)
        q->scratch_most = 0;
    q->rehearses = on || q->device->described;
    return bytes + q->scratch_most;
}
