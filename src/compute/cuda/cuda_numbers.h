/* Numbers of any dtype in device memory, and sums over a warp, for kernels. */
#ifndef COMPUTE_CUDA_NUMBERS_H
#define COMPUTE_CUDA_NUMBERS_H

#include "compute/cuda/cuda_dialect.h"
#include "compute/cuda/cuda_kernels.h"

DEVICE float bf16_to_float(uint16_t h)
{
    return float_of_bits((uint32_t)h << 16);
}

DEVICE uint16_t float_to_bf16(float f)
{
    uint32_t bits = bits_of_float(f);
    if ((bits & 0x7fffffffU) > 0x7f800000U)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fffU + (bits >> 16 & 1)) >> 16);
}

/* 16 bits of dtype bf16 or f16. */
DEVICE uint32_t half_of_float(float f, int dtype)
{
    return dtype == DINO_BF16 ? float_to_bf16(f) : float_to_f16(f);
}

DEVICE float float_of_half(uint32_t h, int dtype)
{
    return dtype == DINO_BF16 ? bf16_to_float((uint16_t)h) : f16_to_float((uint16_t)h);
}

DEVICE uint32_t pair_of_floats(float low, float high, int dtype)
{
    return dtype == DINO_BF16 ? bf16_pair(low, high) : f16_pair(low, high);
}

/* Element `at` of numbers that are f32, bf16 or f16. */
DEVICE float number(const void *data, int dtype, int64_t at)
{
    return dtype == DINO_F32 ? ((const float *)data)[at]
                             : float_of_half(((const uint16_t *)data)[at], dtype);
}

DEVICE void set_number(void *data, int dtype, int64_t at, float value)
{
    if (dtype == DINO_F32)
        ((float *)data)[at] = value;
    else
        ((uint16_t *)data)[at] = (uint16_t)half_of_float(value, dtype);
}

/* Four numbers from element `at` on, aligned to their size. */
DEVICE void numbers4(float to[4], const void *data, int dtype, int64_t at)
{
    uint32_t bits[4];

    if (dtype == DINO_F32) {
        load16(bits, (const float *)data + at);
        UNROLL
        for (int i = 0; i < 4; i++)
            to[i] = float_of_bits(bits[i]);
    } else {
        load8(bits, (const uint16_t *)data + at);
        UNROLL
        for (int i = 0; i < 4; i++)
            to[i] = float_of_half(bits[i / 2] >> 16 * (i % 2) & 0xffffU, dtype);
    }
}

DEVICE void set_numbers4(void *data, int dtype, int64_t at, const float from[4])
{
    uint32_t bits[4];

    if (dtype == DINO_F32) {
        UNROLL
        for (int i = 0; i < 4; i++)
            bits[i] = bits_of_float(from[i]);
        store16((float *)data + at, bits);
    } else {
        UNROLL
        for (int i = 0; i < 2; i++)
            bits[i] = pair_of_floats(from[2 * i], from[2 * i + 1], dtype);
        store8((uint16_t *)data + at, bits);
    }
}

/* Over lanes that lie side by side, a constant power of two of them: the sum and the largest of
 * their values, the same bits in every one. */
DEVICE float lanes_sum(float value, const int lanes)
{
    UNROLL
    for (int mask = lanes / 2; mask > 0; mask /= 2)
        value += lane_xor(value, mask);
    return value;
}

DEVICE float lanes_max(float value, const int lanes)
{
    UNROLL
    for (int mask = lanes / 2; mask > 0; mask /= 2)
        value = fmaxf(value, lane_xor(value, mask));
    return value;
}

DEVICE float warp_sum(float value)
{
    return lanes_sum(value, 32);
}

DEVICE float warp_max(float value)
{
    return lanes_max(value, 32);
}

/* All threads of a block of 256: the same over the block, by way of 8 numbers of shared memory
 * that may be used again at once. */
DEVICE float block_sum(float value, float *shared)
{
    value = warp_sum(value);
    block_sync();
    shared[thread_x() / 32] = value;
    block_sync();
    value = 0;
    for (int w = 0; w < 8; w++)
        value += shared[w];
    return value;
}

DEVICE float block_max(float value, float *shared)
{
    value = warp_max(value);
    block_sync();
    shared[thread_x() / 32] = value;
    block_sync();
    for (int w = 0; w < 8; w++)
        value = fmaxf(value, shared[w]);
    return value;
}

/*
 * The mean is rounded, which tells where it is many deviations: what the deviations d from it
 * sum up to corrects mean and variance.
 */
struct moments {
    float shift, over; /* of the mean; 1 / deviation */
};

DEVICE struct moments moments_of(float sum, float squares, int cols, float eps)
{
    struct moments m;

    m.shift = warp_sum(sum) / (float)cols;
    float variance = warp_sum(squares) / (float)cols - m.shift * m.shift;
    m.over = 1 / sqrtf(fmaxf(variance, 0) + eps);
    return m;
}

/* Of a row in memory, each lane with every 32nd number; *mean as it was rounded. */
DEVICE struct moments moments_of_row(const float *x, int cols, float eps, float *mean)
{
    int lane = thread_x() % 32;
    float total = 0, sum = 0, squares = 0;

    for (int c = lane; c < cols; c += 32)
        total += x[c];
    *mean = warp_sum(total) / (float)cols;
    for (int c = lane; c < cols; c += 32) {
        sum += x[c] - *mean;
        squares = fmaf(x[c] - *mean, x[c] - *mean, squares);
    }
    return moments_of(sum, squares, cols, eps);
}

/*
 * 0.5 v (1 + erf(v / sqrt 2)) = v / 2 erfc(z), z = -v / sqrt 2. Far below zero a rounding of z
 * would cost erfc's last digits: what it lost goes through the derivative.
 */
DEVICE float gelu_of(float v)
{
    const float high = 0.70710678F, low = 1.21016175e-8F; /* 1 / sqrt 2 */
    float z = -v * high;
    float lost = fmaf(-v, high, -z) - v * low;
    float more = z > 0 && z < 13 ? 1.12837917F * expf(-z * z) * lost : 0;
    return 0.5F * v * (erfcf(z) - more);
}

/* The slope of gelu_of: Phi(v) + v phi(v), Phi and phi of the normal distribution. */
DEVICE float gelu_slope_of(float v)
{
    return 0.5F * erfcf(-0.70710678F * v) + 0.39894228F * v * expf(-0.5F * v * v);
}

DEVICE float silu_of(float v)
{
    return v / (1 + expf(-v));
}

#endif
