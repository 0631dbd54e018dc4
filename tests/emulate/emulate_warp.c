/* What the lanes of a warp do together, computed lane by lane from the PTX manual's layouts. */
#include "emulate.h"

struct exchange {
    float value, result;
    int mask;
};

static void exchange_all(void *const lanes[32])
{
    for (int i = 0; i < 32; i++) {
        struct exchange *mine = lanes[i];
        const struct exchange *other = lanes[(i ^ mine->mask) & 31];
        mine->result = other->value;
    }
}

float lane_xor(float value, int mask)
{
    struct exchange mine = {value, 0, mask};

    emulate_warp(exchange_all, &mine);
    return mine.result;
}

/* ---- mma.m16n8k16 ---- */

struct fragments {
    float *d;
    const uint32_t *a, *b;
};

static uint16_t half_at(uint32_t pair, int odd)
{
    return (uint16_t)(pair >> 16 * odd);
}

/*
 * PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type": group = lane / 4,
 * within = lane % 4.
 * A, element i of 8 (i / 2 is the register): row = group + 8 where i is 2, 3, 6 or 7;
 *   column = 2 within + i % 2, + 8 from i = 4 on.
 * B, element i of 4: row = 2 within + i % 2, + 8 from i = 2 on; column = group.
 * C and D, element i of 4: row = group, + 8 from i = 2 on; column = 2 within + i % 2.
 */
static void mma_all(void *const lanes[32], float (*widen)(uint16_t))
{
    float a[16][16], b[16][8];

    for (int lane = 0; lane < 32; lane++) {
        const struct fragments *f = lanes[lane];
        int group = lane / 4, within = lane % 4;
        for (int i = 0; i < 8; i++)
            a[group + (i / 2 % 2 ? 8 : 0)][2 * within + i % 2 + (i >= 4 ? 8 : 0)] =
                widen(half_at(f->a[i / 2], i % 2));
        for (int i = 0; i < 4; i++)
            b[2 * within + i % 2 + (i >= 2 ? 8 : 0)][group] =
                widen(half_at(f->b[i / 2], i % 2));
    }
    for (int lane = 0; lane < 32; lane++) {
        const struct fragments *f = lanes[lane];
        for (int i = 0; i < 4; i++) {
            int row = lane / 4 + (i >= 2 ? 8 : 0), col = 2 * (lane % 4) + i % 2;
            float sum = f->d[i];
            for (int k = 0; k < 16; k++)
                sum += a[row][k] * b[k][col];
            f->d[i] = sum;
        }
    }
}

static void mma_bf16_all(void *const lanes[32])
{
    mma_all(lanes, dn_bf16_to_f32);
}

static void mma_f16_all(void *const lanes[32])
{
    mma_all(lanes, dn_f16_to_f32);
}

void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    struct fragments mine = {d, a, b};

    emulate_warp(mma_bf16_all, &mine);
}

void mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    struct fragments mine = {d, a, b};

    emulate_warp(mma_f16_all, &mine);
}

/* ---- ldmatrix.x4 ---- */

struct loading {
    uint32_t *to;
    const void *row;
};

static void load_all(void *const lanes[32], int turned)
{
    uint16_t m[4][8][8];

    for (int lane = 0; lane < 32; lane++) {
        const struct loading *mine = lanes[lane];
        emulate_aligned(mine->row, 16);
        memcpy(m[lane / 8][lane % 8], mine->row, 16);
    }
    for (int lane = 0; lane < 32; lane++) {
        const struct loading *mine = lanes[lane];
        int group = lane / 4, at = 2 * (lane % 4);
        for (int i = 0; i < 4; i++) {
            uint16_t low = turned ? m[i][at][group] : m[i][group][at];
            uint16_t high = turned ? m[i][at + 1][group] : m[i][group][at + 1];
            mine->to[i] = (uint32_t)high << 16 | low;
        }
    }
}

static void load_plain(void *const lanes[32])
{
    load_all(lanes, 0);
}

static void load_turned(void *const lanes[32])
{
    load_all(lanes, 1);
}

void matrix_load4(uint32_t to[4], const void *row)
{
    struct loading mine = {to, row};

    emulate_warp(load_plain, &mine);
}

void matrix_load4_turned(uint32_t to[4], const void *row)
{
    struct loading mine = {to, row};

    emulate_warp(load_turned, &mine);
}
