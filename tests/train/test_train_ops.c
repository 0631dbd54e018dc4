/* Single training operations against golden f64 values, on every device that trains. */
#include "train/testing_train.h"

static const char golden[] = "train/ops.safetensors";

/* Runs a test body once a device with the golden file open. */
#define EACH_DEVICE(b)                                                       \
    for (int device_ = 0; device_ < TRAIN_DEVICES; device_++)                \
        for (struct trainer_bench b = train_open(device_, golden); b.device; \
             train_close(&b), b.device = NULL)

static void linear(struct trainer_bench *b, struct mat y, struct mat x, struct mat w,
                   struct mat bias)
{
    dn_matmul(b->queue,
              (struct op_matmul){.y = y, .a = x, .b = w, .bias = bias, .transpose_b = true});
}

static void linear_back(struct trainer_bench *b, struct mat d_x, struct mat d_w,
                        struct mat d_bias, struct mat d_y, struct mat x, struct mat w)
{
    dn_matmul(b->queue, (struct op_matmul){.y = d_x, .a = d_y, .b = w});
    dn_matmul(b->queue, (struct op_matmul){.y = d_w,
                                           .a = d_y,
                                           .b = x,
                                           .transpose_a = true,
                                           .accumulate = true,
                                           .a_sums = d_bias});
}

TEST(linear_forward_and_backward)
{
    EACH_DEVICE(b)
    {
        b.op = "linear";
        struct mat x = train_load(&b, "in.x", 24), w = train_load(&b, "in.weight", 24);
        struct mat bias = train_load(&b, "in.bias", 0), d_y = train_load(&b, "dy.y", 40);
        struct mat y = train_zeros(&b, 7, 40), d_x = train_zeros(&b, 7, 24);
        struct mat d_w = train_zeros(&b, 40, 24), d_b = train_zeros(&b, 1, 40);
        linear(&b, y, x, w, bias);
        linear_back(&b, d_x, d_w, d_b, d_y, x, w);
        train_check(&b, y, "out.y");
        train_check(&b, d_x, "grad.x");
        train_check(&b, d_w, "grad.weight");
        train_check(&b, d_b, "grad.bias");
        struct mat all[] = {x, w, bias, d_y, y, d_x, d_w, d_b};
        for (int i = 0; i < 8; i++)
            free(all[i].data);
    }
}

static void check_norm(struct trainer_bench *b, const char *op)
{
    b->op = op;
    struct mat x = train_load(b, "in.x", 64), d_y = train_load(b, "dy.y", 64);
    struct mat w = train_load(b, "in.weight", 0), bias = train_load(b, "in.bias", 0);
    struct mat y = train_zeros(b, 5, 64), d_x = train_zeros(b, 5, 64);
    struct mat d_w = train_zeros(b, 1, 64), d_b = train_zeros(b, 1, 64);

    dn_norm(b->queue, (struct op_norm){.y = y, .x = x, .weight = w, .bias = bias, .eps = 1e-6});
    struct op_layernorm_back back = {.d_x = d_x,
                                     .d_weight = d_w,
                                     .d_bias = d_b,
                                     .d_y = d_y,
                                     .x = x,
                                     .weight = w,
                                     .eps = 1e-6};
    dn_layernorm_back(b->queue, back);
    double bar = b->dtype == DINO_F32 ? 2e-5 : b->bar;
    train_check_bar(b, y, "out.y", bar, 0);
    train_check_bar(b, d_x, "grad.x", bar, 0);
    train_check_bar(b, d_w, "grad.weight", bar, 0);
    train_check_bar(b, d_b, "grad.bias", bar, 0);

    /* in place, and accumulated onto what is there */
    back.d_weight = back.d_bias = (struct mat){0};
    back.accumulate = true;
    for (size_t i = 0; i < 5 * 64; i++)
        train_set(d_x, i, 0);
    dn_layernorm_back(b->queue, back);
    train_check_bar(b, d_x, "grad.x", bar, 0);
    back.accumulate = false;
    back.d_x = d_y;
    dn_layernorm_back(b->queue, back);
    train_check_bar(b, d_y, "grad.x", bar, 0);
    struct mat all[] = {x, d_y, w, bias, y, d_x, d_w, d_b};
    for (int i = 0; i < 8; i++)
        free(all[i].data);
}

TEST(layernorm_forward_and_backward_also_far_from_zero)
{
    EACH_DEVICE(b)
    {
        check_norm(&b, "layernorm");
        check_norm(&b, "layernorm_offset");
    }
}

TEST(gelu_and_silu_forward_and_backward)
{
    EACH_DEVICE(b)
    {
        b.op = "gelu";
        struct mat x = train_load(&b, "in.x", 0), d_y = train_load(&b, "dy.y", 0);
        struct mat y = train_zeros(&b, 1, 192), one = train_zeros(&b, 1, 1);
        struct mat copy = train_zeros(&b, 1, 192), d_x = train_zeros(&b, 1, 192);
        train_set(one, 0, 1); /* products of one number each are what they multiply */
        dn_matmul(b.queue, (struct op_matmul){.y = copy, .a = one, .b = x, .active = y});
        train_check(&b, y, "out.y");
        for (size_t i = 0; i < 192; i++)
            train_set(y, i, 0);
        dn_matmul(b.queue,
                  (struct op_matmul){.y = d_x, .a = one, .b = d_y, .hidden = x, .active = y});
        train_check(&b, d_x, "grad.x");
        train_check(&b, y, "out.y");

        b.op = "silu"; /* swiglu with a value of one */
        struct mat both = train_zeros(&b, 1, 384), d_both = train_zeros(&b, 1, 384);
        train_fill(&b, dn_mat_cols(both, 0, 192), "in.x");
        for (size_t i = 192; i < 384; i++)
            train_set(both, i, 1);
        train_fill(&b, d_y, "dy.y");
        dn_swiglu(b.queue, (struct op_swiglu){.y = y, .x = both});
        train_check(&b, y, "out.y");
        dn_swiglu_back(b.queue, (struct op_swiglu_back){.d_x = d_both, .d_y = d_y, .x = both});
        train_check(&b, dn_mat_cols(d_both, 0, 192), "grad.x");
        struct mat all[] = {x, d_y, y, both, d_both, one, copy, d_x};
        for (int i = 0; i < 8; i++)
            free(all[i].data);
    }
}

/* Two products with a nonlinearity between them, gated or not. */
static void check_ffn(struct trainer_bench *b, bool gated)
{
    int hidden = gated ? 64 : 96, wide = gated ? 128 : 96;
    b->op = gated ? "swiglu" : "mlp";
    struct mat x = train_load(b, "in.x", 24), d_y = train_load(b, "dy.y", 24);
    struct mat w1 = train_load(b, gated ? "in.w12.weight" : "in.fc1.weight", 24);
    struct mat b1 = train_load(b, gated ? "in.w12.bias" : "in.fc1.bias", 0);
    struct mat w2 = train_load(b, gated ? "in.w3.weight" : "in.fc2.weight", hidden);
    struct mat b2 = train_load(b, gated ? "in.w3.bias" : "in.fc2.bias", 0);
    struct mat h = train_zeros(b, 10, wide), a = train_zeros(b, 10, hidden);
    struct mat y = train_zeros(b, 10, 24), d_x = train_zeros(b, 10, 24);
    struct mat d_h = train_zeros(b, 10, wide), d_a = train_zeros(b, 10, hidden);
    struct mat d_w1 = train_zeros(b, wide, 24), d_b1 = train_zeros(b, 1, wide);
    struct mat d_w2 = train_zeros(b, 24, hidden), d_b2 = train_zeros(b, 1, 24);

    struct op_matmul in = {.y = h, .a = x, .b = w1, .bias = b1, .transpose_b = true};
    if (!gated)
        in.active = a;
    dn_matmul(b->queue, in);
    if (gated)
        dn_swiglu(b->queue, (struct op_swiglu){.y = a, .x = h});
    linear(b, y, a, w2, b2);
    linear_back(b, d_a, d_w2, d_b2, d_y, a, w2);
    if (gated)
        dn_swiglu_back(b->queue, (struct op_swiglu_back){.d_x = d_h, .d_y = d_a, .x = h});
    else
        dn_matmul(b->queue, (struct op_matmul){.y = d_h, .a = d_y, .b = w2, .hidden = h});
    linear_back(b, d_x, d_w1, d_b1, d_h, x, w1);
    train_check(b, y, "out.y");
    train_check(b, d_x, "grad.x");
    train_check(b, d_w1, gated ? "grad.w12.weight" : "grad.fc1.weight");
    train_check(b, d_b1, gated ? "grad.w12.bias" : "grad.fc1.bias");
    train_check(b, d_w2, gated ? "grad.w3.weight" : "grad.fc2.weight");
    train_check(b, d_b2, gated ? "grad.w3.bias" : "grad.fc2.bias");
    struct mat all[] = {x, d_y, w1, b1, w2, b2, h, a, y, d_x, d_h, d_a, d_w1, d_b1, d_w2, d_b2};
    for (int i = 0; i < 16; i++)
        free(all[i].data);
}

TEST(mlp_and_swiglu_forward_and_backward)
{
    EACH_DEVICE(b)
    {
        check_ffn(&b, false);
        check_ffn(&b, true);
    }
}

static void check_attention(struct trainer_bench *b, const char *op, int heads, int tokens)
{
    int dim = 16 * heads, rows = 2 * tokens, starts[] = {0, tokens, rows};
    b->op = op;
    struct mat x = train_load(b, "in.x", dim), d_y = train_load(b, "dy.y", dim);
    struct mat wqkv = train_load(b, "in.qkv.weight", dim),
               bqkv = train_load(b, "in.qkv.bias", 0);
    struct mat wp = train_load(b, "in.proj.weight", dim), bp = train_load(b, "in.proj.bias", 0);
    struct mat qkv = train_zeros(b, rows, 3 * dim), a = train_zeros(b, rows, dim);
    struct mat y = train_zeros(b, rows, dim), d_a = train_zeros(b, rows, dim);
    struct mat d_qkv = train_zeros(b, rows, 3 * dim), d_x = train_zeros(b, rows, dim);
    struct mat d_wqkv = train_zeros(b, 3 * dim, dim), d_bqkv = train_zeros(b, 1, 3 * dim);
    struct mat d_wp = train_zeros(b, dim, dim), d_bp = train_zeros(b, 1, dim);

    linear(b, qkv, x, wqkv, bqkv);
    dn_attend(b->queue, (struct op_attend){.y = a,
                                           .qkv = qkv,
                                           .heads = heads,
                                           .scale = 0.25,
                                           .starts = starts,
                                           .sequences = 2});
    linear(b, y, a, wp, bp);
    linear_back(b, d_a, d_wp, d_bp, d_y, a, wp);
    dn_attend_back(b->queue, (struct op_attend_back){.d_qkv = d_qkv,
                                                     .d_y = d_a,
                                                     .y = a,
                                                     .qkv = qkv,
                                                     .heads = heads,
                                                     .scale = 0.25,
                                                     .starts = starts,
                                                     .sequences = 2});
    linear_back(b, d_x, d_wqkv, d_bqkv, d_qkv, x, wqkv);
    train_check(b, y, "out.y");
    train_check(b, d_x, "grad.x");
    train_check(b, d_wqkv, "grad.qkv.weight");
    train_check(b, d_bqkv, "grad.qkv.bias");
    train_check(b, d_wp, "grad.proj.weight");
    train_check(b, d_bp, "grad.proj.bias");
    struct mat all[] = {x, d_y, wqkv,  bqkv, wp,     bp,     qkv,  a,
                        y, d_a, d_qkv, d_x,  d_wqkv, d_bqkv, d_wp, d_bp};
    for (int i = 0; i < 16; i++)
        free(all[i].data);
}

TEST(attention_modules_forward_and_backward)
{
    EACH_DEVICE(b)
    {
        check_attention(&b, "attention_h1", 1, 7);
        check_attention(&b, "attention_h2", 2, 10);
    }
}

/* golden [batch, head, token, 8] <-> part of qkv or y [batch * token, ...] */
static void heads_move(struct trainer_bench *b, struct mat packed, int part, struct mat apart,
                       bool back)
{
    (void)b;
    for (int s = 0; s < 2; s++)
        for (int h = 0; h < 3; h++)
            for (int t = 0; t < 9; t++)
                for (int c = 0; c < 8; c++) {
                    size_t i = (size_t)(((s * 3 + h) * 9 + t) * 8 + c);
                    size_t j = (size_t)((s * 9 + t) * packed.cols + part * 24 + h * 8 + c);
                    if (back)
                        train_set(apart, i, train_get(packed, j));
                    else
                        train_set(packed, j, train_get(apart, i));
                }
}

TEST(attention_core_forward_and_backward)
{
    static const char *const names[][2] = {
        {"in.q", "grad.q"}, {"in.k", "grad.k"}, {"in.v", "grad.v"}};
    static const int starts[] = {0, 9, 18};
    EACH_DEVICE(b)
    {
        b.op = "attention_core";
        struct mat qkv = train_zeros(&b, 18, 72), y = train_zeros(&b, 18, 24);
        struct mat d_y = train_zeros(&b, 18, 24), d_qkv = train_zeros(&b, 18, 72);
        struct mat apart = train_zeros(&b, 54, 8);
        for (int p = 0; p < 3; p++) {
            train_fill(&b, apart, names[p][0]);
            heads_move(&b, qkv, p, apart, false);
        }
        train_fill(&b, apart, "dy.y");
        heads_move(&b, d_y, 0, apart, false);
        dn_attend(b.queue, (struct op_attend){.y = y,
                                              .qkv = qkv,
                                              .heads = 3,
                                              .scale = 1 / sqrt(8),
                                              .starts = starts,
                                              .sequences = 2});
        dn_attend_back(b.queue, (struct op_attend_back){.d_qkv = d_qkv,
                                                        .d_y = d_y,
                                                        .y = y,
                                                        .qkv = qkv,
                                                        .heads = 3,
                                                        .scale = 1 / sqrt(8),
                                                        .starts = starts,
                                                        .sequences = 2});
        heads_move(&b, y, 0, apart, true);
        train_check(&b, apart, "out.y");
        for (int p = 0; p < 3; p++) {
            heads_move(&b, d_qkv, p, apart, true);
            train_check(&b, apart, names[p][1]);
        }
        struct mat all[] = {qkv, y, d_y, d_qkv, apart};
        for (int i = 0; i < 5; i++)
            free(all[i].data);
    }
}

/* A softmax is attention whose keys and values are unit vectors. */
TEST(softmax_forward_and_backward_through_attention)
{
    static const int starts[] = {0, 33};
    EACH_DEVICE(b)
    {
        b.op = "softmax";
        struct mat x = train_load(&b, "in.x", 33), d_p = train_load(&b, "dy.y", 33);
        struct mat y = train_zeros(&b, 6, 33);
        dn_softmax(b.queue, (struct op_softmax){.y = y, .x = x, .temperature = 1});
        train_check(&b, y, "out.y");

        struct mat qkv = train_zeros(&b, 33, 99), p = train_zeros(&b, 33, 33);
        struct mat d_qkv = train_zeros(&b, 33, 99), d_y = train_zeros(&b, 33, 33);
        for (size_t i = 0; i < 33; i++) {
            train_set(qkv, i * 99 + 33 + i, 1);
            train_set(qkv, i * 99 + 66 + i, 1);
        }
        for (size_t r = 0; r < 6; r++)
            for (size_t c = 0; c < 33; c++) {
                train_set(qkv, r * 99 + c, train_get(x, r * 33 + c));
                train_set(d_y, r * 33 + c, train_get(d_p, r * 33 + c));
            }
        dn_attend(
            b.queue,
            (struct op_attend){
                .y = p, .qkv = qkv, .heads = 1, .scale = 1, .starts = starts, .sequences = 1});
        train_check(&b, dn_mat_rows(p, 0, 6), "out.y");
        dn_attend_back(b.queue, (struct op_attend_back){.d_qkv = d_qkv,
                                                        .d_y = d_y,
                                                        .y = p,
                                                        .qkv = qkv,
                                                        .heads = 1,
                                                        .scale = 1,
                                                        .starts = starts,
                                                        .sequences = 1});
        for (size_t r = 0; r < 6; r++)
            for (size_t c = 0; c < 33; c++)
                train_set(y, r * 33 + c, train_get(d_qkv, r * 99 + c));
        train_check(&b, y, "grad.x");
        struct mat all[] = {x, d_p, y, qkv, p, d_qkv, d_y};
        for (int i = 0; i < 7; i++)
            free(all[i].data);
    }
}

/* The gradient of sum(dy log_softmax(x)) is that of a cross-entropy with the target -dy. */
TEST(log_softmax_is_the_cross_entropy_of_any_targets)
{
    static const int rows[] = {0, 1, 2, 3, 4, 5}, ones[6] = {0};
    static const double weights[] = {1, 1, 1, 1, 1, 1};
    EACH_DEVICE(b)
    {
        b.op = "log_softmax";
        struct mat x = train_load(&b, "in.x", 33), t = train_load(&b, "dy.y", 33);
        struct mat d_x = train_zeros(&b, 6, 33), losses = train_zeros(&b, 6, 1);
        struct mat y = train_zeros(&b, 6, 33);
        for (size_t i = 0; i < 6 * 33; i++)
            train_set(t, i, -train_get(t, i));
        dn_cross_entropy(b.queue, (struct op_cross_entropy){.d_x = d_x,
                                                            .losses = losses,
                                                            .x = x,
                                                            .t = t,
                                                            .rows = rows,
                                                            .weights = weights,
                                                            .per = 1,
                                                            .temperature = 1});
        train_check(&b, d_x, "grad.x");

        for (size_t c = 0; c < 33; c++) { /* one column of log-probabilities at a time */
            for (size_t i = 0; i < 33; i++)
                train_set(t, i, i == c);
            dn_cross_entropy(b.queue, (struct op_cross_entropy){.d_x = d_x,
                                                                .losses = losses,
                                                                .x = x,
                                                                .t = t,
                                                                .rows = ones,
                                                                .weights = weights,
                                                                .per = 1,
                                                                .temperature = 1});
            for (size_t r = 0; r < 6; r++)
                train_set(y, r * 33 + c, -train_get(losses, r));
        }
        train_check(&b, y, "out.y");
        struct mat all[] = {x, t, d_x, losses, y};
        for (int i = 0; i < 5; i++)
            free(all[i].data);
    }
}

TEST(layerscale_forward_and_backward_on_any_rows)
{
    static const int rows[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
    EACH_DEVICE(b)
    {
        b.op = "layerscale";
        struct mat x = train_load(&b, "in.x", 32), gamma = train_load(&b, "in.gamma", 0);
        struct mat d_y = train_load(&b, "dy.y", 32), zero = train_zeros(&b, 10, 32);
        struct mat y = train_zeros(&b, 10, 32), d_x = train_zeros(&b, 10, 32);
        struct mat d_gamma = train_zeros(&b, 1, 32), turned = train_zeros(&b, 10, 32);
        dn_residual(b.queue, (struct op_residual){
                                 .y = y, .x = zero, .branch = x, .gamma = gamma, .alpha = 1});
        train_check(&b, y, "out.y");
        dn_residual_back(b.queue, (struct op_residual_back){.d_branch = d_x,
                                                            .d_gamma = d_gamma,
                                                            .d_y = d_y,
                                                            .branch = x,
                                                            .gamma = gamma,
                                                            .alpha = 1});
        train_check(&b, d_x, "grad.x");
        train_check(&b, d_gamma, "grad.gamma");

        /* rows from the end, at half the scale, twice: the same again */
        dn_put_rows(b.queue,
                    (struct op_put_rows){.y = turned, .x = x, .from = rows, .count = 10});
        dn_residual(b.queue, (struct op_residual){.y = y,
                                                  .x = zero,
                                                  .branch = turned,
                                                  .gamma = gamma,
                                                  .rows = rows,
                                                  .alpha = 0.5});
        dn_residual(
            b.queue,
            (struct op_residual){
                .y = y, .x = y, .branch = turned, .gamma = gamma, .rows = rows, .alpha = 0.5});
        train_check(&b, y, "out.y");
        for (size_t i = 0; i < 32; i++)
            train_set(d_gamma, i, 0);
        for (int i = 0; i < 2; i++)
            dn_residual_back(b.queue, (struct op_residual_back){.d_branch = d_x,
                                                                .d_gamma = d_gamma,
                                                                .d_y = d_y,
                                                                .branch = turned,
                                                                .gamma = gamma,
                                                                .rows = rows,
                                                                .alpha = 0.5});
        train_check(&b, d_gamma, "grad.gamma");
        struct mat all[] = {x, gamma, d_y, zero, y, d_x, d_gamma, turned};
        for (int i = 0; i < 8; i++)
            free(all[i].data);
    }
}

static void check_l2norm(struct trainer_bench *b, const char *op)
{
    b->op = op;
    struct mat x = train_load(b, "in.x", 24), d_y = train_load(b, "dy.y", 24);
    struct mat y = train_zeros(b, x.rows, 24);

    dn_l2norm(b->queue, (struct op_l2norm){.y = y, .x = x, .eps = 1e-12});
    train_check(b, y, "out.y");
    dn_l2norm_back(b->queue,
                   (struct op_l2norm_back){.d_x = d_y, .d_y = d_y, .x = x, .eps = 1e-12});
    train_check(b, d_y, "grad.x");
    free(x.data);
    free(d_y.data);
    free(y.data);
}

TEST(unit_length_forward_and_backward_short_and_long)
{
    EACH_DEVICE(b)
    {
        check_l2norm(&b, "l2_normalize");
        check_l2norm(&b, "l2_normalize_short");
        check_l2norm(&b, "l2_normalize_long");
    }
}

TEST(below_eps_a_length_counts_as_constant)
{
    EACH_DEVICE(b)
    {
        struct mat x = train_zeros(&b, 1, 4), d_y = train_zeros(&b, 1, 4);
        struct mat y = train_zeros(&b, 1, 4);
        train_set(d_y, 2, 3);
        dn_l2norm(b.queue, (struct op_l2norm){.y = y, .x = x, .eps = 0.5});
        dn_l2norm_back(b.queue,
                       (struct op_l2norm_back){.d_x = d_y, .d_y = d_y, .x = x, .eps = 0.5});
        for (size_t i = 0; i < 4; i++) {
            CHECK(train_get(y, i) == 0);
            CHECK(train_get(d_y, i) == (i == 2 ? 6 : 0));
        }
        free(x.data);
        free(d_y.data);
        free(y.data);
    }
}

TEST(weight_normed_linear_forward_and_backward)
{
    EACH_DEVICE(b)
    {
        b.op = "weight_norm_linear";
        struct mat x = train_load(&b, "in.x", 12), d_y = train_load(&b, "dy.y", 40);
        struct mat g = train_load(&b, "in.weight_g", 1), v = train_load(&b, "in.weight_v", 12);
        struct mat w = train_zeros(&b, 40, 12), y = train_zeros(&b, 9, 40);
        struct mat d_w = train_zeros(&b, 40, 12), d_x = train_zeros(&b, 9, 12);
        struct mat d_g = train_zeros(&b, 40, 1), d_v = train_zeros(&b, 40, 12);
        dn_l2norm(b.queue, (struct op_l2norm){.y = w, .x = v, .gain = g, .eps = 1e-12});
        linear(&b, y, x, w, (struct mat){0});
        linear_back(&b, d_x, d_w, (struct mat){0}, d_y, x, w);
        dn_l2norm_back(b.queue, (struct op_l2norm_back){.d_x = d_v,
                                                        .d_gain = d_g,
                                                        .d_y = d_w,
                                                        .x = v,
                                                        .gain = g,
                                                        .eps = 1e-12,
                                                        .accumulate = true});
        train_check(&b, y, "out.y");
        train_check(&b, d_x, "grad.x");
        train_check(&b, d_g, "grad.weight_g");
        train_check(&b, d_v, "grad.weight_v");
        struct mat all[] = {x, d_y, g, v, w, y, d_w, d_x, d_g, d_v};
        for (int i = 0; i < 10; i++)
            free(all[i].data);
    }
}
