/*
 * What attention on tensor cores is made of, forward and backward, for heads of 64 in bf16 or
 * f16 (mma.sync, Ampere and later): a warp has 16 rows of its own in registers, and the block
 * brings the others by tiles of 64 to shared memory.
 */
#ifndef COMPUTE_CUDA_ATTEND_TILES_H
#define COMPUTE_CUDA_ATTEND_TILES_H

#include "compute/cuda/cuda_numbers.h"

enum {
    WIDTH = 64,
    TILE_ROWS = 64,
    PITCH = 72, /* of rows in shared memory: eight of them touch all banks once */
    STEPS = 4,  /* of 16 columns or rows, what one mma sums over */
    TILES = 8,  /* of 8 rows or columns, what one mma is wide */
};

/* Two matrices' tiles: one is computed with while the next one arrives. */
struct mma_shared {
    uint16_t first[2][TILE_ROWS][PITCH], second[2][TILE_ROWS][PITCH];
};

/* Rows of one head of one sequence in 16 bits. */
struct mma_rows {
    const uint16_t *data; /* row 0, column 0 of the head */
    int64_t stride;
    int tokens;
};

DEVICE struct mma_rows head_rows(const void *data, int64_t stride, int first, int tokens,
                                 int64_t column)
{
    struct mma_rows r;

    r.data = (const uint16_t *)data + first * stride + column;
    r.stride = stride;
    r.tokens = tokens;
    return r;
}

DEVICE void mma(float d[4], const uint32_t a[4], const uint32_t b[2], const int dtype)
{
    if (dtype == DINO_BF16)
        mma_bf16(d, a, b);
    else
        mma_f16(d, a, b);
}

/* Start copying rows `begin` .. + 63 of both; zeros behind the end of the sequence. */
DEVICE void tile_start(struct mma_shared *s, int stage, const struct mma_rows *first,
                       const struct mma_rows *second, int begin)
{
    UNROLL
    for (int i = 0; i < TILE_ROWS * WIDTH / 8 / 128; i++) {
        int row = thread_x() / 8 + 16 * i, col = thread_x() % 8 * 8;
        int real = begin + row < first->tokens;
        int64_t from = real ? begin + row : 0;
        copy16_start(&s->first[stage][row][col], first->data + from * first->stride + col,
                     real);
        copy16_start(&s->second[stage][row][col], second->data + from * second->stride + col,
                     real);
    }
    copy16_group();
}

/* A warp's own 16 rows: lane l has rows l / 4 and l / 4 + 8 behind `first`, columns from
 * 2 (l % 4) on. Rows behind the end are zeros; nobody stores what becomes of them. */
DEVICE void load_own(uint32_t to[STEPS][4], const struct mma_rows *from, int first)
{
    int lane = thread_x() % 32, row = first + lane / 4, col = lane % 4 * 2;

    UNROLL
    for (int step = 0; step < STEPS; step++) {
        UNROLL
        for (int i = 0; i < 4; i++) {
            int at = row + i % 2 * 8;
            to[step][i] =
                at < from->tokens
                    ? load4(from->data + at * from->stride + col + 16 * step + i / 2 * 8)
                    : 0;
        }
    }
}

/* score [16, 64] = own . tile^T */
DEVICE void score_tile(float score[TILES][4], uint32_t own[STEPS][4], uint16_t (*tile)[PITCH],
                       const int dtype)
{
    int lane = thread_x() % 32;

    UNROLL
    for (int j = 0; j < TILES; j++) {
        uint32_t k[8];
        matrix_load4(k, &tile[8 * j + lane % 8][8 * (lane / 8)]);
        matrix_load4(k + 4, &tile[8 * j + lane % 8][32 + 8 * (lane / 8)]);
        UNROLL
        for (int i = 0; i < 4; i++)
            score[j][i] = 0;
        UNROLL
        for (int step = 0; step < STEPS; step++)
            mma(score[j], own[step], k + 2 * step, dtype);
    }
}

/* out [16, 64] += share [16, 64] . tile, the shares rounded to 16 bits */
DEVICE void add_tile(float out[TILES][4], float share[TILES][4], uint16_t (*tile)[PITCH],
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
            matrix_load4_turned(v, &tile[16 * step + lane % 16][8 * j + 8 * (lane / 16)]);
            mma(out[j], p, v, dtype);
            mma(out[j + 1], p, v + 2, dtype);
        }
    }
}

#endif
