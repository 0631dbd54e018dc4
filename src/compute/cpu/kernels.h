/*
 * The inner loops of the device "cpu" over one row or one run of numbers, as a table that
 * dn_kernels_choose fills: C first, then what the processor can do better. Everything is f32;
 * the callers convert 16-bit rows a piece at a time, in the first-level cache.
 * Pointers need no alignment. y may be x.
 */
#ifndef COMPUTE_CPU_KERNELS_H
#define COMPUTE_CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu_features.h"

struct kernels {
    enum dn_isa isa;

    /* Mean and biased variance of x [n], the variance from a second pass over x. */
    void (*moments)(const float *x, size_t n, float *mean, float *variance);
    /* y = (x - mean) * scale * weight + bias */
    void (*normalise)(float *y, const float *x, float mean, float scale, const float *weight,
                      const float *bias, size_t n);
    void (*gelu)(float *y, const float *x, size_t n);
    /* y = silu(gate) * value */
    void (*swiglu)(float *y, const float *gate, const float *value, size_t n);
    /* y = x + add */
    void (*add)(float *y, const float *x, const float *add, size_t n);
    /* y = scale * x + add; scale or add may be NULL */
    void (*scale_add)(float *y, const float *x, const float *scale, const float *add, size_t n);
    /* y [cols] = mean of `rows` rows of x */
    void (*mean_rows)(float *y, const float *x, ptrdiff_t stride, int rows, int cols);

    void (*bf16_to_f32)(float *y, const uint16_t *x, size_t n);
    void (*f32_to_bf16)(uint16_t *y, const float *x, size_t n);
    void (*f16_to_f32)(float *y, const uint16_t *x, size_t n);
    void (*f32_to_f16)(uint16_t *y, const float *x, size_t n);
};

struct kernels dn_kernels_choose(enum dn_isa isa);

/* One for each kernels_ISA.c: overwrite what this instruction set does better. */
void dn_kernels_c(struct kernels *table);

#endif
