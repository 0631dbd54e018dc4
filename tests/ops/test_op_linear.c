/* linear on every device against the reference: shapes, epilogues, strides, aliasing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "ops/testing_ops.h"

enum residual_kind { NO_RESIDUAL, IN_PLACE, SEPARATE, ONE_ROW };

struct linear_case {
    int m, n, k, pad;
    bool bias, gelu, scale, scaled_bias;
    enum residual_kind residual;
    enum dino_dtype x, y; /* DINO_AUTO: the device's activation */
};

/* f32 [n, k] that the device's dtype can hold, so that packing rounds nothing. */
static float *weights(const struct bench *b, int n, int k, uint64_t seed)
{
    float *w = ops_vector(n * k, 1 / sqrtf((float)k), seed);

    for (int i = 0; b->dtype == DINO_BF16 && i < n * k; i++)
        w[i] = dn_bf16_to_f32(dn_f32_to_bf16(w[i]));
    for (int i = 0; b->dtype == DINO_F16 && i < n * k; i++)
        w[i] = dn_f16_to_f32(dn_f32_to_f16(w[i]));
    return w;
}

static enum dino_dtype dtype_or(enum dino_dtype wanted, const struct bench *b)
{
    return wanted == DINO_AUTO ? b->dtype : wanted;
}

/* What the reference makes of rows first .. first + rows - 1. */
static void check_part(struct bench *b, const struct linear_case *t, struct op_linear op,
                       struct mat residual, const struct guarded *y, int first, int rows,
                       const char *what)
{
    struct mat truth = ops_truth(rows, t->n);

    op.x = dn_mat_rows(op.x, first, rows);
    op.y = truth;
    op.residual = residual;
    if (residual.data && residual.rows > 1)
        op.residual = dn_mat_rows(residual, first, rows);
    dn_linear(b->ref_queue, op);
    ops_finish(b);
    ops_check_rows(b->device->dtype == DINO_TF32 ? "linear tf32" : "linear",
                   t->x == DINO_F32 && y->mat.dtype == DINO_F32 ? b->dtype : y->mat.dtype, y,
                   first, truth, what);
    free(truth.data);
}

static void check_linear(struct bench *b, const struct linear_case *t)
{
    struct dino_error err = {0};
    uint64_t seed = (uint64_t)(t->m * 31 + t->n * 7 + t->k);
    struct guarded x = ops_random(t->m, t->k, t->pad, dtype_or(t->x, b), 1, seed);
    struct guarded y = ops_random(t->m, t->n, t->pad, dtype_or(t->y, b), 1, seed + 1);
    struct guarded residual = t->residual == IN_PLACE
                                  ? ops_like(&y)
                                  : ops_random(t->residual == ONE_ROW ? 1 : t->m, t->n,
                                               2 * t->pad, DINO_F32, 1, seed + 2);
    float *values = weights(b, t->n, t->k, seed + 3), *bias = ops_vector(t->n, 1, seed + 4);
    float *scale = ops_vector(t->n, 1, seed + 5), *scaled_bias = ops_vector(t->n, 1, seed + 6);
    struct mat w = dn_mat(values, t->n, t->k, DINO_F32);
    struct weight *packed = b->device->ops->pack(b->device, w, t->bias ? bias : NULL, &err);
    struct weight *exact = b->ref->ops->pack(b->ref, w, t->bias ? bias : NULL, &err);
    char what[120];

    for (int i = 0; i < t->n; i++)
        scaled_bias[i] = scale[i] * bias[i];
    snprintf(what, sizeof what, "m %d n %d k %d pad %d bias %d gelu %d scale %d%s residual %d",
             t->m, t->n, t->k, t->pad, t->bias, t->gelu, t->scale, t->scaled_bias ? "b" : "",
             t->residual);
    CHECK_OK(packed && exact, err);
    struct op_linear op = {.y = y.mat,
                           .x = x.mat,
                           .w = packed,
                           .act = t->gelu ? OP_GELU : OP_NONE,
                           .scale = t->scale ? scale : NULL,
                           .scaled_bias = t->scaled_bias ? scaled_bias : NULL};
    if (t->residual != NO_RESIDUAL)
        op.residual = t->residual == IN_PLACE ? y.mat : residual.mat;
    dn_linear(b->queue, op);
    ops_finish(b);

    op.w = exact;
    struct mat kept = t->residual == NO_RESIDUAL ? (struct mat){0} : residual.mat;
    int part = t->m > 24 ? 8 : t->m;
    check_part(b, t, op, kept, &y, 0, part, what);
    check_part(b, t, op, kept, &y, (t->m - part) / 2, part, what);
    check_part(b, t, op, kept, &y, t->m - part, part, what);
    ops_check_guards(&x);
    ops_check_guards(&residual);

    b->device->ops->weight_free(b->device, packed);
    b->ref->ops->weight_free(b->ref, exact);
    ops_free(&x);
    ops_free(&y);
    ops_free(&residual);
    free(values);
    free(bias);
    free(scale);
    free(scaled_bias);
}

static void check_all(const struct linear_case *cases, size_t count)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (size_t i = 0; i < count; i++)
            check_linear(&b, &cases[i]);
        ops_close(&b);
    }
}

TEST(every_shape_agrees_with_the_reference)
{
    static const int rows[] = {1, 15, 16, 17, 31, 257, 1370};
    static const int cols[] = {1, 7, 16, 63, 64, 65, 384, 588};
    struct linear_case cases[7 * 8 * 2];
    size_t count = 0;

    for (size_t r = 0; r < 7; r++)
        for (size_t c = 0; c < 8; c++) {
            int other = cols[(c + 3) % 8];
            cases[count++] = (struct linear_case){.m = rows[r],
                                                  .n = cols[c],
                                                  .k = other,
                                                  .bias = true,
                                                  .x = DINO_AUTO,
                                                  .y = DINO_AUTO};
            cases[count++] = (struct linear_case){.m = rows[r],
                                                  .n = other,
                                                  .k = cols[c],
                                                  .pad = 5,
                                                  .x = DINO_AUTO,
                                                  .y = DINO_AUTO};
        }
    check_all(cases, count);
}

TEST(every_epilogue_agrees_with_the_reference)
{
    static const int shapes[][3] = {{1, 65, 7}, {17, 64, 63}, {17, 65, 384}, {257, 384, 64}};
    struct linear_case cases[4 * 32 * 2];
    size_t count = 0;

    for (size_t s = 0; s < 4; s++)
        for (int bits = 0; bits < 64; bits++) {
            struct linear_case t = {.m = shapes[s][0],
                                    .n = shapes[s][1],
                                    .k = shapes[s][2],
                                    .pad = bits & 32 ? 3 : 0,
                                    .bias = bits & 1,
                                    .gelu = bits & 2,
                                    .scale = bits & 4,
                                    .scaled_bias = s > 0 && (bits & 5) == 5,
                                    .residual = (enum residual_kind)(bits >> 3 & 3),
                                    .x = DINO_AUTO,
                                    .y = DINO_AUTO};
            if (t.residual == IN_PLACE)
                t.y = DINO_F32;
            cases[count++] = t;
        }
    check_all(cases, count);
}

TEST(inputs_and_results_may_be_f32_on_every_device)
{
    static const struct linear_case cases[] = {
        {.m = 17, .n = 65, .k = 63, .bias = true, .x = DINO_F32, .y = DINO_F32},
        {.m = 17, .n = 65, .k = 63, .pad = 1, .gelu = true, .x = DINO_F32, .y = DINO_AUTO},
        {.m = 31,
         .n = 64,
         .k = 588,
         .scale = true,
         .residual = IN_PLACE,
         .x = DINO_AUTO,
         .y = DINO_F32},
        {.m = 31,
         .n = 64,
         .k = 588,
         .scale = true,
         .residual = SEPARATE,
         .x = DINO_AUTO,
         .y = DINO_F32},
    };
    check_all(cases, sizeof cases / sizeof *cases);
}

/* A file's f16 or bf16 [37, 33] inside rows of 40; numbers that both can hold. */
TEST(halves_are_packed_as_they_lie)
{
    static const enum dino_dtype dtypes[] = {DINO_F16, DINO_BF16};
    int devices = ops_devices();

    for (int i = 0; i < 2 * devices; i++) {
        struct bench b = ops_open(i / 2);
        enum dino_dtype dtype = dtypes[i % 2];
        struct dino_error err = {0};
        float *values = ops_vector(37 * 40, 1, 5);
        uint16_t *half = malloc(37 * 40 * sizeof *half);
        struct guarded x = ops_random(17, 33, 0, b.dtype, 1, 1);
        struct guarded y = ops_random(17, 37, 0, b.dtype, 1, 2);
        struct mat truth = ops_truth(17, 37);

        dn_from_f32(half, DINO_BF16, values, 37 * 40);
        dn_to_f32(values, half, DINO_BF16, 37 * 40);
        dn_from_f32(half, dtype, values, 37 * 40);
        struct mat plain = dn_mat_cols(dn_mat(values, 37, 40, DINO_F32), 2, 33);
        struct weight_source from = {.w = dn_mat_cols(dn_mat(half, 37, 40, dtype), 2, 33)};
        struct weight *exact = b.ref->ops->pack(b.ref, plain, NULL, &err);
        CHECK_OK(exact, err);
        dn_linear(b.ref_queue, (struct op_linear){.y = truth, .x = x.mat, .w = exact});
        if (b.device->ops->pack_any) {
            struct weight *packed = b.device->ops->pack_any(b.device, &from, &err);
            CHECK_OK(packed, err);
            dn_linear(b.queue, (struct op_linear){.y = y.mat, .x = x.mat, .w = packed});
            ops_finish(&b);
            ops_check("linear", b.dtype, &y, truth, dino_dtype_name(dtype));
            b.device->ops->weight_free(b.device, packed);
        }
        b.ref->ops->weight_free(b.ref, exact);
        ops_free(&x);
        ops_free(&y);
        free(truth.data);
        free(half);
        free(values);
        ops_close(&b);
    }
}

TEST(a_weight_may_lie_anywhere_and_have_a_stride)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        struct dino_error err = {0};
        float *values = weights(&b, 65, 40, 5);
        char *odd = malloc(65 * 40 * 4 + 3);
        struct mat plain = dn_mat_cols(dn_mat(values, 65, 40, DINO_F32), 2, 33);
        struct mat moved = plain;
        struct guarded x = ops_random(17, 33, 0, b.dtype, 1, 1);
        struct guarded y = ops_random(17, 65, 0, b.dtype, 1, 2);
        struct mat truth = ops_truth(17, 65);

        memcpy(odd + 3, values, 65 * 40 * 4);
        moved.data = odd + 3 + 8;
        struct weight *packed = b.device->ops->pack(b.device, moved, NULL, &err);
        struct weight *exact = b.ref->ops->pack(b.ref, moved, NULL, &err);
        struct weight *still = b.device->ops->pack(b.device, plain, NULL, &err);
        CHECK_OK(packed && exact && still, err);
        dn_linear(b.ref_queue, (struct op_linear){.y = truth, .x = x.mat, .w = exact});
        dn_linear(b.queue, (struct op_linear){.y = y.mat, .x = x.mat, .w = packed});
        ops_finish(&b);
        ops_check("linear", b.dtype, &y, truth, "odd address");
        dn_linear(b.queue, (struct op_linear){.y = y.mat, .x = x.mat, .w = still});
        ops_finish(&b);
        ops_check("linear", b.dtype, &y, truth, "stride");

        CHECK(packed->rows == 65 && packed->cols == 33 && packed->bytes >= 65 * 33);
        b.device->ops->weight_free(b.device, packed);
        b.device->ops->weight_free(b.device, still);
        b.ref->ops->weight_free(b.ref, exact);
        ops_free(&x);
        ops_free(&y);
        free(truth.data);
        free(values);
        free(odd);
        ops_close(&b);
    }
}

/* More shapes than a queue keeps compiled: the old ones are compiled again. */
TEST(any_number_of_shapes_may_come_and_go)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int round = 0; round < 2; round++)
            for (int m = 1; m < 150; m++) {
                struct linear_case t = {
                    .m = m, .n = 9, .k = 5, .bias = true, .x = DINO_AUTO, .y = DINO_AUTO};
                check_linear(&b, &t);
            }
        ops_close(&b);
    }
}
