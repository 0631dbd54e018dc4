#include "base/half.h"

uint16_t dn_f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffffU;

    if (bits > 0x7f800000U)
        return sign | 0x7e00;
    if (bits >= 0x477ff000U) /* rounds to 65536 or more */
        return sign | 0x7c00;
    if (bits < 0x38800000U) { /* below 2^-14: subnormal; adding 0.5 rounds to even in place */
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        magnitude += 0.5F;
        memcpy(&bits, &magnitude, sizeof bits);
        return sign | (uint16_t)(bits - 0x3f000000U);
    }
    uint32_t odd = bits >> 13 & 1;
    return sign | (uint16_t)((bits - 0x38000000U + 0xfffU + odd) >> 13);
}

/* One element of an integer or f64 dtype at an unaligned address. */
static float other_to_f32(const uint8_t *p, enum dino_dtype dtype)
{
    double f64;
    int64_t i64;
    int32_t i32;
    int16_t i16;

    switch (dtype) {
    case DINO_F64:
        memcpy(&f64, p, sizeof f64);
        return (float)f64;
    case DINO_I64:
        memcpy(&i64, p, sizeof i64);
        return (float)i64;
    case DINO_I32:
        memcpy(&i32, p, sizeof i32);
        return (float)i32;
    case DINO_I16:
        memcpy(&i16, p, sizeof i16);
        return (float)i16;
    case DINO_I8:
        return (float)(int8_t)*p;
    default: /* DINO_U8, DINO_BOOL */
        return (float)*p;
    }
}

size_t dn_count_bad(const void *from, enum dino_dtype dtype, size_t count)
{
    const uint8_t *p = from;
    size_t bad = 0;

    if (dtype == DINO_F32) {
#pragma omp simd reduction(+ : bad)
        for (size_t i = 0; i < count; i++) {
            uint32_t bits;
            memcpy(&bits, p + 4 * i, sizeof bits);
            bad += (bits & 0x7f800000U) == 0x7f800000U;
        }
        return bad;
    }
    uint16_t exponent = dtype == DINO_F16 ? 0x7c00 : 0x7f80;
#pragma omp simd reduction(+ : bad)
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, p + 2 * i, sizeof bits);
        bad += (bits & exponent) == exponent;
    }
    return bad;
}

void dn_widen(float *to, const void *from, enum dino_dtype dtype, size_t count)
{
    const uint8_t *p = from;
    size_t step = dino_dtype_size(dtype);

    if (dtype == DINO_F32) {
        memcpy(to, from, count * sizeof *to);
    } else if (dtype == DINO_BF16) {
#pragma omp simd
        for (size_t i = 0; i < count; i++) {
            uint16_t half;
            memcpy(&half, p + 2 * i, sizeof half);
            to[i] = dn_bf16_to_f32(half);
        }
    } else if (dtype == DINO_F16) {
#pragma omp simd
        for (size_t i = 0; i < count; i++) {
            uint16_t half;
            memcpy(&half, p + 2 * i, sizeof half);
            to[i] = dn_f16_to_f32(half);
        }
    } else {
        for (size_t i = 0; i < count; i++)
            to[i] = other_to_f32(p + step * i, dtype);
    }
}

size_t dn_to_f32(float *to, const void *from, enum dino_dtype dtype, size_t count)
{
    dn_widen(to, from, dtype, count);
    return dn_count_bad(to, DINO_F32, count);
}

void dn_from_f32(void *to, enum dino_dtype dtype, const float *from, size_t count)
{
    uint16_t *half = to;

    for (size_t i = 0; i < count; i++) {
        if (dtype == DINO_F16)
            half[i] = dn_f32_to_f16(from[i]);
        else if (dtype == DINO_BF16)
            half[i] = dn_f32_to_bf16(from[i]);
        else if (dtype == DINO_F64)
            ((double *)to)[i] = from[i];
        else
            ((float *)to)[i] = from[i];
    }
}
