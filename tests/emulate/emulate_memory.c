/*
 * The emulated GPU's memory: full of NaN until written, each block of its exact size, so that
 * AddressSanitizer sees what leaves it; and how much of it is taken. On a "guarded" machine it
 * is whole pages that the host cannot touch while the GPU is not at work.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cuda_runtime_api.h"
#include "emulate_fibers.h"

enum { MOST_BLOCKS = 4096, PAGE = 4096 };

static struct {
    void *memory;
    size_t bytes; /* as they were asked for */
    bool guarded;
} blocks[MOST_BLOCKS];
static int working; /* launches and copies under way */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t paged(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void protect_all(int protection)
{
    for (int i = 0; i < MOST_BLOCKS; i++)
        if (blocks[i].memory && blocks[i].guarded)
            mprotect(blocks[i].memory, paged(blocks[i].bytes), protection);
}

void emulate_work_begins(void)
{
    pthread_mutex_lock(&lock);
    if (working++ == 0)
        protect_all(PROT_READ | PROT_WRITE);
    pthread_mutex_unlock(&lock);
}

void emulate_work_ends(void)
{
    pthread_mutex_lock(&lock);
    if (--working == 0)
        protect_all(PROT_NONE);
    pthread_mutex_unlock(&lock);
}

/* Remember a block; false where there are too many. */
static bool enter(void *memory, size_t bytes, bool guarded)
{
    int i = 0;

    pthread_mutex_lock(&lock);
    while (i < MOST_BLOCKS && blocks[i].memory)
        i++;
    if (i < MOST_BLOCKS) {
        blocks[i].memory = memory;
        blocks[i].bytes = bytes;
        blocks[i].guarded = guarded;
        if (guarded && !working)
            mprotect(memory, paged(bytes), PROT_NONE);
    }
    pthread_mutex_unlock(&lock);
    return i < MOST_BLOCKS;
}

size_t emulate_memory_taken(void)
{
    size_t bytes = 0;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST_BLOCKS; i++)
        bytes += blocks[i].memory ? blocks[i].bytes : 0;
    pthread_mutex_unlock(&lock);
    return bytes;
}

static void *pages_new(size_t bytes)
{
    void *pages =
        mmap(NULL, paged(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED)
        return NULL;
    memset(pages, 0xff, paged(bytes));
    return pages;
}

static void release(void *memory, size_t bytes, bool guarded)
{
    if (guarded)
        munmap(memory, paged(bytes));
    else
        free(memory);
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    (void)flags;
    if (emulate_machine_is("full") || bytes > (size_t)16 << 30)
        return cudaErrorMemoryAllocation;
    *memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*memory)
        return cudaErrorMemoryAllocation;
    memset(*memory, 0xff, bytes);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory)
{
    emulate_finish();
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    bool guarded = emulate_machine_is("guarded");
    long mebibytes = emulate_machine_figure("memory");
    cudaError_t result = cudaSuccess;

    if (emulate_vanished())
        return cudaErrorLaunchFailure;
    if (mebibytes >= 0 && bytes + emulate_memory_taken() > (size_t)mebibytes << 20)
        result = cudaErrorMemoryAllocation;
    else if (!guarded)
        result = cudaHostAlloc(memory, bytes, 0);
    else if (!(*memory = pages_new(bytes)))
        result = cudaErrorMemoryAllocation;
    if (result == cudaSuccess && !enter(*memory, bytes, guarded)) {
        release(*memory, bytes, guarded);
        result = cudaErrorMemoryAllocation;
    }
    return result;
}

cudaError_t cudaFree(void *memory)
{
    emulate_finish(); /* as CUDA waits for the whole GPU */
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST_BLOCKS && memory; i++)
        if (blocks[i].memory == memory) {
            blocks[i].memory = NULL;
            release(memory, blocks[i].bytes, blocks[i].guarded);
            memory = NULL;
        }
    pthread_mutex_unlock(&lock);
    return memory ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    (void)kind;
    if (emulate_vanished())
        return cudaErrorLaunchFailure;
    emulate_work_begins();
    memcpy(to, from, bytes);
    emulate_work_ends();
    return cudaSuccess;
}
