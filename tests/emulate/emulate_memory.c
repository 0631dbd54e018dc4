/*
 * The emulated GPU's memory: full of NaN until written, each block of its exact size, so that
 * AddressSanitizer sees what leaves it. On a "guarded" machine it is whole pages that the host
 * cannot touch while the GPU is not at work.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cuda_runtime_api.h"
#include "emulate_fibers.h"

enum { MOST_BLOCKS = 4096, PAGE = 4096 };

static struct {
    void *memory;
    size_t bytes;
} guarded[MOST_BLOCKS];
static int working; /* launches and copies under way */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void protect_all(int protection)
{
    for (int i = 0; i < MOST_BLOCKS; i++)
        if (guarded[i].memory)
            mprotect(guarded[i].memory, guarded[i].bytes, protection);
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

static cudaError_t guarded_new(void **memory, size_t bytes)
{
    size_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    void *block = mmap(NULL, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int i = 0;

    if (block == MAP_FAILED)
        return cudaErrorMemoryAllocation;
    memset(block, 0xff, pages);
    pthread_mutex_lock(&lock);
    while (i < MOST_BLOCKS && guarded[i].memory)
        i++;
    if (i < MOST_BLOCKS) {
        guarded[i].memory = *memory = block;
        guarded[i].bytes = pages;
        mprotect(block, pages, working ? PROT_READ | PROT_WRITE : PROT_NONE);
    }
    pthread_mutex_unlock(&lock);
    return i < MOST_BLOCKS ? cudaSuccess : cudaErrorMemoryAllocation;
}

/* Was it a guarded block? */
static int guarded_free(void *memory)
{
    int found = 0;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < MOST_BLOCKS && memory; i++)
        if (guarded[i].memory == memory) {
            munmap(memory, guarded[i].bytes);
            guarded[i].memory = NULL;
            found = 1;
        }
    pthread_mutex_unlock(&lock);
    return found;
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
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    if (emulate_machine_is("guarded"))
        return guarded_new(memory, bytes);
    return cudaHostAlloc(memory, bytes, 0);
}

cudaError_t cudaFree(void *memory)
{
    if (!guarded_free(memory))
        free(memory);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    (void)kind;
    emulate_work_begins();
    memcpy(to, from, bytes);
    emulate_work_ends();
    return cudaSuccess;
}
