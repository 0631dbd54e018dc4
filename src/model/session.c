/* dino_session: scratch memory for running a model, and positions of the sizes it met. */
#include "model/session.h"

#include <string.h>

#include "model/positions.h"

struct dino_session *dino_session_new(const struct dino_model *model,
                                      const struct dino_session_options *options,
                                      struct dino_error *err)
{
    static const struct dino_session_options defaults;

    options = options ? options : &defaults;
    if (options->size && options->size != sizeof *options) {
        dn_fail(err, DINO_EARG, "dino_session_options of %zu bytes, this library has %zu",
                options->size, sizeof *options);
        return NULL;
    }
    struct dino_session *s = dn_calloc(1, sizeof *s, "a session", err);
    if (!s)
        return NULL;
    s->model = model;
    for (int i = 0; i < RUNS_AT_ONCE; i++)
        dn_arena_init(&s->runs[i].arena);
    s->queue = dn_queue_new(model->device, options->threads, err);
    if (s->queue) {
        s->queue->keep_going = options->keep_going;
        s->queue->context = options->context;
        return s;
    }
    dino_session_free(s);
    return NULL;
}

static void drop_grid(struct dino_session *s, struct kept_grid *kept)
{
    const struct device *device = s->model->device;

    if (kept->grid.data)
        device->ops->free(device, (void *)(uintptr_t)kept->grid.data, kept->bytes);
    *kept = (struct kept_grid){0};
}

static void release(struct dino_session *s, struct growing *memory, bool on_host)
{
    const struct device *device = s->model->device;

    if (memory->data && on_host)
        device->ops->host_free(device, memory->data);
    else if (memory->data)
        device->ops->free(device, memory->data, memory->bytes);
    *memory = (struct growing){0};
}

void dino_session_free(struct dino_session *s)
{
    if (!s)
        return;
    if (s->queue)
        s->model->device->ops->queue_sync(s->queue);
    for (int i = 0; i < GRIDS_KEPT; i++)
        drop_grid(s, &s->grids[i]);
    for (int i = 0; i < RUNS_AT_ONCE; i++) {
        release(s, &s->runs[i].results, false);
        release(s, &s->runs[i].mirror, true);
        dn_arena_release(&s->runs[i].arena);
    }
    release(s, &s->scratch, false);
    dn_queue_free(s->queue);
    free(s);
}

const struct dino_model *dino_session_model(const struct dino_session *s)
{
    return s->model;
}

size_t dino_session_bytes(const struct dino_session *s)
{
    size_t bytes = s->scratch.bytes;

    for (int i = 0; i < RUNS_AT_ONCE; i++)
        bytes += s->runs[i].results.bytes + s->runs[i].mirror.bytes + s->runs[i].arena.peak;
    return bytes;
}

bool dino_session_overlaps(const struct dino_session *s)
{
    return !s->model->device->host_memory;
}

bool dn_session_grow(struct dino_session *s, struct growing *memory, size_t bytes, bool on_host,
                     struct dino_error *err)
{
    const struct device *device = s->model->device;

    if (bytes <= memory->bytes)
        return true;
    if (memory->data) /* a run under way may be using it */
        device->ops->queue_sync(s->queue);
    release(s, memory, on_host);
    memory->data = on_host ? device->ops->host_alloc(device, bytes, err)
                           : device->ops->alloc(device, bytes, err);
    memory->bytes = memory->data ? bytes : 0;
    return memory->data != NULL;
}

/* ---- positions: resampled once a grid size, kept on the device ---- */

static bool make_grid(struct dino_session *s, struct kept_grid *kept, int rows, int cols,
                      struct dino_error *err)
{
    const struct vit *vit = &s->model->vit;
    const struct device *device = s->model->device;
    size_t floats;

    if (kept->grid.data) /* a run under way may be using it */
        device->ops->queue_sync(s->queue);
    drop_grid(s, kept);
    if (!dn_size_mul((size_t)rows * (size_t)cols, (size_t)vit->config.dim, &floats))
        return dn_fail_memory(err, SIZE_MAX, "position embeddings");
    float *host = dn_calloc(floats, sizeof *host, "position embeddings", err);
    if (!host)
        return false;
    size_t bytes = floats * sizeof *host;
    float *data = NULL;
    if (dn_positions_resample(&vit->config, vit->grid, rows, cols, host, err))
        data = device->ops->alloc(device, bytes, err);
    if (data) {
        device->ops->upload(s->queue, data, host, bytes);
        *kept = (struct kept_grid){{rows, cols, data}, bytes, s->begun};
    }
    free(host);
    return data != NULL;
}

bool dn_session_grid(struct dino_session *s, int rows, int cols, struct position_grid *grid,
                     struct dino_error *err)
{
    struct kept_grid *oldest = &s->grids[0], *kept = NULL;

    for (int i = 0; i < GRIDS_KEPT && !kept; i++) {
        if (s->grids[i].grid.rows == rows && s->grids[i].grid.cols == cols)
            kept = &s->grids[i];
        if (s->grids[i].used < oldest->used)
            oldest = &s->grids[i];
    }
    if (!kept) {
        if (oldest->used == s->begun)
            return dn_fail(err, DINO_EUNSUPPORTED,
                           "more than %d different picture sizes in one batch", GRIDS_KEPT);
        kept = oldest;
        if (!make_grid(s, kept, rows, cols, err))
            return false;
    }
    kept->used = s->begun;
    *grid = kept->grid;
    return true;
}
