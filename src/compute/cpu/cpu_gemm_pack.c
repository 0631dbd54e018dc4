/* Weights, and plain matrices, in the order in which the micro-kernel reads them. */
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "compute/cpu/cpu_gemm_plan.h"

const int dn_gemm_per_dword[TILE_KINDS] = {1, 2, 4};

/* Panels are packed by several threads; each has room for the rows of one. */
struct packing {
    const struct gemm_kernels *kernels;
    struct gemm_weight *w;
    const struct weight_source *from;
    bool round;    /* f32 numbers to what bf16 can hold */
    size_t stride; /* dwords from row to row in room: whole vectors */
    size_t bytes;  /* of room a thread: rows of a panel, and one of f32 */
    char *room;
    struct team_tasks tasks;
};

/* The row of w that becomes column c of a panel, or -1. */
static int row_of(const struct packing *p, int panel, int c)
{
    int rows = p->w->base.rows, nr = p->kernels->nr;

    if (!p->w->gated)
        return panel * nr + c < rows ? panel * nr + c : -1;
    int half = rows / 2, column = panel * (nr / 2) + c % (nr / 2);
    return column >= half ? -1 : c < nr / 2 ? column : half + column;
}

/* Row `row` of w, which is output `at`, made to dwords [depth]; the last ones padded with
 * zero. */
static void pack_row(const struct packing *p, int row, int at, const void *from, uint32_t *to)
{
    struct gemm_weight *w = p->w;
    int k = w->base.cols;

    if (p->from->bias)
        w->bias[at] = p->from->bias[row];

    to[w->depth - 1] = 0;
    if (p->from->scale) {
        const int8_t *bytes = memcpy(to, from, (size_t)k);
        for (int i = 0; i < k; i++)
            w->sum[at] += bytes[i];
        w->scale[at] = p->from->scale[row];
        return;
    }
    if (w->kind == TILE_I8) {
        p->kernels->quantise_weight((int8_t *)to, from, k, &w->scale[at], &w->sum[at]);
        return;
    }
    p->kernels->convert(to, w->kind, from, 0, k);
    for (int i = 0; p->round && i < k; i++) {
        float v;
        memcpy(&v, to + i, sizeof v);
        to[i] = (uint32_t)dn_f32_to_bf16(v) << 16;
    }
}

/* Rows of w become columns of a panel. */
static void pack_panel(const struct packing *p, int panel, char *room)
{
    const struct gemm_weight *w = p->w;
    int nr = p->kernels->nr;
    size_t size = (size_t)w->depth * (size_t)nr;
    uint32_t *rows = (uint32_t *)(void *)room;
    void *aligned = rows + (size_t)nr * p->stride;
    const struct mat *from = &p->from->w;
    ptrdiff_t number = (ptrdiff_t)dino_dtype_size(from->dtype);

    for (int c = 0; c < nr; c++) {
        uint32_t *row = rows + (size_t)c * p->stride;
        int output = row_of(p, panel, c);
        if (output >= 0) {
            const char *source = (const char *)from->data + output * from->stride * number;
            if (from->dtype == DINO_I8)
                memcpy(aligned, source, (size_t)from->cols);
            else
                dn_widen(aligned, source, from->dtype, (size_t)from->cols);
            pack_row(p, output, panel * nr + c, aligned, row);
        } else {
            memset(row, 0, (size_t)w->depth * 4);
        }
    }
    p->kernels->turn((uint32_t *)w->values + (size_t)panel * size, rows, p->stride, w->depth);
}

static void pack_panels(void *argument, int thread)
{
    struct packing *p = argument;

    for (int i; (i = dn_tasks_take(&p->tasks, thread)) >= 0;)
        pack_panel(p, i, p->room + (size_t)thread * p->bytes);
}

/* With threads of its own where there is much to do: packing belongs to no queue. */
static bool pack_values(struct packing *p, int threads, struct dino_error *err)
{
    struct gemm_weight *w = p->w;
    size_t f32_row = (size_t)w->base.cols * 4;

    if (w->value_bytes < (size_t)1 << 19)
        threads = 1;
    threads = threads > 8 ? 8 : threads; /* memory is not faster for more */
    p->stride = ((size_t)w->depth + 15) / 16 * 16;
    p->bytes =
        ((size_t)p->kernels->nr * p->stride * 4 + f32_row + DN_ALIGN) / DN_ALIGN * DN_ALIGN;
    p->room = dn_calloc((size_t)threads, p->bytes, "packing", err);
    struct team *team = p->room ? dn_team_new(threads, err) : NULL;
    if (team) {
        dn_tasks_init(&p->tasks, w->panels, threads);
        dn_team_run(team, threads, pack_panels, p);
    }
    bool good = team;
    dn_team_free(team);
    free(p->room);
    return good;
}

struct weight *dn_gemm_pack(const struct gemm_kernels *kernels, enum dino_dtype dtype,
                            const struct weight_source *from, int threads,
                            struct dino_error *err)
{
    int rows = from->w.rows, cols = from->w.cols;
    struct gemm_weight *w = dn_calloc(1, sizeof *w, "a weight", err);
    bool native = kernels->tile[TILE_BF16];

    if (!w)
        return NULL;
    w->kind = dtype == DINO_I8 ? TILE_I8 : dtype == DINO_BF16 && native ? TILE_BF16 : TILE_F32;
    w->base = (struct weight){.rows = rows, .cols = cols, .dtype = dtype};
    w->depth = dn_blocks_of(cols, dn_gemm_per_dword[w->kind]);
    w->gated = from->gated;
    w->panels =
        w->gated ? dn_blocks_of(rows / 2, kernels->nr / 2) : dn_blocks_of(rows, kernels->nr);

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
    w->bias = from->bias ? more : NULL;
    w->scale = more + outputs;
    w->sum = (int32_t *)(void *)(more + 2 * outputs);
    struct packing p = {
        .kernels = kernels, .w = w, .from = from, .round = dtype == DINO_BF16 && !native};
    if (!pack_values(&p, threads, err))
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

/* ---- plain matrices ---- */

/* Dwords [k0, k0 + depth) of panel `panel` of b [n, k]. */
static void pack_step(const struct gemm_plan *p, int panel, int k0, int depth, uint32_t *room)
{
    int nr = p->kernels->nr, per = dn_gemm_per_dword[p->kind];
    int at = k0 * per, count = depth * per;
    size_t to = (size_t)panel * (size_t)p->depth + (size_t)k0;

    if (count > p->b.cols - at)
        count = p->b.cols - at;
    for (int c = 0; c < nr; c++) {
        uint32_t *row = room + (size_t)c * TILE_STRIDE;
        int output = panel * nr + c;
        if (output >= p->n) {
            memset(row, 0, (size_t)depth * 4);
            continue;
        }
        row[depth - 1] = 0;
        p->kernels->convert(row, p->kind, dn_cpu_at(p->b, output, at), p->b.dtype == DINO_BF16,
                            count);
    }
    p->kernels->turn((uint32_t *)(void *)p->packed_b + to * (size_t)nr, room, TILE_STRIDE,
                     depth);
}

static void pack_outputs(void *argument, int thread)
{
    struct gemm_plan *p = argument;
    void *room = p->scratch + (size_t)thread * p->bytes;

    for (int panel; (panel = dn_tasks_take(&p->tasks, thread)) >= 0;)
        for (int k = 0; k < p->depth; k += TILE_K)
            pack_step(p, panel, k, p->depth - k < TILE_K ? p->depth - k : TILE_K, room);
}

enum { PACK_K = 64 }; /* dwords of a task */

/* PACK_K dwords of all panels of b [k, n]: its rows are read as they lie. */
static void pack_inputs(void *argument, int thread)
{
    struct gemm_plan *p = argument;
    int nr = p->kernels->nr, half = nr / 2, per = dn_gemm_per_dword[p->kind];

    for (int t; (t = dn_tasks_take(&p->tasks, thread)) >= 0;) {
        int first = t * PACK_K * per, left = p->b.rows - first;
        int rows = left < PACK_K * per ? left : PACK_K * per;
        float *to = (float *)(void *)p->packed_b + (size_t)t * PACK_K * (size_t)nr;
        for (int c = 0; c < p->panels * nr; c += half) {
            float *at = to + (size_t)(c / nr) * (size_t)p->depth * (size_t)nr + c % nr;
            int count = p->n - c < half ? p->n - c : half;
            p->kernels->across(at, nr, p->kind, dn_cpu_at(p->b, first, c),
                               p->b.dtype == DINO_BF16, p->b.stride, rows,
                               count > 0 ? count : 0, NULL);
        }
    }
}

void dn_gemm_pack_plain(struct queue *q, struct gemm_plan *p)
{
    int tasks = p->b_across ? dn_blocks_of(p->depth, PACK_K) : p->panels;
    size_t numbers = (size_t)p->depth * (size_t)p->n;

    dn_tasks_init(&p->tasks, tasks, p->threads);
    dn_team_run(dn_cpu_queue(q)->team, dn_cpu_threads(q, numbers),
                p->b_across ? pack_inputs : pack_outputs, p);
}
