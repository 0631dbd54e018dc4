/* swiglu, gelu and copy on every device against the reference. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/testing_ops.h"

static const int row_counts[] = {1, 15, 16, 17, 31, 257, 1370};
static const int col_counts[] = {1, 7, 16, 63, 64, 65, 384, 588, 1536};
enum { ROW_COUNTS = 7, COL_COUNTS = 9 };

static void check_swiglu(struct bench *b, int rows, int hidden, int pad, float spread)
{
    struct guarded x = ops_random(rows, 2 * hidden, pad, b->dtype, spread, 71);
    struct guarded y = ops_random(rows, hidden, 2 * pad, b->dtype, 1, 72);
    struct mat truth = ops_truth(rows, hidden);

    dn_swiglu(b->queue, (struct op_swiglu){.y = y.mat, .x = x.mat});
    dn_swiglu(b->ref_queue, (struct op_swiglu){.y = truth, .x = x.mat});
    ops_finish(b);
    ops_check("swiglu", b->dtype, &y, truth, "");
    ops_check_guards(&x);
    ops_free(&x);
    ops_free(&y);
    free(truth.data);
}

TEST(swiglu_agrees_on_every_shape)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int i = 0; i < ROW_COUNTS; i++)
            for (int j = 0; j < COL_COUNTS; j++)
                check_swiglu(&b, row_counts[i], col_counts[j], i % 3,
                             i % 2 || b.dtype == DINO_F16 ? 4 : 90); /* f16 ends at e-8 */
        ops_close(&b);
    }
}

static void check_gelu(struct bench *b, int rows, int cols, int pad, enum dino_dtype dtype,
                       bool in_place)
{
    struct guarded x = ops_random(rows, cols, pad, dtype, 5, 81);
    struct guarded kept = ops_like(&x);
    struct guarded y = in_place ? x : ops_random(rows, cols, 2 * pad, dtype, 1, 82);
    struct mat truth = ops_truth(rows, cols);

    dn_gelu(b->queue, (struct op_gelu){.y = y.mat, .x = x.mat});
    dn_gelu(b->ref_queue, (struct op_gelu){.y = truth, .x = kept.mat});
    ops_finish(b);
    ops_check("gelu", dtype, &y, truth, "");
    ops_check_guards(&x);
    ops_free(&x);
    if (!in_place)
        ops_free(&y);
    ops_free(&kept);
    free(truth.data);
}

TEST(gelu_agrees_on_every_shape_also_in_place)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int i = 0; i < ROW_COUNTS; i++)
            for (int j = 0; j < COL_COUNTS; j++) {
                check_gelu(&b, row_counts[i], col_counts[j], i % 3, b.dtype, j % 2);
                check_gelu(&b, row_counts[i], col_counts[j], i % 2, DINO_F32, i % 2);
            }
        ops_close(&b);
    }
}

/* y = f(x) for n numbers between low and high, and the worst error in units of the last
 * place of the true value (of at least `floor`, below which only that much is promised). */
static double worst_ulps(struct bench *b, bool silu, double low, double high, double floor)
{
    enum { COUNT = 20000 };
    float *x = malloc(2 * COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    double *truth = malloc(COUNT * sizeof *truth), worst = 0;

    CHECK(x && y && truth);
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)(low + (high - low) * i / (COUNT - 1));
        x[COUNT + i] = 1;
    }
    struct mat from = dn_mat(x, 1, silu ? 2 * COUNT : COUNT, DINO_F32);
    struct mat to = dn_mat(y, 1, COUNT, DINO_F32), exact = dn_mat(truth, 1, COUNT, DINO_F64);
    if (silu) {
        dn_swiglu(b->queue, (struct op_swiglu){.y = to, .x = from});
        dn_swiglu(b->ref_queue, (struct op_swiglu){.y = exact, .x = from});
    } else {
        dn_gelu(b->queue, (struct op_gelu){.y = to, .x = from});
        dn_gelu(b->ref_queue, (struct op_gelu){.y = exact, .x = from});
    }
    ops_finish(b);
    for (int i = 0; i < COUNT; i++) {
        double size = fmax(fabs(truth[i]), floor);
        double ulp = ldexp(1, ilogb(size) - 23);
        double error = fabs(y[i] - truth[i]) / ulp;
        CHECK(isfinite(y[i]));
        worst = fmax(worst, error);
    }
    free(x);
    free(y);
    free(truth);
    return worst;
}

TEST(gelu_and_silu_are_good_to_the_last_places_of_f32)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        static const struct {
            bool silu;
            double low, high, floor, ulps;
        } ranges[] = {
            {false, -1, 8, 1e-28, 5},    {false, -5, -1, 1e-28, 10},
            {false, -13, -5, 1e-28, 12}, {false, -40, 40, 1e-28, 12},
            {true, -40, 88, 1e-28, 5},   {true, -200, 200, 1e-28, 5},
        };
        for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
            double ulps =
                worst_ulps(&b, ranges[i].silu, ranges[i].low, ranges[i].high, ranges[i].floor);
            if (getenv("DINO_TEST_MEASURE"))
                print_message("MEASURE %s %g..%g: %.2f ulp\n", ranges[i].silu ? "silu" : "gelu",
                              ranges[i].low, ranges[i].high, ulps);
            if (!(ulps <= ranges[i].ulps))
                fail_msg("%s between %g and %g: %.2f ulp, allowed %g",
                         ranges[i].silu ? "silu" : "gelu", ranges[i].low, ranges[i].high, ulps,
                         ranges[i].ulps);
        }
        ops_close(&b);
    }
}

/* Infinity and NaN go through as the formula says; nothing becomes one. */
TEST(gelu_and_swiglu_know_infinity_and_nan)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        float x[32], y[16];
        for (int i = 0; i < 32; i++)
            x[i] = 1;
        x[0] = INFINITY, x[1] = NAN, x[2] = 0, x[3] = -0.0F, x[4] = 1e-40F, x[5] = 3e38F,
        x[6] = -3e38F, x[7] = -1e-40F;
        dn_gelu(b.queue, (struct op_gelu){.y = dn_mat(y, 1, 16, DINO_F32),
                                          .x = dn_mat(x, 1, 16, DINO_F32)});
        ops_finish(&b);
        CHECK(y[0] == INFINITY && isnan(y[1]) && y[2] == 0 && y[3] == 0 &&
              fabsf(y[4]) < 2e-40F);
        CHECK(y[5] == 3e38F && y[6] == 0 && fabsf(y[7]) < 2e-40F);
        dn_swiglu(b.queue, (struct op_swiglu){.y = dn_mat(y, 1, 16, DINO_F32),
                                              .x = dn_mat(x, 1, 32, DINO_F32)});
        ops_finish(&b);
        CHECK(y[0] == INFINITY && isnan(y[1]) && y[2] == 0 && y[3] == 0 &&
              fabsf(y[4]) < 2e-40F);
        CHECK(y[5] == 3e38F && y[6] == 0 && fabsf(y[7]) < 2e-40F);
        ops_close(&b);
    }
}

/* A conversion is one rounding: the same bits as the reference, whatever the values. */
static void check_copy(struct bench *b, int rows, int cols, int pad, enum dino_dtype from,
                       enum dino_dtype to)
{
    struct guarded x = ops_random(rows, cols, pad, from, 100, 91);
    struct guarded y = ops_random(rows, cols, 2 * pad, to, 1, 92), truth = ops_like(&y);

    for (int c = 0; from == DINO_F32 && c < cols; c++) { /* all sizes, down to subnormal */
        uint32_t bits = (uint32_t)c * 2654435761U;
        memcpy((char *)x.mat.data + 4 * c, &bits, sizeof bits);
        float value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            memset((char *)x.mat.data + 4 * c, 0, 4);
    }
    dn_copy(b->queue, (struct op_copy){.y = y.mat, .x = x.mat});
    dn_copy(b->ref_queue, (struct op_copy){.y = truth.mat, .x = x.mat});
    ops_finish(b);
    if (memcmp(y.block, truth.block, y.bytes) != 0)
        fail_msg("copy of %d x %d from %s to %s differs", rows, cols, dino_dtype_name(from),
                 dino_dtype_name(to));
    ops_check_guards(&y);
    ops_free(&x);
    ops_free(&y);
    ops_free(&truth);
}

TEST(copy_converts_with_one_rounding_to_nearest_even)
{
    static const enum dino_dtype types[] = {DINO_F32, DINO_F64, DINO_BF16, DINO_F16};
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int t = 0; t < 16; t++)
            for (int j = 0; j < COL_COUNTS; j++) {
                check_copy(&b, 5, col_counts[j], j % 3, types[t / 4], types[t % 4]);
                check_copy(&b, t == 2 ? 1370 : 1, col_counts[j], 1, types[t / 4], types[t % 4]);
            }
        ops_close(&b);
    }
}

/* All 65,536 16-bit patterns to f32 and back give themselves (NaN stays NaN). */
TEST(every_16_bit_number_survives_the_way_to_f32_and_back)
{
    static const enum dino_dtype types[] = {DINO_BF16, DINO_F16};
    int devices = ops_devices();
    uint16_t *x = malloc(65536 * sizeof *x), *back = malloc(65536 * sizeof *back);
    float *wide = malloc(65536 * sizeof *wide);

    CHECK(x && back && wide);
    for (int i = 0; i < 65536; i++)
        x[i] = (uint16_t)i;
    for (int d = 0; d < devices; d++)
        for (int t = 0; t < 2; t++) {
            struct bench b = ops_open(d);
            struct mat from = dn_mat(x, 16, 4096, types[t]);
            struct mat middle = dn_mat(wide, 16, 4096, DINO_F32);
            struct mat to = dn_mat(back, 16, 4096, types[t]);
            dn_copy(b.queue, (struct op_copy){.y = middle, .x = from});
            dn_copy(b.queue, (struct op_copy){.y = to, .x = middle});
            ops_finish(&b);
            for (int i = 0; i < 65536; i++)
                CHECK(isnan(wide[i]) ? isnan(ops_get(to, i / 4096, i % 4096)) : back[i] == i);
            ops_close(&b);
        }
    free(x);
    free(back);
    free(wide);
}

/* Halfway cases go to even, and what is too large becomes infinite, as the software form has
 * it; NaN stays NaN. */
TEST(roundings_to_16_bits_are_those_of_the_software_form)
{
    static const enum dino_dtype types[] = {DINO_BF16, DINO_F16};
    int devices = ops_devices();
    enum { COUNT = 1 << 16 };
    float *x = malloc(COUNT * sizeof *x);
    uint16_t *y = malloc(COUNT * sizeof *y), *truth = malloc(COUNT * sizeof *truth);

    CHECK(x && y && truth);
    for (uint32_t i = 0; i < COUNT; i++) { /* each upper half with telling lower halves */
        static const uint32_t low[] = {0,      0x8000, 0x7fff, 0x8001,
                                       0x1000, 0x0fff, 0x3000, 0xffff};
        uint32_t bits = i << 16 | low[i * 2654435761U >> 29];
        memcpy(&x[i], &bits, sizeof bits);
        if (isnan(x[i]))
            x[i] = (float)i;
    }
    for (int d = 0; d < devices; d++)
        for (int t = 0; t < 2; t++) {
            struct bench b = ops_open(d);
            struct op_copy op = {.y = dn_mat(y, 1, COUNT, types[t]),
                                 .x = dn_mat(x, 1, COUNT, DINO_F32)};
            dn_copy(b.queue, op);
            op.y.data = truth;
            dn_copy(b.ref_queue, op);
            ops_finish(&b);
            for (int i = 0; i < COUNT; i++)
                if (y[i] != truth[i])
                    fail_msg("%a to %s is %04x, wanted %04x", (double)x[i],
                             dino_dtype_name(types[t]), (unsigned)y[i], (unsigned)truth[i]);
            ops_close(&b);
        }
    free(x);
    free(y);
    free(truth);
}
