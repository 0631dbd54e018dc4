/*
 * Running a model: what is asked for is checked, placed and queued when a run begins, and shown
 * when it ends. Two runs may be under way; they share the scratch memory, as the queue does one
 * after the other, and have their results each.
 */
#include <string.h>

#include "model/session.h"

enum { MOST_PICTURES = 1 << 20 };

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

/* ---- beginning ---- */

static bool plan_batch(struct dino_session *s, struct run *run, struct dino_error *err)
{
    const struct vit_config *c = &s->model->vit.config;
    struct forward *f = &run->forward;
    struct arena *arena = &run->arena;
    int64_t tokens = 0;
    int most = 0; /* patches of a picture */

    f->starts = dn_arena_array(arena, (size_t)f->count + 1, sizeof *f->starts, err);
    f->positions = dn_arena_array(arena, (size_t)f->count, sizeof *f->positions, err);
    f->layers =
        dn_arena_array(arena, (size_t)f->request->layer_count + 1, sizeof *f->layers, err);
    f->maps =
        dn_arena_array(arena, (size_t)f->request->attention_count + 1, sizeof *f->maps, err);
    f->pictures = dn_arena_array(arena, (size_t)f->count, sizeof *f->pictures, err);
    f->grids = dn_arena_array(arena, (size_t)f->count, sizeof *f->grids, err);
    if (!f->starts || !f->positions || !f->layers || !f->maps || !f->pictures || !f->grids)
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
        if (!dn_session_grid(s, rows, cols, &f->positions[i], err))
            return false;
        most = rows * cols > most ? rows * cols : most;
        f->starts[i + 1] = (int)tokens;
    }
    f->index = dn_arena_array(arena, (size_t)most, sizeof *f->index, err);
    return f->index != NULL;
}

/* The request as it will be remembered: defaults made plain, lists copied. */
static struct dino_request *keep_request(struct dino_session *s, struct run *run,
                                         const struct dino_request *request,
                                         struct dino_error *err)
{
    struct dino_request *kept = dn_arena_alloc(&run->arena, sizeof *kept, err);
    if (!kept)
        return NULL;
    *kept = request ? *request : (struct dino_request){0};
    bool last_only = kept->layer_count == 0;
    size_t count = last_only ? 1 : (size_t)kept->layer_count;
    int *layers = dn_arena_array(&run->arena, count, sizeof *layers, err);
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

/* Place and queue everything; on a device that overlaps the results' way back as well. */
static bool queue_run(struct dino_session *s, struct run *run, struct dino_error *err)
{
    struct forward_bytes bytes = dn_forward_layout(&run->forward, NULL, NULL);
    bool overlaps = dino_session_overlaps(s);

    if (!dn_session_grow(s, &run->results, bytes.results, false, err) ||
        !dn_session_grow(s, &s->scratch, bytes.scratch, false, err) ||
        (overlaps && !dn_session_grow(s, &run->mirror, bytes.results, true, err)))
        return false;
    dn_forward_layout(&run->forward, run->results.data, s->scratch.data);
    dn_forward(&run->forward);
    if (overlaps)
        s->model->device->ops->fetch(s->queue, (int)(run - s->runs), run->mirror.data,
                                     run->results.data, bytes.results);
    if (overlaps && s->queue->error.code == DINO_OK)
        return true;
    return dn_queue_finish(s->queue, err);
}

bool dino_run_begin(struct dino_session *s, const struct dino_input *inputs, int count,
                    const struct dino_request *request, struct dino_error *err)
{
    s->shown_count = 0;
    if (s->under_way == RUNS_AT_ONCE)
        return dn_fail(err, DINO_EARG, "%d runs are under way: end one first", s->under_way);
    if (count < 1 || count > MOST_PICTURES)
        return dn_fail(err, DINO_EARG, "a batch of %d pictures, wanted 1 to %d", count,
                       MOST_PICTURES);
    if (request && !check_request(s->model, request, err))
        return false;
    struct run *run = &s->runs[(s->oldest + s->under_way) % RUNS_AT_ONCE];
    s->begun++;
    dn_arena_reset(&run->arena);
    run->forward = (struct forward){
        .vit = &s->model->vit,
        .head = &s->model->head,
        .queue = s->queue,
        .inputs = inputs,
        .count = count,
        .request = keep_request(s, run, request, err),
    };
    if (!run->forward.request || !plan_batch(s, run, err) || !queue_run(s, run, err))
        return false;
    run->forward.inputs = NULL; /* they are the caller's again */
    s->under_way++;
    return true;
}

/* ---- ending ---- */

/* Where a device pointer into the results can be read on the host. */
static const float *on_host(const struct run *run, const void *device)
{
    if (!device || !run->mirror.data)
        return device;
    return (const float *)(run->mirror.data + ((const char *)device - run->results.data));
}

static bool fill_result(struct dino_session *s, struct run *run, int i, size_t *map_offset,
                        struct dino_error *err)
{
    const struct forward *f = &run->forward;
    const struct vit_config *c = &f->vit->config;
    const struct dino_request *request = f->request;
    size_t first = (size_t)f->starts[i] * (size_t)c->dim;
    struct dino_features *r = &s->shown[i];
    const float **layer =
        dn_arena_array(&run->arena, (size_t)request->layer_count, sizeof *layer, err);
    const float **maps =
        dn_arena_array(&run->arena, (size_t)request->attention_count + 1, sizeof *maps, err);

    if (!layer || !maps)
        return false;
    for (int l = 0; l < request->layer_count; l++)
        layer[l] = on_host(run, f->layers[l].data) + first;
    for (int a = 0; a < request->attention_count; a++)
        maps[a] = on_host(run, f->maps[a]) + *map_offset;
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
        r->prenorm = on_host(run, f->x.data) + first;
    if (request->embeddings)
        r->embeddings = on_host(run, f->embeddings.data) + first;
    if (request->logits)
        r->logits = on_host(run, f->logits.data) + (size_t)i * (size_t)f->head->classes;
    return true;
}

bool dino_run_end(struct dino_session *s, struct dino_error *err)
{
    struct run *run = &s->runs[s->oldest];
    int count = run->forward.count;
    size_t map_offset = 0;

    s->shown_count = 0;
    if (s->under_way == 0)
        return dn_fail(err, DINO_EARG, "no run is under way");
    s->oldest = --s->under_way == 0 ? 0 : (s->oldest + 1) % RUNS_AT_ONCE;
    if (dino_session_overlaps(s))
        s->model->device->ops->arrive(s->queue, (int)(run - s->runs));
    if (!dn_queue_report(s->queue, err))
        return false;
    s->shown = dn_arena_array(&run->arena, (size_t)count, sizeof *s->shown, err);
    if (!s->shown)
        return false;
    for (int i = 0; i < count; i++)
        if (!fill_result(s, run, i, &map_offset, err))
            return false;
    s->shown_count = count;
    return true;
}

bool dino_run(struct dino_session *s, const struct dino_input *inputs, int count,
              const struct dino_request *request, struct dino_error *err)
{
    if (s->under_way > 0) {
        s->shown_count = 0;
        return dn_fail(err, DINO_EARG, "a run is under way: end it first");
    }
    return dino_run_begin(s, inputs, count, request, err) && dino_run_end(s, err);
}

const struct dino_features *dino_result(const struct dino_session *s, int index)
{
    return index >= 0 && index < s->shown_count ? &s->shown[index] : NULL;
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
