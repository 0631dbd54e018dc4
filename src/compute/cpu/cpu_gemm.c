/* The order in which threads work through a product. */
#include "compute/cpu/cpu_gemm_plan.h"

#include <string.h>

#include "base/alloc.h"

enum { MOST_ROWS = 140, MOST_PANELS = 18 };

/* Dwords of k in a step where rows are packed across: a tile's and a panel's share the
 * first-level cache. */
enum { ACROSS_K = 256, MOST_VECTOR = 16 };

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
static double cost(const struct gemm_plan *p, int rows, int panels)
{
    int m = dn_blocks_of(rows, p->row_blocks), n = dn_blocks_of(panels, p->panel_blocks);
    int rounds = dn_blocks_of(p->row_blocks * p->panel_blocks, p->threads);
    double tiles = (m < 4 ? 4 : m) + dn_blocks_of(m, p->kernels->mr) * 90.0 / p->depth;
    return (rounds + 0.1) * (tiles * n + 0.3 * m + 2);
}

static void choose_blocks(struct gemm_plan *p)
{
    int rows = p->m, panels = p->panels;
    struct gemm_plan best = *p;
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
 * a can be read where it lies if its numbers are what is multiplied, end with a whole dword,
 * and the rows of a tile do not all fall into few sets of the first-level cache (64 sets of 8
 * ways at least, of which the weights want one).
 */
static bool readable_in_place(const struct gemm_plan *p)
{
    enum dino_dtype wanted = p->kind == TILE_F32 ? DINO_F32 : DINO_BF16;
    ptrdiff_t lines = p->a.stride * (ptrdiff_t)dino_dtype_size(p->a.dtype) / 64;

    return p->kind != TILE_I8 && !p->a_across && p->a.dtype == wanted &&
           p->a.cols % dn_gemm_per_dword[p->kind] == 0 && lines % 32 != 0;
}

/* Rows [first, first + rows) of a, dwords [k0, k0 + depth), to `to`. */
static void pack_rows(const struct gemm_plan *p, int first, int rows, int k0, int depth,
                      char *to)
{
    int per = dn_gemm_per_dword[p->kind], count = depth * per, at = k0 * per;

    if (count > p->a.cols - at)
        count = p->a.cols - at;
    for (int r = 0; r < rows; r++, to += TILE_STRIDE * 4) {
        if (p->kind == TILE_I8) {
            memcpy(to, p->bytes_a + ((size_t)(first + r) * (size_t)p->depth + (size_t)k0) * 4,
                   (size_t)depth * 4);
            continue;
        }
        memset(to + (depth - 1) * 4, 0, 4);
        p->kernels->convert(to, p->kind, dn_cpu_at(p->a, first + r, at),
                            p->a.dtype == DINO_BF16, count);
    }
}

/* The same of a that is stored across: tile t's rows at t * ACROSS_K vectors, a dword of all
 * of them a vector. sums [rows]: grow by the sums over k, or NULL. */
static void pack_across(const struct gemm_plan *p, int first, int rows, int k0, int depth,
                        char *to, double *sums)
{
    int per = dn_gemm_per_dword[p->kind], vector = p->kernels->nr / 2;
    int tiles = dn_blocks_of(rows, p->kernels->mr), numbers = depth * per;

    if (numbers > p->a.rows - k0 * per)
        numbers = p->a.rows - k0 * per;
    for (int t = 0; t < tiles; t++, to += ACROSS_K * vector * 4) {
        int row = part(rows, tiles, t), count = part(rows, tiles, t + 1) - row;
        float step[MOST_VECTOR] = {0};
        p->kernels->across((float *)(void *)to, vector, p->kind,
                           dn_cpu_at(p->a, k0 * per, first + row), p->a.dtype == DINO_BF16,
                           p->a.stride, numbers, count, sums ? step : NULL);
        for (int i = 0; sums && i < count; i++)
            sums[row + i] += (double)step[i];
    }
}

static void *moved(const void *m, ptrdiff_t stride, int bf16, int row, int column)
{
    return m ? (char *)(uintptr_t)m + (row * stride + column) * (bf16 ? 2 : 4) : NULL;
}

static struct gemm_finish finish_of(const struct gemm_plan *p, int row, int rows, int panel,
                                    const float *sums)
{
    struct gemm_finish f = p->end;
    int output = panel * p->kernels->nr, width = p->kernels->nr / (f.gated ? 2 : 1);
    int column = panel * width, left = p->n - column;

    f.kind = p->kind;
    f.rows = rows;
    f.cols = left < width ? left : width;
    f.sums = sums;
    f.bias = moved(f.bias, 0, 0, 0, output);
    f.scale = moved(f.scale, 0, 0, 0, column);
    f.residual = moved(f.residual, f.residual_stride, 0, row, column);
    f.y = moved(f.y, f.y_stride, f.y_bf16, row, column);
    f.active = moved(f.active, f.active_stride, f.y_bf16, row, column);
    f.hidden = moved(f.hidden, f.hidden_stride, f.y_bf16, row, column);
    if (f.kind == TILE_I8) {
        f.x_scale = p->a_scale + row;
        f.x_zero = p->a_zero + row;
        f.w_scale = p->end.w_scale + output;
        f.w_sum = p->end.w_sum + output;
    }
    return f;
}

/* Where a tile's results go, or what they are added to, comes to the cache while its sums are
 * made. */
static void expect(const struct gemm_plan *p, const struct gemm_finish *f)
{
    ptrdiff_t size = f->y_bf16 ? 2 : 4;

    if (f->residual && f->residual_stride)
        p->kernels->expect(f->residual, f->residual_stride * 4, f->rows, f->cols * 4);
    if (f->hidden)
        p->kernels->expect(f->hidden, f->hidden_stride * size, f->rows, f->cols * size);
    if (f->active)
        p->kernels->expect(f->active, f->active_stride * size, f->rows, f->cols * size);
    if ((f->gelu || f->gated || f->active) && p->large_y)
        p->kernels->expect(f->y, f->y_stride * size, f->rows, f->cols * size);
}

/* One tile; after the last step of k, its results. */
static void run_tile(const struct gemm_plan *p, struct tile_work *w, int row, int rows,
                     int panel, bool last)
{
    const struct gemm_kernels *kernels = p->kernels;
    struct gemm_finish f;
    bool inside = false, active = false; /* inside: the tile makes its results itself */

    if (last) {
        f = finish_of(p, row, rows, panel, w->c);
        active = f.active || f.hidden;
        inside = !f.gelu && !f.gated && !active && f.cols == kernels->nr;
        expect(p, &f);
    }
    w->finish = inside ? &f : NULL;
    kernels->tile[p->kind](rows, w);
    if (last && !inside)
        (active ? kernels->finish_active : kernels->finish)(&f);
}

/* What a thread works in. */
struct room {
    char *packed; /* rows of a */
    int first;    /* the row that they start with, or -1 */
    float *sums;
    double *a_sums; /* of this task, or NULL */
};

/* The rows of a task for a step of k, packed or where they lie. */
static const char *rows_of(const struct gemm_plan *p, int first, int rows, int k0,
                           struct room *room, struct tile_work *w)
{
    w->a_step = 4;
    w->a_stride = TILE_STRIDE * 4;
    if (p->in_place) {
        w->a_stride = p->a.stride * (ptrdiff_t)dino_dtype_size(p->a.dtype);
        return dn_cpu_at(p->a, first, k0 * dn_gemm_per_dword[p->kind]);
    }
    if (p->a_across) {
        w->a_step = p->kernels->nr / 2 * 4;
        w->a_stride = 4;
    }
    if (p->steps > 1 || room->first != first || room->a_sums) {
        if (p->a_across)
            pack_across(p, first, rows, k0, w->k, room->packed, room->a_sums);
        else
            pack_rows(p, first, rows, k0, w->k, room->packed);
        room->first = first;
    }
    return room->packed;
}

/* One step of k for all tiles of a task. While the tiles of one panel are made, the next
 * panel of weights is on its way from memory. */
static void run_step(const struct gemm_plan *p, int step, int first, int rows, int panel0,
                     int panel1, struct room *room)
{
    const struct gemm_kernels *kernels = p->kernels;
    int depth = p->depth, k0 = part(depth, p->steps, step), nr = kernels->nr;
    int tiles = dn_blocks_of(rows, kernels->mr);
    size_t panel_size = (size_t)depth * (size_t)nr;
    const void *values = p->values ? p->values : p->packed_b;
    const float *b = (const float *)values + (size_t)panel0 * panel_size + (size_t)(k0 * nr);
    struct tile_work w = {.k = part(depth, p->steps, step + 1) - k0,
                          .c = room->sums,
                          .ldc = nr,
                          .add = step > 0,
                          .pace = dn_blocks_of(nr * 4, tiles)};
    const char *a = rows_of(p, first, rows, k0, room, &w);
    ptrdiff_t tile_bytes = (ptrdiff_t)ACROSS_K * w.a_step; /* of a tile across */

    int row_of[MOST_ROWS + 1]; /* where tiles begin: a division each */

    for (int t = 0; t <= tiles; t++)
        row_of[t] = part(rows, tiles, t);
    for (int j = panel0; j < panel1; j++, b += panel_size)
        for (int t = 0; t < tiles; t++) {
            int row = row_of[t], mr = row_of[t + 1] - row;
            w.a = p->a_across ? a + t * tile_bytes : a + row * w.a_stride;
            w.b = b;
            w.soon = (const char *)(j + 1 < panel1 ? b + panel_size : b) + t * w.k * w.pace;
            run_tile(p, &w, first + row, mr, j, step == p->steps - 1);
            if (p->steps > 1)
                w.c += mr * nr;
        }
}

static void run_task(const struct gemm_plan *p, int task, struct room *room)
{
    int block = task / p->panel_blocks, columns = task % p->panel_blocks;
    int first = part(p->m, p->row_blocks, block);
    int rows = part(p->m, p->row_blocks, block + 1) - first;
    double *a_sums = room->a_sums;

    if (columns > 0 || !p->a_sums)
        room->a_sums = NULL;
    for (int r = 0; room->a_sums && r < rows; r++)
        a_sums[r] = 0;
    for (int step = 0; step < p->steps; step++)
        run_step(p, step, first, rows, part(p->panels, p->panel_blocks, columns),
                 part(p->panels, p->panel_blocks, columns + 1), room);
    for (int r = 0; room->a_sums && r < rows; r++)
        p->a_sums[first + r] += (float)a_sums[r];
    room->a_sums = a_sums;
}

static void quantise_rows(void *argument, int first, int last)
{
    const struct gemm_plan *p = argument;
    size_t row = (size_t)p->depth * 4;

    for (int r = first; r < last; r++) {
        memset(p->bytes_a + (size_t)r * row + row - 4, 0, 4);
        p->kernels->quantise(p->bytes_a + (size_t)r * row, dn_cpu_at(p->a, r, 0),
                             p->a.dtype == DINO_BF16, p->a.cols, &p->a_scale[r], &p->a_zero[r]);
    }
}

static void run_tasks(void *argument, int thread)
{
    struct gemm_plan *p = argument;
    char *mine = p->scratch + (size_t)thread * p->bytes;
    struct room room = {.packed = mine,
                        .first = -1,
                        .sums = (float *)(void *)(mine + p->a_bytes),
                        .a_sums = (double *)(void *)(mine + p->sums_at)};

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
static bool take_scratch(struct queue *q, struct gemm_plan *p)
{
    size_t m = (size_t)p->m, depth = (size_t)p->depth, nr = (size_t)p->kernels->nr;
    size_t rows = (size_t)dn_blocks_of(p->m, p->row_blocks);
    size_t panels = (size_t)dn_blocks_of(p->panels, p->panel_blocks);
    bool i8 = p->kind == TILE_I8;
    size_t bytes_a = i8 ? aligned(m * depth * 4) : 0, scales = i8 ? aligned(m * 4) : 0;
    size_t bytes_b = p->values ? 0 : aligned((size_t)p->panels * depth * nr * 4);
    size_t tiles = (rows + (size_t)p->kernels->mr - 1) / (size_t)p->kernels->mr;
    /* a panel of b is packed in the same room */
    size_t lines = rows > nr ? rows : nr;

    p->a_bytes = aligned(p->a_across ? tiles * ACROSS_K * nr * 2 : lines * TILE_STRIDE * 4);
    if (p->a_bytes < nr * TILE_STRIDE * 4)
        p->a_bytes = aligned(nr * TILE_STRIDE * 4);
    p->sums_at = p->a_bytes + aligned(rows * panels * nr * 4);
    p->bytes = p->sums_at + (p->a_sums ? aligned(rows * sizeof(double)) : 0);
    size_t all = (size_t)p->threads * p->bytes;
    char *scratch = dn_cpu_scratch(q, all + bytes_a + 2 * scales + bytes_b);
    if (!scratch)
        return false;
    p->scratch = scratch;
    p->bytes_a = (uint8_t *)scratch + all;
    p->a_scale = (float *)(void *)(p->bytes_a + bytes_a);
    p->a_zero = (int32_t *)(void *)(p->bytes_a + bytes_a + scales);
    p->packed_b = scratch + all + bytes_a + 2 * scales;
    return true;
}

void dn_gemm_run(struct queue *q, struct gemm_plan *p)
{
    size_t y_bytes = (size_t)p->m * (size_t)p->n * (p->end.y_bf16 ? 2 : 4);

    p->queue = q;
    p->threads = q->threads;
    p->panels = dn_blocks_of(p->n, p->kernels->nr / (p->end.gated ? 2 : 1));
    p->steps = dn_blocks_of(p->depth, p->a_across ? ACROSS_K : TILE_K);
    p->in_place = readable_in_place(p);
    p->large_y = y_bytes > (size_t)3 << 19;
    choose_blocks(p);
    if (!take_scratch(q, p))
        return;
    if (p->kind == TILE_I8)
        dn_cpu_rows(q, p->m, (size_t)p->a.cols, quantise_rows, p);
    if (!p->values)
        dn_gemm_pack_plain(q, p);
    dn_tasks_init(&p->tasks, p->row_blocks * p->panel_blocks, p->threads);
    dn_team_run(dn_cpu_queue(q)->team, p->threads, run_tasks, p);
}

void dn_gemm_linear(struct queue *q, const struct gemm_kernels *kernels,
                    const struct op_linear *op)
{
    const struct gemm_weight *w = (const struct gemm_weight *)op->w;
    struct gemm_plan p = {
        .kernels = kernels,
        .kind = w->kind,
        .m = op->y.rows,
        .n = op->y.cols,
        .depth = w->depth,
        .a = op->x,
        .values = w->values,
        .end = {.bias = w->bias,
                .gelu = op->act == OP_GELU,
                .gated = op->act == OP_SWIGLU,
                .scale = op->scale,
                .residual = op->residual.data,
                .residual_stride = op->residual.rows == 1 ? 0 : op->residual.stride,
                .y = op->y.data,
                .y_stride = op->y.stride,
                .y_bf16 = op->y.dtype == DINO_BF16,
                .w_scale = w->scale,
                .w_sum = w->sum},
    };

    dn_gemm_run(q, &p);
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
