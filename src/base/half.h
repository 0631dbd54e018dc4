/* 16-bit floats in software, round to nearest even; kernels have their own vector forms. */
#ifndef BASE_HALF_H
#define BASE_HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dino.h"

static inline float dn_bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint16_t dn_f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffU) > 0x7f800000U)
        return (uint16_t)(bits >> 16 | 0x40); /* quiet NaN keeps its sign */
    return (uint16_t)((bits + 0x7fffU + (bits >> 16 & 1)) >> 16);
}

/* The exponent's bias is made good by a product, which is exact, subnormals included. */
static inline float dn_f16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13;
    float f;

    memcpy(&f, &bits, sizeof f);
    f *= 0x1p112F;
    memcpy(&bits, &f, sizeof bits);
    bits |= (uint32_t)(h & 0x8000) << 16;
    if ((h & 0x7c00) == 0x7c00) /* infinite or NaN */
        bits |= 0x7f800000U;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t dn_f32_to_f16(float f);

/* Convert `count` elements of any real dtype (unaligned source allowed) to f32 and back.
 * Integers convert by value. */
void dn_widen(float *to, const void *from, enum dino_dtype dtype, size_t count);
void dn_from_f32(void *to, enum dino_dtype dtype, const float *from, size_t count);

/* dn_widen; returns how many results are NaN or infinite. */
size_t dn_to_f32(float *to, const void *from, enum dino_dtype dtype, size_t count);
/* How many of `count` elements (f32, f16 or bf16, unaligned) are NaN or infinite. */
size_t dn_count_bad(const void *from, enum dino_dtype dtype, size_t count);

#endif
