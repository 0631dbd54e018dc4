#include "base/half.h"

#include <math.h>

float dn_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
    uint32_t bits;
    float f;

    if (exponent == 31)
        bits = sign | 0x7f800000U | mantissa << 13;
    else if (exponent)
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    else { /* zero or subnormal: mantissa * 2^-24 is exact in f32 */
        f = (float)mantissa * 0x1p-24F;
        return sign ? -f : f;
    }
    memcpy(&f, &bits, sizeof f);
    return f;
}

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

size_t dn_to_f32(float *to, const void *from, enum dino_dtype dtype, size_t count)
{
    const uint8_t *p = from;
    size_t bad = 0, step = dino_dtype_size(dtype);

    for (size_t i = 0; i < count; i++, p += step) {
        uint16_t half;
        if (dtype == DINO_F32) {
            memcpy(&to[i], p, sizeof to[i]);
        } else if (dtype == DINO_F16 || dtype == DINO_BF16) {
            memcpy(&half, p, sizeof half);
            to[i] = dtype == DINO_F16 ? dn_f16_to_f32(half) : dn_bf16_to_f32(half);
        } else {
            to[i] = other_to_f32(p, dtype);
        }
        bad += isfinite(to[i]) ? 0 : 1;
    }
    return bad;
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
