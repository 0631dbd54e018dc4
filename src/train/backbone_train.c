#include "train/backbone_train.h"

#include <string.h>

#include "base/alloc.h"
#include "train/drop_path.h"
#include "train/positions_matrix.h"

/* ---- memory ---- */

static int grid_of(const struct backbone *b, int group)
{
    int patch = b->table->config.backbone.patch;

    return (b->group[group].height / patch) * (b->group[group].width / patch);
}

/* Tokens that are not patches. */
static int front_tokens(const struct backbone *b)
{
    return 1 + b->table->config.backbone.registers;
}

static bool sizes_good(const struct backbone *b, struct dino_error *err)
{
    int patch = b->table->config.backbone.patch;

    for (int g = 0; g < b->groups; g++) {
        const struct view_group *v = &b->group[g];
        if (v->height < patch || v->width < patch || v->height % patch || v->width % patch)
            return dn_fail(err, DINO_EARG, "crops of %d x %d, wanted multiples of %d", v->width,
                           v->height, patch);
        double tokens = (double)v->most_views * (grid_of(b, g) + front_tokens(b));
        if (v->most_views < 0 || tokens > 1 << 28)
            return dn_fail(err, DINO_EARG, "%d crops of %d x %d in one pass are too many",
                           v->most_views, v->width, v->height);
    }
    return true;
}

bool dn_backbone_init(struct backbone *b, struct queue *queue, const struct params_table *table,
                      const struct view_group *group, int groups, int most_samples,
                      enum backbone_keep keep, struct dino_error *err)
{
    const char *what = "the plan of a training pass";
    size_t depth = (size_t)table->config.backbone.depth, tokens, views;

    *b = (struct backbone){.queue = queue,
                           .table = table,
                           .keep = keep,
                           .groups = groups,
                           .most_samples = most_samples};
    memcpy(b->group, group, (size_t)groups * sizeof *group);
    if (!sizes_good(b, err))
        return false;
    for (int g = 0; g < groups; g++) {
        b->most_views += group[g].most_views;
        b->most_patches += group[g].most_views * grid_of(b, g);
    }
    b->most_tokens = b->most_patches + b->most_views * front_tokens(b);
    tokens = (size_t)b->most_tokens;
    views = (size_t)b->most_views + 1;

    b->starts = dn_calloc(views, sizeof(int), what, err);
    b->patch_starts = dn_calloc(views, sizeof(int), what, err);
    b->view_group_of = dn_calloc(views, sizeof(int), what, err);
    b->index = dn_calloc(tokens + 1, sizeof(int), what, err);
    b->from = dn_calloc(tokens + 1, sizeof(int), what, err);
    b->masked = dn_calloc(tokens + 1, sizeof(int), what, err);
    b->branch_rows = dn_calloc(2 * depth * tokens + 1, sizeof(int), what, err);
    b->branch_starts = dn_calloc(2 * depth * views, sizeof(int), what, err);
    b->branches = dn_calloc(2 * depth, sizeof *b->branches, what, err);
    b->keys = dn_calloc((size_t)most_samples + 1, sizeof *b->keys, what, err);
    b->x = dn_calloc(depth + 1, sizeof *b->x, what, err);
    b->tapes = dn_calloc(depth, sizeof *b->tapes, what, err);
    if (b->starts && b->patch_starts && b->view_group_of && b->index && b->from && b->masked &&
        b->branch_rows && b->branch_starts && b->branches && b->keys && b->x && b->tapes)
        return true;
    dn_backbone_release(b);
    return false;
}

void dn_backbone_release(struct backbone *b)
{
    free(b->starts);
    free(b->patch_starts);
    free(b->view_group_of);
    free(b->index);
    free(b->from);
    free(b->masked);
    free(b->branch_rows);
    free(b->branch_starts);
    free(b->branches);
    free(b->keys);
    free(b->x);
    free(b->tapes);
    *b = (struct backbone){0};
}

void dn_backbone_layout_fixed(struct backbone *b, struct tape *tape)
{
    const struct vit_config *c = &b->table->config.backbone;

    b->nothing = dn_tape_mat(tape, 1, c->dim);
    for (int g = 0; g < b->groups; g++)
        b->resample[g] = dn_tape_mat(tape, grid_of(b, g), c->grid_rows * c->grid_cols);
}

void dn_backbone_layout(struct backbone *b, struct tape *tape)
{
    const struct vit_config *c = &b->table->config.backbone;
    int depth = c->depth;

    b->pixels = dn_tape_factor(tape, b->most_patches, c->channels * c->patch * c->patch);
    b->embedded = dn_tape_mat(tape, b->most_patches, c->dim);
    for (int g = 0; g < b->groups; g++) {
        b->positions[g] = dn_tape_mat(tape, grid_of(b, g), c->dim);
        b->d_positions[g] = dn_tape_mat(tape, grid_of(b, g), c->dim);
    }
    for (int i = 0; i <= depth; i++) {
        if (b->keep != KEEP_NOTHING || i < 2)
            b->x[i] = dn_tape_mat(tape, b->most_tokens, c->dim);
        else
            b->x[i] = b->x[i - 2]; /* two buffers take turns */
    }
    for (int i = 0; i < depth; i++) {
        if (b->keep == KEEP_TAPE || i == 0)
            dn_block_tape_layout(&b->tapes[i], tape, c, b->most_tokens);
        else
            b->tapes[i] = b->tapes[0];
        b->tapes[i].x = b->x[i];
    }
    dn_block_scratch_layout(&b->scratch, tape, c, b->most_tokens, b->keep != KEEP_NOTHING);
}

bool dn_backbone_prepare(struct backbone *b, struct dino_error *err)
{
    const struct vit_config *c = &b->table->config.backbone;

    dn_fill(b->queue, (struct op_fill){.y = b->nothing});
    for (int g = 0; g < b->groups; g++) {
        struct mat to = b->resample[g];
        size_t count = (size_t)to.rows * (size_t)to.cols;
        double *matrix = dn_calloc(count, sizeof *matrix, "position weights", err);
        if (!matrix || !dn_positions_matrix(c, b->group[g].height / c->patch,
                                            b->group[g].width / c->patch, matrix, err)) {
            free(matrix);
            return false;
        }
        float *narrow = (float *)matrix; /* the i-th float never passes the i-th double */
        for (size_t i = 0; to.dtype == DINO_F32 && i < count; i++)
            narrow[i] = (float)matrix[i];
        b->queue->device->ops->upload(b->queue, to.data, matrix,
                                      count * dino_dtype_size(to.dtype));
        free(matrix);
    }
    return true;
}

static struct mat param(const struct backbone *b, void *base, enum param which)
{
    return dn_params_backbone(b->table, base, b->embedded.dtype, which, -1);
}

static struct mat first_rows(struct mat m, int rows)
{
    m.rows = rows;
    return m;
}

/* The class entry, or the rest, of the stored positions. */
static struct mat class_position(const struct backbone *b, void *base)
{
    return dn_mat_rows(param(b, base, PARAM_POS_EMBED), 0, 1);
}

static struct mat grid_positions(const struct backbone *b, void *base)
{
    struct mat all = param(b, base, PARAM_POS_EMBED);

    return dn_mat_rows(all, 1, all.rows - 1);
}

/* ---- tokens ---- */

static void list_views(struct backbone *b, const struct view *views, int count)
{
    b->views = count;
    b->masked_count = 0;
    for (int v = 0; v < count; v++) {
        int patches = grid_of(b, views[v].group);
        b->view_group_of[v] = views[v].group;
        b->patch_starts[v + 1] = b->patch_starts[v] + patches;
        b->starts[v + 1] = b->starts[v] + front_tokens(b) + patches;
        for (int i = 0; views[v].masked && i < views[v].masked_count; i++)
            b->masked[b->masked_count++] = b->patch_starts[v] + views[v].masked[i];
    }
    b->tokens = b->starts[count];
    b->patches = b->patch_starts[count];
}

static void embed_patches(struct backbone *b, struct net_params p, const struct view *views)
{
    const struct vit_config *c = &b->table->config.backbone;
    struct mat embedded = first_rows(b->embedded, b->patches);

    for (int v = 0; v < b->views; v++) { /* one by one: their bytes go up as they come */
        const struct op_picture picture = {
            .planes = views[v].planes,
            .pixels = views[v].pixels,
            .mean = {0.485F, 0.456F, 0.406F}, /* as the official transform normalises */
            .std = {0.229F, 0.224F, 0.225F},
            .height = b->group[views[v].group].height,
            .width = b->group[views[v].group].width,
        };
        dn_patchify(b->queue, (struct op_patchify){
                                  .y = dn_mat_rows(b->pixels, b->patch_starts[v],
                                                   grid_of(b, views[v].group)),
                                  .pictures = &picture,
                                  .count = 1,
                                  .channels = c->channels,
                                  .patch = c->patch,
                              });
    }
    dn_matmul(b->queue, (struct op_matmul){
                            .y = embedded,
                            .a = first_rows(b->pixels, b->patches),
                            .b = dn_params_backbone(b->table, p.factors, p.factor,
                                                    PARAM_PATCH_WEIGHT, -1),
                            .bias = param(b, p.values, PARAM_PATCH_BIAS),
                            .transpose_b = true,
                        });
    /* a masked patch is replaced before positions are added */
    if (b->masked_count) {
        dn_queue_cut(b->queue); /* other steps mask more or fewer */
        dn_put_rows(b->queue, (struct op_put_rows){.y = embedded,
                                                   .x = param(b, p.values, PARAM_MASK_TOKEN),
                                                   .to = b->masked,
                                                   .count = b->masked_count});
        dn_queue_cut(b->queue);
    }
    for (int g = 0; g < b->groups; g++)
        dn_matmul(b->queue, (struct op_matmul){.y = b->positions[g],
                                               .a = b->resample[g],
                                               .b = grid_positions(b, p.values)});
}

static void embed(struct backbone *b, struct net_params p, const struct view *views)
{
    void *params = p.values;
    int registers = b->table->config.backbone.registers;
    struct mat x = first_rows(b->x[0], b->tokens);

    embed_patches(b, p, views);
    dn_put_rows(b->queue, (struct op_put_rows){.y = x,
                                               .x = param(b, params, PARAM_CLS_TOKEN),
                                               .add = class_position(b, params),
                                               .to = b->starts,
                                               .count = b->views});
    for (int v = 0; v < b->views; v++) {
        struct mat positions = b->positions[views[v].group];
        int at = b->starts[v] + 1, grid = positions.rows;
        if (registers)
            dn_put_rows(b->queue,
                        (struct op_put_rows){.y = dn_mat_rows(x, at, registers),
                                             .x = param(b, params, PARAM_REGISTER_TOKENS),
                                             .count = registers});
        dn_put_rows(b->queue, (struct op_put_rows){
                                  .y = dn_mat_rows(x, at + registers, grid),
                                  .x = dn_mat_rows(b->embedded, b->patch_starts[v], grid),
                                  .add = positions,
                                  .count = grid,
                              });
    }
}

/* y[to[i]] += x[from[i]] for the first `count` entries of the scratch lists. */
static void gather_gradient(struct backbone *b, struct mat y, struct mat x, const int *from,
                            int count)
{
    dn_add_rows(b->queue,
                (struct op_add_rows){
                    .y = y, .x = x, .to = b->index, .from = from, .count = count, .alpha = 1});
}

/* Gradients of the class token, its position and the registers. */
static void front_back(struct backbone *b, void *grads, struct mat d_x)
{
    int registers = b->table->config.backbone.registers, count = 0;

    for (int v = 0; v < b->views; v++)
        b->index[v] = 0;
    gather_gradient(b, param(b, grads, PARAM_CLS_TOKEN), d_x, b->starts, b->views);
    gather_gradient(b, class_position(b, grads), d_x, b->starts, b->views);
    if (!registers)
        return;
    for (int v = 0; v < b->views; v++)
        for (int r = 0; r < registers; r++) {
            b->index[count] = r;
            b->from[count++] = b->starts[v] + 1 + r;
        }
    gather_gradient(b, param(b, grads, PARAM_REGISTER_TOKENS), d_x, b->from, count);
}

/* d_embedded [patches, dim] from d_x, and on the way the gradient of the positions. */
static void positions_back(struct backbone *b, void *grads, struct mat d_x)
{
    int front = front_tokens(b), all = 0;

    for (int g = 0; g < b->groups; g++) {
        int count = 0;
        for (int v = 0; v < b->views; v++)
            for (int p = 0; b->view_group_of[v] == g && p < grid_of(b, g); p++) {
                b->index[count] = p;
                b->from[count++] = b->starts[v] + front + p;
            }
        dn_fill(b->queue, (struct op_fill){.y = b->d_positions[g]});
        gather_gradient(b, b->d_positions[g], d_x, b->from, count);
        dn_matmul(b->queue, (struct op_matmul){.y = grid_positions(b, grads),
                                               .a = b->resample[g],
                                               .b = b->d_positions[g],
                                               .transpose_a = true,
                                               .accumulate = true});
    }
    for (int v = 0; v < b->views; v++)
        for (int r = b->starts[v] + front; r < b->starts[v + 1]; r++)
            b->from[all++] = r;
    dn_put_rows(b->queue, (struct op_put_rows){
                              .y = b->embedded, .x = d_x, .from = b->from, .count = all});
}

static void embed_back(struct backbone *b, void *grads, struct mat d_x)
{
    struct mat d_embedded = first_rows(b->embedded, b->patches);

    front_back(b, grads, d_x);
    positions_back(b, grads, d_x);

    for (int i = 0; i < b->masked_count; i++)
        b->index[i] = 0;
    if (b->masked_count) {
        dn_queue_cut(b->queue);
        gather_gradient(b, param(b, grads, PARAM_MASK_TOKEN), d_embedded, b->masked,
                        b->masked_count);
        dn_put_rows(b->queue, (struct op_put_rows){.y = d_embedded,
                                                   .x = b->nothing,
                                                   .to = b->masked,
                                                   .count = b->masked_count});
        dn_queue_cut(b->queue);
    }
    dn_matmul(b->queue, (struct op_matmul){.y = param(b, grads, PARAM_PATCH_WEIGHT),
                                           .a = d_embedded,
                                           .b = first_rows(b->pixels, b->patches),
                                           .transpose_a = true,
                                           .accumulate = true,
                                           .a_sums = param(b, grads, PARAM_PATCH_BIAS)});
}

/* ---- blocks ---- */

static struct block_pass block_of(struct backbone *b, struct net_params params, void *grads,
                                  int block)
{
    struct block_pass pass = {
        .queue = b->queue,
        .config = &b->table->config.backbone,
        .p = dn_block_params(b->table, params, block),
        .attention = b->branches[2 * block],
        .ffn = b->branches[2 * block + 1],
        .tape = &b->tapes[block],
        .scratch = &b->scratch,
        .tokens = b->tokens,
    };

    if (grads)
        pass.d = dn_block_params(b->table, dn_plain_params(grads, params.dtype), block);
    return pass;
}

struct mat dn_backbone_forward(struct backbone *b, struct net_params params,
                               const struct view *views, int count,
                               const struct drop_path *drop)
{
    int depth = b->table->config.backbone.depth;

    list_views(b, views, count);
    dn_drop_path_plan(b, views, drop);
    dn_queue_cut(b->queue); /* what goes through the blocks is as much in every step */
    embed(b, params, views);
    for (int i = 0; i < depth; i++) {
        struct block_pass pass = block_of(b, params, NULL, i);
        dn_block_forward(&pass, first_rows(b->x[i + 1], b->tokens));
    }
    dn_queue_cut(b->queue);
    return first_rows(b->x[depth], b->tokens);
}

void dn_backbone_backward(struct backbone *b, struct net_params params, void *grads,
                          struct mat d_x)
{
    dn_queue_cut(b->queue);
    for (int i = b->table->config.backbone.depth - 1; i >= 0; i--) {
        struct block_pass pass = block_of(b, params, grads, i);
        if (b->keep == KEEP_INPUTS) /* its tape is another block's by now */
            dn_block_forward(&pass, first_rows(b->x[i + 1], b->tokens));
        dn_block_backward(&pass, d_x);
        if (b->finished)
            b->finished(b->context, i);
    }
    embed_back(b, grads, d_x);
    if (b->finished)
        b->finished(b->context, -1);
}
