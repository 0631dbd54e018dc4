/* The attention kernel in one instruction set; included once an attend_ISA.c. */
#include "compute/cpu/cpu_attend.h"
#include "compute/cpu/gemm_tile.h"

/* Keys of one block: as many as a packed row of scores holds. */
enum { BLOCK_PANELS = TILE_K / NR, MOST_WIDTH = 256 };

TILE_ANY(tile_f32, TILE_F32)
#if defined(__AVX512BF16__)
TILE_ANY(tile_bf16, TILE_BF16)
enum { HAVE_BF16 = 1 };
#else
#define tile_bf16 tile_f32
enum { HAVE_BF16 = 0 };
#endif

/* What a thread works on beside the packed head. The probabilities replace the scores. */
struct work {
    float scores[MR * TILE_STRIDE];
    float query[MR * TILE_STRIDE];
    float y[MR * MOST_WIDTH];
    float sum[MR * VL]; /* lane by lane */
    float top[MR];
};

/* The numbers in a dword: two where bf16 is multiplied as it is. */
static int per_dword(const struct attend_head *h)
{
    return HAVE_BF16 && h->bf16 ? 2 : 1;
}

static int blocks_of(int count, int size)
{
    return (count + size - 1) / size;
}

static const void *row_of(const void *m, const struct attend_head *h, int row)
{
    return (const char *)m + row * h->stride * (h->bf16 ? 2 : 4);
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static struct attend_sizes sizes(int tokens, int width, int bf16)
{
    int per = HAVE_BF16 && bf16 ? 2 : 1;
    size_t key_panels = (size_t)blocks_of(tokens, NR), panels = (size_t)blocks_of(width, NR);

    return (struct attend_sizes){
        .keys = aligned(key_panels * (size_t)blocks_of(width, per) * NR * 4),
        .values = aligned(panels * (size_t)blocks_of(tokens, per) * NR * 4),
        .tile = aligned(sizeof(struct work)),
    };
}

/* count numbers to dwords, the last one padded with zero. */
static void convert(const struct attend_head *h, float *to, const void *from, int count)
{
    if (per_dword(h) == 2 || !h->bf16) {
        int dwords = blocks_of(count, per_dword(h));
        to[dwords - 1] = 0;
        memcpy(to, from, (size_t)count * (h->bf16 ? 2 : 4));
        return;
    }
    for (int i = 0; i < count; i += VL)
        vf_store_as(to, 0, i, vf_load_as(from, 1, i, count - i), count - i);
}

/* Keys [first, first + NR) to a panel [dwords, NR]: turned, VL by VL. */
static void pack_keys(const struct attend_head *h, int first, float *panel)
{
    float rows[VL][MOST_WIDTH];
    int dwords = blocks_of(h->width, per_dword(h));

    for (int half = 0; half < NR; half += VL) {
        for (int i = 0; i < VL; i++) {
            int key = first + half + i;
            if (key < h->tokens)
                convert(h, rows[i], row_of(h->k, h, key), h->width);
            else
                memset(rows[i], 0, (size_t)dwords * 4);
        }
        for (int d = 0; d < dwords; d += VL) {
            vf t[VL];
            for (int i = 0; i < VL; i++)
                t[i] = vf_load(&rows[i][d]);
            vf_transpose(t);
            for (int i = 0; i < VL && d + i < dwords; i++)
                vf_store(panel + (d + i) * NR + half, t[i]);
        }
    }
}

/* Columns [c, c + VL) of the values of keys [per * dword, ...): one dword a column. */
VEC_INLINE vf value_dwords(const struct attend_head *h, int dword, int c)
{
    int n = h->width - c < VL ? h->width - c : VL;

    if (n <= 0)
        return vf_set1(0);
#if defined(__AVX512BF16__)
    if (h->bf16) {
        const uint16_t *low = (const uint16_t *)row_of(h->v, h, 2 * dword) + c;
        __m512i x = (__m512i)vf_load_bf16_n(low, n), y = _mm512_setzero_si512();
        if (2 * dword + 1 < h->tokens)
            y = (__m512i)vf_load_bf16_n(low + h->stride, n);
        return (vf)_mm512_or_si512(_mm512_srli_epi32(x, 16), y);
    }
#endif
    return vf_load_as(row_of(h->v, h, dword), h->bf16, c, n);
}

static void pack(const struct attend_head *h)
{
    int dwords = blocks_of(h->width, per_dword(h)), keys = blocks_of(h->tokens, per_dword(h));
    float *to = h->keys;

    for (int key = 0; key < h->tokens; key += NR, to += dwords * NR)
        pack_keys(h, key, to);
    to = h->values;
    for (int c = 0; c < h->width; c += NR)
        for (int key = 0; key < keys; key++, to += NR) {
            vf_store(to, value_dwords(h, key, c));
            vf_store(to + VL, value_dwords(h, key, c + VL));
        }
}

VEC_INLINE void multiply(const struct attend_head *h, int rows, int k, const float *a,
                         const float *b, float *c, ptrdiff_t ldc, int add)
{
    if (per_dword(h) == 2)
        tile_bf16(rows, k, a, b, c, ldc, add);
    else
        tile_f32(rows, k, a, b, c, ldc, add);
}

/* Scores of the tile's queries with the keys of panels [from, to); those that lie beyond the
 * last key become like the first, so that they change no maximum. */
static void make_scores(const struct attend_head *h, struct work *w, int rows, int from, int to)
{
    int dwords = blocks_of(h->width, per_dword(h)), keys = h->tokens - from * NR;
    const float *panel = (const float *)h->keys + (ptrdiff_t)from * dwords * NR;

    for (int p = from; p < to; p++, panel += dwords * NR)
        multiply(h, rows, dwords, w->query, panel, w->scores + (p - from) * NR, TILE_STRIDE, 0);
    for (int r = 0; r < rows; r++)
        for (int i = keys; i < (to - from) * NR; i++)
            w->scores[r * TILE_STRIDE + i] = w->scores[r * TILE_STRIDE];
}

static float largest(const float *x, int count, float scale)
{
    vf a = vf_load(x) * vf_set1(scale), b = a;

    for (int i = VL; i < count; i += 2 * VL) {
        a = vf_max(a, vf_load(x + i) * vf_set1(scale));
        if (i + VL < count)
            b = vf_max(b, vf_load(x + i + VL) * vf_set1(scale));
    }
    return vf_top(vf_max(a, b));
}

/* e^(scale x - top) in place of x, as f32 or bf16; adds to the lanes of sum. */
VEC_INLINE vf weigh(float *x, int count, const int bf16, float scale, float top, vf sum)
{
    const float log2e = 1.44269504F;
    vf factor = vf_set1(bf16 ? scale * log2e : scale);
    vf shift = vf_set1(bf16 ? -top * log2e : -top);

    for (int i = 0; i < count; i += VL) {
        vf p = vf_fma(vf_load(x + i), factor, shift);
        p = bf16 ? vf_exp2_rough(p) : vf_exp(p);
        if (count - i < VL)
            p = vf_keep_n(p, count - i);
        sum = sum + p;
        vf_store_as(x, bf16, i, p, VL);
    }
    return sum;
}

/* Scores to weights, a row at a time; what is already in y and sum shrinks to the new top. */
static void softmax_block(const struct attend_head *h, struct work *w, int rows, int keys,
                          int first)
{
    int dim = blocks_of(h->width, NR) * NR;

    for (int r = 0; r < rows; r++) {
        float *x = w->scores + r * TILE_STRIDE, *y = w->y + r * MOST_WIDTH;
        float top = largest(x, keys, h->scale);
        vf sum = vf_set1(0);
        if (!first) {
            if (top > w->top[r]) {
                float shrink[VL];
                vf_store(shrink, vf_exp(vf_set1(w->top[r] - top)));
                for (int c = 0; c < dim; c += VL)
                    vf_store(y + c, vf_load(y + c) * vf_set1(shrink[0]));
                vf_store(w->sum + r * VL, vf_load(w->sum + r * VL) * vf_set1(shrink[0]));
            } else {
                top = w->top[r];
            }
            sum = vf_load(w->sum + r * VL);
        }
        w->top[r] = top;
        if (per_dword(h) == 2)
            sum = weigh(x, keys, 1, h->scale, top, sum);
        else
            sum = weigh(x, keys, 0, h->scale, top, sum);
        vf_store(w->sum + r * VL, sum);
    }
}

/* y += weights . values */
static void add_values(const struct attend_head *h, struct work *w, int rows, int key, int keys)
{
    int per = per_dword(h), all = blocks_of(h->tokens, per);
    const float *panel = (const float *)h->values + (ptrdiff_t)(key / per) * NR;

    for (int c = 0; c < h->width; c += NR, panel += (ptrdiff_t)all * NR)
        multiply(h, rows, blocks_of(keys, per), w->scores, panel, w->y + c, MOST_WIDTH,
                 key > 0);
}

static void take_queries(const struct attend_head *h, struct work *w, int first, int rows)
{
    for (int r = 0; r < rows; r++)
        convert(h, w->query + r * TILE_STRIDE, row_of(h->q, h, first + r), h->width);
}

static void attend_tile(const struct attend_head *h, int first, int rows, char *y,
                        ptrdiff_t y_stride)
{
    struct work *w = h->tile;
    int panels = blocks_of(h->tokens, NR), blocks = blocks_of(panels, BLOCK_PANELS);

    take_queries(h, w, first, rows);
    for (int b = 0; b < blocks; b++) {
        int from = panels * b / blocks, to = panels * (b + 1) / blocks;
        int keys = (to * NR < h->tokens ? to * NR : h->tokens) - from * NR;
        make_scores(h, w, rows, from, to);
        softmax_block(h, w, rows, keys, b == 0);
        add_values(h, w, rows, from * NR, keys);
    }
    for (int r = 0; r < rows; r++, y += y_stride * (h->bf16 ? 2 : 4)) {
        vf inverse = vf_set1(1.0F / vf_sum(vf_load(w->sum + r * VL)));
        for (int c = 0; c < h->width; c += VL)
            vf_store_as(y, h->bf16, c, vf_load(w->y + r * MOST_WIDTH + c) * inverse,
                        h->width - c);
    }
}

/* Tiles of nearly equal height. */
static void attend_rows(const struct attend_head *h, int first, int rows, void *y,
                        ptrdiff_t y_stride)
{
    int tiles = blocks_of(rows, MR);

    for (int t = 0; t < tiles; t++) {
        int from = rows * t / tiles, to = rows * (t + 1) / tiles;
        attend_tile(h, first + from, to - from, (char *)y + from * y_stride * (h->bf16 ? 2 : 4),
                    y_stride);
    }
}

/* Softmax over one row in memory. */
static void softmax_row(float *x, int count, float scale)
{
    float top = x[0] * scale;
    vf sum = vf_set1(0);

    for (int i = 1; i < count; i++)
        top = top > x[i] * scale ? top : x[i] * scale;
    for (int i = 0; i < count; i += VL) {
        vf p = vf_exp(vf_fma(vf_load_as(x, 0, i, count - i), vf_set1(scale), vf_set1(-top)));
        sum = sum + vf_keep_n(p, count - i < VL ? count - i : VL);
        vf_store_as(x, 0, i, p, count - i);
    }
    vf inverse = vf_set1(1.0F / vf_sum(sum));
    for (int i = 0; i < count; i += VL)
        vf_store_as(x, 0, i, vf_load_as(x, 0, i, count - i) * inverse, count - i);
}

static void attend_map(const struct attend_head *h, int first, int rows, float *y,
                       ptrdiff_t y_stride)
{
    struct work *w = h->tile;
    int panels = blocks_of(h->tokens, NR);

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
            softmax_row(y + r * y_stride, h->tokens, h->scale);
    }
}

#define ATTEND_KERNELS(isa_)                                                                \
    {                                                                                       \
        .isa = (isa_), .sizes = sizes, .pack = pack, .rows = attend_rows, .map = attend_map \
    }
