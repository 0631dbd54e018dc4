/* Attention of heads of 64 on tensor cores: scores, softmax and sums in f32, the shares rounded
 * to 16 bits for their product with v. */
#include "compute/cuda/cuda_attend_tiles.h"

/* What a warp has of 16 queries: lane l rows l / 4 and l / 4 + 8. */
struct mma_queries {
    uint32_t query[STEPS][4];
    float out[TILES][4];
    float top[2], sum[2];
};

/* Scores to shares 2^(scale score - top), and everything before them to the new top. left: keys
 * of the tile that the sequence has. */
DEVICE void soften(float score[TILES][4], struct mma_queries *r, float scale, int left)
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

DEVICE void store_rows(const struct mma_queries *r, const struct cuda_attend *a,
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
    int64_t part = (int64_t)a->heads * WIDTH, column = (int64_t)block_y() * WIDTH;
    struct mma_rows q = head_rows(a->qkv, a->qkv_stride, b.first, b.tokens, column);
    struct mma_rows k = head_rows(a->qkv, a->qkv_stride, b.first, b.tokens, part + column);
    struct mma_rows v = head_rows(a->qkv, a->qkv_stride, b.first, b.tokens, 2 * part + column);
    int own = b.query + thread_x() / 32 * 16;
    float scale = a->scale * 1.44269504F, share[TILES][4]; /* log2 e: 2^x is cheaper */
    struct mma_queries r;

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
    tile_start(s, 0, &k, &v, 0);
    load_own(r.query, &q, own);
    for (int begin = 0, stage = 0; begin < b.tokens; begin += TILE_ROWS, stage = !stage) {
        int more = begin + TILE_ROWS < b.tokens;
        if (more)
            tile_start(s, !stage, &k, &v, begin + TILE_ROWS);
        copy16_wait(more);
        block_sync();
        score_tile(share, r.query, s->first[stage], dtype);
        soften(share, &r, scale, b.tokens - begin);
        add_tile(r.out, share, s->second[stage], dtype);
        block_sync(); /* before the next but one overwrites it */
    }
    store_rows(&r, a, b, own + thread_x() % 32 / 4, thread_x() % 4 * 2, dtype);
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
