#include "train/block_train.h"

#include <math.h>

struct block_params dn_block_params(const struct params_table *t, struct net_params params,
                                    int block)
{
    bool gated = t->config.backbone.ffn == DINO_FFN_SWIGLU;
#define VECTOR(name) dn_params_backbone(t, params.values, params.dtype, PARAM_##name, block)
#define FACTOR(name) dn_params_backbone(t, params.factors, params.factor, PARAM_##name, block)
    struct block_params p = {
        .norm1_weight = VECTOR(NORM1_WEIGHT),
        .norm1_bias = VECTOR(NORM1_BIAS),
        .qkv = FACTOR(QKV_WEIGHT),
        .qkv_bias = VECTOR(QKV_BIAS),
        .proj = FACTOR(PROJ_WEIGHT),
        .proj_bias = VECTOR(PROJ_BIAS),
        .ls1 = VECTOR(LS1),
        .norm2_weight = VECTOR(NORM2_WEIGHT),
        .norm2_bias = VECTOR(NORM2_BIAS),
        .in = gated ? FACTOR(W12_WEIGHT) : FACTOR(FC1_WEIGHT),
        .in_bias = gated ? VECTOR(W12_BIAS) : VECTOR(FC1_BIAS),
        .out = gated ? FACTOR(W3_WEIGHT) : FACTOR(FC2_WEIGHT),
        .out_bias = gated ? VECTOR(W3_BIAS) : VECTOR(FC2_BIAS),
        .ls2 = VECTOR(LS2),
    };
#undef VECTOR
#undef FACTOR
    return p;
}

static int wide_of(const struct vit_config *c)
{
    return c->ffn == DINO_FFN_SWIGLU ? 2 * c->hidden : c->hidden;
}

void dn_block_tape_layout(struct block_tape *t, struct tape *tape, const struct vit_config *c,
                          int tokens)
{
    t->qkv = dn_tape_factor(tape, tokens, 3 * c->dim);
    t->attended = dn_tape_factor(tape, tokens, c->dim);
    t->attention = dn_tape_factor(tape, tokens, c->dim);
    t->middle = dn_tape_mat(tape, tokens, c->dim);
    t->hidden = dn_tape_factor(tape, tokens, wide_of(c));
    t->ffn = dn_tape_factor(tape, tokens, c->dim);
}

void dn_block_scratch_layout(struct block_scratch *s, struct tape *tape,
                             const struct vit_config *c, int tokens, bool backward)
{
    int widest = wide_of(c) > 3 * c->dim ? wide_of(c) : 3 * c->dim;

    *s = (struct block_scratch){
        .normed = dn_tape_factor(tape, tokens, c->dim),
        .active = dn_tape_factor(tape, tokens, c->hidden),
    };
    if (!backward)
        return;
    s->d_branch = dn_tape_factor(tape, tokens, c->dim);
    s->d_active = dn_tape_factor(tape, tokens, c->hidden > c->dim ? c->hidden : c->dim);
    s->d_wide = dn_tape_factor(tape, tokens, widest);
}

/* The first `rows` rows of scratch, seen as rows of `cols` numbers without gaps. */
static struct mat view(struct mat m, int rows, int cols)
{
    return dn_mat(m.data, rows, cols, m.dtype);
}

static struct mat first_rows(struct mat m, int rows)
{
    m.rows = rows;
    return m;
}

static const struct mat none;

/* ---- pieces that both branches have ---- */

/* The rows of the stream that a branch sees, normalised. */
static struct mat branch_input(const struct block_pass *b, const struct branch_rows *rows,
                               struct mat x, struct mat weight, struct mat bias)
{
    struct mat normed = first_rows(b->scratch->normed, rows->count);

    dn_norm(b->queue, (struct op_norm){.y = normed,
                                       .x = x,
                                       .weight = weight,
                                       .bias = bias,
                                       .rows = rows->rows,
                                       .eps = (double)b->config->norm_eps});
    return normed;
}

static void linear(const struct block_pass *b, struct mat y, struct mat x, struct mat w,
                   struct mat bias, struct mat active)
{
    dn_matmul(b->queue,
              (struct op_matmul){
                  .y = y, .a = x, .b = w, .bias = bias, .transpose_b = true, .active = active});
}

/* d_w += d_y^T x, d_bias += the sums of d_y over rows */
static void weight_back(const struct block_pass *b, struct mat d_y, struct mat x,
                        struct mat d_w, struct mat d_bias)
{
    dn_matmul(b->queue, (struct op_matmul){.y = d_w,
                                           .a = d_y,
                                           .b = x,
                                           .transpose_a = true,
                                           .accumulate = true,
                                           .a_sums = d_bias});
}

/* d_x = d_y w */
static void input_back(const struct block_pass *b, struct mat d_x, struct mat d_y, struct mat w)
{
    dn_matmul(b->queue, (struct op_matmul){.y = d_x, .a = d_y, .b = w});
}

/* y = x + the branch, each group of crops with its scale. */
static void join(const struct block_pass *b, const struct branch_rows *rows, struct mat y,
                 struct mat x, struct mat branch, struct mat gamma)
{
    if (!rows->rows) {
        dn_residual(
            b->queue,
            (struct op_residual){.y = y, .x = x, .branch = branch, .gamma = gamma, .alpha = 1});
        return;
    }
    for (int i = 0; i < rows->part_count; i++) {
        int first = rows->parts[i].first;
        dn_residual(b->queue, (struct op_residual){
                                  .y = y,
                                  .x = i == 0 ? x : y,
                                  .branch = dn_mat_rows(branch, first, rows->parts[i].count),
                                  .gamma = gamma,
                                  .rows = rows->rows + first,
                                  .alpha = rows->parts[i].scale,
                              });
    }
}

static struct mat join_back(const struct block_pass *b, const struct branch_rows *rows,
                            struct mat d_y, struct mat branch, struct mat gamma,
                            struct mat d_gamma)
{
    struct mat d_branch = first_rows(b->scratch->d_branch, rows->count);

    if (!rows->rows)
        dn_residual_back(b->queue, (struct op_residual_back){.d_branch = d_branch,
                                                             .d_gamma = d_gamma,
                                                             .d_y = d_y,
                                                             .branch = branch,
                                                             .gamma = gamma,
                                                             .alpha = 1});
    for (int i = 0; rows->rows && i < rows->part_count; i++) {
        int first = rows->parts[i].first, count = rows->parts[i].count;
        dn_residual_back(b->queue, (struct op_residual_back){
                                       .d_branch = dn_mat_rows(d_branch, first, count),
                                       .d_gamma = d_gamma,
                                       .d_y = d_y,
                                       .branch = dn_mat_rows(branch, first, count),
                                       .gamma = gamma,
                                       .rows = rows->rows + first,
                                       .alpha = rows->parts[i].scale,
                                   });
    }
    return d_branch;
}

/* d_x += the gradient through the normalisation of the rows that the branch saw. */
static void norm_back(const struct block_pass *b, const struct branch_rows *rows,
                      struct mat d_x, struct mat d_normed, struct mat x, struct mat weight,
                      struct mat d_weight, struct mat d_bias)
{
    dn_layernorm_back(b->queue, (struct op_layernorm_back){.d_x = d_x,
                                                           .d_weight = d_weight,
                                                           .d_bias = d_bias,
                                                           .d_y = d_normed,
                                                           .x = x,
                                                           .weight = weight,
                                                           .rows = rows->rows,
                                                           .eps = (double)b->config->norm_eps,
                                                           .accumulate = true});
}

/* ---- attention ---- */

static double score_scale(const struct vit_config *c)
{
    return 1 / sqrt((double)c->dim / c->heads);
}

static void attention_forward(const struct block_pass *b)
{
    const struct branch_rows *rows = &b->attention;
    struct mat qkv = first_rows(b->tape->qkv, rows->count);
    struct mat attended = first_rows(b->tape->attended, rows->count);
    struct mat branch = first_rows(b->tape->attention, rows->count);
    struct mat x = first_rows(b->tape->x, b->tokens);
    struct mat normed = branch_input(b, rows, x, b->p.norm1_weight, b->p.norm1_bias);

    linear(b, qkv, normed, b->p.qkv, b->p.qkv_bias, none);
    dn_attend(b->queue, (struct op_attend){.y = attended,
                                           .qkv = qkv,
                                           .heads = b->config->heads,
                                           .scale = score_scale(b->config),
                                           .starts = rows->starts,
                                           .sequences = rows->sequences});
    linear(b, branch, attended, b->p.proj, b->p.proj_bias, none);
    join(b, rows, first_rows(b->tape->middle, b->tokens), x, branch, b->p.ls1);
}

static void attention_backward(const struct block_pass *b, struct mat d_x)
{
    const struct branch_rows *rows = &b->attention;
    int dim = b->config->dim;
    struct mat qkv = first_rows(b->tape->qkv, rows->count);
    struct mat attended = first_rows(b->tape->attended, rows->count);
    struct mat d_qkv = view(b->scratch->d_wide, rows->count, 3 * dim);
    struct mat d_attended = view(b->scratch->d_active, rows->count, dim);
    struct mat x = first_rows(b->tape->x, b->tokens);
    struct mat d_branch = join_back(b, rows, d_x, first_rows(b->tape->attention, rows->count),
                                    b->p.ls1, b->d.ls1);

    weight_back(b, d_branch, attended, b->d.proj, b->d.proj_bias);
    input_back(b, d_attended, d_branch, b->p.proj);
    dn_attend_back(b->queue, (struct op_attend_back){.d_qkv = d_qkv,
                                                     .d_y = d_attended,
                                                     .y = attended,
                                                     .qkv = qkv,
                                                     .heads = b->config->heads,
                                                     .scale = score_scale(b->config),
                                                     .starts = rows->starts,
                                                     .sequences = rows->sequences});
    struct mat normed = branch_input(b, rows, x, b->p.norm1_weight, b->p.norm1_bias);
    weight_back(b, d_qkv, normed, b->d.qkv, b->d.qkv_bias);
    input_back(b, d_branch, d_qkv, b->p.qkv);
    norm_back(b, rows, d_x, d_branch, x, b->p.norm1_weight, b->d.norm1_weight, b->d.norm1_bias);
}

/* ---- feed-forward ---- */

static bool gated(const struct block_pass *b)
{
    return b->config->ffn == DINO_FFN_SWIGLU;
}

static void ffn_forward(const struct block_pass *b, struct mat y)
{
    const struct branch_rows *rows = &b->ffn;
    struct mat hidden = first_rows(b->tape->hidden, rows->count);
    struct mat active = first_rows(b->scratch->active, rows->count);
    struct mat branch = first_rows(b->tape->ffn, rows->count);
    struct mat middle = first_rows(b->tape->middle, b->tokens);
    struct mat normed = branch_input(b, rows, middle, b->p.norm2_weight, b->p.norm2_bias);

    linear(b, hidden, normed, b->p.in, b->p.in_bias, gated(b) ? none : active);
    if (gated(b))
        dn_swiglu(b->queue, (struct op_swiglu){.y = active, .x = hidden});
    linear(b, branch, active, b->p.out, b->p.out_bias, none);
    join(b, rows, y, middle, branch, b->p.ls2);
}

/* Through what is between the products: d_hidden from d_branch, and active again. */
static void hidden_back(const struct block_pass *b, struct mat d_hidden, struct mat active,
                        struct mat d_branch, struct mat hidden)
{
    struct mat d_active = view(b->scratch->d_active, hidden.rows, b->config->hidden);

    if (!gated(b)) {
        dn_matmul(b->queue, (struct op_matmul){.y = d_hidden,
                                               .a = d_branch,
                                               .b = b->p.out,
                                               .hidden = hidden,
                                               .active = active});
        return;
    }
    input_back(b, d_active, d_branch, b->p.out);
    dn_swiglu(b->queue, (struct op_swiglu){.y = active, .x = hidden});
    dn_swiglu_back(b->queue,
                   (struct op_swiglu_back){.d_x = d_hidden, .d_y = d_active, .x = hidden});
}

static void ffn_backward(const struct block_pass *b, struct mat d_x)
{
    const struct branch_rows *rows = &b->ffn;
    struct mat hidden = first_rows(b->tape->hidden, rows->count);
    struct mat active = first_rows(b->scratch->active, rows->count);
    struct mat d_hidden = view(b->scratch->d_wide, rows->count, hidden.cols);
    struct mat middle = first_rows(b->tape->middle, b->tokens);
    struct mat d_branch =
        join_back(b, rows, d_x, first_rows(b->tape->ffn, rows->count), b->p.ls2, b->d.ls2);

    hidden_back(b, d_hidden, active, d_branch, hidden);
    weight_back(b, d_branch, active, b->d.out, b->d.out_bias);
    struct mat normed = branch_input(b, rows, middle, b->p.norm2_weight, b->p.norm2_bias);
    weight_back(b, d_hidden, normed, b->d.in, b->d.in_bias);
    input_back(b, d_branch, d_hidden, b->p.in);
    norm_back(b, rows, d_x, d_branch, middle, b->p.norm2_weight, b->d.norm2_weight,
              b->d.norm2_bias);
}

void dn_block_forward(const struct block_pass *b, struct mat y)
{
    attention_forward(b);
    ffn_forward(b, y);
}

void dn_block_backward(const struct block_pass *b, struct mat d_x)
{
    ffn_backward(b, d_x);
    attention_backward(b, d_x);
}
