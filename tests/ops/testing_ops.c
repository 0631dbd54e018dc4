#include "ops/testing_ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu_features.h"
#include "base/half.h"
#include "base/rng.h"
#include "ops/tolerances.h"

enum { GUARD = 256, PATTERN = 0xA5 };

/* On the processor, and where DINO_TEST_DEVICE names it instead, on a GPU. */
static const struct tested {
    const char *name;
    enum dino_dtype dtype;
} on_cpu[] = {{"cpu", DINO_F32}, {"cpu", DINO_BF16}},
  on_cuda[] = {
      {"cuda", DINO_F32}, {"cuda", DINO_BF16}, {"cuda", DINO_F16}, {"cuda", DINO_TF32}};

static bool asks_for_cuda(void)
{
    const char *wish = testing_device();

    return wish && strncmp(wish, "cuda", 4) == 0;
}

int ops_devices(void)
{
    const char *wish = getenv("DINO_ISA");
    enum dn_isa isa;

    if (asks_for_cuda())
        return (int)(sizeof on_cuda / sizeof *on_cuda);
    if (wish && dn_isa_parse(wish, &isa) && isa > dn_cpu_features().detected)
        SKIP("this processor has no %s", wish);
    return (int)(sizeof on_cpu / sizeof *on_cpu);
}

struct bench ops_open(int index)
{
    const struct tested *tested = asks_for_cuda() ? &on_cuda[index] : &on_cpu[index];
    struct dino_error err = {0};
    struct bench b = {.dtype = tested->dtype};

    b.device = dn_device_open(tested->name, tested->dtype, 0, &err);
    if (!b.device)
        fail_msg("%s: %s", tested->name, err.message);
    if (getenv("DINO_TEST_MIRROR"))
        b.device = ops_mirror(b.device);
    b.dtype = b.device->activation;
    b.ref = dn_device_open("ref", DINO_F64, 0, &err);
    CHECK(b.ref);
    b.queue = dn_queue_new(b.device, 0, &err);
    b.ref_queue = dn_queue_new(b.ref, 0, &err);
    CHECK(b.queue && b.ref_queue);
    return b;
}

int ops_warm_rounds(const struct bench *b)
{
    /* cuda makes a graph of what comes again, once for each of its two stages */
    return strncmp(b->device->name, "cuda", 4) == 0 ? 4 : 1;
}

void ops_close(struct bench *b)
{
    dn_queue_free(b->queue);
    dn_queue_free(b->ref_queue);
    dn_device_close(b->device);
    dn_device_close(b->ref);
}

void ops_finish(struct bench *b)
{
    struct dino_error err = {0};

    CHECK_OK(dn_queue_finish(b->queue, &err), err);
    CHECK_OK(dn_queue_finish(b->ref_queue, &err), err);
}

/* In [-1, 1). */
static float uniform(uint64_t seed, uint64_t index)
{
    return (float)(2 * dn_random_f64(seed, 0, index) - 1);
}

static void store(struct mat m, int row, int col, float value)
{
    size_t at = (size_t)((ptrdiff_t)row * m.stride + col);

    dn_from_f32((char *)m.data + at * dino_dtype_size(m.dtype), m.dtype, &value, 1);
}

double ops_get(struct mat m, int row, int col)
{
    size_t at = (size_t)((ptrdiff_t)row * m.stride + col);
    const char *from = (const char *)m.data + at * dino_dtype_size(m.dtype);
    float value;

    if (m.dtype == DINO_F64)
        return ((const double *)m.data)[at];
    dn_to_f32(&value, from, m.dtype, 1);
    return value;
}

static struct guarded random_at(int offset, int rows, int cols, int pad, enum dino_dtype dtype,
                                float scale, uint64_t seed)
{
    size_t size = dino_dtype_size(dtype), stride = (size_t)(cols + pad);
    struct guarded g = {.bytes = 2 * GUARD + size * ((size_t)rows * stride + 1)};

    g.block = aligned_alloc(64, (g.bytes + 63) / 64 * 64);
    CHECK(g.block);
    memset(g.block, PATTERN, g.bytes);
    g.mat = dn_mat(g.block + GUARD + (size_t)offset * size, rows, cols, dtype);
    g.mat.stride = (ptrdiff_t)stride;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            store(g.mat, r, c,
                  scale * uniform(seed, (uint64_t)r * (uint64_t)cols + (uint64_t)c));
    return g;
}

struct guarded ops_random(int rows, int cols, int pad, enum dino_dtype dtype, float scale,
                          uint64_t seed)
{
    return random_at(1, rows, cols, pad, dtype, scale, seed);
}

struct guarded ops_aligned(int rows, int cols, int pad, enum dino_dtype dtype, float scale,
                           uint64_t seed)
{
    return random_at(0, rows, cols, pad, dtype, scale, seed);
}

struct guarded ops_like(const struct guarded *from)
{
    struct guarded g = *from;

    g.block = aligned_alloc(64, (g.bytes + 63) / 64 * 64);
    CHECK(g.block);
    memcpy(g.block, from->block, g.bytes);
    g.mat.data = g.block + ((uint8_t *)from->mat.data - from->block);
    return g;
}

void ops_free(struct guarded *g)
{
    free(g->block);
    *g = (struct guarded){0};
}

void ops_check_guards(const struct guarded *g)
{
    size_t size = dino_dtype_size(g->mat.dtype), next = 0;
    size_t first = (size_t)((uint8_t *)g->mat.data - g->block);

    for (int r = 0; r <= g->mat.rows; r++) {
        size_t row = first + (size_t)r * (size_t)g->mat.stride * size;
        size_t end = r < g->mat.rows ? row : g->bytes;
        for (size_t i = next; i < end; i++)
            if (g->block[i] != PATTERN)
                fail_msg("row %d of %d: byte %zu before it was overwritten", r, g->mat.rows,
                         end - i);
        next = row + (size_t)g->mat.cols * size;
    }
}

static const struct tolerance *row_of(const char *op, enum dino_dtype dtype)
{
    const struct tolerance *row = tolerance_of(op, dtype);

    if (!row)
        fail_msg("tolerances.h has no row for %s %s", op, dino_dtype_name(dtype));
    return row;
}

void ops_check_rows(const char *op, enum dino_dtype dtype, const struct guarded *result,
                    int first, struct mat truth, const char *what)
{
    const struct tolerance *allowed = row_of(op, dtype);
    double worst = 0, most = 0, difference = 0, norm = 0;

    ops_check_guards(result);
    CHECK(truth.cols == result->mat.cols && first + truth.rows <= result->mat.rows);
    for (int r = 0; r < truth.rows; r++)
        for (int c = 0; c < truth.cols; c++) {
            double want = ops_get(truth, r, c), d = ops_get(result->mat, first + r, c) - want;
            if (!isfinite(d))
                fail_msg("%s %s %s: [%d, %d] is %g, wanted %g", op, dino_dtype_name(dtype),
                         what, first + r, c, ops_get(result->mat, first + r, c), want);
            worst = fmax(worst, fabs(d));
            most = fmax(most, fabs(want));
            difference += d * d;
            norm += want * want;
        }
    double l2 = sqrt(difference / norm), max = worst / most;
    if (difference == 0)
        l2 = max = 0;
    if (getenv("DINO_TEST_MEASURE"))
        print_message("MEASURE %s %s l2 %.3e max %.3e of %.3e %s\n", op, dino_dtype_name(dtype),
                      l2, max, most, what);
    if (!(l2 <= allowed->l2 && max <= allowed->max))
        fail_msg("%s %s %s: l2 %.3e (allowed %.1e), max %.3e (allowed %.1e)", op,
                 dino_dtype_name(dtype), what, l2, allowed->l2, max, allowed->max);
}

void ops_check(const char *op, enum dino_dtype dtype, const struct guarded *result,
               struct mat truth, const char *what)
{
    CHECK(truth.rows == result->mat.rows);
    ops_check_rows(op, dtype, result, 0, truth, what);
}

float *ops_vector(int n, float scale, uint64_t seed)
{
    float *v = malloc((size_t)n * sizeof *v);

    CHECK(v);
    for (int i = 0; i < n; i++)
        v[i] = scale * uniform(seed, (uint64_t)i);
    return v;
}

struct mat ops_truth(int rows, int cols)
{
    double *values = calloc((size_t)rows * (size_t)cols, sizeof *values);

    CHECK(values);
    return dn_mat(values, rows, cols, DINO_F64);
}
