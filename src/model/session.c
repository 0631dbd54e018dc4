/* dino_session: scratch memory for running a model, and the results of the last run. */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "model/model.h"
#include "model/positions.h"

enum { GRIDS_KEPT = 16, MOST_PICTURES = 1 << 20 };

struct kept_grid {
    struct position_grid grid;
    size_t bytes;
    uint64_t used; /* run that used it last */
};

struct dino_session {
    const struct dino_model *model;
    struct queue *queue;
    struct arena arena; /* per run: index arrays, tables of results */
    char *memory;       /* device workspace, grown to the largest run */
    size_t memory_bytes;
    char *mirror; /* host copy of the results where device memory is not host memory */
    size_t mirror_bytes;
    struct kept_grid grids[GRIDS_KEPT];
    uint64_t runs;
    struct dino_features *results; /* [result_count], in the arena */
    int result_count;
};

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
    dn_arena_init(&s->arena);
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

void dino_session_free(struct dino_session *s)
{
    if (!s)
        return;
    const struct device *device = s->model->device;
    for (int i = 0; i < GRIDS_KEPT; i++)
        drop_grid(s, &s->grids[i]);
    if (s->memory)
        device->ops->free(device, s->memory, s->memory_bytes);
    if (s->mirror)
        device->ops->host_free(device, s->mirror);
    dn_queue_free(s->queue);
    dn_arena_release(&s->arena);
    free(s);
}

const struct dino_model *dino_session_model(const struct dino_session *s)
{
    return s->model;
}

size_t dino_session_bytes(const struct dino_session *s)
{
    return s->memory_bytes + s->mirror_bytes + s->arena.peak;
}

/* ---- positions: resampled once a grid size, kept on the device ---- */

static bool make_grid(struct dino_session *s, struct kept_grid *kept, int rows, int cols,
                      struct dino_error *err)
{
    const struct vit *vit = &s->model->vit;
    const struct device *device = s->model->device;
    size_t floats;

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
        *kept = (struct kept_grid){{rows, cols, data}, bytes, s->runs};
    }
    free(host);
    return data != NULL;
}

static bool find_grid(struct dino_session *s, int rows, int cols, struct position_grid *grid,
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
        if (oldest->used == s->runs)
            return dn_fail(err, DINO_EUNSUPPORTED,
                           "more than %d different picture sizes in one batch", GRIDS_KEPT);
        kept = oldest;
        if (!make_grid(s, kept, rows, cols, err))
            return false;
    }
    kept->used = s->runs;
    *grid = kept->grid;
    return true;
}

/* ---- checks ---- */

static bool check_blocks(const struct dino_model *model, const int *blocks, int count,
                         const char *what, struct dino_error *err)
{
    if (count < 0 || (count > 0 && !blocks))
        return dn_fail(err, DINO_EARG, "%s: a count of %d without a list", what, count);
    for (int i = 0; i < count; i++)
        if (blocks[i] < 0 || blocks[i] >= model->info.depth ||
            (i > 0 && blocks[i] <= blocks[i - 1]))
            return dn_fail(err, DINO_EARG,
                           "%s: block %d, wanted ascending indices from 0 to %d", what,
                           blocks[i], model->info.depth - 1);
    return true;
}

static bool check_request(const struct dino_model *model, const struct dino_request *request,
                          struct dino_error *err)
{
    if (request->size && request->size != sizeof *request)
        return dn_fail(err, DINO_EARG, "dino_request of %zu bytes, this library has %zu",
                       request->size, sizeof *request);
    if (request->logits && !model->head.weight)
        return dn_fail(err, DINO_EARG, "%s: has no classification head", model->source);
    return check_blocks(model, request->layers, request->layer_count, "layers", err) &&
           check_blocks(model, request->attention, request->attention_count, "attention", err);
}

static bool check_input(const struct dino_model *model, const struct dino_input *input, int i,
                        struct dino_error *err)
{
    const struct dino_model_info *info = &model->info;
    enum { LONGEST = 1 << 17 };

    if (!input->pixels == !input->planes)
        return dn_fail(err, DINO_EARG, "input %d: wanted pixels or planes, one of them", i);
    if (input->pixels && info->channels != 3)
        return dn_fail(err, DINO_EARG, "input %d: pixels have 3 channels, the model wants %d",
                       i, info->channels);
    if (input->height < info->patch || input->width < info->patch || input->height > LONGEST ||
        input->width > LONGEST)
        return dn_fail(err, DINO_EARG, "input %d: %d x %d pixels, wanted %d to %d a side", i,
                       input->width, input->height, info->patch, LONGEST);
    if (!model->drop_remainder && (input->height % info->patch || input->width % info->patch))
        return dn_fail(err, DINO_EARG,
                       "input %d: %d x %d pixels are no multiples of the patch, %d", i,
                       input->width, input->height, info->patch);
    if (input->mask && !info->mask_token)
        return dn_fail(err, DINO_EARG, "input %d: a mask, but %s has no mask token", i,
                       model->source);
    return true;
}

/* ---- one run ---- */

static bool plan_batch(struct dino_session *s, struct forward *f, struct dino_error *err)
{
    const struct vit_config *c = &s->model->vit.config;
    int64_t tokens = 0;

    f->starts = dn_arena_array(&s->arena, (size_t)f->count + 1, sizeof *f->starts, err);
    f->positions = dn_arena_array(&s->arena, (size_t)f->count, sizeof *f->positions, err);
    f->layers =
        dn_arena_array(&s->arena, (size_t)f->request->layer_count + 1, sizeof *f->layers, err);
    f->maps = dn_arena_array(&s->arena, (size_t)f->request->attention_count + 1,
                             sizeof *f->maps, err);
    if (!f->starts || !f->positions || !f->layers || !f->maps)
        return false;
    f->starts[0] = 0;
    for (int i = 0; i < f->count; i++) {
        int rows, cols;
        if (!check_input(s->model, &f->inputs[i], i, err))
            return false;
        rows = f->inputs[i].height / c->patch;
        cols = f->inputs[i].width / c->patch;
        tokens += 1 + c->registers + (int64_t)rows * cols;
        if (tokens > INT32_MAX / 2)
            return dn_fail(err, DINO_EARG, "more than %d tokens in one batch", INT32_MAX / 2);
        if (!find_grid(s, rows, cols, &f->positions[i], err))
            return false;
        if (rows * cols > f->most_patches)
            f->most_patches = rows * cols;
        f->starts[i + 1] = (int)tokens;
    }
    f->index = dn_arena_array(&s->arena, (size_t)f->most_patches, sizeof *f->index, err);
    return f->index != NULL;
}

static bool grow_memory(struct dino_session *s, size_t bytes, struct dino_error *err)
{
    const struct device *device = s->model->device;

    if (bytes <= s->memory_bytes)
        return true;
    if (s->memory)
        device->ops->free(device, s->memory, s->memory_bytes);
    s->memory_bytes = 0;
    s->memory = device->ops->alloc(device, bytes, err);
    if (!s->memory)
        return false;
    s->memory_bytes = bytes;
    return true;
}

/* Bring device results to the host: they lie in front of everything else in the workspace. */
static bool fetch(struct dino_session *s, const struct forward *f, struct dino_error *err)
{
    const struct device *device = s->model->device;
    size_t bytes = (size_t)((char *)f->normed.data - s->memory);

    if (device->host_memory)
        return true;
    if (bytes > s->mirror_bytes) {
        if (s->mirror)
            device->ops->host_free(device, s->mirror);
        s->mirror_bytes = 0;
        s->mirror = device->ops->host_alloc(device, bytes, err);
        if (!s->mirror)
            return false;
        s->mirror_bytes = bytes;
    }
    device->ops->download(s->queue, s->mirror, s->memory, bytes);
    return true;
}

/* Where a device pointer into the results can be read on the host. */
static const float *on_host(const struct dino_session *s, const void *device)
{
    if (!device || s->model->device->host_memory)
        return device;
    return (const float *)(s->mirror + ((const char *)device - s->memory));
}

static bool fill_result(struct dino_session *s, const struct forward *f, int i,
                        size_t *map_offset, struct dino_error *err)
{
    const struct vit_config *c = &f->vit->config;
    const struct dino_request *request = f->request;
    size_t first = (size_t)f->starts[i] * (size_t)c->dim;
    struct dino_features *r = &s->results[i];
    const float **layer =
        dn_arena_array(&s->arena, (size_t)request->layer_count, sizeof *layer, err);
    const float **maps =
        dn_arena_array(&s->arena, (size_t)request->attention_count + 1, sizeof *maps, err);

    if (!layer || !maps)
        return false;
    for (int l = 0; l < request->layer_count; l++)
        layer[l] = on_host(s, f->layers[l].data) + first;
    for (int a = 0; a < request->attention_count; a++)
        maps[a] = on_host(s, f->maps[a]) + *map_offset;
    *map_offset += dn_forward_map_size(f, i);

    const float *last = layer[request->layer_count - 1];
    *r = (struct dino_features){
        .rows = f->positions[i].rows,
        .cols = f->positions[i].cols,
        .dim = c->dim,
        .registers = c->registers,
        .tokens = f->starts[i + 1] - f->starts[i],
        .layer_count = request->layer_count,
        .layers = request->layers,
        .cls = last,
        .registers_data = c->registers ? last + c->dim : NULL,
        .patches = last + (size_t)(1 + c->registers) * (size_t)c->dim,
        .layer = layer,
        .attention = request->attention_count ? maps : NULL,
    };
    if (request->prenorm)
        r->prenorm = on_host(s, f->x.data) + first;
    if (request->embeddings)
        r->embeddings = on_host(s, f->embeddings.data) + first;
    if (request->logits)
        r->logits = on_host(s, f->logits.data) + (size_t)i * (size_t)f->head->classes;
    return true;
}

/* The request as it will be remembered: defaults made plain, lists copied. */
static struct dino_request *
keep_request(struct dino_session *s, const struct dino_request *request, struct dino_error *err)
{
    struct dino_request *kept = dn_arena_alloc(&s->arena, sizeof *kept, err);
    if (!kept)
        return NULL;
    *kept = request ? *request : (struct dino_request){0};
    bool last_only = kept->layer_count == 0;
    size_t count = last_only ? 1 : (size_t)kept->layer_count;
    int *layers = dn_arena_array(&s->arena, count, sizeof *layers, err);
    if (!layers)
        return NULL;
    if (last_only)
        layers[0] = s->model->info.depth - 1;
    else
        memcpy(layers, kept->layers, count * sizeof *layers);
    kept->layers = layers;
    kept->layer_count = (int)count;
    return kept;
}

bool dino_run(struct dino_session *s, const struct dino_input *inputs, int count,
              const struct dino_request *request, struct dino_error *err)
{
    s->result_count = 0;
    s->runs++;
    dn_arena_reset(&s->arena);
    if (count < 1 || count > MOST_PICTURES)
        return dn_fail(err, DINO_EARG, "a batch of %d pictures, wanted 1 to %d", count,
                       MOST_PICTURES);
    if (request && !check_request(s->model, request, err))
        return false;
    struct forward f = {
        .vit = &s->model->vit,
        .head = &s->model->head,
        .queue = s->queue,
        .inputs = inputs,
        .count = count,
        .request = keep_request(s, request, err),
    };
    if (!f.request || !plan_batch(s, &f, err) ||
        !grow_memory(s, dn_forward_layout(&f, NULL), err))
        return false;
    dn_forward_layout(&f, s->memory);
    dn_forward(&f);
    if (!fetch(s, &f, err) || !dn_queue_finish(s->queue, err))
        return false;

    size_t map_offset = 0;
    s->results = dn_arena_array(&s->arena, (size_t)count, sizeof *s->results, err);
    if (!s->results)
        return false;
    for (int i = 0; i < count; i++)
        if (!fill_result(s, &f, i, &map_offset, err))
            return false;
    s->result_count = count;
    return true;
}

const struct dino_features *dino_result(const struct dino_session *s, int index)
{
    return index >= 0 && index < s->result_count ? &s->results[index] : NULL;
}

bool dino_feature_map(const struct dino_features *f, int nth, float *out)
{
    size_t dim = (size_t)f->dim, patches = (size_t)f->rows * (size_t)f->cols;

    if (nth < 0 || nth >= f->layer_count)
        return false;
    const float *tokens = f->layer[nth] + (size_t)(1 + f->registers) * dim;
    for (size_t d = 0; d < dim; d++)
        for (size_t p = 0; p < patches; p++)
            out[d * patches + p] = tokens[p * dim + d];
    return true;
}
