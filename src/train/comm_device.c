/* Numbers in device memory: in it over the device's own library, or through the host over MPI,
 * or as the host's where they are that. */
#include "train/comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "compute/device.h"

enum {
    PIECE = 1 << 20,          /* elements that travel while backward goes on */
    PIECE_BETWEEN = 16 << 20, /* the same from GPU to GPU */
};

/* ---- who has which GPU ---- */

struct place {
    uint64_t machine;
    unsigned char device[16];
};

static bool all_apart(const struct dino_comm *c, const struct place *places,
                      struct dino_error *err)
{
    for (int r = 1; r < c->size; r++)
        for (int other = 0; other < r; other++)
            if (memcmp(&places[r], &places[other], sizeof *places) == 0)
                return dn_fail(err, DINO_EARG,
                               "processes %d and %d would share a GPU: each needs its own, so "
                               "start no more on a machine than it has GPUs, with --device "
                               "cuda",
                               other, r);
    return true;
}

static bool check_places(struct dino_comm *c, const struct device *d, struct dino_error *err)
{
    size_t size = (size_t)c->size;
    struct place *places = dn_calloc(size, sizeof *places, "who has which GPU", err);
    size_t *starts = dn_calloc(size + 1, sizeof *starts, "who has which GPU", err);
    bool ok = dn_comm_agree(c, places && starts, err);

    if (ok) {
        places[c->rank].machine = c->machine;
        memcpy(places[c->rank].device, d->identity, sizeof d->identity);
        for (size_t r = 0; r <= size; r++)
            starts[r] = r * sizeof *places;
        dn_comm_all_gather(c, places, starts);
        dn_comm_wait(c);
        ok = dn_comm_agree(c, all_apart(c, places, err), err);
    }
    free(places);
    free(starts);
    return ok;
}

/* ---- attaching ---- */

/* Where any process has no library, none uses it: `why` says so, to all. */
static bool open_peers(struct dino_comm *c, struct dino_error *why)
{
    const struct peers_ops *ops = c->queue->device->ops->peers;
    struct peers_id id = {{0}};
    bool found = ops ? ops->find(c->exchange, why)
                     : dn_fail(why, DINO_EUNSUPPORTED, "%s has no library for it",
                               c->queue->device->name);

    if (!dn_comm_agree(c, found, why))
        return false;
    bool made = c->rank > 0 || ops->id(&id, why);
    if (!dn_comm_agree(c, made, why))
        return false;
    dn_comm_broadcast(c, &id, sizeof id, 0);
    struct peers *peers = ops->open(c->queue, &id, c->rank, c->size, why);
    if (dn_comm_agree(c, peers != NULL, why)) {
        c->peers = peers;
        return true;
    }
    if (peers)
        ops->close(peers);
    return false;
}

bool dn_comm_attach(struct dino_comm *c, struct queue *queue, struct dino_error *err)
{
    const struct device *d = queue->device;
    struct dino_error why = {0};

    dn_comm_detach(c);
    if (dn_comm_alone(c))
        return dn_comm_agree(c, true, err);
    bool hosts = dn_comm_any(c, d->host_memory), others = dn_comm_any(c, !d->host_memory);
    if (hosts && others)
        return dn_fail(err, DINO_EARG, "some processes train on a GPU and some do not");
    if (hosts)
        return dn_comm_agree(c, true, err);
    if (!check_places(c, d, err))
        return false;
    c->queue = queue;
    if (!open_peers(c, &why))
        snprintf(c->exchange, sizeof c->exchange, "MPI, through the host (%.120s)",
                 why.message);
    return dn_comm_agree(c, true, err);
}

void dn_comm_detach(struct dino_comm *c)
{
    if (!c || !c->queue)
        return;
    if (c->peers) {
        if (c->peers->error.code == DINO_OK)
            c->peers->error = c->error; /* who is lost is not waited for */
        c->peers->ops->close(c->peers);
    }
    if (c->stage)
        c->queue->device->ops->host_free(c->queue->device, c->stage);
    c->queue = NULL;
    c->peers = NULL;
    c->stage = NULL;
    c->stage_bytes = 0;
    c->exchange[0] = 0;
}

size_t dn_comm_piece(const struct dino_comm *c)
{
    return c && c->peers ? PIECE_BETWEEN : PIECE;
}

size_t dn_comm_bucket_bytes(const struct device *d, int processes)
{
    return processes > 1 && !d->host_memory ? PIECE_BETWEEN * sizeof(float) : 0;
}

/* ---- through the host ---- */

/* Memory of the host for this much; NULL, and the others are lost, where there is none. */
static char *stage(struct dino_comm *c, size_t bytes)
{
    const struct device *d = c->queue->device;

    if (bytes > c->stage_bytes) {
        d->ops->host_free(d, c->stage);
        c->stage = d->ops->host_alloc(d, bytes, &c->error);
        c->stage_bytes = c->stage ? bytes : 0;
    }
    return c->stage;
}

static void fetch(struct dino_comm *c, char *to, const char *from, size_t bytes)
{
    if (bytes > 0)
        c->queue->device->ops->download(c->queue, to, from, bytes);
}

static void put(struct dino_comm *c, char *to, const char *from, size_t bytes)
{
    if (bytes > 0)
        c->queue->device->ops->upload(c->queue, to, from, bytes);
}

/* Is there somebody to exchange with, and has a device memory of its own? */
static bool between_devices(struct dino_comm *c)
{
    return !dn_comm_alone(c) && c->queue;
}

/* A failure of the peers is one of all. */
static void heed(struct dino_comm *c)
{
    if (c->error.code == DINO_OK)
        c->error = c->peers->error;
}

/* ---- the calls ---- */

static void combine(struct dino_comm *c, struct mat row,
                    void (*peers)(struct peers *p, float *data, size_t count),
                    void (*hosts)(struct dino_comm *c, void *data, size_t count,
                                  enum dino_dtype dtype))
{
    size_t count = (size_t)row.cols, bytes = count * dino_dtype_size(row.dtype);

    if (!between_devices(c)) {
        hosts(c, row.data, count, row.dtype);
    } else if (c->peers) {
        peers(c->peers, row.data, count);
        heed(c);
    } else if (stage(c, bytes)) {
        fetch(c, c->stage, row.data, bytes);
        hosts(c, c->stage, count, row.dtype);
        put(c, row.data, c->stage, bytes);
    }
}

void dn_comm_device_sum(struct dino_comm *c, struct mat row)
{
    combine(c, row, c && c->peers ? c->peers->ops->sum : NULL, dn_comm_sum);
}

void dn_comm_device_largest(struct dino_comm *c, struct mat row)
{
    combine(c, row, c && c->peers ? c->peers->ops->largest : NULL, dn_comm_largest);
}

void dn_comm_device_gather(struct dino_comm *c, void *all, const void *own,
                           const size_t *starts)
{
    size_t bytes = starts[dino_comm_rank(c) + 1] - starts[dino_comm_rank(c)];

    if (!between_devices(c)) {
        dn_comm_gather(c, all, own, starts);
    } else if (stage(c, bytes + 1)) {
        fetch(c, c->stage, own, bytes);
        dn_comm_gather(c, all, c->stage, starts);
    }
}

void dn_comm_device_all_gather(struct dino_comm *c, void *data, const size_t *starts)
{
    if (!between_devices(c)) {
        dn_comm_all_gather(c, data, starts);
    } else if (c->peers) {
        c->peers->ops->all_gather(c->peers, data, starts);
        heed(c);
    } else if (stage(c, starts[c->size])) {
        size_t at = starts[c->rank];
        fetch(c, c->stage + at, (char *)data + at, starts[c->rank + 1] - at);
        dn_comm_all_gather(c, c->stage, starts);
        dn_comm_wait(c);
        put(c, data, c->stage, starts[c->size]);
    }
}

void dn_comm_device_reduce_scatter(struct dino_comm *c, void *data, const size_t *starts,
                                   enum dino_dtype dtype)
{
    if (!between_devices(c)) {
        dn_comm_reduce_scatter(c, data, starts, dtype);
    } else if (c->peers) {
        c->peers->ops->reduce_scatter(c->peers, data, starts);
        heed(c);
    } else if (stage(c, starts[c->size])) {
        size_t at = starts[c->rank];
        fetch(c, c->stage, data, starts[c->size]);
        dn_comm_reduce_scatter(c, c->stage, starts, dtype);
        dn_comm_wait(c);
        put(c, (char *)data + at, c->stage + at, starts[c->rank + 1] - at);
    }
}

void dn_comm_device_wait(struct dino_comm *c)
{
    if (!between_devices(c)) {
        dn_comm_wait(c);
    } else if (c->peers) {
        c->peers->ops->wait(c->peers);
        heed(c);
    }
}
