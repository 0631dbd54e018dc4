/*
 * Training operations of every device against the reference, on shapes that the golden values
 * do not have: many rows, odd widths, gaps between rows, several threads. They run again under
 * each cap of the instruction set.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/testing_ops.h"
#include "ops/tolerances.h"

/* The device under test, and ref; matrices come in pairs. */
struct pair {
    struct guarded fast;
    struct mat truth;
};

static struct pair pair_with(struct guarded fast)
{
    int rows = fast.mat.rows, cols = fast.mat.cols;
    struct pair p = {fast, ops_truth(rows, cols)};

    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            ((double *)p.truth.data)[r * cols + c] = ops_get(p.fast.mat, r, c);
    return p;
}

static struct pair pair_of(enum dino_dtype dtype, int rows, int cols, int pad, float scale,
                           uint64_t seed)
{
    return pair_with(ops_random(rows, cols, pad, dtype, scale, seed));
}

static struct pair pair_new(int rows, int cols, int pad, float scale, uint64_t seed)
{
    return pair_of(DINO_F32, rows, cols, pad, scale, seed);
}

static void pair_free(struct pair *p)
{
    ops_free(&p->fast);
    free(p->truth.data);
}

/* Both queues have run: the largest difference over the largest value of the truth. */
static void pair_check(struct bench *b, struct pair *p, double bar, const char *what)
{
    double worst = 0, most = 0;

    ops_finish(b);
    ops_check_guards(&p->fast);
    for (int r = 0; r < p->truth.rows; r++)
        for (int c = 0; c < p->truth.cols; c++) {
            double want = ops_get(p->truth, r, c), d = fabs(ops_get(p->fast.mat, r, c) - want);
            worst = d <= worst ? worst : d;
            most = fmax(most, fabs(want));
        }
    if (getenv("DINO_TEST_MEASURE"))
        print_message("MEASURE %s %.2e of %.2e\n", what, worst / most, most);
    if (!(worst <= bar * most))
        fail_msg("%s [%d, %d]: off by %.3g of %.3g", what, p->truth.rows, p->truth.cols, worst,
                 most);
}

static const struct shape {
    int rows, cols, pad;
} shapes[] = {{1, 1, 0}, {3, 65, 1}, {257, 63, 3}, {700, 384, 0}, {130, 1537, 5}, {5, 4099, 2}};
enum { SHAPES = 6 };

/* fast and reference run of one operation; F is a matrix of a pair. */
#define BOTH(b, call, type, ...)                                                   \
    do {                                                                           \
        for (int fast_ = 0; fast_ < 2; fast_++)                                    \
            call(fast_ ? (b)->queue : (b)->ref_queue, (struct type){__VA_ARGS__}); \
    } while (0)
#define F(pair) (fast_ ? (pair).fast.mat : (pair).truth)

TEST(products_with_any_transpose_agree)
{
    struct bench b = ops_open(0);
    static const int sizes[][3] = {{1, 1, 1}, {7, 65, 33}, {257, 384, 64}, {64, 100, 900}};

    for (int i = 0; i < 4; i++)
        for (int bits = 0; bits < 8; bits++) {
            int m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
            bool ta = bits & 1, tb = bits & 2, add = bits & 4;
            struct pair x = pair_new(ta ? k : m, ta ? m : k, 3, 1, 1);
            struct pair w = pair_new(tb ? n : k, tb ? k : n, 1, 1, 2);
            struct pair y = pair_new(m, n, 2, 1, 3), bias = pair_new(1, n, 0, 1, 4);
            struct mat none = {0};
            BOTH(&b, dn_matmul, op_matmul, .y = F(y), .a = F(x), .b = F(w),
                 .bias = add ? none : F(bias), .transpose_a = ta, .transpose_b = tb,
                 .accumulate = add);
            pair_check(&b, &y, 3e-6, "matmul");
            pair_free(&x);
            pair_free(&w);
            pair_free(&y);
            pair_free(&bias);
        }
    ops_close(&b);
}

/* What the table of tolerances allows. */
static void pair_held(struct bench *b, struct pair *p, const char *op, enum dino_dtype dtype)
{
    const struct tolerance *row = tolerance_of(op, dtype);
    char what[64];

    CHECK(row);
    snprintf(what, sizeof what, "%s %s", op, dino_dtype_name(dtype));
    pair_check(b, p, row->max, what);
}

/* Activations of 16 bits: those that the device under test has. */
static const enum dino_dtype narrow_dtypes[] = {DINO_BF16, DINO_F16};

static int narrows(void)
{
    return testing_device() ? 2 : 1;
}

/* The dtypes of a, b and y; bf16 stands for all of 16 bits. */
static const enum dino_dtype mixtures[][3] = {{DINO_F32, DINO_F32, DINO_F32},
                                              {DINO_BF16, DINO_BF16, DINO_F32},
                                              {DINO_BF16, DINO_BF16, DINO_BF16},
                                              {DINO_F32, DINO_BF16, DINO_F32},
                                              {DINO_F32, DINO_BF16, DINO_BF16}};
enum { MIXTURES = 5 };

struct mixture {
    enum dino_dtype a, b, y;
    /* rounded operands that are told so are exact: what is left is the order of f32 sums */
    enum dino_dtype held;
};

static struct mixture mixture_of(int i)
{
    const enum dino_dtype *mix = mixtures[i % MIXTURES];
    enum dino_dtype narrow = narrow_dtypes[i / MIXTURES];
    struct mixture m = {mix[0], mix[1], mix[2], narrow};

    m.a = m.a == DINO_BF16 ? narrow : m.a;
    m.b = m.b == DINO_BF16 ? narrow : m.b;
    m.y = m.y == DINO_BF16 ? narrow : m.y;
    if (m.a == m.b && m.y == DINO_F32)
        m.held = DINO_F32;
    return m;
}

TEST(products_of_mixed_dtypes_agree_with_sums_of_a)
{
    struct bench b = ops_open(0);
    static const int sizes[][3] = {
        {1, 1, 1}, {7, 65, 33}, {257, 384, 64}, {64, 100, 2100}, {193, 31, 1025}};

    for (int i = 0; i < 5 * MIXTURES * narrows(); i++)
        for (int bits = 0; bits < 8; bits++) {
            struct mixture mix = mixture_of(i / 5);
            int m = sizes[i % 5][0], n = sizes[i % 5][1], k = sizes[i % 5][2];
            bool ta = bits & 1, tb = bits & 2, add = bits & 4 && mix.y == DINO_F32;
            struct pair x = pair_of(mix.a, ta ? k : m, ta ? m : k, 3, 1, 1);
            struct pair w = pair_of(mix.b, tb ? n : k, tb ? k : n, 1, 1, 2);
            struct pair y = pair_of(mix.y, m, n, 2, 1, 3), bias = pair_new(1, n, 0, 1, 4);
            struct pair sums = pair_new(1, m, 0, 1, 5);
            struct mat none = {0};
            BOTH(&b, dn_matmul, op_matmul, .y = F(y), .a = F(x), .b = F(w),
                 .bias = add ? none : F(bias), .transpose_a = ta, .transpose_b = tb,
                 .accumulate = add, .a_sums = ta ? F(sums) : none);
            pair_held(&b, &y, "matmul", mix.held);
            pair_held(&b, &sums, "matmul", DINO_F32);
            struct pair *all[] = {&x, &w, &y, &bias, &sums};
            for (int j = 0; j < 5; j++)
                pair_free(all[j]);
        }
    ops_close(&b);
}

TEST(products_end_in_gelu_forward_and_backward)
{
    struct bench b = ops_open(0);

    for (int i = 0; i < SHAPES * MIXTURES * narrows(); i++)
        for (int far = 0; far < 2; far++) {
            struct mixture mix = mixture_of(i / SHAPES);
            const struct shape *s = &shapes[i % SHAPES];
            float scale = far ? 9 : 0.7F;
            if (far && s->cols == 1)
                continue; /* one number, whose GELU is nothing */
            struct pair x = pair_of(mix.a, s->rows, 20, s->pad, scale, 1);
            struct pair w = pair_of(mix.b, s->cols, 20, 1, 1, 2);
            struct pair y = pair_of(mix.y, s->rows, s->cols, 2, 1, 3);
            struct pair active = pair_of(mix.y, s->rows, s->cols, s->pad, 1, 4);
            struct pair hidden = pair_of(mix.y, s->rows, s->cols, 3, scale, 5);
            struct pair bias = pair_new(1, s->cols, 0, 1, 6);
            BOTH(&b, dn_matmul, op_matmul, .y = F(y), .a = F(x), .b = F(w), .bias = F(bias),
                 .transpose_b = true, .active = F(active));
            pair_held(&b, &y, "matmul", mix.held);
            pair_held(&b, &active, "matmul gelu", mix.held);
            BOTH(&b, dn_matmul, op_matmul, .y = F(y), .a = F(x), .b = F(w), .transpose_b = true,
                 .active = F(active), .hidden = F(hidden));
            pair_held(&b, &y, "matmul gelu", mix.held);
            pair_held(&b, &active, "matmul gelu", mix.held);
            struct pair *all[] = {&x, &w, &y, &active, &hidden, &bias};
            for (int j = 0; j < 6; j++)
                pair_free(all[j]);
        }
    ops_close(&b);
}

TEST(sums_over_rows_agree)
{
    struct bench b = ops_open(0);

    for (int i = 0; i < SHAPES; i++)
        for (int bits = 0; bits < 4; bits++) {
            const struct shape *s = &shapes[i];
            struct pair x = pair_new(s->rows, s->cols, s->pad, 1, 1);
            struct pair t = pair_new(s->rows, s->cols, 1, 1, 2);
            struct pair y = pair_new(1, s->cols, 0, 1, 3);
            struct mat none = {0};
            BOTH(&b, dn_sum_columns, op_sum_columns, .y = F(y), .x = F(x),
                 .times = bits & 1 ? F(t) : none, .alpha = 0.5, .accumulate = bits & 2);
            pair_check(&b, &y, 1e-6, "sum_columns");
            pair_free(&x);
            pair_free(&t);
            pair_free(&y);
        }
    ops_close(&b);
}

TEST(layernorm_back_agrees)
{
    struct bench b = ops_open(0);

    for (int i = 1; i < SHAPES; i++) /* one column has no deviation */
        for (int add = 0; add < 2; add++) {
            const struct shape *s = &shapes[i];
            struct pair x = pair_new(s->rows, s->cols, s->pad, 2, 1);
            struct pair dy = pair_new(s->rows, s->cols, 1, 1, 2);
            struct pair dx = pair_new(s->rows, s->cols, 2, 1, 3);
            struct pair w = pair_new(1, s->cols, 0, 1, 4), dw = pair_new(1, s->cols, 0, 1, 5);
            struct pair db = pair_new(1, s->cols, 0, 1, 6);
            BOTH(&b, dn_layernorm_back, op_layernorm_back, .d_x = F(dx), .d_weight = F(dw),
                 .d_bias = F(db), .d_y = F(dy), .x = F(x), .weight = F(w), .eps = 1e-6,
                 .accumulate = add);
            pair_check(&b, &dx, 2e-6, "layernorm_back x");
            pair_check(&b, &dw, 2e-6, "layernorm_back weight");
            pair_check(&b, &db, 2e-6, "layernorm_back bias");
            struct pair *all[] = {&x, &dy, &dx, &w, &dw, &db};
            for (int j = 0; j < 6; j++)
                pair_free(all[j]);
        }
    ops_close(&b);
}

static void check_attend_back(struct bench *b, enum dino_dtype dtype, int heads, int width,
                              bool aligned)
{
    static const int starts[] = {0, 1, 50, 307, 436};
    struct guarded (*random)(int, int, int, enum dino_dtype, float, uint64_t) =
        aligned ? ops_aligned : ops_random;
    int dim = heads * width, pad = aligned ? 8 : 1;
    double scale = 1 / sqrt(width);
    struct pair qkv = pair_with(random(436, 3 * dim, 3 * pad, dtype, 2, 1));
    struct pair y = pair_with(random(436, dim, pad, dtype, 1, 2));
    struct pair dy = pair_with(random(436, dim, 2 * pad, dtype, 1, 3));
    struct pair d = pair_with(random(436, 3 * dim, 5 * pad, dtype, 1, 4));

    BOTH(b, dn_attend, op_attend, .y = F(y), .qkv = F(qkv), .heads = heads, .scale = scale,
         .starts = starts, .sequences = 4);
    BOTH(b, dn_attend_back, op_attend_back, .d_qkv = F(d), .d_y = F(dy), .y = F(y),
         .qkv = F(qkv), .heads = heads, .scale = scale, .starts = starts, .sequences = 4);
    pair_held(b, &d, "attend_back", dtype);
    struct pair *all[] = {&qkv, &y, &dy, &d};
    for (int j = 0; j < 4; j++)
        pair_free(all[j]);
}

TEST(attend_back_agrees_over_packed_sequences)
{
    static const int forms[][2] = {{1, 64}, {6, 64}, {3, 24}, {2, 7}, {1, 80}, {1, 256}};
    struct bench b = ops_open(0);

    for (int i = 0; i < 6; i++) {
        check_attend_back(&b, DINO_F32, forms[i][0], forms[i][1], false);
        for (int n = 0; n < narrows(); n++) {
            check_attend_back(&b, narrow_dtypes[n], forms[i][0], forms[i][1], false);
            check_attend_back(&b, narrow_dtypes[n], forms[i][0], forms[i][1], true);
        }
    }
    ops_close(&b);
}

/* What works on rows, with activations in 16 bits and rows picked out. */
TEST(operations_on_rows_agree_in_16_bits)
{
    struct bench b = ops_open(0);

    for (int i = 1; i < SHAPES * narrows(); i++) {
        const struct shape *s = &shapes[i % SHAPES];
        const enum dino_dtype narrow = narrow_dtypes[i / SHAPES];
        if (i == SHAPES)
            continue; /* one column has no deviation */
        int total = 2 * s->rows + 1, *rows = malloc((size_t)s->rows * sizeof *rows);
        for (int r = 0; r < s->rows; r++)
            rows[r] = total - 1 - 2 * r;
        struct pair x = pair_new(total, s->cols, s->pad, 2, 1);
        struct pair y = pair_of(narrow, s->rows, s->cols, 1, 1, 2);
        struct pair w = pair_new(1, s->cols, 0, 1, 4), bias = pair_new(1, s->cols, 0, 1, 5);
        BOTH(&b, dn_norm, op_norm, .y = F(y), .x = F(x), .weight = F(w), .bias = F(bias),
             .rows = rows, .eps = 1e-6);
        pair_held(&b, &y, "train rows", narrow);
        struct pair dy = pair_of(narrow, s->rows, s->cols, 1, 1, 6);
        struct pair dx = pair_new(total, s->cols, 2, 1, 7), dw = pair_new(1, s->cols, 0, 1, 8);
        BOTH(&b, dn_layernorm_back, op_layernorm_back, .d_x = F(dx), .d_weight = F(dw),
             .d_bias = F(bias), .d_y = F(dy), .x = F(x), .weight = F(w), .rows = rows,
             .eps = 1e-6, .accumulate = true);
        pair_held(&b, &dx, "train rows", DINO_F32);
        pair_held(&b, &dw, "train rows", DINO_F32);
        pair_held(&b, &bias, "train rows", DINO_F32);
        BOTH(&b, dn_residual, op_residual, .y = F(dx), .x = F(x), .branch = F(dy),
             .gamma = F(w), .rows = rows, .alpha = 1.75);
        pair_held(&b, &dx, "train rows", DINO_F32);
        BOTH(&b, dn_residual_back, op_residual_back, .d_branch = F(y), .d_gamma = F(dw),
             .d_y = F(x), .branch = F(dy), .gamma = F(w), .rows = rows, .alpha = 0.5);
        pair_held(&b, &y, "train rows", narrow);
        pair_held(&b, &dw, "train rows", DINO_F32);
        struct pair part = pair_new(s->rows, s->cols, 1, 1, 9);
        BOTH(&b, dn_l2norm, op_l2norm, .y = F(y), .x = F(part), .eps = 1e-12);
        pair_held(&b, &y, "train rows", narrow);
        struct pair wide = pair_of(narrow, s->rows, 2 * s->cols, 1, 3, 10);
        struct pair d_wide = pair_of(narrow, s->rows, 2 * s->cols, 3, 1, 11);
        BOTH(&b, dn_swiglu_back, op_swiglu_back, .d_x = F(d_wide), .d_y = F(dy), .x = F(wide));
        pair_held(&b, &d_wide, "train rows", narrow);
        struct pair *all[] = {&x, &y, &w, &bias, &dy, &dx, &dw, &part, &wide, &d_wide};
        for (int j = 0; j < 10; j++)
            pair_free(all[j]);
        free(rows);
    }
    ops_close(&b);
}

TEST(nonlinearities_back_agree_far_from_zero_too)
{
    struct bench b = ops_open(0);

    for (int i = 0; i < SHAPES; i++)
        for (int far = 0; far < 2; far++) {
            const struct shape *s = &shapes[i];
            struct pair x = pair_new(s->rows, 2 * s->cols, s->pad, far ? 60 : 3, 1);
            struct pair dy = pair_new(s->rows, s->cols, 1, 1, 2);
            struct pair dx = pair_new(s->rows, 2 * s->cols, 2, 1, 3);
            ((float *)x.fast.mat.data)[0] = 0;
            ((double *)x.truth.data)[0] = 0;
            BOTH(&b, dn_swiglu_back, op_swiglu_back, .d_x = F(dx), .d_y = F(dy), .x = F(x));
            pair_check(&b, &dx, 1e-6, "swiglu_back");
            struct pair *all[] = {&x, &dy, &dx};
            for (int j = 0; j < 3; j++)
                pair_free(all[j]);
        }
    ops_close(&b);
}

TEST(branches_join_and_part_on_any_rows)
{
    struct bench b = ops_open(0);

    for (int i = 0; i < SHAPES; i++)
        for (int bits = 0; bits < 4; bits++) {
            const struct shape *s = &shapes[i];
            int total = 2 * s->rows + 1, *rows = malloc((size_t)s->rows * sizeof *rows);
            for (int r = 0; r < s->rows; r++)
                rows[r] = total - 1 - 2 * r;
            bool some = bits & 1, scaled = bits & 2;
            struct mat none = {0};
            struct pair x = pair_new(some ? total : s->rows, s->cols, s->pad, 1, 1);
            struct pair y = pair_new(x.truth.rows, s->cols, 2, 1, 2);
            struct pair branch = pair_new(s->rows, s->cols, 1, 1, 3);
            struct pair d = pair_new(s->rows, s->cols, 3, 1, 4);
            struct pair gamma = pair_new(1, s->cols, 0, 1, 5),
                        dg = pair_new(1, s->cols, 0, 1, 6);
            BOTH(&b, dn_residual, op_residual, .y = F(y), .x = F(x), .branch = F(branch),
                 .gamma = scaled ? F(gamma) : none, .rows = some ? rows : NULL, .alpha = 1.75);
            pair_check(&b, &y, 1e-6, "residual");
            BOTH(&b, dn_residual_back, op_residual_back, .d_branch = F(d),
                 .d_gamma = scaled ? F(dg) : none, .d_y = F(y), .branch = F(branch),
                 .gamma = scaled ? F(gamma) : none, .rows = some ? rows : NULL, .alpha = 1.75);
            pair_check(&b, &d, 1e-6, "residual_back");
            pair_check(&b, &dg, 1e-6, "residual_back gamma");
            BOTH(&b, dn_add_rows, op_add_rows, .y = F(x), .x = F(branch),
                 .to = some ? rows : NULL, .count = s->rows, .alpha = -2);
            pair_check(&b, &x, 1e-6, "add_rows");
            struct pair *all[] = {&x, &y, &branch, &d, &gamma, &dg};
            for (int j = 0; j < 6; j++)
                pair_free(all[j]);
            free(rows);
        }
    ops_close(&b);
}

TEST(lengths_and_softmaxes_agree)
{
    struct bench b = ops_open(0);

    for (int i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        struct pair x = pair_new(s->rows, s->cols, s->pad, 1, 1);
        struct pair dy = pair_new(s->rows, s->cols, 1, 1, 2);
        struct pair y = pair_new(s->rows, s->cols, 2, 1, 3), g = pair_new(s->rows, 1, 0, 1, 4);
        struct pair dg = pair_new(s->rows, 1, 1, 1, 5), c = pair_new(1, s->cols, 0, 1, 6);
        BOTH(&b, dn_l2norm, op_l2norm, .y = F(y), .x = F(x), .gain = F(g), .eps = 1e-12);
        pair_check(&b, &y, 1e-6, "l2norm");
        BOTH(&b, dn_l2norm_back, op_l2norm_back, .d_x = F(y), .d_gain = F(dg), .d_y = F(dy),
             .x = F(x), .gain = F(g), .eps = 1e-12, .accumulate = true);
        pair_check(&b, &dg, 1e-6, "l2norm_back gain");
        if (s->cols > 1) /* in one dimension the gradient is what rounding leaves */
            pair_check(&b, &y, 1e-6, "l2norm_back");
        BOTH(&b, dn_softmax, op_softmax, .y = F(y), .x = F(x), .centre = F(c),
             .temperature = 0.05);
        pair_check(&b, &y, 5e-6, "softmax");
        struct pair *all[] = {&x, &dy, &y, &g, &dg, &c};
        for (int j = 0; j < 6; j++)
            pair_free(all[j]);
    }
    ops_close(&b);
}

TEST(cross_entropy_and_sinkhorn_agree)
{
    struct bench b = ops_open(0);

    for (int i = 0; i < SHAPES; i++) {
        const struct shape *s = &shapes[i];
        int *rows = malloc(2 * (size_t)s->rows * sizeof *rows);
        double *weights = malloc((size_t)s->rows * sizeof *weights);
        struct pair x = pair_new(s->rows, s->cols, s->pad, 1, 1);
        struct pair t = pair_new(s->rows, s->cols, 1, 1, 2),
                    dx = pair_new(s->rows, s->cols, 2, 1, 3);
        struct pair losses = pair_new(s->rows, 1, 0, 1, 4), top = pair_new(1, 1, 0, 1, 5);
        struct pair sums = pair_new(1, s->cols, 0, 1, 6);
        for (int r = 0; r < s->rows; r++) {
            rows[2 * r] = r;
            rows[2 * r + 1] = s->rows - 1 - r;
            weights[r] = 1.0 / (r + 1);
        }
        BOTH(&b, dn_largest, op_largest, .y = F(top), .x = F(t));
        pair_check(&b, &top, 0, "largest");
        BOTH(&b, dn_exponential, op_exponential, .y = F(t), .x = F(t), .top = F(top),
             .temperature = 0.07);
        pair_check(&b, &t, 2e-6, "exponential");
        for (int round = 0; round < 3; round++) {
            BOTH(&b, dn_sum_columns, op_sum_columns, .y = F(sums), .x = F(t), .alpha = 1);
            BOTH(&b, dn_sinkhorn, op_sinkhorn, .q = F(t), .sums = F(sums));
        }
        pair_check(&b, &t, 1e-5, "sinkhorn");
        BOTH(&b, dn_cross_entropy, op_cross_entropy, .d_x = F(dx), .losses = F(losses),
             .x = F(x), .t = F(t), .rows = rows, .weights = weights, .per = 2,
             .temperature = 0.1);
        ops_finish(&b);
        if (s->cols > 1) { /* one class is certain: nothing but rounding */
            pair_check(&b, &losses, 1e-5, "cross_entropy losses");
            pair_check(&b, &dx, 1e-5, "cross_entropy");
        }
        struct pair *all[] = {&x, &t, &dx, &losses, &top, &sums};
        for (int j = 0; j < 6; j++)
            pair_free(all[j]);
        free(rows);
        free(weights);
    }
    ops_close(&b);
}

TEST(koleo_and_the_optimizer_agree)
{
    struct bench b = ops_open(0);
    int nearest[2][300];

    struct pair x = pair_new(300, 97, 3, 1, 1), u = pair_new(300, 97, 1, 1, 2);
    struct pair d = pair_new(300, 97, 2, 1, 3), losses = pair_new(300, 1, 0, 1, 4);
    BOTH(&b, dn_l2norm, op_l2norm, .y = F(u), .x = F(x), .eps = 1e-8);
    BOTH(&b, dn_koleo, op_koleo, .d_u = F(d), .losses = F(losses), .u = F(u),
         .nearest = nearest[fast_], .weight = 0.1);
    pair_check(&b, &d, 2e-6, "koleo");
    pair_check(&b, &losses, 1e-5, "koleo losses");
    CHECK(memcmp(nearest[0], nearest[1], sizeof nearest[0]) == 0);

    struct pair p = pair_new(1, 40000, 0, 1, 5), m = pair_new(1, 40000, 0, 1, 6);
    struct pair v = pair_new(1, 40000, 0, 1, 7), g = pair_new(1, 40000, 0, 1, 8);
    for (int c = 0; c < 40000; c++) { /* a second moment is not negative */
        ((float *)v.fast.mat.data)[c] = fabsf(((float *)v.fast.mat.data)[c]);
        ((double *)v.truth.data)[c] = fabs(((double *)v.truth.data)[c]);
    }
    BOTH(&b, dn_adamw, op_adamw, .p = F(p), .m = F(m), .v = F(v), .g = F(g), .lr = 0.01,
         .decay = 0.04, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .grad_scale = 0.3,
         .step = 7);
    pair_check(&b, &p, 1e-6, "adamw p");
    pair_check(&b, &m, 1e-6, "adamw m");
    pair_check(&b, &v, 1e-6, "adamw v");
    BOTH(&b, dn_lerp, op_lerp, .y = F(p), .x = F(g), .keep = 0.9, .add = 0.1);
    pair_check(&b, &p, 1e-6, "lerp");
    double squares[2];
    BOTH(&b, dn_sum_squares, op_sum_squares, .y = dn_mat(&squares[fast_], 1, 1, DINO_F64),
         .x = F(g));
    ops_finish(&b);
    CHECK(fabs(squares[0] - squares[1]) <= 1e-6 * squares[0]);
    struct pair *all[] = {&x, &u, &d, &losses, &p, &m, &v, &g};
    for (int j = 0; j < 8; j++)
        pair_free(all[j]);
    ops_close(&b);
}
