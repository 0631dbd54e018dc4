/* The emulated part of CUDA's runtime: the machine, streams that run at once, graphs. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_runtime_api.h"
#include "emulate_fibers.h"

struct emulated_stream {
    struct emulated_door door;
    struct emulated_graph *capturing;
    int device;
};

struct emulated_event {
    int recorded, device;
};

static _Thread_local int current; /* the GPU that this thread chose */

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

bool emulate_machine_is(const char *what)
{
    const char *machine = getenv("DINO_EMULATE");

    return machine && strcmp(machine, what) == 0;
}

/* ---- the machine ---- */

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = emulate_machine_is("no-driver")    ? 0
               : emulate_machine_is("old-driver") ? 12040
                                                  : 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

static int gpus(void)
{
    const char *wish = getenv("DINO_EMULATE_GPUS");

    return emulate_machine_is("one") ? 1 : wish ? (int)strtol(wish, NULL, 10) : 2;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = gpus();
    if (emulate_machine_is("no-driver") || emulate_machine_is("old-driver"))
        return cudaErrorInsufficientDriver;
    return emulate_machine_is("no-gpu") ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= gpus())
        return cudaErrorInvalidDevice;
    current = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    if (device < 0 || device >= gpus())
        return cudaErrorInvalidDevice;
    *properties = (struct cudaDeviceProp){.name = "emulated",
                                          .major = 9,
                                          .multiProcessorCount = 2,
                                          .totalGlobalMem = (size_t)1 << 30,
                                          .sharedMemPerBlockOptin = 227 << 10};
    properties->uuid.bytes[15] = (char)(1 + device);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    *total = (size_t)1 << 30;
    size_t taken = emulate_memory_taken();
    *left = emulate_machine_is("full") || taken > *total ? 0 : *total - taken;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
        return "invalid resource handle";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    default:
        return "emulated error";
    }
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes,
                                     const void *memory)
{
    (void)memory;
    attributes->type = cudaMemoryTypeUnregistered;
    return cudaSuccess;
}

/* ---- what streams do ---- */

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

static cudaError_t submit(cudaStream_t stream, const struct item *item)
{
    struct emulated_graph *graph = stream->capturing;

    if (stream->device != current)
        return cudaErrorInvalidResourceHandle;
    if (!graph) {
        emulate_work_begins();
        run_item(item);
        emulate_work_ends();
        return cudaSuccess;
    }
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

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = calloc(1, sizeof **stream);
    if (!*stream)
        return cudaErrorMemoryAllocation;
    (*stream)->door.work = emulate_work;
    (*stream)->device = current;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    (void)stream;
    return emulate_machine_is("lost") ? cudaErrorLaunchFailure : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return cudaStreamSynchronize(stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)stream, (void)event, (void)flags;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = calloc(1, sizeof **event);
    if (!*event)
        return cudaErrorMemoryAllocation;
    (*event)->device = current;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    if (event->device != stream->device)
        return cudaErrorInvalidResourceHandle;
    event->recorded++;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
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
    **exec = (struct emulated_graph){items, graph->count};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    cudaError_t error = cudaSuccess;

    for (size_t i = 0; i < exec->count && error == cudaSuccess; i++)
        error = submit(stream, &exec->items[i]);
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
    return cudaGraphDestroy(exec);
}
