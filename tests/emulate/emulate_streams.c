/*
 * The emulated GPU's streams, events and graphs. What a stream is told waits in it and runs as
 * late as CUDA allows: when the host waits for it, for an event behind it, or for the whole
 * GPU, or when a stream runs that waits for such an event. So what lacks an event between two
 * streams, or reads the host's memory too early, shows. One item runs at a time.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_runtime_api.h"
#include "emulate_fibers.h"

/* One thing a stream does. */
struct item {
    size_t (*kernel)(const void *args); /* or */
    void (*work)(const void *args);     /* or a copy */
    void *to;
    const void *from;
    size_t bytes, shared;
    unsigned grid[2], threads;
    _Alignas(16) char args[EMULATED_ARGS];
};

struct emulated_graph {
    struct item *items;
    size_t count;
};

/* An item, or the wait for what another stream was told before its place `until`. */
struct pending {
    struct item item;
    struct emulated_stream *other;
    uint64_t until;
};

struct emulated_stream {
    struct emulated_door door;
    struct emulated_graph *capturing;
    int device;
    struct pending *list;
    size_t first, count, room;
    uint64_t told, done;
    int users; /* the program, and the events and waits that name it */
    struct emulated_stream *next;
};

struct emulated_event {
    int device;
    struct emulated_stream *stream; /* where it was recorded, and behind what; or NULL */
    uint64_t place;
};

static struct emulated_stream *all_streams;
static _Atomic unsigned long one_by_one, in_graphs, graphs;
static pthread_mutex_t lock; /* recursive: of all that follows */

__attribute__((visibility("default"))) void emulate_counts(unsigned long counts[3])
{
    counts[0] = one_by_one;
    counts[1] = in_graphs;
    counts[2] = graphs;
}

__attribute__((constructor)) static void make_lock(void)
{
    pthread_mutexattr_t recursive;

    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
}

/* ---- running ---- */

static void run_item(const struct item *item)
{
    Dl_info info = {0};

    if (item->work) {
        item->work(item->args);
    } else if (item->kernel) {
        dladdr((const void *)(uintptr_t)item->kernel, &info);
        emulate_run(&(struct emulated_launch){
            .name = info.dli_sname ? info.dli_sname : "kernel",
            .kernel = item->kernel,
            .args = item->args,
            .grid = {(int)item->grid[0], (int)item->grid[1]},
            .threads = (int)item->threads,
            .shared = item->shared,
        });
    } else {
        memcpy(item->to, item->from, item->bytes);
    }
}

static void release(struct emulated_stream *s)
{
    struct emulated_stream **at = &all_streams;

    if (!s || --s->users > 0)
        return;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    free(s->list);
    free(s);
}

static void run_until(struct emulated_stream *s, uint64_t place)
{
    pthread_mutex_lock(&lock);
    s->users++;
    while (s->done < place && s->count > 0) {
        struct pending next = s->list[s->first++];
        s->count--;
        if (next.other) {
            run_until(next.other, next.until);
            release(next.other);
        } else {
            emulate_work_begins();
            run_item(&next.item);
            emulate_work_ends();
        }
        s->done++;
    }
    release(s);
    pthread_mutex_unlock(&lock);
}

void emulate_finish(void)
{
    pthread_mutex_lock(&lock);
    for (struct emulated_stream *s = all_streams; s; s = s->next)
        run_until(s, s->told);
    pthread_mutex_unlock(&lock);
}

static cudaError_t tell(struct emulated_stream *s, const struct pending *p)
{
    cudaError_t result = cudaSuccess;

    pthread_mutex_lock(&lock);
    if (s->first > 0 && s->count == 0)
        s->first = 0;
    if (s->first + s->count == s->room) {
        size_t room = 2 * s->room + 64;
        struct pending *more = realloc(s->list, room * sizeof *more);
        if (more) {
            s->list = more;
            s->room = room;
        } else {
            result = cudaErrorMemoryAllocation;
        }
    }
    if (result == cudaSuccess) {
        s->list[s->first + s->count++] = *p;
        s->told++;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static cudaError_t submit(cudaStream_t stream, const struct item *item)
{
    struct emulated_graph *graph = stream->capturing;

    if (stream->device != emulate_current())
        return cudaErrorInvalidResourceHandle;
    if (emulate_vanished())
        return cudaErrorLaunchFailure;
    one_by_one += !graph && !item->to;
    if (!graph)
        return tell(stream, &(struct pending){.item = *item});
    struct item *more = realloc(graph->items, (graph->count + 1) * sizeof *more);
    if (!more)
        return cudaErrorMemoryAllocation;
    graph->items = more;
    graph->items[graph->count++] = *item;
    return cudaSuccess;
}

cudaError_t emulate_work(cudaStream_t stream, void (*work)(const void *args), const void *args,
                         size_t bytes)
{
    struct item item = {.work = work};

    if (bytes > EMULATED_ARGS)
        return cudaErrorInvalidValue;
    memcpy(item.args, args, bytes);
    return submit(stream, &item);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    (void)kind;
    return submit(stream, &(struct item){.to = to, .from = from, .bytes = bytes});
}

/* More shared memory than 48 KiB must have been asked for. */
enum { WATCHED = 64 };
static struct {
    const void *kernel;
    int bytes;
} large[WATCHED];
static pthread_mutex_t large_lock = PTHREAD_MUTEX_INITIALIZER;

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute,
                                 int value)
{
    cudaError_t result = cudaErrorInvalidValue;

    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value > 227 << 10)
        return result;
    pthread_mutex_lock(&large_lock);
    for (int i = 0; i < WATCHED && result != cudaSuccess; i++)
        if (!large[i].kernel || large[i].kernel == kernel) {
            large[i].kernel = kernel;
            large[i].bytes = value;
            result = cudaSuccess;
        }
    pthread_mutex_unlock(&large_lock);
    return result;
}

static bool shared_is_granted(const void *kernel, size_t bytes)
{
    bool granted = bytes <= 48 << 10;

    pthread_mutex_lock(&large_lock);
    for (int i = 0; i < WATCHED; i++)
        granted = granted || (large[i].kernel == kernel && (size_t)large[i].bytes >= bytes);
    pthread_mutex_unlock(&large_lock);
    return granted;
}

cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **args,
                             size_t shared, cudaStream_t stream)
{
    struct item item = {.kernel = (size_t(*)(const void *))(uintptr_t)kernel,
                        .grid = {grid.x, grid.y},
                        .threads = block.x,
                        .shared = shared};
    size_t bytes = item.kernel(NULL);

    if (grid.x < 1 || grid.y < 1 || grid.y > 65535 || grid.z != 1 || block.y != 1 ||
        block.z != 1 || bytes > sizeof item.args || !shared_is_granted(kernel, shared))
        return cudaErrorInvalidValue;
    memcpy(item.args, args[0], bytes);
    return submit(stream, &item);
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    struct emulated_stream *s = calloc(1, sizeof *s);

    (void)flags;
    if (!s)
        return cudaErrorMemoryAllocation;
    s->door.work = emulate_work;
    s->device = emulate_current();
    s->users = 1;
    pthread_mutex_lock(&lock);
    s->next = all_streams;
    all_streams = s;
    pthread_mutex_unlock(&lock);
    *stream = s;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    pthread_mutex_lock(&lock);
    run_until(stream, stream->told);
    release(stream);
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

/* What a GPU was told that is gone: nothing of it happens any more. */
static void forget_all(void)
{
    for (struct emulated_stream *s = all_streams; s; s = s->next) {
        for (size_t i = 0; i < s->count; i++)
            if (s->list[s->first + i].other)
                s->list[s->first + i].other->users--; /* the program's own is left */
        s->first = s->count = 0;
        s->done = s->told;
    }
}

/* A machine may be lost from its first wait on, or after many. */
static bool is_lost(void)
{
    enum { MANY = 180 };
    static int waits; /* under the lock */
    bool lost;

    pthread_mutex_lock(&lock);
    lost = emulate_machine_is("lost") || (emulate_machine_is("fading") && ++waits > MANY) ||
           emulate_vanished();
    if (lost)
        forget_all();
    pthread_mutex_unlock(&lock);
    return lost;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    if (is_lost())
        return cudaErrorLaunchFailure;
    run_until(stream, stream->told);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    if (is_lost())
        return cudaErrorLaunchFailure;
    return stream->done == stream->told ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = calloc(1, sizeof **event);
    if (!*event)
        return cudaErrorMemoryAllocation;
    (*event)->device = emulate_current();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    pthread_mutex_lock(&lock);
    release(event->stream);
    pthread_mutex_unlock(&lock);
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    if (event->device != stream->device)
        return cudaErrorInvalidResourceHandle;
    pthread_mutex_lock(&lock);
    stream->users++;
    release(event->stream);
    event->stream = stream;
    event->place = stream->told;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (is_lost())
        return cudaErrorLaunchFailure;
    if (event->stream)
        run_until(event->stream, event->place);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    cudaError_t result = cudaSuccess;

    (void)flags;
    pthread_mutex_lock(&lock);
    if (event->stream && event->stream != stream) {
        event->stream->users++;
        result = tell(stream, &(struct pending){.other = event->stream, .until = event->place});
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    stream->capturing = calloc(1, sizeof *stream->capturing);
    return stream->capturing ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = stream->capturing;
    stream->capturing = NULL;
    return *graph ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags)
{
    (void)flags;
    *exec = calloc(1, sizeof **exec);
    struct item *items = calloc(graph->count + 1, sizeof *items);
    if (!*exec || !items)
        return cudaErrorMemoryAllocation;
    memcpy(items, graph->items, graph->count * sizeof *items);
    graphs++;
    **exec = (struct emulated_graph){items, graph->count};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    cudaError_t error = cudaSuccess;

    for (size_t i = 0; i < exec->count && error == cudaSuccess; i++)
        error = submit(stream, &exec->items[i]);
    one_by_one -= exec->count;
    in_graphs += exec->count;
    return error;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    free(graph->items);
    free(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    graphs--;
    return cudaGraphDestroy(exec);
}
