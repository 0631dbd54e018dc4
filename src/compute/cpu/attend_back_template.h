/*
 * The backward of attention in one instruction set, beside the forward of attend_template.h.
 * Queries are taken in blocks: the probabilities p of a block are computed again, and with
 * d_s = scale p (d_y v^T - d_y . y)
 *     d_q = d_s k,  d_k += d_s^T q,  d_v += p^T d_y.
 */
#include "compute/cpu/attend_template.h"

enum { QUERIES = 56 }; /* of a block: an even number of rows */

/* Where things lie in the scratch of a head, in floats. A dword holds one number or two; what
 * is "across" holds in one dword numbers of successive rows. */
struct back_room {
    int dwords, wide, line; /* of width; columns of whole panels; between rows of scores */
    size_t keys, values;    /* turned, for scores and d_y v^T */
    size_t keys_across, q_across, d_y_across;
    size_t q, d_y;           /* rows of the block */
    size_t scores, d_scores; /* [QUERIES][line] f32; d_s takes the place of d_scores */
    size_t p_across, d_s_across;
    size_t d_q, d_k, d_v; /* [MR][wide], [tokens][wide] */
    size_t all;
};

static size_t take(struct back_room *room, size_t floats)
{
    size_t at = room->all;

    room->all += (floats + 15) / 16 * 16;
    return at;
}

static struct back_room back_layout(int tokens, int width, int bf16)
{
    int per = HAVE_BF16 && bf16 ? 2 : 1;
    size_t panels = (size_t)dn_blocks_of(tokens, NR), rows = (size_t)dn_blocks_of(tokens, per);
    struct back_room r = {.dwords = dn_blocks_of(width, per),
                          .wide = dn_blocks_of(width, NR) * NR,
                          .line = dn_blocks_of(tokens, NR) * NR + VL};
    size_t wide = (size_t)r.wide, line = (size_t)r.line, dwords = (size_t)r.dwords;
    size_t row = dwords + 2 * VL;

    r.keys = take(&r, panels * dwords * NR);
    r.values = take(&r, panels * dwords * NR);
    r.keys_across = take(&r, rows * wide);
    r.q_across = take(&r, QUERIES * wide);
    r.d_y_across = take(&r, QUERIES * wide);
    r.q = take(&r, QUERIES * row);
    r.d_y = take(&r, QUERIES * row);
    r.scores = take(&r, QUERIES * line);
    r.d_scores = take(&r, QUERIES * line);
    r.p_across = per == 2 ? take(&r, QUERIES / 2 * line) : r.scores;
    r.d_s_across = per == 2 ? take(&r, QUERIES / 2 * line) : r.d_scores;
    r.d_q = take(&r, MR * wide);
    r.d_k = take(&r, (size_t)tokens * wide);
    r.d_v = take(&r, (size_t)tokens * wide);
    return r;
}

static size_t back_bytes(int tokens, int width, int bf16)
{
    return back_layout(tokens, width, bf16).all * sizeof(float);
}

/* Rows [first, first + rows) of m, like a head's, as dwords `row` apart. */
static void back_rows(const struct attend_head *h, float *to, int row, const void *m, int rows)
{
    for (int r = 0; r < rows; r++)
        convert(h, to + r * row, row_of(m, h, r), h->width);
}

/* c [rows, line] = a [rows, width] . keys^T, for all keys of h. */
static void back_scores(const struct attend_head *h, const struct back_room *room,
                        const float *a, const float *keys, float *c, int rows)
{
    int row = room->dwords + 2 * VL;

    for (int first = 0; first < rows; first += MR) {
        const float *panel = keys;
        struct tile_work t = {.k = room->dwords,
                              .a = a + first * row,
                              .a_stride = row * 4,
                              .a_step = 4,
                              .c = c + first * room->line,
                              .ldc = room->line};
        int now = rows - first < MR ? rows - first : MR;
        for (int p = 0; p * NR < h->tokens; p++, panel += room->dwords * NR, t.c += NR) {
            t.b = t.soon = panel;
            multiply(h, now, panel_width(h, p) < NR, &t);
        }
    }
}

static float row_dot(const struct attend_head *h, const void *x, const void *y)
{
    vf sum = vf_set1(0);

    for (int c = 0; c < h->width; c += VL)
        sum = vf_fma(vf_load_as(x, h->bf16, c, h->width - c),
                     vf_load_as(y, h->bf16, c, h->width - c), sum);
    return vf_sum(sum);
}

/* A row of scores to exponentials; returns 1 over their sum. */
static float back_softmax(const struct attend_head *h, float *x)
{
    float factor = h->scale * 1.44269504F, top = largest(x, h->tokens, factor);

    return 1.0F / vf_sum(weigh(x, h->tokens, factor, top, vf_set1(0)));
}

/* The probabilities and d_s of n keys of a row. */
struct back_pair {
    vf p, d_s;
};

VEC_INLINE struct back_pair back_numbers(const float *p, const float *d_p, float share,
                                         float mean, float scale, int n)
{
    vf x = vf_load(p) * vf_set1(share);
    vf d = vf_set1(scale) * x * (vf_load(d_p) - vf_set1(mean));

    if (n < VL)
        return (struct back_pair){vf_pick_n(x, vf_set1(0), n), vf_pick_n(d, vf_set1(0), n)};
    return (struct back_pair){x, d};
}

/* Rows r and r + 1 of the block (where there is one): from scores and d_y v^T to p across, and
 * d_s both in rows and across. */
static void back_pair_of_rows(const struct attend_back *b, const struct back_room *room,
                              float *base, int first, int r, int rows)
{
    const struct attend_head *h = &b->head;
    int per = per_dword(h), line = room->line;
    float *p = base + room->scores + r * line, *d = base + room->d_scores + r * line;
    float share[2] = {0}, mean[2] = {0};

    for (int i = 0; i < per && r + i < rows; i++) {
        ptrdiff_t size = h->bf16 ? 2 : 4, row = first + r + i;
        share[i] = back_softmax(h, p + i * line);
        mean[i] = row_dot(h, (const char *)b->y + row * b->y_stride * size,
                          (const char *)b->d_y + row * b->d_y_stride * size);
    }
    if (per == 1) {
        for (int c = 0; c < h->tokens; c += VL) {
            struct back_pair x =
                back_numbers(p + c, d + c, share[0], mean[0], h->scale, h->tokens - c);
            vf_store(p + c, x.p);
            vf_store(d + c, x.d_s);
        }
        return;
    }
    float *p_to = base + room->p_across + r / 2 * line;
    float *d_to = base + room->d_s_across + r / 2 * line;
    for (int c = 0; c < h->tokens; c += VL) {
        struct back_pair x =
            back_numbers(p + c, d + c, share[0], mean[0], h->scale, h->tokens - c);
        struct back_pair y = {vf_set1(0), vf_set1(0)};
        if (r + 1 < rows)
            y = back_numbers(p + line + c, d + line + c, share[1], mean[1], h->scale,
                             h->tokens - c);
        vf_store_bf16((uint16_t *)(void *)d + c, x.d_s);
        vf_store_bf16((uint16_t *)(void *)(d + line) + c, y.d_s);
        vf_store(p_to + c, vf_pair_bf16(vf_round_bf16(x.p), vf_round_bf16(y.p)));
        vf_store(d_to + c, vf_pair_bf16(vf_round_bf16(x.d_s), vf_round_bf16(y.d_s)));
    }
}

/* to [rows, width] of h's dtype, `stride` apart, from [rows, wide]. */
static void back_store(const struct attend_head *h, void *to, ptrdiff_t stride,
                       const float *from, int wide, int rows)
{
    char *row = to;

    for (int r = 0; r < rows; r++, row += stride * (h->bf16 ? 2 : 4))
        for (int c = 0; c < h->width; c += VL)
            vf_store_as(row, h->bf16, c, vf_load(from + r * wide + c), h->width - c);
}

/* d_q of the block: d_s in rows times the keys across. */
static void back_queries(const struct attend_back *b, const struct back_room *room, float *base,
                         int first, int rows)
{
    const struct attend_head *h = &b->head;
    int all = dn_blocks_of(h->tokens, per_dword(h));
    ptrdiff_t size = h->bf16 ? 2 : 4;

    for (int r = 0; r < rows; r += MR) {
        int now = rows - r < MR ? rows - r : MR;
        const float *panel = base + room->keys_across;
        struct tile_work t = {.k = all,
                              .a = base + room->d_scores + r * room->line,
                              .a_stride = room->line * 4,
                              .a_step = 4,
                              .c = base + room->d_q,
                              .ldc = room->wide};
        for (int c = 0; c < h->width; c += NR, panel += all * NR, t.c += NR) {
            t.b = t.soon = panel;
            multiply(h, now, 0, &t);
        }
        back_store(h, (char *)b->d_q + (first + r) * b->d_stride * size, b->d_stride,
                   base + room->d_q, room->wide, now);
    }
}

/* sums [tokens, wide] = (with add +=) a^T . b, both across: over the queries of the block. */
static void back_keys(const struct attend_head *h, const struct back_room *room, const float *a,
                      const float *b, float *sums, int rows, int add)
{
    int all = dn_blocks_of(rows, per_dword(h));

    for (int key = 0; key < h->tokens; key += MR) {
        int now = h->tokens - key < MR ? h->tokens - key : MR;
        const float *panel = b;
        struct tile_work t = {.k = all,
                              .add = add,
                              .a = a + key,
                              .a_stride = 4,
                              .a_step = room->line * 4,
                              .c = sums + key * room->wide,
                              .ldc = room->wide};
        for (int c = 0; c < h->width; c += NR, panel += all * NR, t.c += NR) {
            t.b = t.soon = panel;
            multiply(h, now, 0, &t);
        }
    }
}

static void back_block(const struct attend_back *b, const struct back_room *room, float *base,
                       int first, int rows)
{
    struct attend_head q = b->head, d_y = b->head;
    int row = room->dwords + 2 * VL;
    ptrdiff_t size = b->head.bf16 ? 2 : 4;

    q.v = row_of(q.q, &q, first);
    d_y.v = (const char *)b->d_y + first * b->d_y_stride * size;
    d_y.stride = b->d_y_stride;
    q.tokens = d_y.tokens = rows;
    pack_values(&q, base + room->q_across);
    pack_values(&d_y, base + room->d_y_across);
    back_rows(&q, base + room->q, row, q.v, rows);
    back_rows(&d_y, base + room->d_y, row, d_y.v, rows);
    back_scores(&b->head, room, base + room->q, base + room->keys, base + room->scores, rows);
    back_scores(&b->head, room, base + room->d_y, base + room->values, base + room->d_scores,
                rows);
    for (int r = 0; r < rows; r += per_dword(&q))
        back_pair_of_rows(b, room, base, first, r, rows);
    back_queries(b, room, base, first, rows);
    back_keys(&b->head, room, base + room->p_across, base + room->d_y_across, base + room->d_v,
              rows, first > 0);
    back_keys(&b->head, room, base + room->d_s_across, base + room->q_across, base + room->d_k,
              rows, first > 0);
}

static void attend_back(const struct attend_back *b)
{
    struct back_room room = back_layout(b->head.tokens, b->head.width, b->head.bf16);
    struct attend_head keys = b->head, values = b->head;
    int tokens = keys.tokens;
    float *base = b->scratch;

    values.k = values.v;
    keys.v = keys.k;
    pack_all_keys(&keys, base + room.keys);
    pack_all_keys(&values, base + room.values);
    pack_values(&keys, base + room.keys_across);
    for (int first = 0; first < tokens; first += QUERIES)
        back_block(b, &room, base, first, tokens - first < QUERIES ? tokens - first : QUERIES);
    back_store(&keys, b->d_k, b->d_stride, base + room.d_k, room.wide, tokens);
    back_store(&keys, b->d_v, b->d_stride, base + room.d_v, room.wide, tokens);
}

#define ATTEND_KERNELS(isa_)                                                                 \
    {                                                                                        \
        .isa = (isa_), .sizes = sizes, .pack = pack, .rows = attend_rows, .map = attend_map, \
        .back = attend_back, .back_bytes = back_bytes                                        \
    }
