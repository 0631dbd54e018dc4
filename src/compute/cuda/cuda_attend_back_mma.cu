/*
 * The backward of attention, heads of 64 on tensor cores in bf16 or f16. With scores s = scale
 * q k^T, their level l = log2 sum 2^s, shares p = 2^(s - l), m = d_y . y and d_s = p (d_y v^T -
 * m): d_q = scale d_s k,   d_k = scale d_s^T q,   d_v = p^T d_y. The first kernel owns queries
 * and sums over keys: levels, then d_q. The second owns keys and sums over queries: d_k and
 * d_v. Both compute the same scores, each its own way round, so that nobody adds to what
 * another block has written.
 */
#include "compute/cuda/cuda_attend_tiles.h"
#include "compute/cuda/cuda_train_kernels.h"

struct back_shared {
    struct mma_shared tiles;
    float level[TILE_ROWS], mean[TILE_ROWS]; /* of the queries of a tile */
};

/* One head of one sequence. */
struct back_rows {
    struct mma_rows q, k, v, d_y;
    int64_t part, column, first; /* first: of levels and means */
    int own;                     /* the warp's first row */
};

DEVICE struct back_rows back_rows_of(const struct cuda_attend_back *a,
                                     struct cuda_attend_block b)
{
    struct back_rows r;

    r.part = (int64_t)a->heads * WIDTH;
    r.column = (int64_t)block_y() * WIDTH;
    r.first = (int64_t)block_y() * a->tokens + b.first;
    r.own = b.query + thread_x() / 32 * 16;
    r.q = head_rows(a->qkv, a->qkv_stride, b.first, b.tokens, r.column);
    r.k = head_rows(a->qkv, a->qkv_stride, b.first, b.tokens, r.part + r.column);
    r.v = head_rows(a->qkv, a->qkv_stride, b.first, b.tokens, 2 * r.part + r.column);
    r.d_y = head_rows(a->d_y, a->d_y_stride, b.first, b.tokens, r.column);
    return r;
}

DEVICE void zero_tile(float out[TILES][4])
{
    UNROLL
    for (int j = 0; j < TILES; j++) {
        UNROLL
        for (int i = 0; i < 4; i++)
            out[j][i] = 0;
    }
}

/* out times scale, 16 rows from `own` on, to a part of d_qkv. */
DEVICE void store_own(const struct cuda_attend_back *a, struct cuda_attend_block b, int own,
                      int64_t column, float out[TILES][4], float scale, const int dtype)
{
    int lane = thread_x() % 32;

    UNROLL
    for (int half = 0; half < 2; half++) {
        int at = own + lane / 4 + 8 * half;
        uint16_t *to = (uint16_t *)a->d_qkv + (int64_t)(b.first + at) * a->d_qkv_stride +
                       column + lane % 4 * 2;
        if (at < b.tokens) {
            UNROLL
            for (int j = 0; j < TILES; j++)
                store4(to + 8 * j, pair_of_floats(out[j][2 * half] * scale,
                                                  out[j][2 * half + 1] * scale, dtype));
        }
    }
}

/* ---- queries ---- */

/* One more tile of scores for the level of the lane's two rows: top + log2 sum. */
DEVICE void raise_level(float top[2], float sum[2], float score[TILES][4], float scale,
                        int left)
{
    int col = thread_x() % 4 * 2;

    UNROLL
    for (int half = 0; half < 2; half++) {
        float most = top[half], more = 0;
        UNROLL
        for (int j = 0; j < TILES; j++) {
            UNROLL
            for (int i = 0; i < 2; i++) {
                float *x = &score[j][2 * half + i];
                *x = 8 * j + col + i < left ? *x * scale : -INFINITY;
                most = fmaxf(most, *x);
            }
        }
        most = fmaxf(most, lane_xor(most, 1));
        most = fmaxf(most, lane_xor(most, 2));
        UNROLL
        for (int j = 0; j < TILES; j++) {
            UNROLL
            for (int i = 0; i < 2; i++)
                more += exp2f(score[j][2 * half + i] - most);
        }
        more += lane_xor(more, 1);
        more += lane_xor(more, 2);
        sum[half] = fmaf(sum[half], exp2f(top[half] - most), more);
        top[half] = most;
    }
}

/* d_y . y of the lane's two rows. */
DEVICE void row_means(float mean[2], const struct back_rows *r, const struct mma_rows *y,
                      uint32_t d_y[STEPS][4], const int dtype)
{
    uint32_t out[STEPS][4];

    load_own(out, y, r->own);
    UNROLL
    for (int half = 0; half < 2; half++) {
        float sum = 0;
        UNROLL
        for (int step = 0; step < STEPS; step++) {
            UNROLL
            for (int i = half; i < 4; i += 2) {
                sum = fmaf(float_of_half(d_y[step][i] & 0xffffU, dtype),
                           float_of_half(out[step][i] & 0xffffU, dtype), sum);
                sum = fmaf(float_of_half(d_y[step][i] >> 16, dtype),
                           float_of_half(out[step][i] >> 16, dtype), sum);
            }
        }
        sum += lane_xor(sum, 1);
        mean[half] = sum + lane_xor(sum, 2);
    }
}

/* Both passes over the keys: what = 0 finds levels, 1 sums d_q. */
DEVICE void pass_keys(const struct cuda_attend_back *a, struct mma_shared *s,
                      const struct back_rows *r, uint32_t q[STEPS][4], uint32_t d_y[STEPS][4],
                      float level[2], const float mean[2], float out[TILES][4], const int what,
                      const int dtype)
{
    float scale = a->scale * 1.44269504F, sum[2], score[TILES][4], d_score[TILES][4];
    int col = thread_x() % 4 * 2;

    sum[0] = sum[1] = 0;
    tile_start(s, 0, &r->k, &r->v, 0);
    for (int begin = 0, stage = 0; begin < r->k.tokens; begin += TILE_ROWS, stage = !stage) {
        int more = begin + TILE_ROWS < r->k.tokens, left = r->k.tokens - begin;
        if (more)
            tile_start(s, !stage, &r->k, &r->v, begin + TILE_ROWS);
        copy16_wait(more);
        block_sync();
        score_tile(score, q, s->first[stage], dtype);
        if (what == 0) {
            raise_level(level, sum, score, scale, left);
        } else {
            score_tile(d_score, d_y, s->second[stage], dtype);
            UNROLL
            for (int j = 0; j < TILES; j++) {
                UNROLL
                for (int i = 0; i < 4; i++) {
                    float p = exp2f(score[j][i] * scale - level[i / 2]);
                    score[j][i] =
                        8 * j + col + i % 2 < left ? p * (d_score[j][i] - mean[i / 2]) : 0;
                }
            }
            add_tile(out, score, s->first[stage], dtype);
        }
        block_sync(); /* before the next but one overwrites it */
    }
    if (what == 0) {
        level[0] += log2f(sum[0]);
        level[1] += log2f(sum[1]);
    }
}

/* A block owns 64 queries of one head of one sequence, each of its 4 warps 16 of them: their
 * levels and means, and d_q. Shared: two tiles of 64 keys and values. */
DEVICE void back_queries(const struct cuda_attend_back *a, struct mma_shared *s,
                         const int dtype)
{
    struct cuda_attend_block b = a->blocks[block_x()];
    struct back_rows r = back_rows_of(a, b);
    struct mma_rows y = head_rows(a->y, a->y_stride, b.first, b.tokens, r.column);
    uint32_t q[STEPS][4], d_y[STEPS][4];
    float level[2], mean[2], out[TILES][4];

    level[0] = level[1] = -INFINITY;
    zero_tile(out);
    load_own(q, &r.q, r.own);
    load_own(d_y, &r.d_y, r.own);
    row_means(mean, &r, &y, d_y, dtype);
    pass_keys(a, s, &r, q, d_y, level, mean, out, 0, dtype);
    UNROLL
    for (int half = 0; half < 2; half++) {
        int at = r.own + thread_x() % 32 / 4 + 8 * half;
        if (at < b.tokens && thread_x() % 4 == 0) {
            a->levels[r.first + at] = level[half];
            a->means[r.first + at] = mean[half];
        }
    }
    pass_keys(a, s, &r, q, d_y, level, mean, out, 1, dtype);
    store_own(a, b, r.own, r.column, out, a->scale, dtype);
}

KERNEL(dn_attend_back_queries_mma_bf16_kernel, struct cuda_attend_back, 128)
{
    SHARED(struct mma_shared, s);

    back_queries(&a, s, DINO_BF16);
}

KERNEL(dn_attend_back_queries_mma_f16_kernel, struct cuda_attend_back, 128)
{
    SHARED(struct mma_shared, s);

    back_queries(&a, s, DINO_F16);
}

/* ---- keys ---- */

/* A block owns 64 keys of one head of one sequence, each of its 4 warps 16 of them: d_k and
 * d_v. Shared: two tiles of 64 queries and their d_y, and levels and means of one. */
DEVICE void back_keys(const struct cuda_attend_back *a, struct back_shared *s, const int dtype)
{
    struct cuda_attend_block b = a->blocks[block_x()];
    struct back_rows r = back_rows_of(a, b);
    float scale = a->scale * 1.44269504F;
    int col = thread_x() % 4 * 2;
    uint32_t k[STEPS][4], v[STEPS][4];
    float share[TILES][4], d_share[TILES][4], d_k[TILES][4], d_v[TILES][4];

    zero_tile(d_k);
    zero_tile(d_v);
    tile_start(&s->tiles, 0, &r.q, &r.d_y, 0);
    load_own(k, &r.k, r.own);
    load_own(v, &r.v, r.own);
    for (int begin = 0, stage = 0; begin < b.tokens; begin += TILE_ROWS, stage = !stage) {
        int more = begin + TILE_ROWS < b.tokens, at = begin + thread_x();
        if (more)
            tile_start(&s->tiles, !stage, &r.q, &r.d_y, begin + TILE_ROWS);
        if (thread_x() < TILE_ROWS) { /* behind the end shares are 0 */
            s->level[thread_x()] = at < b.tokens ? a->levels[r.first + at] : INFINITY;
            s->mean[thread_x()] = at < b.tokens ? a->means[r.first + at] : 0;
        }
        copy16_wait(more);
        block_sync();
        score_tile(share, k, s->tiles.first[stage], dtype);
        score_tile(d_share, v, s->tiles.second[stage], dtype);
        UNROLL
        for (int j = 0; j < TILES; j++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                int query = 8 * j + col + i % 2;
                share[j][i] = exp2f(share[j][i] * scale - s->level[query]);
                d_share[j][i] = share[j][i] * (d_share[j][i] - s->mean[query]);
            }
        }
        add_tile(d_v, share, s->tiles.second[stage], dtype);
        add_tile(d_k, d_share, s->tiles.first[stage], dtype);
        block_sync(); /* before the next one's levels, and the next but one, overwrite it */
    }
    store_own(a, b, r.own, r.part + r.column, d_k, a->scale, dtype);
    store_own(a, b, r.own, 2 * r.part + r.column, d_v, 1, dtype);
}

KERNEL(dn_attend_back_keys_mma_bf16_kernel, struct cuda_attend_back, 128)
{
    SHARED(struct back_shared, s);

    back_keys(&a, s, DINO_BF16);
}

KERNEL(dn_attend_back_keys_mma_f16_kernel, struct cuda_attend_back, 128)
{
    SHARED(struct back_shared, s);

    back_keys(&a, s, DINO_F16);
}
