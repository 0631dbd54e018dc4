/* Stages of the device "cuda": page-locked blocks, each with its like on the GPU. */
#include <string.h>

#include "base/alloc.h"
#include "compute/cuda/cuda_queue.h"

enum { STAGE_LEAST = 1 << 20, STAGE_ALIGN = 256 };

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
        *b = (struct stage_block){.device = dn_cuda_pretended(), .bytes = wanted};
        s->count++;
        return b;
    }
    if (!dn_cuda_check(q, cudaHostAlloc(&host, wanted, cudaHostAllocDefault),
                       "page-locked memory"))
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
    struct cuda_queue *q = dn_cuda_queue_of(base);
    struct stage *s = &q->stages[q->stage];
    size_t padded = (bytes + STAGE_ALIGN - 1) / STAGE_ALIGN * STAGE_ALIGN;

    *device = NULL;
    if (q->base.error.code != DINO_OK || !dn_cuda_enter(q))
        return NULL;
    if (q->list.staged == 0 && s->busy) {
        s->busy = false;
        if (!dn_cuda_check(q, cudaEventSynchronize(s->free), "running"))
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

void dn_cuda_stage_copy(struct queue *q, void *room, const void *host, size_t bytes)
{
    if (bytes && !dn_cuda_queue_of(q)->rehearses)
        memcpy(room, host, bytes);
}

const void *dn_cuda_stage(struct queue *q, const void *host, size_t bytes)
{
    const void *device = NULL;
    void *room = host ? dn_cuda_stage_room(q, bytes, &device) : NULL;

    if (room)
        dn_cuda_stage_copy(q, room, host, bytes);
    return device;
}

bool dn_cuda_stage_send(struct cuda_queue *q, struct stage *s)
{
    bool ok = true;

    for (int i = 0; i < s->count; i++) {
        struct stage_block *b = &s->blocks[i];
        if (b->used > 0)
            ok = ok && dn_cuda_check(q,
                                     cudaMemcpyAsync(b->device, b->host, b->used,
                                                     cudaMemcpyHostToDevice, q->up),
                                     "a copy to the GPU");
    }
    return ok && dn_cuda_check(q, cudaEventRecord(s->sent, q->up), "an event") &&
           dn_cuda_check(q, cudaStreamWaitEvent(q->stream, s->sent, 0), "an event");
}

void dn_cuda_stage_drop(struct cuda_queue *q, struct stage *s)
{
    for (int i = 0; i < s->count; i++) {
        cudaFreeHost(s->blocks[i].host);
        dn_cuda_free(&q->device->base, s->blocks[i].device, s->blocks[i].bytes);
    }
    s->count = 0;
}
