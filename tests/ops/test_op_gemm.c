/*
 * Our own matrix products, whether or not the device "cpu" prefers oneDNN's: every instruction
 * set that this processor has, in f32, bf16 and int8, against the reference.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/int8.h"
#include "compute/cpu/cpu_gemm.h"
#include "ops/testing_ops.h"

/* One instruction set and arithmetic, and a queue whose scratch and threads it uses. */
struct subject {
    const struct gemm_kernels *kernels;
    enum dino_dtype dtype;
    struct bench bench;
};

/* Call check for every instruction set and dtype. */
static void for_all(void (*check)(struct subject *s))
{
    static const enum dino_dtype dtypes[] = {DINO_F32, DINO_BF16, DINO_I8};

    ops_devices();
    for (int isa = DN_ISA_C; isa <= (int)dn_cpu_features().isa; isa++)
        for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
            struct subject s = {dn_gemm_choose((enum dn_isa)isa), dtypes[i], ops_open(0)};
            check(&s);
            ops_close(&s.bench);
        }
}

/* f32 [n, k] that the dtype can hold, so that packing rounds nothing; int8 must round. */
static float *weights(const struct subject *s, int n, int k, uint64_t seed)
{
    float *w = ops_vector(n * k, 1 / sqrtf((float)k), seed);

    for (int i = 0; s->dtype == DINO_BF16 && i < n * k; i++)
        w[i] = dn_bf16_to_f32(dn_f32_to_bf16(w[i]));
    return w;
}

struct gemm_case {
    int m, n, k, pad;
    bool bias, gelu, scale, residual, one_row, gated;
    enum dino_dtype x, y;
};

static void check_case(struct subject *s, const struct gemm_case *t)
{
    struct bench *b = &s->bench;
    struct dino_error err = {0};
    uint64_t seed = (uint64_t)(t->m * 31 + t->n * 7 + t->k);
    struct guarded x = ops_random(t->m, t->k, t->pad, t->x, 1, seed);
    struct guarded y = ops_random(t->m, t->n, t->pad, t->y, 1, seed + 1);
    struct guarded residual =
        ops_random(t->one_row ? 1 : t->m, t->n, 2 * t->pad, DINO_F32, 1, seed + 2);
    int outputs = t->gated ? 2 * t->n : t->n;
    float *values = weights(s, outputs, t->k, seed + 3),
          *bias = ops_vector(outputs, 1, seed + 4);
    float *scale = ops_vector(t->n, 1, seed + 5);
    struct mat w = dn_mat(values, outputs, t->k, DINO_F32), truth = ops_truth(t->m, t->n);
    struct weight_source from = {.w = w, .bias = t->bias ? bias : NULL, .gated = t->gated};
    struct weight *packed = dn_gemm_pack(s->kernels, s->dtype, &from, 2, &err);
    struct weight *exact = b->ref->ops->pack(b->ref, w, t->bias ? bias : NULL, &err);
    char what[160];

    CHECK_OK(packed && exact, err);
    snprintf(what, sizeof what,
             "%s m %d n %d k %d pad %d bias %d gelu %d gated %d scale %d residual %d",
             dn_gemm_name(s->kernels), t->m, t->n, t->k, t->pad, t->bias, t->gelu, t->gated,
             t->scale, t->residual + t->one_row);
    struct op_linear op = {.y = y.mat,
                           .x = x.mat,
                           .w = packed,
                           .act = t->gelu    ? OP_GELU
                                  : t->gated ? OP_SWIGLU
                                             : OP_NONE,
                           .scale = t->scale ? scale : NULL};
    if (t->residual)
        op.residual = residual.mat;
    dn_gemm_linear(b->queue, s->kernels, &op);
    op.y = truth;
    op.w = exact;
    dn_linear(b->ref_queue, op);
    ops_finish(b);
    bool rough = s->dtype != DINO_F32 || t->y == DINO_BF16;
    ops_check(s->dtype == DINO_I8 ? "linear int8" : "linear", rough ? DINO_BF16 : DINO_F32, &y,
              truth, what);
    ops_check_guards(&x);
    ops_check_guards(&residual);

    dn_gemm_weight_free(packed);
    b->ref->ops->weight_free(b->ref, exact);
    ops_free(&x);
    ops_free(&y);
    ops_free(&residual);
    free(truth.data);
    free(values);
    free(bias);
    free(scale);
}

static void check_shapes(struct subject *s)
{
    static const int sizes[] = {1, 7, 15, 16, 17, 31, 33, 63, 100, 257};

    for (int m = 0; m < 10; m++)
        for (int i = 0; i < 10; i++)
            check_case(s, &(struct gemm_case){.m = sizes[m],
                                              .n = sizes[i],
                                              .k = sizes[(m + 3 * i + 3) % 10],
                                              .pad = i & 3,
                                              .bias = i & 1,
                                              .x = i & 2 || s->dtype == DINO_BF16 ? DINO_BF16
                                                                                  : DINO_F32,
                                              .y = m & 1 ? DINO_BF16 : DINO_F32});
    /* k in several steps, many rows and panels */
    check_case(s, &(struct gemm_case){
                      .m = 33, .n = 40, .k = 4097, .bias = true, .x = DINO_F32, .y = DINO_F32});
    check_case(s,
               &(struct gemm_case){.m = 300, .n = 700, .k = 20, .x = DINO_F32, .y = DINO_F32});
    for (int end = 0; end < 3; end++)
        check_case(s, &(struct gemm_case){.m = 1370,
                                          .n = 65,
                                          .k = 63,
                                          .pad = end,
                                          .bias = true,
                                          .gelu = end == 1,
                                          .gated = end == 2,
                                          .x = DINO_F32,
                                          .y = DINO_F32});
}

TEST(every_shape_in_every_instruction_set_agrees_with_the_reference)
{
    for_all(check_shapes);
}

static void check_epilogues(struct subject *s)
{
    for (int bits = 0; bits < 128; bits++)
        check_case(s, &(struct gemm_case){.m = 17,
                                          .n = 65,
                                          .k = 63,
                                          .pad = bits & 64 ? 3 : 0,
                                          .bias = bits & 1,
                                          .gelu = bits & 2,
                                          .scale = bits & 4,
                                          .residual = bits & 8,
                                          .one_row = bits & 16,
                                          .x = DINO_F32,
                                          .y = bits & 32 ? DINO_BF16 : DINO_F32});
}

static void check_gates(struct subject *s)
{
    static const int rows[] = {1, 7, 15, 16, 17, 31, 33, 257},
                     cols[] = {1, 3, 4, 7, 8, 15, 16, 17, 31, 65};

    for (int m = 0; m < 8; m++)
        for (int i = 0; i < 10; i++)
            check_case(s, &(struct gemm_case){.m = rows[m],
                                              .n = cols[i],
                                              .k = cols[(m + i) % 10] + 16 * m,
                                              .pad = i & 3,
                                              .bias = i & 1,
                                              .gated = true,
                                              .x = i & 2 ? DINO_BF16 : DINO_F32,
                                              .y = m & 1 ? DINO_BF16 : DINO_F32});
}

TEST(every_gated_product_in_every_instruction_set_agrees_with_the_reference)
{
    for_all(check_gates);
}

/* Gates so large that their exponentials overflow, and NaN. */
static void check_large_gates(struct subject *s)
{
    static const float gates[] = {-1e30F, -1e4F, -100, -88, 88, 100, 1e4F, 1e30F, NAN};
    struct dino_error err = {0};
    float x[9], w[2] = {1, 0}, bias[2] = {0, 2}, y[9];
    struct weight_source from = {.w = dn_mat(w, 2, 1, DINO_F32), .bias = bias, .gated = true};

    if (s->dtype == DINO_I8)
        return;
    struct weight *packed = dn_gemm_pack(s->kernels, s->dtype, &from, 1, &err);
    CHECK_OK(packed, err);
    memcpy(x, gates, sizeof x);
    struct op_linear op = {.y = dn_mat(y, 9, 1, DINO_F32),
                           .x = dn_mat(x, 9, 1, DINO_F32),
                           .w = packed,
                           .act = OP_SWIGLU};
    dn_gemm_linear(s->bench.queue, s->kernels, &op);
    ops_finish(&s->bench);
    for (int i = 0; i < 8; i++)
        CHECK(gates[i] < 0 ? fabsf(y[i]) < 1e-7F : fabsf(y[i] / (2 * gates[i]) - 1) < 1e-2F);
    CHECK(isnan(y[8]));
    dn_gemm_weight_free(packed);
}

TEST(gates_of_any_size_stay_finite)
{
    for_all(check_large_gates);
}

TEST(every_epilogue_in_every_instruction_set_agrees_with_the_reference)
{
    for_all(check_epilogues);
}

/* The largest bytes of either sign: where 16 bits would overflow. */
static void check_extremes(struct subject *s)
{
    enum { M = 5, N = 35, K = 1030 };
    struct dino_error err = {0};
    float *x = ops_vector(M * K, 1, 1), *w = ops_vector(N * K, 1, 2),
          *y = ops_vector(M * N, 1, 3);

    if (s->dtype != DINO_I8)
        goto done;
    for (int i = 0; i < M * K; i++)
        x[i] = i % K == 0 ? 0 : i % K == 1 ? 255 : i / K == 0 ? 255 : (float)(i * 37 % 256);
    for (int i = 0; i < N * K; i++)
        w[i] = i / K == 0 ? 127 : i / K == 1 || i % K == 0 ? -127 : (float)(i * 53 % 255 - 127);
    struct weight_source from = {.w = dn_mat(w, N, K, DINO_F32)};
    struct weight *packed = dn_gemm_pack(s->kernels, DINO_I8, &from, 1, &err);
    CHECK_OK(packed, err);
    struct op_linear op = {
        .y = dn_mat(y, M, N, DINO_F32), .x = dn_mat(x, M, K, DINO_F32), .w = packed};
    dn_gemm_linear(s->bench.queue, s->kernels, &op);
    ops_finish(&s->bench);
    for (int i = 0; i < M * N; i++) {
        double sum = 0;
        for (int k = 0; k < K; k++)
            sum += (double)x[i / N * K + k] * (double)w[i % N * K + k];
        CHECK(y[i] == (float)sum);
    }
    dn_gemm_weight_free(packed);
done:
    free(x);
    free(w);
    free(y);
}

TEST(int8_sums_are_exact_at_the_largest_bytes)
{
    for_all(check_extremes);
}

/* Quantised by base/int8 or by the kernels while packing: the same packed weight. */
static void check_int8_source(struct subject *s)
{
    static const int sizes[] = {1, 7, 15, 16, 17, 31, 257, 1370};
    enum { N = 37 };

    for (int i = 0; s->dtype == DINO_I8 && i < 8; i++) {
        struct dino_error err = {0};
        int k = sizes[i];
        float *w = ops_vector(N * k, 1, (uint64_t)i), scale[N];
        int8_t *bytes = malloc((size_t)(N * k));
        memset(w + k, 0, (size_t)k * sizeof *w);
        for (int r = 0; r < N; r++)
            dn_int8_row(bytes + r * k, &scale[r], w + r * k, (size_t)k);
        struct weight_source plain = {.w = dn_mat(w, N, k, DINO_F32)};
        struct weight_source stored = {.w = dn_mat(bytes, N, k, DINO_I8), .scale = scale};
        struct gemm_weight *a =
            (struct gemm_weight *)dn_gemm_pack(s->kernels, DINO_I8, &plain, 1, &err);
        struct gemm_weight *b =
            (struct gemm_weight *)dn_gemm_pack(s->kernels, DINO_I8, &stored, 2, &err);
        CHECK_OK(a && b, err);
        CHECK(a->value_bytes == b->value_bytes);
        CHECK(memcmp(a->values, b->values, a->value_bytes) == 0);
        CHECK(memcmp(a->scale, b->scale, sizeof scale) == 0);
        CHECK(memcmp(a->sum, b->sum, N * sizeof *a->sum) == 0);
        dn_gemm_weight_free(&a->base);
        dn_gemm_weight_free(&b->base);
        free(bytes);
        free(w);
    }
}

TEST(int8_from_a_file_packs_as_quantising_does)
{
    for_all(check_int8_source);
}

static void check_zero(struct subject *s)
{
    struct dino_error err = {0};
    float x[2 * 8] = {0}, w[3 * 8] = {0}, y[2 * 3], bias[3] = {1, -2, 3};
    struct weight_source from = {.w = dn_mat(w, 3, 8, DINO_F32), .bias = bias};
    struct weight *packed = dn_gemm_pack(s->kernels, s->dtype, &from, 1, &err);

    CHECK_OK(packed, err);
    struct op_linear op = {
        .y = dn_mat(y, 2, 3, DINO_F32), .x = dn_mat(x, 2, 8, DINO_F32), .w = packed};
    dn_gemm_linear(s->bench.queue, s->kernels, &op);
    ops_finish(&s->bench);
    for (int i = 0; i < 6; i++)
        CHECK(y[i] == bias[i % 3]);
    dn_gemm_weight_free(packed);
}

TEST(zeros_give_the_bias)
{
    for_all(check_zero);
}

TEST(the_reference_gates_as_its_own_swiglu_does)
{
    enum { M = 5, H = 7, K = 9 };
    ops_devices();
    struct bench b = ops_open(0);
    struct guarded x = ops_random(M, K, 1, DINO_F32, 1, 1);
    float *w = ops_vector(2 * H * K, 1, 2), *bias = ops_vector(2 * H, 1, 3);
    struct weight *packed = b.ref->ops->pack(b.ref, dn_mat(w, 2 * H, K, DINO_F32), bias, NULL);
    struct mat both = ops_truth(M, 2 * H), apart = ops_truth(M, H), gated = ops_truth(M, H);

    dn_linear(b.ref_queue, (struct op_linear){.y = both, .x = x.mat, .w = packed});
    dn_swiglu(b.ref_queue, (struct op_swiglu){.y = apart, .x = both});
    dn_linear(b.ref_queue,
              (struct op_linear){.y = gated, .x = x.mat, .w = packed, .act = OP_SWIGLU});
    ops_finish(&b);
    for (int r = 0; r < M; r++)
        for (int c = 0; c < H; c++)
            CHECK(ops_get(gated, r, c) == ops_get(apart, r, c));
    b.ref->ops->weight_free(b.ref, packed);
    ops_free(&x);
    ops_close(&b);
    free(both.data);
    free(apart.data);
    free(gated.data);
    free(w);
    free(bias);
}
