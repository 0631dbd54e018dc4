/*
 * Attention of heads of 64 in bf16 or f16 on tensor cores (mma.sync, Ampere and later): scores,
 * softmax and sums in f32, the shares rounded to 16 bits for their product with v.
 */
#include "compute/cuda/cuda_numbers.h"

enum {
    WIDTH = 64,
    KEYS = 64,  /* a tile */
    PITCH = 72, /* of rows in shared memory: eight of them touch all banks once */
    STEPS = 4,  /* of 16 columns or keys, what one mma sums over */
    TILES = 8,  /* of 8 keys or columns, what one mma is wide */
};

struct mma_shared {
    uint16_t key[2][KEYS][PITCH], value[2][KEYS][PITCH];
};

/* What a warp has of 16 queries: lane l rows l / 4 and l / 4 + 8. */
struct mma_rows {
    uint32_t query[STEPS][4];
    float out[TILES][4];
    float top[2], sum[2];
};

DEVICE void mma(float d[4], const uint32_t a[4], const uint32_t b[2], const int dtype)
{
    if (dtype == DINO_BF16)
        mma_bf16(d, a, b);
    else
        mma_f16(d, a, b);
}

/* Start copying keys and values `begin` .. + 63; zeros behind the end of the sequence. */
DEVICE void tile_start(struct mma_shared *s, int stage, const struct cuda_attend *a,
                       struct cuda_attend_block b, int begin)
{
    const uint16_t *qkv = (const uint16_t *)a->qkv;
    int64_t part = (int64_t)a->heads * WIDTH, column = part + (int64_t)block_y() * WIDTH;

    UNROLL
    for (int i = 0; i < KEYS * WIDTH / 8 / 128; i++) {
        int row = thread_x() / 8 + 16 * i, col = thread_x() % 8 * 8;
        int real = begin + row < b.tokens;
        int64_t at =
            (int64_t)(b.first + (real ? begin + row : 0)) * a->qkv_stride + column + col;
        copy16_start(&s->key[stage][row][col], qkv + at, real);
        copy16_start(&s->value[stage][row][col], qkv + at + part, real);
    }
    copy16_group();
}

/* Rows of queries behind the end are zeros; nobody stores what becomes of them. */
DEVICE void load_queries(struct mma_rows *r, const struct cuda_attend *a,
                         struct cuda_attend_block b, int row, int col)
{
    const uint16_t *q = (const uint16_t *)a->qkv + (int64_t)block_y() * WIDTH + col;

    UNROLL
    for (int step = 0; step < STEPS; step++) {
        UNROLL
        for (int i = 0; i < 4; i++) {
            int at = row + i % 2 * 8;
            r->query[step][i] =
                at < b.tokens
                    ? load4(q + (int64_t)(b.first + at) * a->qkv_stride + 16 * step + i / 2 * 8)
                    : 0;
        }
    }
}

/* score [16, 64] = q k^T over the tile in shared memory. */
DEVICE void score_tile(float score[TILES][4], const struct mma_rows *r, uint16_t (*key)[PITCH],
                       const int dtype)
{
    int lane = thread_x() % 32;

    UNROLL
    for (int j = 0; j < TILES; j++) {
        uint32_t k[8];
        matrix_load4(k, &key[8 * j + lane % 8][8 * (lane / 8)]);
        matrix_load4(k + 4, &key[8 * j + lane % 8][32 + 8 * (lane / 8)]);
        UNROLL
        for (int i = 0; i < 4; i++)
            score[j][i] = 0;
        UNROLL
        for (int step = 0; step < STEPS; step++)
            mma(score[j], r->query[step], k + 2 * step, dtype);
    }
}

/* Scores to shares 2^(scale score - top), and everything before them to the new top. left: keys
 * of the tile that the sequence has. */
DEVICE void soften(float score[TILES][4], struct mma_rows *r, float scale, int left)
{
    int col = thread_x() % 4 * 2;

    UNROLL
    for (int half = 0; half < 2; half++) {
        float most = r->top[half], sum = 0;
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
        float fade = exp2f(r->top[half] - most);
        r->top[half] = most;
        UNROLL
        for (int j = 0; j < TILES; j++) {
            UNROLL
            for (int i = 0; i < 2; i++) {
                float *x = &score[j][2 * half + i];
                *x = exp2f(*x - most);
                sum += *x;
                r->out[j][2 * half + i] *= fade;
            }
        }
        r->sum[half] = fmaf(r->sum[half], fade, sum);
    }
}

/* out [16, 64] += share [16, 64] . v over the tile in shared memory. */
DEVICE void add_values(struct mma_rows *r, float share[TILES][4], uint16_t (*value)[PITCH],
                       const int dtype)
{
    int lane = thread_x() % 32;

    UNROLL
    for (int step = 0; step < STEPS; step++) {
        uint32_t p[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            p[i] = pair_of_floats(share[2 * step + i / 2][2 * (i % 2)],
                                  share[2 * step + i / 2][2 * (i % 2) + 1], dtype);
        UNROLL
        for (int j = 0; j < TILES; j += 2) {
            uint32_t v[4];
            matrix_load4_turned(v, &value[16 * step + lane % 16][8 * j + 8 * (lane / 16)]);
            mma(r->out[j], p, v, dtype);
            mma(r->out[j + 1], p, v + 2, dtype);
        }
    }
}

DEVICE void store_rows(const struct mma_rows *r, const struct cuda_attend *a,
                       struct cuda_attend_block b, int row, int col, const int dtype)
{
    UNROLL
    for (int half = 0; half < 2; half++) {
        float sum = r->sum[half];
        int at = row + 8 * half;
        sum += lane_xor(sum, 1);
        sum += lane_xor(sum, 2);
        uint16_t *y = (uint16_t *)a->y + (int64_t)(b.first + at) * a->y_stride +
                      (int64_t)block_y() * WIDTH + col;
        if (at < b.tokens) {
            UNROLL
            for (int j = 0; j < TILES; j++)
                store4(y + 8 * j, pair_of_floats(r->out[j][2 * half] / sum,
                                                 r->out[j][2 * half + 1] / sum, dtype));
        }
    }
}

DEVICE void attend_mma(const struct cuda_attend *a, struct mma_shared *s, const int dtype)
{
    struct cuda_attend_block b = a->blocks[block_x()];
    int row = b.query + thread_x() / 32 * 16 + thread_x() % 32 / 4, col = thread_x() % 4 * 2;
    float scale = a->scale * 1.44269504F, share[TILES][4]; /* log2 e: 2^x is cheaper */
    struct mma_rows r;

    UNROLL
    for (int half = 0; half < 2; half++) {
        r.top[half] = -INFINITY;
        r.sum[half] = 0;
    }
    UNROLL
    for (int j = 0; j < TILES; j++) {
        UNROLL
        for (int i = 0; i < 4; i++)
            r.out[j][i] = 0;
    }
    tile_start(s, 0, a, b, 0);
    load_queries(&r, a, b, row, col);
    for (int begin = 0, stage = 0; begin < b.tokens; begin += KEYS, stage = !stage) {
        int more = begin + KEYS < b.tokens;
        if (more)
            tile_start(s, !stage, a, b, begin + KEYS);
        copy16_wait(more);
        block_sync();
        score_tile(share, &r, s->key[stage], dtype);
        soften(share, &r, scale, b.tokens - begin);
        add_values(&r, share, s->value[stage], dtype);
        block_sync(); /* before the next but one overwrites it */
    }
    store_rows(&r, a, b, row, col, dtype);
}

/* A block owns 64 queries of one head of one sequence, each of its 4 warps 16 of them. Shared:
 * two tiles of 64 keys and values, one being computed with while the next one arrives. */
KERNEL(dn_attend_mma_bf16_kernel, struct cuda_attend, 128)
{
    SHARED(struct mma_shared, s);
    attend_mma(&a, s, DINO_BF16);
}

KERNEL(dn_attend_mma_f16_kernel, struct cuda_attend, 128)
{
    SHARED(struct mma_shared, s);
    attend_mma(&a, s, DINO_F16);
}
