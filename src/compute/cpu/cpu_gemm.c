/* Packing of weights, and the order in which threads work through a product. */
#include "compute/cpu/cpu_gemm.h"

#include <omp.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "compute/cpu/cpu_device.h"

/* ---------------------------------------------------------------- weights */

struct gemm_weight {
    struct weight base;
    enum tile_kind kind;
    int depth;    /* dwords of k */
    int panels;   /* of nr outputs */
    void *values; /* [panels][depth][nr] dwords */
    size_t value_bytes;
    /* [panels * nr] each, in one block; NULL where not needed */
    float *bias, *scale;
    int32_t *sum;
    void *per_output;
};

static const int per_dword[TILE_KINDS] = {1, 2, 4};

static int blocks_of(int count, int size)
{
    return count / size + (count % size != 0);
}

/* One row of w, made to dwords [depth]; the last ones padded with zero. */
static void pack_row(const struct gemm_kernels *kernels, struct gemm_weight *w, int row,
                     const float *from, bool round, uint32_t *to)
{
    int k = w->base.cols;

    to[w->depth - 1] = 0;
    if (w->kind == TILE_I8) {
        kernels->quantise_weight((int8_t *)to, from, k, &w->scale[row], &w->sum[row]);
        return;
    }
    kernels->convert(to, w->kind, from, 0, k);
    for (int i = 0; round && i < k; i++) {
        float v;
        memcpy(&v, to + i, sizeof v);
        to[i] = (uint32_t)dn_f32_to_bf16(v) << 16;
    }
}

/* Rows of w become columns of a panel; rows holds the panel's [nr][depth] dwords. */
static void pack_panel(const struct gemm_kernels *kernels, struct gemm_weight *w, int panel,
                       struct mat from, bool round, uint32_t *rows, float *aligned)
{
    int nr = kernels->nr, depth = w->depth;
    uint32_t *to = (uint32_t *)w->values + (size_t)panel * (size_t)depth * (size_t)nr;

    for (int c = 0; c < nr; c++) {
        uint32_t *row = rows + (size_t)c * (size_t)depth;
        int output = panel * nr + c;
        if (output < w->base.rows) {
            const char *source = (const char *)from.data + output * from.stride * 4;
            memcpy(aligned, source, (size_t)from.cols * 4);
            pack_row(kernels, w, output, aligned, round, row);
        } else {
            memset(row, 0, (size_t)depth * 4);
        }
    }
    for (int k = 0; k < depth; k++)
        for (int c = 0; c < nr; c++)
            *to++ = rows[(size_t)c * (size_t)depth + (size_t)k];
}

static bool pack_values(const struct gemm_kernels *kernels, struct gemm_weight *w,
                        struct mat from, bool round, int threads, struct dino_error *err)
{
    size_t row = (size_t)w->depth * 4 + 64, one = (size_t)(kernels->nr + 4) * row;
    char *scratch = dn_calloc((size_t)threads, one, "packing", err);

    if (!scratch)
        return false;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int p = 0; p < w->panels; p++) {
        char *mine = scratch + (size_t)omp_get_thread_num() * one;
        pack_panel(kernels, w, p, from, round, (uint32_t *)mine,
                   (float *)(mine + (size_t)kernels->nr * row));
    }
    free(scratch);
    return true;
}

struct weight *dn_gemm_pack(const struct gemm_kernels *kernels, enum dino_dtype dtype,
                            struct mat from, const float *bias, int threads,
                            struct dino_error *err)
{
    struct gemm_weight *w = dn_calloc(1, sizeof *w, "a weight", err);
    bool native = kernels->tile[TILE_BF16];

    if (!w)
        return NULL;
    w->kind = dtype == DINO_I8 ? TILE_I8 : dtype == DINO_BF16 && native ? TILE_BF16 : TILE_F32;
    w->base = (struct weight){.rows = from.rows, .cols = from.cols, .dtype = dtype};
    w->depth = blocks_of(from.cols, per_dword[w->kind]);
    w->panels = blocks_of(from.rows, kernels->nr);

    size_t outputs = (size_t)w->panels * (size_t)kernels->nr;
    if (!dn_size_mul(outputs, (size_t)w->depth, &w->value_bytes) ||
        !dn_size_mul(w->value_bytes, 4, &w->value_bytes)) {
        dn_fail_memory(err, SIZE_MAX, "a packed weight");
        goto failed;
    }
    w->values = dn_alloc_aligned(w->value_bytes, "a packed weight", err);
    float *more = dn_calloc(outputs * 3, sizeof *more, "a bias", err);
    w->per_output = more;
    if (!w->values || !more)
        goto failed;
    w->base.bytes = w->value_bytes + outputs * 3 * sizeof *more;
    if (bias) {
        w->bias = more;
        memcpy(w->bias, bias, (size_t)from.rows * sizeof *bias);
    }
    w->scale = more + outputs;
    w->sum = (int32_t *)(more + 2 * outputs);
    if (!pack_values(kernels, w, from, dtype == DINO_BF16 && !native, threads, err))
        goto failed;
    return &w->base;

failed:
    dn_gemm_weight_free(&w->base);
    return NULL;
}

void dn_gemm_weight_free(struct weight *base)
{
    struct gemm_weight *w = (struct gemm_weight *)base;

    if (!w)
        return;
    dn_free_aligned(w->values, w->value_bytes);
    free(w->per_output);
    free(w);
}

/* ---------------------------------------------------------------- the order of work */

/*
 * A task is a block of rows by a block of panels; it takes k in steps of TILE_K, packs its
 * rows of x for each step, and keeps its sums in the second-level cache between steps. Tasks
 * are handed out as threads come: who does one does not change its result.
 */
struct plan {
    const struct gemm_kernels *kernels;
    const struct op_linear *op;
    const struct gemm_weight *w;
    int row_blocks, panel_blocks;
    int steps; /* of k */
    int threads;
    size_t x_bytes, bytes; /* packed rows, and all scratch, a thread */
    char *scratch;
    /* int8: x as bytes [m][depth * 4], its scales and zeros */
    uint8_t *bytes_x;
    float *x_scale;
    int32_t *x_zero;
};

enum { MOST_ROWS = 126, MOST_PANELS = 18 };

/* Part i of `parts` of [0, count). */
static int part(int count, int parts, int i)
{
    return (int)((long)count * i / parts);
}

/*
 * Rounds of tasks times the time of one. Unit: a row times a panel; a tile takes at least
 * the time of 4 rows (latency), packing a row as much as 0.3 panels; a last, half-empty
 * round is worth something against noise, hence the tenth.
 */
static double cost(const struct plan *p, int rows, int panels)
{
    int m = blocks_of(rows, p->row_blocks), n = blocks_of(panels, p->panel_blocks);
    int rounds = blocks_of(p->row_blocks * p->panel_blocks, p->threads);
    double tile = m < 4 ? 4 : m;
    return (rounds + 0.1) * (tile * n + 0.3 * m + 2);
}

static void choose_blocks(struct plan *p, int rows, int panels)
{
    struct plan best = *p;
    double least = 0;
    int from = blocks_of(rows, MOST_ROWS), to = from + 2 * p->threads;

    for (p->row_blocks = from; p->row_blocks <= to && p->row_blocks <= rows; p->row_blocks++) {
        int first = blocks_of(panels, MOST_PANELS), last = first + 4 * p->threads;
        for (int b = first; b <= last && b <= panels; b++) {
            p->panel_blocks = b;
            double c = cost(p, rows, panels);
            if (least == 0 || c < least) {
                least = c;
                best = *p;
            }
        }
    }
    *p = best;
}

/* Rows [first, first + rows) of x, dwords [k0, k0 + depth), to `to`. */
static void pack_rows(const struct plan *p, int first, int rows, int k0, int depth, char *to)
{
    const struct mat *x = &p->op->x;
    int per = per_dword[p->w->kind], count = depth * per, at = k0 * per;

    if (count > x->cols - at)
        count = x->cols - at;
    for (int r = 0; r < rows; r++, to += TILE_STRIDE * 4) {
        if (p->w->kind == TILE_I8) {
            memcpy(to,
                   p->bytes_x + ((size_t)(first + r) * (size_t)p->w->depth + (size_t)k0) * 4,
                   (size_t)depth * 4);
            continue;
        }
        memset(to + (depth - 1) * 4, 0, 4);
        p->kernels->convert(to, p->w->kind, dn_cpu_at(*x, first + r, at), x->dtype == DINO_BF16,
                            count);
    }
}

static struct gemm_finish finish_of(const struct plan *p, int row, int rows, int panel,
                                    const float *sums)
{
    const struct op_linear *op = p->op;
    int column = panel * p->kernels->nr, left = op->y.cols - column;
    struct gemm_finish f = {
        .kind = p->w->kind,
        .rows = rows,
        .cols = left < p->kernels->nr ? left : p->kernels->nr,
        .sums = sums,
        .bias = p->w->bias ? p->w->bias + column : NULL,
        .gelu = op->act == OP_GELU,
        .scale = op->scale ? op->scale + column : NULL,
        .y = dn_cpu_at(op->y, row, column),
        .y_stride = op->y.stride,
        .y_bf16 = op->y.dtype == DINO_BF16,
    };
    if (op->residual.data) {
        bool one = op->residual.rows == 1;
        f.residual = (const float *)dn_cpu_at(op->residual, one ? 0 : row, column);
        f.residual_stride = one ? 0 : op->residual.stride;
    }
    if (f.kind == TILE_I8) {
        f.x_scale = p->x_scale + row;
        f.x_zero = p->x_zero + row;
        f.w_scale = p->w->scale + column;
        f.w_sum = p->w->sum + column;
    }
    return f;
}

/* The residual of a tile is on its way to the cache while the sums are made. */
static void prefetch_residual(const struct plan *p, int row, int rows, int panel)
{
    int column = panel * p->kernels->nr;

    if (!p->op->residual.data || p->op->residual.rows == 1)
        return;
    for (int r = row; r < row + rows; r++)
        for (int c = 0; c < p->kernels->nr; c += 16)
            __builtin_prefetch(dn_cpu_at(p->op->residual, r, column + c));
}

/* What a thread works in. */
struct room {
    char *packed; /* rows of x */
    int first;    /* the row that they start with, or -1 */
    float *sums;
};

/* One step of k for all tiles of a task. While the tiles of one panel are made, the next
 * panel of weights is on its way from memory. */
static void run_step(const struct plan *p, int step, int first, int rows, int panel0,
                     int panel1, struct room *room)
{
    const struct gemm_kernels *kernels = p->kernels;
    int depth = p->w->depth, k0 = part(depth, p->steps, step), nr = kernels->nr;
    int tiles = blocks_of(rows, kernels->mr);
    size_t panel_size = (size_t)depth * (size_t)nr;
    const float *b =
        (const float *)p->w->values + (size_t)panel0 * panel_size + (size_t)(k0 * nr);
    struct tile_work w = {.k = part(depth, p->steps, step + 1) - k0,
                          .c = room->sums,
                          .ldc = nr,
                          .add = step > 0,
                          .pace = blocks_of(nr * 4, tiles)};

    if (p->steps > 1 || room->first != first)
        pack_rows(p, first, rows, k0, w.k, room->packed);
    room->first = first;
    for (int j = panel0; j < panel1; j++, b += panel_size)
        for (int t = 0; t < tiles; t++) {
            int row = part(rows, tiles, t), mr = part(rows, tiles, t + 1) - row;
            bool last = step == p->steps - 1;
            w.a = room->packed + (size_t)row * TILE_STRIDE * 4;
            w.b = b;
            w.soon = (const char *)(j + 1 < panel1 ? b + panel_size : b) + t * w.k * w.pace;
            if (last)
                prefetch_residual(p, first + row, mr, j);
            kernels->tile[p->w->kind](mr, &w);
            if (last) {
                struct gemm_finish f = finish_of(p, first + row, mr, j, w.c);
                kernels->finish(&f);
            }
            if (p->steps > 1)
                w.c += mr * nr;
        }
}

static void run_task(const struct plan *p, int task, struct room *room)
{
    int block = task / p->panel_blocks, columns = task % p->panel_blocks;
    int m = p->op->y.rows, first = part(m, p->row_blocks, block);
    int rows = part(m, p->row_blocks, block + 1) - first;

    for (int step = 0; step < p->steps; step++)
        run_step(p, step, first, rows, part(p->w->panels, p->panel_blocks, columns),
                 part(p->w->panels, p->panel_blocks, columns + 1), room);
}

static void quantise_rows(const struct plan *p)
{
    const struct mat *x = &p->op->x;
    size_t row = (size_t)p->w->depth * 4;

#pragma omp for schedule(static)
    for (int r = 0; r < x->rows; r++) {
        memset(p->bytes_x + (size_t)r * row + row - 4, 0, 4);
        p->kernels->quantise(p->bytes_x + (size_t)r * row, dn_cpu_at(*x, r, 0),
                             x->dtype == DINO_BF16, x->cols, &p->x_scale[r], &p->x_zero[r]);
    }
}

static size_t aligned(size_t bytes)
{
    return (bytes + DN_ALIGN - 1) / DN_ALIGN * DN_ALIGN;
}

/* Sizes and addresses of scratch; false if there is none. */
static bool take_scratch(struct queue *q, struct plan *p, int rows, int panels)
{
    size_t m = (size_t)p->op->x.rows, depth = (size_t)p->w->depth;
    bool i8 = p->w->kind == TILE_I8;
    size_t bytes_x = i8 ? aligned(m * depth * 4) : 0, scales = i8 ? aligned(m * 4) : 0;
    size_t sums = (size_t)rows * (size_t)panels * (size_t)p->kernels->nr * 4;

    p->x_bytes = aligned((size_t)rows * TILE_STRIDE * 4);
    p->bytes = aligned(p->x_bytes + sums);
    char *scratch = dn_cpu_scratch(q, (size_t)p->threads * p->bytes + bytes_x + 2 * scales);
    if (!scratch)
        return false;
    p->scratch = scratch;
    p->bytes_x = (uint8_t *)scratch + (size_t)p->threads * p->bytes;
    p->x_scale = (float *)(void *)(p->bytes_x + bytes_x);
    p->x_zero = (int32_t *)(void *)(p->bytes_x + bytes_x + scales);
    return true;
}

void dn_gemm_linear(struct queue *q, const struct gemm_kernels *kernels,
                    const struct op_linear *op)
{
    const struct gemm_weight *w = (const struct gemm_weight *)op->w;
    struct plan p = {.kernels = kernels, .op = op, .w = w, .threads = q->threads};

    p.steps = blocks_of(w->depth, TILE_K);
    choose_blocks(&p, op->y.rows, w->panels);
    if (!take_scratch(q, &p, blocks_of(op->y.rows, p.row_blocks),
                      blocks_of(w->panels, p.panel_blocks)))
        return;

    int tasks = p.row_blocks * p.panel_blocks;
    atomic_int next = 0;
#pragma omp parallel num_threads(p.threads)
    {
        char *mine = p.scratch + (size_t)omp_get_thread_num() * p.bytes;
        struct room room = {mine, -1, (float *)(void *)(mine + p.x_bytes)};
        if (w->kind == TILE_I8)
            quantise_rows(&p);
        for (int t; (t = atomic_fetch_add(&next, 1)) < tasks;)
            run_task(&p, t, &room);
    }
}

const struct gemm_kernels *dn_gemm_choose(enum dn_isa isa)
{
    if (isa >= DN_ISA_AVX512BF16)
        return &dn_gemm_avx512bf16;
    if (isa >= DN_ISA_AVX512)
        return &dn_gemm_avx512;
    return isa >= DN_ISA_AVX2 ? &dn_gemm_avx2 : &dn_gemm_c;
}

/*
 * int8 is ours: oneDNN knows no scale a row of x. In f32 and bf16 oneDNN runs at 97 % of the
 * AVX-512 peak and cannot be beaten by the 1.15 that another kernel would have to be worth.
 */
const struct gemm_kernels *dn_gemm_select(enum dn_isa isa, enum dino_dtype dtype)
{
    return dtype == DINO_I8 ? dn_gemm_choose(isa) : NULL;
}

const char *dn_gemm_name(const struct gemm_kernels *kernels)
{
    switch (kernels->isa) {
    case DN_ISA_AVX2:
        return "ours avx2";
    case DN_ISA_AVX512:
        return "ours avx512";
    case DN_ISA_AVX512BF16:
        return "ours avx512bf16";
    default:
        return "ours c";
    }
}
