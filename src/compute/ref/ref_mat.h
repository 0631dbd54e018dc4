/* Elements of a matrix of any dtype, for the loops of the device "ref". */
#ifndef COMPUTE_REF_MAT_H
#define COMPUTE_REF_MAT_H

#include <math.h>

#include "base/half.h"
#include "compute/mat.h"

static inline double get(struct mat m, int row, int col)
{
    size_t at = (size_t)((ptrdiff_t)row * m.stride + col);

    switch (m.dtype) {
    case DINO_F64:
        return ((const double *)m.data)[at];
    case DINO_BF16:
        return dn_bf16_to_f32(((const uint16_t *)m.data)[at]);
    case DINO_F16:
        return dn_f16_to_f32(((const uint16_t *)m.data)[at]);
    default:
        return ((const float *)m.data)[at];
    }
}

static inline void put(struct mat m, int row, int col, double value)
{
    size_t at = (size_t)((ptrdiff_t)row * m.stride + col);

    switch (m.dtype) {
    case DINO_F64:
        ((double *)m.data)[at] = value;
        break;
    case DINO_BF16:
        ((uint16_t *)m.data)[at] = dn_f32_to_bf16((float)value);
        break;
    case DINO_F16:
        ((uint16_t *)m.data)[at] = dn_f32_to_f16((float)value);
        break;
    default:
        ((float *)m.data)[at] = (float)value;
    }
}

/* 0.5 v (1 + erf(v / sqrt 2)), without cancellation far below zero */
static inline double gelu(double v)
{
    return 0.5 * v * erfc(-v * M_SQRT1_2);
}

#endif
