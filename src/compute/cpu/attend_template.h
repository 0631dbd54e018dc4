/* The attention kernel in one instruction set; included once an attend_ISA.c. */
#include "compute/cpu/cpu_attend.h"
#include "compute/cpu/gemm_tile.h"

/* Keys of one block: as many as a packed row of scores holds. */
enum { BLOCK_PANELS = TILE_K / NR, MOST_WIDTH = 256 };
enum { STRIP = 16, STRIP_FROM = 1 << 17 };
enum { SCORES_BYTES = MR * TILE_STRIDE * 4 };

TILE_ANY(tile_f32, TILE_F32, 2)
TILE_ANY(tile_f32_half, TILE_F32, 1)
#if defined(__AVX512BF16__)
TILE_ANY(tile_bf16, TILE_BF16, 2)
TILE_ANY(tile_bf16_half, TILE_BF16, 1)
enum { HAVE_BF16 = 1 };
#else
#define tile_bf16 tile_f32
#define tile_bf16_half tile_f32_half
enum { HAVE_BF16 = 0 };
#endif

/* A tile of queries on its way through the keys. The probabilities replace the scores, which
 * all tiles of a thread share. */
struct work {
    float query[MR * TILE_STRIDE];
    float y[MR * MOST_WIDTH];
    float sum[MR * VL]; /* lane by lane */
    float top[MR];      /* largest score so far, times scale * log2(e) */
    float *scores;      /* [MR, TILE_STRIDE] */
};

/* The numbers in a dword: two where bf16 is multiplied as it is. */
static int per_dword(const struct attend_head *h)
{
    return HAVE_BF16 && h->bf16 ? 2 : 1;
}

static const void *row_of(const void *m, const struct attend_head *h, int row)
{
    return (const char *)m + row * h->stride * (h->bf16 ? 2 : 4);
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Tiles that go through the keys together. Where keys and values fill the second-level cache,
 * one tile after the other would have all of them come again from behind it. */
static int strip_of(int tokens, int width)
{
    return (int64_t)tokens * width > STRIP_FROM ? STRIP : 1;
}

static struct attend_sizes sizes(int tokens, int width, int bf16)
{
    int per = HAVE_BF16 && bf16 ? 2 : 1;
    size_t key_panels = (size_t)dn_blocks_of(tokens, NR),
           panels = (size_t)dn_blocks_of(width, NR);

    int tiles = strip_of(tokens, width);
    return (struct attend_sizes){
        .keys = aligned(key_panels * (size_t)dn_blocks_of(width, per) * NR * 4),
        .values = aligned(panels * (size_t)dn_blocks_of(tokens, per) * NR * 4),
        .tile = SCORES_BYTES + (size_t)tiles * aligned(sizeof(struct work)),
    };
}

/* count numbers to dwords, the last one padded with zero. */
static void convert(const struct attend_head *h, float *to, const void *from, int count)
{
    if (per_dword(h) == 2 || !h->bf16) {
        int dwords = dn_blocks_of(count, per_dword(h));
        to[dwords - 1] = 0;
        memcpy(to, from, (size_t)count * (h->bf16 ? 2 : 4));
        return;
    }
    for (int i = 0; i < count; i += VL)
        vf_store_as(to, 0, i, vf_load_as(from, 1, i, count - i), count - i);
}

/* Row `key` of the keys as dwords: where it lies, or in buffer. */
static const float *key_dwords(const struct attend_head *h, int key, float *buffer)
{
    static const float zeros[MOST_WIDTH];
    int dwords = dn_blocks_of(h->width, per_dword(h));

    if (key >= h->tokens)
        return zeros;
    if (dwords % VL == 0 && (per_dword(h) == 2 || !h->bf16))
        return row_of(h->k, h, key);
    convert(h, buffer, row_of(h->k, h, key), h->width);
    return buffer;
}

/* Keys [first, first + VL) to columns of a panel [dwords, width], turned. */
static void pack_keys(const struct attend_head *h, int first, float *panel, int width)
{
    float buffer[VL][MOST_WIDTH];
    const float *rows[VL];
    int dwords = dn_blocks_of(h->width, per_dword(h));

    for (int i = 0; i < VL; i++)
        rows[i] = key_dwords(h, first + i, buffer[i]);
    for (int d = 0; d < dwords; d += VL) {
        vf t[VL];
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
            t[i] = vf_load(&rows[i][d]);
        vf_transpose(t);
        if (dwords - d >= VL) {
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                vf_store(panel + (d + i) * width, t[i]);
        } else {
            for (int i = 0; d + i < dwords; i++)
                vf_store(panel + (d + i) * width, t[i]);
        }
    }
}

/* Columns [c, c + n) of the values of keys [per * dword, ...): one dword a column. */
VEC_INLINE vf value_dwords(const struct attend_head *h, const char *row, int dword, int c,
                           int n)
{
#if defined(__AVX512BF16__)
    if (h->bf16) {
        const uint16_t *low = (const uint16_t *)(const void *)row + c;
        __m512i x = (__m512i)vf_load_bf16_n(low, n), y = _mm512_setzero_si512();
        if (2 * dword + 1 < h->tokens)
            y = (__m512i)vf_load_bf16_n(low + h->stride, n);
        return (vf)_mm512_or_si512(_mm512_srli_epi32(x, 16), y);
    }
#endif
    (void)dword;
    return vf_load_as(row, h->bf16, c, n);
}

/* Values to panels [keys, NR] of columns, zeros behind the last. */
static void pack_values(const struct attend_head *h, float *to)
{
    int per = per_dword(h), dwords = dn_blocks_of(h->tokens, per);
    ptrdiff_t step = per * h->stride * (h->bf16 ? 2 : 4);

    for (int c = 0; c < h->width; c += NR) {
        int left = h->width - c, low = left < VL ? left : VL;
        int high = left - low < VL ? left - low : VL;
        const char *row = h->v;
        for (int i = 0; i < dwords; i++, to += NR, row += step) {
            vf_store(to, value_dwords(h, row, i, c, low));
            vf_store(to + VL, high ? value_dwords(h, row, i, c + VL, high) : vf_set1(0));
        }
    }
}

/* The last panel of keys is half as wide where that is enough: 257 = 8 * 32 + 1. */
static int panel_width(const struct attend_head *h, int panel)
{
    return h->tokens - panel * NR <= VL ? VL : NR;
}

static void pack_all_keys(const struct attend_head *h, float *to)
{
    int dwords = dn_blocks_of(h->width, per_dword(h)), panels = dn_blocks_of(h->tokens, NR);

    for (int p = 0; p < panels; p++, to += dwords * NR) {
        int width = panel_width(h, p);
        for (int i = 0; i < width; i += VL)
            pack_keys(h, p * NR + i, to + i, width);
    }
}

static void pack(const struct attend_head *h)
{
    pack_all_keys(h, h->keys);
    pack_values(h, h->values);
}

/* half: b and c are VL wide */
VEC_INLINE void multiply(const struct attend_head *h, int rows, int half,
                         const struct tile_work *w)
{
    if (per_dword(h) == 2)
        (half ? tile_bf16_half : tile_bf16)(rows, w);
    else
        (half ? tile_f32_half : tile_f32)(rows, w);
}

/* Scores of the tile's queries with the keys of panels [from, to). */
static void make_scores(const struct attend_head *h, struct work *w, int rows, int from, int to)
{
    int dwords = dn_blocks_of(h->width, per_dword(h));
    const float *panel = (const float *)h->keys + (ptrdiff_t)from * dwords * NR;
    struct tile_work t = {.k = dwords,
                          .a = w->query,
                          .a_stride = TILE_STRIDE * 4,
                          .a_step = 4,
                          .c = w->scores,
                          .ldc = TILE_STRIDE};

    for (int p = from; p < to; p++, panel += dwords * NR, t.c += NR) {
        t.b = t.soon = panel;
        multiply(h, rows, panel_width(h, p) < NR, &t);
    }
}

/* The largest of x, which may be read up to a whole vector, times factor. */
static float largest(const float *x, int count, float factor)
{
    vf f = vf_set1(factor), first = vf_load(x) * f;
    vf a = count < VL ? vf_pick_n(first, vf_set1(x[0] * factor), count) : first, b = a;
    int i = VL;

    for (; i + 2 * VL <= count; i += 2 * VL) {
        a = vf_max(a, vf_load(x + i) * f);
        b = vf_max(b, vf_load(x + i + VL) * f);
    }
    for (; i < count; i += VL) {
        int n = count - i < VL ? count - i : VL;
        a = vf_max(a, vf_pick_n(vf_load(x + i) * f, a, n));
    }
    return vf_top(vf_max(a, b));
}

/* 2^(factor x - top) in place of x, f32; adds to the lanes of sum. Zeros up to a vector. */
static vf weigh(float *x, int count, float factor, float top, vf sum)
{
    for (int i = 0; i < count; i += VL) {
        vf p = vf_exp2(vf_fma(vf_load(x + i), vf_set1(factor), vf_set1(-top)));
        if (count - i < VL)
            p = vf_pick_n(p, vf_set1(0), count - i);
        sum = sum + p;
        vf_store(x + i, p);
    }
    return sum;
}

/* The same, as bf16 in the first half of x's memory, and zeros up to two vectors. */
static vf weigh_bf16(float *x, int count, float factor, float top, vf sum)
{
    uint16_t *to = (uint16_t *)(void *)x;
    vf other = vf_set1(0), f = vf_set1(factor), shift = vf_set1(-top);
    int i = 0;

    for (; i + 2 * VL <= count; i += 2 * VL) {
        vf p = vf_exp2_rough(vf_fma(vf_load(x + i), f, shift));
        vf q = vf_exp2_rough(vf_fma(vf_load(x + i + VL), f, shift));
        sum = sum + p;
        other = other + q;
        vf_store_bf16_pair(to + i, p, q);
    }
    for (; i < count; i += VL) {
        int n = count - i < VL ? count - i : VL;
        vf p = vf_pick_n(vf_exp2_rough(vf_fma(vf_load(x + i), f, shift)), vf_set1(0), n);
        sum = sum + p;
        vf_store_bf16(to + i, p);
    }
    return sum + other;
}

/* What is already in y and sum of row r shrinks to a new top. */
static void shrink(struct work *w, int r, int dim, float top)
{
    float *y = w->y + r * MOST_WIDTH, *sum = w->sum + r * VL, by[VL];

    vf_store(by, vf_exp2(vf_set1(w->top[r] - top)));
    for (int c = 0; c < dim; c += VL)
        vf_store(y + c, vf_load(y + c) * vf_set1(by[0]));
    vf_store(sum, vf_load(sum) * vf_set1(by[0]));
}

/* Scores to weights, a row at a time. */
static void softmax_block(const struct attend_head *h, struct work *w, int rows, int keys,
                          int first)
{
    int dim = dn_blocks_of(h->width, NR) * NR;
    float factor = h->scale * 1.44269504F, tops[MR];

    for (int r = 0; r < rows; r++)
        tops[r] = largest(w->scores + r * TILE_STRIDE, keys, factor);
    for (int r = 0; r < rows && !first; r++) {
        if (tops[r] > w->top[r])
            shrink(w, r, dim, tops[r]);
        else
            tops[r] = w->top[r];
    }
    for (int r = 0; r < rows; r++) {
        float *x = w->scores + r * TILE_STRIDE;
        vf sum = first ? vf_set1(0) : vf_load(w->sum + r * VL);
        sum = per_dword(h) == 2 ? weigh_bf16(x, keys, factor, tops[r], sum)
                                : weigh(x, keys, factor, tops[r], sum);
        vf_store(w->sum + r * VL, sum);
        w->top[r] = tops[r];
    }
}

/* y += weights . values */
static void add_values(const struct attend_head *h, struct work *w, int rows, int key, int keys)
{
    int per = per_dword(h), all = dn_blocks_of(h->tokens, per);
    const float *panel = (const float *)h->values + (ptrdiff_t)(key / per) * NR;
    struct tile_work t = {.k = dn_blocks_of(keys, per),
                          .a = w->scores,
                          .a_stride = TILE_STRIDE * 4,
                          .a_step = 4,
                          .c = w->y,
                          .ldc = MOST_WIDTH,
                          .add = key > 0};

    for (int c = 0; c < h->width; c += NR, panel += (ptrdiff_t)all * NR, t.c += NR) {
        t.b = t.soon = panel;
        multiply(h, rows, 0, &t);
    }
}

/* The nth tile of this thread's strip. */
static struct work *work_of(const struct attend_head *h, int tile)
{
    char *works = (char *)h->tile + SCORES_BYTES;
    return (struct work *)(void *)(works + (size_t)tile * aligned(sizeof(struct work)));
}

static void take_queries(const struct attend_head *h, struct work *w, int first, int rows)
{
    w->scores = h->tile;
    for (int r = 0; r < rows; r++)
        convert(h, w->query + r * TILE_STRIDE, row_of(h->q, h, first + r), h->width);
}

static void give_results(const struct attend_head *h, const struct work *w, int rows, char *y,
                         ptrdiff_t y_stride)
{
    for (int r = 0; r < rows; r++, y += y_stride * (h->bf16 ? 2 : 4)) {
        vf inverse = vf_set1(1.0F / vf_sum(vf_load(w->sum + r * VL)));
        for (int c = 0; c < h->width; c += VL)
            vf_store_as(y, h->bf16, c, vf_load(w->y + r * MOST_WIDTH + c) * inverse,
                        h->width - c);
    }
}

/* The queries of rows [first, first + rows), in tiles of nearly equal height. */
struct strip {
    int first, rows, tiles;
};

static int row_at(const struct strip *s, int tile)
{
    return s->rows * tile / s->tiles;
}

static int rows_of(const struct strip *s, int tile)
{
    return row_at(s, tile + 1) - row_at(s, tile);
}

/* One block of keys after the other, and all tiles through each. */
static void attend_strip(const struct attend_head *h, const struct strip *s, char *y,
                         ptrdiff_t y_stride)
{
    int panels = dn_blocks_of(h->tokens, NR), blocks = dn_blocks_of(panels, BLOCK_PANELS);

    for (int t = 0; t < s->tiles; t++)
        take_queries(h, work_of(h, t), s->first + row_at(s, t), rows_of(s, t));
    for (int b = 0; b < blocks; b++) {
        int from = panels * b / blocks, to = panels * (b + 1) / blocks;
        int keys = (to * NR < h->tokens ? to * NR : h->tokens) - from * NR;
        for (int t = 0; t < s->tiles; t++) {
            int rows = rows_of(s, t);
            make_scores(h, work_of(h, t), rows, from, to);
            softmax_block(h, work_of(h, t), rows, keys, b == 0);
            add_values(h, work_of(h, t), rows, from * NR, keys);
        }
    }
    for (int t = 0; t < s->tiles; t++)
        give_results(h, work_of(h, t), rows_of(s, t),
                     y + row_at(s, t) * y_stride * (h->bf16 ? 2 : 4), y_stride);
}

static void attend_rows(const struct attend_head *h, int first, int rows, void *y,
                        ptrdiff_t y_stride)
{
    int tiles = dn_blocks_of(rows, MR), most = strip_of(h->tokens, h->width);
    int strips = dn_blocks_of(tiles, most);

    for (int i = 0; i < strips; i++) {
        int t = tiles * i / strips, from = rows * t / tiles;
        int next = tiles * (i + 1) / strips, to = rows * next / tiles;
        struct strip s = {.first = first + from, .rows = to - from, .tiles = next - t};
        attend_strip(h, &s, (char *)y + from * y_stride * (h->bf16 ? 2 : 4), y_stride);
    }
}

/* Softmax over one row in memory. */
static void softmax_row(float *x, int count, float factor)
{
    float top = x[0] * factor;
    vf sum = vf_set1(0);

    for (int i = 1; i < count; i++)
        top = top > x[i] * factor ? top : x[i] * factor;
    for (int i = 0; i < count; i += VL) {
        vf p = vf_exp2(vf_fma(vf_load_as(x, 0, i, count - i), vf_set1(factor), vf_set1(-top)));
        sum = sum + vf_pick_n(p, vf_set1(0), count - i < VL ? count - i : VL);
        vf_store_as(x, 0, i, p, count - i);
    }
    vf inverse = vf_set1(1.0F / vf_sum(sum));
    for (int i = 0; i < count; i += VL)
        vf_store_as(x, 0, i, vf_load_as(x, 0, i, count - i) * inverse, count - i);
}

static void attend_map(const struct attend_head *h, int first, int rows, float *y,
                       ptrdiff_t y_stride)
{
    struct work *w = work_of(h, 0);
    int panels = dn_blocks_of(h->tokens, NR);

    for (int done = 0; done < rows; done += MR, y += MR * y_stride) {
        int now = rows - done < MR ? rows - done : MR;
        take_queries(h, w, first + done, now);
        for (int p = 0; p < panels; p++) {
            int keys = h->tokens - p * NR < NR ? h->tokens - p * NR : NR;
            make_scores(h, w, now, p, p + 1);
            for (int r = 0; r < now; r++)
                memcpy(y + r * y_stride + p * NR, w->scores + r * TILE_STRIDE,
                       (size_t)keys * sizeof *y);
        }
        for (int r = 0; r < now; r++)
            softmax_row(y + r * y_stride, h->tokens, h->scale * 1.44269504F);
    }
}
