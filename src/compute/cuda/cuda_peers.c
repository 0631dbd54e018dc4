/*
 * Processes with a GPU each, over NCCL. Numbers travel on a stream of their own, one call
 * behind the other, so that backward goes on beside them; events keep the two streams in order.
 * Of NCCL only transfers are used: its own sums add in an order that depends on the machine
 * and, where the switch adds (NVLS), on the call. No list of the queue holds a transfer:
 * whether a list becomes a graph every process decides alone, and NCCL wants that decided by
 * all.
 */
#include "compute/peers.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "compute/cuda/cuda_nccl.h"
#include "compute/cuda/cuda_train.h"

enum { SMALL = 256 << 10 }; /* bytes, of all processes, that are sent whole to everyone */

struct cuda_peers {
    struct peers base;
    const struct cuda_device *device;
    struct nccl nccl;
    ncclComm_t comm;
    cudaStream_t stream;
    cudaEvent_t ready, done; /* on the queue's stream, on ours */
    char *parts;             /* device: what the others sent, [size][bytes] */
    size_t room;
    size_t *starts; /* [size + 1] scratch */
};

static struct cuda_peers *of(struct peers *p)
{
    return (struct cuda_peers *)p;
}

/* ---- errors ---- */

static bool good(struct cuda_peers *p, cudaError_t result, const char *what)
{
    struct dino_error err;

    if (dn_cuda_ok(result, p->device, what, &err))
        return true;
    if (p->base.error.code == DINO_OK)
        p->base.error = err;
    return false;
}

static bool sent(struct cuda_peers *p, int result, const char *what)
{
    if (result == ncclSuccess)
        return true;
    if (p->base.error.code == DINO_OK)
        dn_fail(&p->base.error, DINO_EDEVICE, "%s failed at NCCL %s: %s", p->device->base.name,
                what, p->nccl.get_error_string(result));
    return false;
}

static bool alive(struct peers *base)
{
    struct cuda_peers *p = of(base);
    int error = ncclSuccess;

    if (base->error.code != DINO_OK || !good(p, cudaSetDevice(p->device->index), "work"))
        return false;
    cudaError_t state = cudaStreamQuery(p->stream);
    return good(p, state == cudaErrorNotReady ? cudaSuccess : state, "work of all processes") &&
           sent(p, p->nccl.comm_get_async_error(p->comm, &error), "state") &&
           sent(p, error == ncclInProgress ? ncclSuccess : error, "transfer");
}

/* ---- the order of two streams ---- */

/* What the queue was told comes before what we begin now. */
static bool enter(struct cuda_peers *p)
{
    if (p->base.error.code != DINO_OK)
        return false;
    if (!dn_cuda_flush(p->base.queue))
        return good(p, cudaErrorInvalidDevice, "choosing the GPU");
    return good(p, cudaEventRecord(p->ready, dn_cuda_stream(p->base.queue)), "an event") &&
           good(p, cudaStreamWaitEvent(p->stream, p->ready, 0), "an event");
}

/* What we have begun comes before what the queue is told from now on. */
static void leave(struct peers *base)
{
    struct cuda_peers *p = of(base);

    if (base->error.code == DINO_OK && dn_cuda_flush(base->queue) &&
        good(p, cudaEventRecord(p->done, p->stream), "an event"))
        good(p, cudaStreamWaitEvent(dn_cuda_stream(base->queue), p->done, 0), "an event");
}

/* Parts are used by one call after the other, as the stream runs them. */
static bool make_room(struct cuda_peers *p, size_t bytes)
{
    const struct device *d = &p->device->base;

    if (bytes <= p->room)
        return true;
    if (!good(p, cudaStreamSynchronize(p->stream), "running"))
        return false;
    dn_cuda_free(d, p->parts, p->room);
    p->parts = dn_cuda_alloc(d, bytes, &p->base.error);
    p->room = p->parts ? bytes : 0;
    return p->parts != NULL;
}

/* ---- transfers ---- */

static bool all_equal(const size_t *starts, int size)
{
    for (int r = 1; r < size; r++)
        if (starts[r + 1] - starts[r] != starts[1] - starts[0])
            return false;
    return true;
}

/* Everyone's part of data to everyone. */
static void spread(struct cuda_peers *p, char *data, const size_t *starts)
{
    const struct nccl *n = &p->nccl;
    int rank = p->base.rank, size = p->base.size;
    size_t own = starts[rank + 1] - starts[rank];
    char *mine = data + starts[rank];

    if (all_equal(starts, size)) {
        sent(p, n->all_gather(mine, data, own, ncclInt8, p->comm, p->stream), "all-gather");
        return;
    }
    bool ok = sent(p, n->group_start(), "all-gather");
    for (int r = 0; ok && r < size; r++) {
        size_t theirs = starts[r + 1] - starts[r];
        if (r != rank && own > 0)
            ok = sent(p, n->send(mine, own, ncclInt8, r, p->comm, p->stream), "send");
        if (ok && r != rank && theirs > 0)
            ok = sent(p, n->recv(data + starts[r], theirs, ncclInt8, r, p->comm, p->stream),
                      "receive");
    }
    sent(p, n->group_end(), "all-gather");
}

/* Everyone's numbers for our part of data to p->parts, by rank. */
static bool collect(struct cuda_peers *p, const char *data, const size_t *starts)
{
    const struct nccl *n = &p->nccl;
    int rank = p->base.rank, size = p->base.size;
    size_t own = starts[rank + 1] - starts[rank];

    if (own > 0 && !good(p,
                         cudaMemcpyAsync(p->parts + (size_t)rank * own, data + starts[rank],
                                         own, cudaMemcpyDeviceToDevice, p->stream),
                         "a copy"))
        return false;
    bool ok = sent(p, n->group_start(), "reduce-scatter");
    for (int r = 0; ok && r < size; r++) {
        size_t theirs = starts[r + 1] - starts[r];
        if (r != rank && theirs > 0)
            ok = sent(p, n->send(data + starts[r], theirs, ncclInt8, r, p->comm, p->stream),
                      "send");
        if (ok && r != rank && own > 0)
            ok = sent(p,
                      n->recv(p->parts + (size_t)r * own, own, ncclInt8, r, p->comm, p->stream),
                      "receive");
    }
    return sent(p, n->group_end(), "reduce-scatter") && ok;
}

/* y [count] from p->parts. */
static void join(struct cuda_peers *p, void *y, size_t count, bool largest)
{
    struct cuda_join_parts a = {.y = y,
                                .parts = (const float *)(const void *)p->parts,
                                .count = (int64_t)count,
                                .ranks = p->base.size,
                                .largest = largest};
    void *args = &a;
    dim3 grid = {(unsigned)dn_cuda_ceil(a.count, POINTS_BLOCK), 1, 1};
    dim3 block = {POINTS_BLOCK, 1, 1};

    if (count > 0)
        good(p,
             cudaLaunchKernel((const void *)(uintptr_t)dn_join_parts_kernel, grid, block, &args,
                              0, p->stream),
             "a launch");
}

static void reduce_scatter(struct peers *base, void *data, const size_t *starts)
{
    struct cuda_peers *p = of(base);
    size_t own = starts[base->rank + 1] - starts[base->rank];

    if (enter(p) && make_room(p, own * (size_t)base->size) && collect(p, data, starts))
        join(p, (char *)data + starts[base->rank], own / sizeof(float), false);
}

static void all_gather(struct peers *base, void *data, const size_t *starts)
{
    if (enter(of(base)))
        spread(of(base), data, starts);
}

/* ---- small numbers, which somebody waits for ---- */

/* Parts of `count` numbers, as even as can be. */
static const size_t *share_out(struct cuda_peers *p, size_t count)
{
    size_t size = (size_t)p->base.size;

    for (size_t r = 0; r <= size; r++)
        p->starts[r] = count * r / size * sizeof(float);
    return p->starts;
}

/* Everyone is sent everyone's, and joins them. */
static void join_all(struct cuda_peers *p, float *data, size_t count, bool largest)
{
    size_t bytes = count * sizeof *data, size = (size_t)p->base.size;

    for (size_t r = 0; r <= size; r++)
        p->starts[r] = r * bytes;
    if (enter(p) && make_room(p, size * bytes) &&
        good(p,
             cudaMemcpyAsync(p->parts + p->starts[p->base.rank], data, bytes,
                             cudaMemcpyDeviceToDevice, p->stream),
             "a copy")) {
        spread(p, p->parts, p->starts);
        join(p, data, count, largest);
    }
    leave(&p->base);
}

static void sum(struct peers *base, float *data, size_t count)
{
    struct cuda_peers *p = of(base);

    if (count * sizeof *data * (size_t)base->size <= SMALL) {
        join_all(p, data, count, false);
        return;
    }
    reduce_scatter(base, data, share_out(p, count));
    all_gather(base, data, share_out(p, count));
    leave(base);
}

static void largest(struct peers *base, float *data, size_t count)
{
    join_all(of(base), data, count, true);
}

/* ---- beginning and end ---- */

static bool find(char name[64], struct dino_error *err)
{
    struct nccl nccl;
    int v = 0;

    if (!dn_nccl_open(&nccl, err))
        return false;
    nccl.get_version(&v);
    if (v < 10000) /* up to 2.8 the version is 2 * 1000 + 8 * 100 */
        snprintf(name, 64, "NCCL %d.%d.%d", v / 1000, v / 100 % 10, v % 100);
    else
        snprintf(name, 64, "NCCL %d.%d.%d", v / 10000, v / 100 % 100, v % 100);
    return true;
}

static bool make_id(struct peers_id *id, struct dino_error *err)
{
    struct nccl nccl;
    ncclUniqueId made;

    if (!dn_nccl_open(&nccl, err))
        return false;
    int result = nccl.get_unique_id(&made);
    if (result != ncclSuccess)
        return dn_fail(err, DINO_EDEVICE, "NCCL makes no id: %s",
                       nccl.get_error_string(result));
    memcpy(id->bytes, made.internal, PEERS_ID);
    return true;
}

static void close_peers(struct peers *base)
{
    struct cuda_peers *p = of(base);

    cudaSetDevice(p->device->index);
    if (p->stream && base->error.code == DINO_OK)
        good(p, cudaStreamSynchronize(p->stream), "the last transfers");
    if (p->comm && base->error.code != DINO_OK)
        p->nccl.comm_abort(p->comm);
    else if (p->comm)
        p->nccl.comm_destroy(p->comm);
    dn_cuda_free(&p->device->base, p->parts, p->room);
    if (p->ready)
        cudaEventDestroy(p->ready);
    if (p->done)
        cudaEventDestroy(p->done);
    if (p->stream)
        cudaStreamDestroy(p->stream);
    free(p->starts);
    free(p);
}

/* NCCL connects at the first transfer: that there is one shows that it works. */
static bool greet(struct cuda_peers *p)
{
    float ones[1] = {1};
    const struct device *d = &p->device->base;
    float *there = dn_cuda_alloc(d, sizeof ones, &p->base.error);

    if (!there)
        return false;
    bool ok = good(p, cudaMemcpy(there, ones, sizeof ones, cudaMemcpyHostToDevice), "a copy");
    sum(&p->base, there, 1);
    ok = ok && p->base.error.code == DINO_OK &&
         good(p, cudaStreamSynchronize(p->stream), "the first transfer") &&
         good(p, cudaMemcpy(ones, there, sizeof ones, cudaMemcpyDeviceToHost), "a copy");
    dn_cuda_free(d, there, sizeof ones);
    return ok && ((int)ones[0] == p->base.size ||
                  dn_fail(&p->base.error, DINO_EDEVICE, "%s: NCCL brings %g of %d processes",
                          d->name, (double)ones[0], p->base.size));
}

static struct peers *open_peers(struct queue *q, const struct peers_id *id, int rank, int size,
                                struct dino_error *err)
{
    struct cuda_peers *p = dn_calloc(1, sizeof *p, "the processes' GPUs", err);
    ncclUniqueId same;

    if (!p)
        return NULL;
    p->base = (struct peers){.ops = &dn_cuda_peers_ops, .queue = q, .rank = rank, .size = size};
    p->device = dn_cuda_device(q->device);
    p->starts = dn_calloc((size_t)size + 1, sizeof *p->starts, "the processes' GPUs", err);
    memcpy(same.internal, id->bytes, PEERS_ID);
    if (p->starts && dn_nccl_open(&p->nccl, &p->base.error) &&
        good(p, cudaSetDevice(p->device->index), "choosing the GPU") &&
        good(p, cudaStreamCreateWithFlags(&p->stream, cudaStreamNonBlocking), "a stream") &&
        good(p, cudaEventCreateWithFlags(&p->ready, cudaEventDisableTiming), "an event") &&
        good(p, cudaEventCreateWithFlags(&p->done, cudaEventDisableTiming), "an event") &&
        sent(p, p->nccl.comm_init_rank(&p->comm, size, same, rank), "start") && greet(p))
        return &p->base;
    if (err && p->base.error.code != DINO_OK)
        *err = p->base.error;
    close_peers(&p->base);
    return NULL;
}

const struct peers_ops dn_cuda_peers_ops = {
    .find = find,
    .id = make_id,
    .open = open_peers,
    .close = close_peers,
    .alive = alive,
    .sum = sum,
    .largest = largest,
    .all_gather = all_gather,
    .reduce_scatter = reduce_scatter,
    .wait = leave,
};
