#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* ---- memory ---- */

struct bump {
    char *base;
    size_t used;
};

static void *take(struct bump *bump, size_t bytes)
{
    size_t at = bump->used;

    bump->used += (bytes + DN_ALIGN - 1) / DN_ALIGN * DN_ALIGN;
    return bump->base ? bump->base + at : NULL;
}

static struct mat take_mat(struct bump *bump, int rows, int cols, enum dino_dtype dtype)
{
    size_t bytes = (size_t)rows * (size_t)cols * dino_dtype_size(dtype);
    return dn_mat(take(bump, bytes), rows, cols, dtype);
}

size_t dn_forward_map_size(const struct forward *f, int i)
{
    size_t tokens = (size_t)(f->starts[i + 1] - f->starts[i]);
    return (size_t)f->vit->config.heads * tokens * tokens;
}

/* The FFN runs in slices of rows, so that its wide middle stays near the caches, or small. */
static int slice_rows(const struct device *device, int tokens)
{
    int target = device->ffn_rows > 0 ? device->ffn_rows : 2048;
    int slices = (tokens + target - 1) / target;
    return (tokens + slices - 1) / slices;
}

/* The residual stream: f32 under bf16 and int8, ref may carry f64. */
static struct mat take_stream(struct forward *f, struct bump *bump)
{
    bool f64 = f->vit->device->activation == DINO_F64;

    return take_mat(bump, f->starts[f->count], f->vit->config.dim, f64 ? DINO_F64 : DINO_F32);
}

static int patches_of(const struct forward *f, int picture)
{
    return f->positions[picture].rows * f->positions[picture].cols;
}

/* Pictures are embedded in groups: the one that begins with `first`, its patches, its end. */
static int group_end(const struct forward *f, int first, int *patches)
{
    int last = first;

    *patches = 0;
    while (last < f->count &&
           (last == first || *patches + patches_of(f, last) <= f->vit->device->patch_rows))
        *patches += patches_of(f, last++);
    return last;
}

static int largest_group(const struct forward *f)
{
    int most = 0, patches;

    for (int first = 0; first < f->count;) {
        first = group_end(f, first, &patches);
        most = patches > most ? patches : most;
    }
    return most;
}

static void layout_results(struct forward *f, struct bump *bump)
{
    const struct dino_request *request = f->request;
    int tokens = f->starts[f->count], dim = f->vit->config.dim;

    for (int i = 0; i < request->layer_count; i++)
        f->layers[i] = take_mat(bump, tokens, dim, DINO_F32);
    f->embeddings = (struct mat){0};
    if (request->embeddings)
        f->embeddings = take_mat(bump, tokens, dim, DINO_F32);
    for (int a = 0; a < request->attention_count; a++) {
        size_t floats = 0;
        for (int i = 0; i < f->count; i++)
            floats += dn_forward_map_size(f, i);
        f->maps[a] = take(bump, floats * sizeof(float));
    }
    if (request->logits) {
        int width = (1 + f->head->layers) * dim;
        f->gathered = take_mat(bump, f->count, dim, DINO_F32);
        f->summary = take_mat(bump, f->count, width, DINO_F32);
        f->logits = take_mat(bump, f->count, f->head->classes, DINO_F32);
    }
}

struct forward_bytes dn_forward_layout(struct forward *f, char *results, char *scratch)
{
    const struct vit_config *c = &f->vit->config;
    enum dino_dtype activation = f->vit->device->activation;
    struct bump kept = {results, 0}, bump = {scratch, 0};
    int tokens = f->starts[f->count];

    layout_results(f, &kept);
    f->x = take_stream(f, f->request->prenorm ? &kept : &bump);
    f->normed = take_mat(&bump, tokens, c->dim, activation);

    /* patches, then q k v, then the FFN's middle: never alive together */
    struct bump first = bump, second = bump, third = bump;
    f->ffn_rows = slice_rows(f->vit->device, tokens);
    int group = largest_group(f);
    f->patches = take_mat(&first, group, c->channels * c->patch * c->patch, activation);
    f->embedded = take_mat(&first, group, c->dim, f->x.dtype);
    f->wide = take_mat(&second, tokens, 3 * c->dim, activation);
    f->hidden = take_mat(&third, f->ffn_rows, c->hidden, activation);
    if (c->ffn == DINO_FFN_SWIGLU && !f->vit->device->gates)
        f->both = take_mat(&third, f->ffn_rows, 2 * c->hidden, activation);
    size_t most = first.used > second.used ? first.used : second.used;
    return (struct forward_bytes){kept.used, most > third.used ? most : third.used};
}

/* ---- tokens ---- */

static struct op_picture picture_of(const struct dino_input *input)
{
    static const float mean[] = {0.485F, 0.456F, 0.406F}, std[] = {0.229F, 0.224F, 0.225F};
    struct op_picture picture = {.planes = input->planes,
                                 .pixels = input->pixels,
                                 .height = input->height,
                                 .width = input->width};

    memcpy(picture.mean, input->mean ? input->mean : mean, sizeof picture.mean);
    memcpy(picture.std, input->std ? input->std : std, sizeof picture.std);
    return picture;
}

/* [class + its position, registers, patches + theirs] for pictures first .. last - 1. */
static void embed_group(struct forward *f, int first, int last, int rows)
{
    const struct vit *vit = f->vit;
    const struct vit_config *c = &vit->config;
    struct mat patches = dn_mat_rows(f->patches, 0, rows);
    struct mat embedded = dn_mat_rows(f->embedded, 0, rows);

    for (int i = first; i < last; i++) {
        f->pictures[i] = picture_of(&f->inputs[i]);
        f->grids[i] = f->positions[i].data;
    }
    dn_patchify(f->queue, (struct op_patchify){.y = patches,
                                               .pictures = f->pictures + first,
                                               .count = last - first,
                                               .channels = c->channels,
                                               .patch = c->patch});
    dn_linear(f->queue, (struct op_linear){.y = embedded, .x = patches, .w = vit->patch});
    dn_place_tokens(f->queue, (struct op_place_tokens){.y = f->x,
                                                       .x = embedded,
                                                       .cls = vit->cls,
                                                       .registers = vit->registers,
                                                       .positions = f->grids + first,
                                                       .starts = f->starts + first,
                                                       .count = last - first,
                                                       .register_count = c->registers});
}

/* A masked patch is replaced by the mask token, and keeps its position. */
static void mask(struct forward *f, int i)
{
    const struct vit_config *c = &f->vit->config;
    int count = patches_of(f, i), masked = 0;

    for (int p = 0; p < count; p++)
        if (f->inputs[i].mask[p])
            f->index[masked++] = p;
    dn_put_rows(f->queue,
                (struct op_put_rows){
                    .y = dn_mat_rows(f->x, f->starts[i] + 1 + c->registers, count),
                    .x = dn_mat((void *)(uintptr_t)f->grids[i], count, c->dim, DINO_F32),
                    .add = dn_mat((void *)(uintptr_t)f->vit->mask, 1, c->dim, DINO_F32),
                    .to = f->index,
                    .from = f->index,
                    .count = masked,
                });
}

static void embed(struct forward *f)
{
    int patches;

    for (int first = 0, last; first < f->count; first = last) {
        last = group_end(f, first, &patches);
        embed_group(f, first, last, patches);
    }
    for (int i = 0; i < f->count; i++)
        if (f->inputs[i].mask)
            mask(f, i);
}

/* ---- one block: x += ls1 * attention(norm1(x)); x += ls2 * ffn(norm2(x)) ---- */

static void save_maps(struct forward *f, int block)
{
    const struct vit_config *c = &f->vit->config;

    for (int a = 0; a < f->request->attention_count; a++) {
        float *to = f->maps[a];
        if (f->request->attention[a] != block)
            continue;
        for (int i = 0; i < f->count; to += dn_forward_map_size(f, i++)) {
            int tokens = f->starts[i + 1] - f->starts[i];
            dn_attention_map(f->queue, (struct op_attention_map){
                                           .y = dn_mat(to, c->heads * tokens, tokens, DINO_F32),
                                           .qkv = dn_mat_rows(f->wide, f->starts[i], tokens),
                                           .heads = c->heads,
                                           .scale = 1 / sqrtf((float)c->dim / (float)c->heads),
                                       });
        }
    }
}

static void attention(struct forward *f, int block)
{
    const struct vit_config *c = &f->vit->config;
    const struct vit_block *b = &f->vit->blocks[block];

    dn_layernorm(f->queue, (struct op_layernorm){
                               .y = f->normed,
                               .x = f->x,
                               .weight = b->norm1_weight,
                               .bias = b->norm1_bias,
                               .eps = c->norm_eps,
                           });
    dn_linear(f->queue, (struct op_linear){.y = f->wide, .x = f->normed, .w = b->qkv});
    save_maps(f, block);
    dn_attend(f->queue, (struct op_attend){
                            .y = f->normed,
                            .qkv = f->wide,
                            .heads = c->heads,
                            .scale = 1 / sqrtf((float)c->dim / (float)c->heads),
                            .starts = f->starts,
                            .sequences = f->count,
                        });
    dn_linear(f->queue, (struct op_linear){
                            .y = f->x,
                            .x = f->normed,
                            .w = b->proj,
                            .scale = b->ls1,
                            .scaled_bias = b->proj_bias,
                            .residual = f->x,
                        });
}

static void ffn_slice(struct forward *f, const struct vit_block *b, int first, int rows)
{
    const struct vit_config *c = &f->vit->config;
    struct mat x = dn_mat_rows(f->x, first, rows);
    struct mat middle = dn_mat_rows(f->normed, first, rows);

    struct mat hidden = dn_mat_rows(f->hidden, 0, rows);

    if (f->both.data) { /* a device without gates */
        struct mat both = dn_mat_rows(f->both, 0, rows);
        dn_linear(f->queue, (struct op_linear){.y = both, .x = middle, .w = b->in});
        dn_swiglu(f->queue, (struct op_swiglu){.y = hidden, .x = both});
        middle = hidden;
    } else if (c->ffn != DINO_FFN_IDENTITY) {
        bool gated = c->ffn == DINO_FFN_SWIGLU;
        dn_linear(f->queue, (struct op_linear){.y = hidden,
                                               .x = middle,
                                               .w = b->in,
                                               .act = gated ? OP_SWIGLU : OP_GELU});
        middle = hidden;
    }
    dn_linear(f->queue, (struct op_linear){.y = x,
                                           .x = middle,
                                           .w = b->out,
                                           .scale = b->ls2,
                                           .scaled_bias = b->out_bias,
                                           .residual = x});
}

static void ffn(struct forward *f, int block)
{
    const struct vit_block *b = &f->vit->blocks[block];

    dn_layernorm(f->queue, (struct op_layernorm){
                               .y = f->normed,
                               .x = f->x,
                               .weight = b->norm2_weight,
                               .bias = b->norm2_bias,
                               .eps = f->vit->config.norm_eps,
                           });
    for (int first = 0; first < f->x.rows; first += f->ffn_rows) {
        int left = f->x.rows - first;
        ffn_slice(f, b, first, left < f->ffn_rows ? left : f->ffn_rows);
    }
}

/* ---- what was asked for ---- */

static void final_norm(struct forward *f, struct mat y, struct mat x)
{
    dn_layernorm(f->queue, (struct op_layernorm){
                               .y = y,
                               .x = x,
                               .weight = f->vit->norm_weight,
                               .bias = f->vit->norm_bias,
                               .eps = f->vit->config.norm_eps,
                           });
}

static void save_layer(struct forward *f, int block)
{
    for (int i = 0; i < f->request->layer_count; i++) {
        if (f->request->layers[i] != block)
            continue;
        if (f->request->raw)
            dn_copy(f->queue, (struct op_copy){.y = f->layers[i], .x = f->x});
        else
            final_norm(f, f->layers[i], f->x);
    }
}

/* The head eats class tokens of the last blocks, oldest first, then the last patch mean. */
static void save_class_tokens(struct forward *f, int block)
{
    int dim = f->vit->config.dim;
    int nth = block - (f->vit->config.depth - f->head->layers);

    if (!f->request->logits || nth < 0)
        return;
    dn_put_rows(f->queue,
                (struct op_put_rows){
                    .y = f->gathered, .x = f->x, .from = f->starts, .count = f->count});
    final_norm(f, dn_mat_cols(f->summary, nth * dim, dim), f->gathered);
}

static void classify(struct forward *f)
{
    const struct vit_config *c = &f->vit->config;
    struct mat all; /* in the memory of q, k, v: free by now and at least as large */

    if (!f->request->logits)
        return;
    all = dn_mat(f->wide.data, f->x.rows, c->dim, DINO_F32);
    final_norm(f, all, f->x);
    dn_mean_rows(f->queue, (struct op_mean_rows){
                               .y = dn_mat_cols(f->summary, f->head->layers * c->dim, c->dim),
                               .x = all,
                               .starts = f->starts,
                               .sequences = f->count,
                               .skip = 1 + c->registers,
                           });
    dn_linear(f->queue,
              (struct op_linear){.y = f->logits, .x = f->summary, .w = f->head->weight});
}

void dn_forward(struct forward *f)
{
    embed(f);
    if (f->request->embeddings)
        dn_copy(f->queue, (struct op_copy){.y = f->embeddings, .x = f->x});
    for (int block = 0; block < f->vit->config.depth; block++) {
        attention(f, block);
        ffn(f, block);
        save_layer(f, block);
        save_class_tokens(f, block);
    }
    classify(f);
}
