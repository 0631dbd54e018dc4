/* The order in which threads work through a product. */
#include "compute/cpu/cpu_gemm.h"

#include <string.h>

#include "base/alloc.h"
#include "compute/cpu/cpu_device.h"

/*
 * A task is a block of rows by a block of panels; it takes k in steps of TILE_K, packs its
 * rows of x for each step, and keeps its sums in the second-level cache between steps. Tasks
 * are handed out as threads come: who does one does not change its result.
 */
struct plan {
    struct queue *queue;
    const struct gemm_kernels *kernels;
    const struct op_linear *op;
    const struct gemm_weight *w;
    int row_blocks, panel_blocks;
    int steps; /* of k */
    int threads;
    bool in_place;         /* x is read where it lies */
    bool large_y;          /* more than a core keeps in its caches */
    size_t x_bytes, bytes; /* packed rows, and all scratch, a thread */
    char *scratch;
    /* int8: x as bytes [m][depth * 4], its scales and zeros */
    uint8_t *bytes_x;
    float *x_scale;
    int32_t *x_zero;
    struct team_tasks tasks;
};

enum { MOST_ROWS = 140, MOST_PANELS = 18 };

/* Part i of `parts` of [0, count). */
static int part(int count, int parts, int i)
{
    return (int)((long)count * i / parts);
}

/*
 * Rounds of tasks times the time of one. Unit: a row times a panel; a tile takes at least the
 * time of 4 rows (latency) and some 90 cycles besides, packing a row as much as 0.3 panels;
 * a last, half-empty round is worth something against noise, hence the tenth.
 */
static double cost(const struct plan *p, int rows, int panels)
{
    int m = dn_blocks_of(rows, p->row_blocks), n = dn_blocks_of(panels, p->panel_blocks);
    int rounds = dn_blocks_of(p->row_blocks * p->panel_blocks, p->threads);
    double tiles = (m < 4 ? 4 : m) + dn_blocks_of(m, p->kernels->mr) * 90.0 / p->w->depth;
    return (rounds + 0.1) * (tiles * n + 0.3 * m + 2);
}

static void choose_blocks(struct plan *p, int rows, int panels)
{
    struct plan best = *p;
    double least = 0;
    int from = dn_blocks_of(rows, MOST_ROWS), to = from + 2 * p->threads;

    for (p->row_blocks = from; p->row_blocks <= to && p->row_blocks <= rows; p->row_blocks++) {
        int first = dn_blocks_of(panels, MOST_PANELS), last = first + 4 * p->threads;
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

/*
 * x can be read where it lies if its numbers are what is multiplied, end with a whole dword,
 * and the rows of a tile do not all fall into few sets of the first-level cache (64 sets of 8
 * ways at least, of which the weights want one).
 */
static bool readable_in_place(const struct plan *p)
{
    const struct mat *x = &p->op->x;
    enum dino_dtype wanted = p->w->kind == TILE_F32 ? DINO_F32 : DINO_BF16;
    ptrdiff_t lines = x->stride * (ptrdiff_t)dino_dtype_size(x->dtype) / 64;

    return p->w->kind != TILE_I8 && x->dtype == wanted &&
           x->cols % dn_gemm_per_dword[p->w->kind] == 0 && lines % 32 != 0;
}

/* Rows [first, first + rows) of x, dwords [k0, k0 + depth), to `to`. */
static void pack_rows(const struct plan *p, int first, int rows, int k0, int depth, char *to)
{
    const struct mat *x = &p->op->x;
    int per = dn_gemm_per_dword[p->w->kind], count = depth * per, at = k0 * per;

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
    int output = panel * p->kernels->nr, width = p->kernels->nr / (p->w->gated ? 2 : 1);
    int column = panel * width, left = op->y.cols - column;
    struct gemm_finish f = {
        .kind = p->w->kind,
        .rows = rows,
        .cols = left < width ? left : width,
        .sums = sums,
        .bias = p->w->bias ? p->w->bias + output : NULL,
        .gelu = op->act == OP_GELU,
        .gated = op->act == OP_SWIGLU,
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
        f.w_scale = p->w->scale + output;
        f.w_sum = p->w->sum + output;
    }
    return f;
}

/* Where a tile's results go, or what they are added to, comes to the cache while its sums are
 * made. */
static void expect(const struct plan *p, struct mat m, int row, int rows, int column,
                   int columns)
{
    size_t size = dino_dtype_size(m.dtype);

    p->kernels->expect(dn_cpu_at(m, row, column), m.stride * (ptrdiff_t)size, rows,
                       (ptrdiff_t)((size_t)columns * size));
}

/* One tile; after the last step of k, its results. */
static void run_tile(const struct plan *p, struct tile_work *w, int row, int rows, int panel,
                     bool last)
{
    const struct gemm_kernels *kernels = p->kernels;
    struct gemm_finish f;
    bool inside = false; /* the tile makes its results itself */

    if (last) {
        f = finish_of(p, row, rows, panel, w->c);
        inside = !f.gelu && !f.gated && f.cols == kernels->nr;
        if (p->op->residual.rows > 1)
            expect(p, p->op->residual, row, rows, panel * kernels->nr, f.cols);
        if ((f.gelu || f.gated) && p->large_y)
            expect(p, p->op->y, row, rows, panel * kernels->nr / (f.gated ? 2 : 1), f.cols);
    }
    w->finish = inside ? &f : NULL;
    kernels->tile[p->w->kind](rows, w);
    if (last && !inside)
        kernels->finish(&f);
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
    int tiles = dn_blocks_of(rows, kernels->mr);
    size_t panel_size = (size_t)depth * (size_t)nr;
    const float *b =
        (const float *)p->w->values + (size_t)panel0 * panel_size + (size_t)(k0 * nr);
    struct tile_work w = {.k = part(depth, p->steps, step + 1) - k0,
                          .c = room->sums,
                          .ldc = nr,
                          .add = step > 0,
                          .pace = dn_blocks_of(nr * 4, tiles),
                          .a_stride = TILE_STRIDE * 4};

    const char *a = room->packed;
    if (p->in_place) {
        a = dn_cpu_at(p->op->x, first, k0 * dn_gemm_per_dword[p->w->kind]);
        w.a_stride = p->op->x.stride * (ptrdiff_t)dino_dtype_size(p->op->x.dtype);
    } else if (p->steps > 1 || room->first != first) {
        pack_rows(p, first, rows, k0, w.k, room->packed);
        room->first = first;
    }
    for (int j = panel0; j < panel1; j++, b += panel_size)
        for (int t = 0; t < tiles; t++) {
            int row = part(rows, tiles, t), mr = part(rows, tiles, t + 1) - row;
            w.a = a + row * w.a_stride;
            w.b = b;
            w.soon = (const char *)(j + 1 < panel1 ? b + panel_size : b) + t * w.k * w.pace;
            run_tile(p, &w, first + row, mr, j, step == p->steps - 1);
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

static void quantise_rows(void *argument, int first, int last)
{
    const struct plan *p = argument;
    const struct mat *x = &p->op->x;
    size_t row = (size_t)p->w->depth * 4;

    for (int r = first; r < last; r++) {
        memset(p->bytes_x + (size_t)r * row + row - 4, 0, 4);
        p->kernels->quantise(p->bytes_x + (size_t)r * row, dn_cpu_at(*x, r, 0),
                             x->dtype == DINO_BF16, x->cols, &p->x_scale[r], &p->x_zero[r]);
    }
}

static void run_tasks(void *argument, int thread)
{
    struct plan *p = argument;
    char *mine = p->scratch + (size_t)thread * p->bytes;
    struct room room = {mine, -1, (float *)(void *)(mine + p->x_bytes)};

    for (int t; (t = dn_tasks_take(&p->tasks, thread)) >= 0;) {
        run_task(p, t, &room);
        if (thread == 0 && dn_queue_stopped(p->queue))
            dn_tasks_stop(&p->tasks);
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
    struct plan p = {.queue = q, .kernels = kernels, .op = op, .w = w, .threads = q->threads};

    p.steps = dn_blocks_of(w->depth, TILE_K);
    p.in_place = readable_in_place(&p);
    p.large_y = (size_t)op->y.rows * (size_t)op->y.cols * dino_dtype_size(op->y.dtype) >
                (size_t)3 << 19;
    choose_blocks(&p, op->y.rows, w->panels);
    if (!take_scratch(q, &p, dn_blocks_of(op->y.rows, p.row_blocks),
                      dn_blocks_of(w->panels, p.panel_blocks)))
        return;

    if (w->kind == TILE_I8)
        dn_cpu_rows(q, op->x.rows, (size_t)op->x.cols, quantise_rows, &p);
    dn_tasks_init(&p.tasks, p.row_blocks * p.panel_blocks, p.threads);
    dn_team_run(dn_cpu_queue(q)->team, p.threads, run_tasks, &p);
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
 * int8 is always ours: oneDNN knows no scale a row of x. In f32 and bf16 ours is as fast as
 * oneDNN's on idle cores and many times faster on cores that others use too, where a barrier
 * of OpenMP waits for threads that do not run (docs/performance.md). AMX in bf16 and plain C
 * are oneDNN's.
 */
const struct gemm_kernels *dn_gemm_select(enum dn_isa isa, enum dino_dtype dtype)
{
    bool onednn = isa < DN_ISA_AVX2 || (isa == DN_ISA_AMX && dtype == DINO_BF16);

    return onednn && dtype != DINO_I8 ? NULL : dn_gemm_choose(isa);
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
