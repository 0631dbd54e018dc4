/* Inside a queue of the device "cuda": cuda_queue.c runs lists, cuda_stage.c brings what they
 * need from the host. */
#ifndef COMPUTE_CUDA_QUEUE_H
#define COMPUTE_CUDA_QUEUE_H

#include "compute/cuda/cuda_device.h"
#include "compute/cuda/cuda_product.h"

enum { LISTS_KEPT = 64, STAGE_BLOCKS = 16 };

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
    cudaEvent_t sent; /* it is on the device */
    cudaEvent_t free; /* what may read it has run */
    bool busy;
};

/* The way back. */
struct result {
    cudaEvent_t made;    /* what is to be fetched */
    cudaEvent_t arrived; /* on the host */
    uint64_t behind;     /* lists handed over before it */
};

struct cuda_queue {
    struct queue base;
    const struct cuda_device *device;
    cudaStream_t stream, up, down;
    struct product_engine *products;
    struct list list; /* being made */
    bool goes_on;     /* an operation that staged for the list before may end in this one */
    struct known known[LISTS_KEPT];
    uint64_t runs;
    struct stage stages[2];
    int stage; /* the one being filled */
    struct result results[2];
    void *scratch;
    size_t scratch_bytes;
    size_t scratch_most; /* that was asked for in a rehearsal */
    bool rehearses;
    unsigned char *pretended; /* what a rehearsal stages */
    size_t pretended_room;
};

/* In the place of the GPU's memory in a rehearsal; only how it is aligned is looked at. */
static inline void *dn_cuda_pretended(void)
{
    return (void *)((uintptr_t)1 << 40);
}

static inline struct cuda_queue *dn_cuda_queue_of(struct queue *q)
{
    return (struct cuda_queue *)q;
}

/* Choose the queue's GPU; remember a failed call. */
bool dn_cuda_enter(struct cuda_queue *q);
bool dn_cuda_check(struct cuda_queue *q, cudaError_t result, const char *what);

/* What was staged goes to the GPU; the work behind it waits for that. */
bool dn_cuda_stage_send(struct cuda_queue *q, struct stage *s);
void dn_cuda_stage_drop(struct cuda_queue *q, struct stage *s);

#endif
