/* layernorm, put_rows, mean_rows, patchify and place_tokens on every device against the
 * reference. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/testing_ops.h"

static const int row_counts[] = {1, 15, 16, 17, 31, 257, 1370};
static const int col_counts[] = {1, 7, 16, 63, 64, 65, 384, 588, 1024, 1536};
enum { ROW_COUNTS = 7, COL_COUNTS = 10 };

static void check_layernorm(struct bench *b, int rows, int cols, int pad,
                            enum dino_dtype y_type, float offset, bool in_place)
{
    struct guarded x = ops_random(rows, cols, pad, DINO_F32, 1, (uint64_t)(rows + cols));
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            ((float *)x.mat.data)[r * x.mat.stride + c] += offset;
    struct guarded kept = ops_like(&x);
    struct guarded y = in_place ? x : ops_random(rows, cols, 2 * pad, y_type, 1, 9);
    float *weight = ops_vector(cols, 2, 31), *bias = ops_vector(cols, 1, 32);
    struct mat truth = ops_truth(rows, cols);
    struct op_layernorm op = {
        .y = y.mat, .x = x.mat, .weight = weight, .bias = bias, .eps = 1e-6F};
    char what[80];

    snprintf(what, sizeof what, "rows %d cols %d pad %d offset %g in place %d", rows, cols, pad,
             (double)offset, in_place);
    dn_layernorm(b->queue, op);
    op.y = truth;
    op.x = kept.mat;
    dn_layernorm(b->ref_queue, op);
    ops_finish(b);
    ops_check(offset != 0 ? "layernorm offset" : "layernorm", y.mat.dtype, &y, truth, what);
    ops_check_guards(&x);
    ops_free(&x);
    if (!in_place)
        ops_free(&y);
    ops_free(&kept);
    free(weight);
    free(bias);
    free(truth.data);
}

TEST(layernorm_agrees_on_every_shape)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int i = 0; i < ROW_COUNTS; i++)
            for (int j = 1; j < COL_COUNTS; j++) { /* one column has no variance to divide by */
                check_layernorm(&b, row_counts[i], col_counts[j], 0, b.dtype, 0, false);
                check_layernorm(&b, row_counts[i], col_counts[j], 3, DINO_F32, 0, i % 2);
            }
        ops_close(&b);
    }
}

/* The mean is subtracted before squares are taken: a mean of 100 deviations costs no more
 * than the rounding of x itself. */
TEST(layernorm_keeps_its_digits_far_from_zero)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        check_layernorm(&b, 17, 384, 0, DINO_F32, 50, false);
        check_layernorm(&b, 17, 1536, 1, DINO_F32, -50, true);
        ops_close(&b);
    }
}

TEST(layernorm_of_equal_numbers_is_the_bias)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        float x[65], y[65];
        float *weight = ops_vector(65, 1, 1), *bias = ops_vector(65, 1, 2);
        for (int c = 0; c < 65; c++)
            x[c] = 3;
        dn_layernorm(b.queue, (struct op_layernorm){.y = dn_mat(y, 1, 65, DINO_F32),
                                                    .x = dn_mat(x, 1, 65, DINO_F32),
                                                    .weight = weight,
                                                    .bias = bias,
                                                    .eps = 1e-6F});
        ops_finish(&b);
        for (int c = 0; c < 65; c++)
            CHECK(y[c] == bias[c]);
        free(weight);
        free(bias);
        ops_close(&b);
    }
}

/* bits: 1 x has one row, 2 gather with from, 4 add, 8 add has one row, 16 no `to` */
static void check_put_rows(struct bench *b, int count, int cols, int bits)
{
    int rows = 2 * count + 3, *to = malloc((size_t)count * sizeof *to);
    int *from = malloc((size_t)count * sizeof *from);
    struct guarded x = ops_random(bits & 1 ? 1 : count, cols, 1, DINO_F32, 1, 41);
    struct guarded add = ops_random(bits & 8 ? 1 : count, cols, 2, DINO_F32, 1, 42);
    struct guarded y = ops_random(rows, cols, 3, DINO_F32, 1, 43);
    struct mat truth = ops_truth(rows, cols);

    for (int i = 0; i < count; i++) {
        to[i] = rows - 1 - 2 * i;
        from[i] = bits & 1 ? 0 : i * 7 % count;
    }
    struct op_put_rows op = {.y = y.mat,
                             .x = x.mat,
                             .to = bits & 16 ? NULL : to,
                             .from = bits & 2 ? from : NULL,
                             .count = count};
    if (bits & 4)
        op.add = add.mat;
    for (int r = 0; r < rows; r++) /* rows that are not named stay */
        for (int c = 0; c < cols; c++)
            ((double *)truth.data)[r * cols + c] = ops_get(y.mat, r, c);
    dn_put_rows(b->queue, op);
    op.y = truth;
    dn_put_rows(b->ref_queue, op);
    ops_finish(b);
    ops_check("put_rows", DINO_F32, &y, truth, "");
    ops_free(&x);
    ops_free(&add);
    ops_free(&y);
    free(truth.data);
    free(to);
    free(from);
}

TEST(put_rows_places_gathers_and_adds)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int bits = 0; bits < 32; bits++)
            for (int j = 0; j < COL_COUNTS; j++)
                check_put_rows(&b, bits % 3 ? 17 : 1, col_counts[j], bits);
        check_put_rows(&b, 1370, 384, 4);
        ops_close(&b);
    }
}

TEST(mean_rows_agrees_on_every_shape)
{
    static const int starts[] = {0, 1, 18, 50, 307, 1677};
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int j = 0; j < COL_COUNTS; j++)
            for (int skip = 0; skip < 2; skip++) {
                int cols = col_counts[j], first = skip; /* a sequence of one has no rest */
                int shifted[6];
                for (int i = first; i < 6; i++)
                    shifted[i - first] = starts[i] - starts[first];
                struct guarded x = ops_random(1677, cols, j % 3, DINO_F32, 1, 51);
                struct guarded y = ops_random(5 - first, cols, 1, DINO_F32, 1, 52);
                struct mat truth = ops_truth(5 - first, cols);
                struct op_mean_rows op = {.y = y.mat,
                                          .x = x.mat,
                                          .starts = shifted,
                                          .sequences = 5 - first,
                                          .skip = skip};
                dn_mean_rows(b.queue, op);
                op.y = truth;
                dn_mean_rows(b.ref_queue, op);
                ops_finish(&b);
                ops_check("mean_rows", DINO_F32, &y, truth, "");
                ops_free(&x);
                ops_free(&y);
                free(truth.data);
            }
        ops_close(&b);
    }
}

struct patch_case {
    int channels, height, width, patch, pad;
    bool pixels;
    int count; /* pictures, each a patch narrower and higher than the one before; 0: one */
};

/* f32 patches are not near the reference, they are the same bits. */
static void check_patchify(struct bench *b, const struct patch_case *t, enum dino_dtype dtype)
{
    int count = t->count ? t->count : 1, rows = 0, cols = t->channels * t->patch * t->patch;
    size_t most = 0;
    struct op_picture pictures[16];

    CHECK(count <= 16);
    for (int i = 0; i < count; i++) {
        struct op_picture *p = &pictures[i];
        *p = (struct op_picture){.height = t->height + i * t->patch,
                                 .width = t->width - i * t->patch,
                                 .mean = {0.485F, 0.456F, 0.406F + (float)i},
                                 .std = {0.229F, 0.224F, 0.225F}};
        rows += (p->height / t->patch) * (p->width / t->patch);
        most += (size_t)t->channels * (size_t)p->height * (size_t)p->width;
    }
    float *planes = ops_vector((int)most, 2, 61);
    uint8_t *pixels = malloc(most);
    struct guarded y = ops_random(rows, cols, t->pad, dtype, 1, 62);
    struct guarded truth = ops_like(&y);
    size_t at = 0;

    CHECK(pixels);
    for (size_t i = 0; i < most; i++)
        pixels[i] = (uint8_t)(i * 37 + i / 251);
    for (int i = 0; i < count; i++) { /* of several every second one is of planes */
        bool bytes = count > 1 ? i % 2 == 0 && t->pixels : t->pixels;
        pictures[i].planes = bytes ? NULL : planes + at;
        pictures[i].pixels = bytes ? pixels + at : NULL;
        at += (size_t)t->channels * (size_t)pictures[i].height * (size_t)pictures[i].width;
    }
    struct op_patchify op = {.y = y.mat,
                             .pictures = pictures,
                             .count = count,
                             .channels = t->channels,
                             .patch = t->patch};
    dn_patchify(b->queue, op);
    op.y = truth.mat;
    dn_patchify(b->ref_queue, op);
    ops_finish(b);
    CHECK(memcmp(y.block, truth.block, y.bytes) == 0);
    ops_check_guards(&y);
    ops_free(&y);
    ops_free(&truth);
    free(planes);
    free(pixels);
}

TEST(patchify_gives_the_same_bits_as_the_reference)
{
    static const struct patch_case cases[] = {
        {3, 224, 224, 14, 0, true, 0},
        {3, 224, 224, 14, 0, false, 0},
        {3, 57, 43, 14, 5, true, 0},
        {3, 57, 43, 14, 5, false, 0},
        {1, 16, 33, 16, 0, false, 0},
        {3, 16, 16, 16, 1, true, 0},
        {4, 30, 45, 15, 0, false, 0},
        {3, 9, 10, 3, 2, true, 0},
        {3, 5, 7, 1, 0, true, 0},
        {3, 518, 518, 14, 0, true, 0},
        {3, 13, 100, 14, 0, true, 0},
        {3, 32, 32, 8, 0, true, 0},
        {3, 15, 60, 14, 0, true, 2},
        {3, 10, 60, 7, 3, true, 8},
        {2, 9, 50, 3, 1, false, 16},
        {3, 14, 45, 14, 0, true, 4}, /* the last one is narrower than a patch */
    };
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            check_patchify(&b, &cases[i], b.dtype);
            check_patchify(&b, &cases[i], DINO_F32);
        }
        ops_close(&b);
    }
}

/* ---- place_tokens ---- */

/* Pictures of 1, 4, 7, ... patches, the first row of y not theirs. */
static void check_place_tokens(struct bench *b, int count, int registers, int dim, int pad)
{
    int *starts = malloc(((size_t)count + 1) * sizeof *starts), patches = 0;
    const float **positions = malloc((size_t)count * sizeof *positions);

    CHECK(starts && positions);
    starts[0] = 1;
    for (int i = 0; i < count; i++) {
        starts[i + 1] = starts[i] + 1 + registers + 1 + 3 * i;
        patches += 1 + 3 * i;
    }
    float *vectors = ops_vector((2 + registers + 3 * count) * dim, 1, 71);
    for (int i = 0; i < count; i++)
        positions[i] = vectors + (1 + registers) * dim;
    struct guarded x = ops_random(patches, dim, pad, DINO_F32, 1, 72);
    struct guarded y = ops_random(starts[count] + 1, dim, pad, DINO_F32, 1, 73);
    struct guarded truth = ops_like(&y);
    struct op_place_tokens op = {.y = y.mat,
                                 .x = x.mat,
                                 .cls = vectors,
                                 .registers = registers ? vectors + dim : NULL,
                                 .positions = positions,
                                 .starts = starts,
                                 .count = count,
                                 .register_count = registers};
    dn_place_tokens(b->queue, op);
    op.y = truth.mat;
    dn_place_tokens(b->ref_queue, op);
    ops_finish(b);
    CHECK(memcmp(y.block, truth.block, y.bytes) == 0);
    ops_check_guards(&x);
    ops_free(&x);
    ops_free(&y);
    ops_free(&truth);
    free(vectors);
    free(positions);
    free(starts);
}

TEST(place_tokens_gives_the_same_bits_as_the_reference)
{
    static const int counts[] = {1, 2, 3, 5}, dims[] = {1, 7, 64, 130, 384};
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int c = 0; c < 4; c++)
            for (int i = 0; i < 5; i++)
                check_place_tokens(&b, counts[c], c % 3 * 4, dims[i], i % 2 * 3);
        ops_close(&b);
    }
}
