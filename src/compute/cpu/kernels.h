/*
 * The inner loops of the device "cpu" over one row or one run of numbers, as a table that
 * dn_kernels_choose fills: C first, then whatever the processor does better. Everything is
 * f32; callers convert 16-bit rows a piece at a time, in the first-level cache.
 * Pointers need no alignment. y may be x.
 */
#ifndef COMPUTE_CPU_KERNELS_H
#define COMPUTE_CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cpu_features.h"

/* Runs arithmetic that depends on nothing but itself, for measuring the processor: writes
 * how many operations it did, returns a number so that nothing is optimised away. */
typedef float kernel_peak(size_t rounds, double *operations);

struct kernels {
    enum dn_isa isa;

    /* Mean and biased variance of x [n], the variance from a second pass over x. */
    void (*moments)(const float *x, size_t n, float *mean, float *variance);
    /* y = (x - mean) * scale * weight + bias */
    void (*normalise)(float *y, const float *x, float mean, float scale, const float *weight,
                      const float *bias, size_t n);
    /* Exact (erf) GELU to about 2 units in the last place. */
    void (*gelu)(float *y, const float *x, size_t n);
    /* y = silu(gate) * value */
    void (*swiglu)(float *y, const float *gate, const float *value, size_t n);
    /* y = x + add */
    void (*add)(float *y, const float *x, const float *add, size_t n);
    /* y = add + scale * x; either may be NULL */
    void (*scale_add)(float *y, const float *x, const float *scale, const float *add, size_t n);
    /* y [cols] = mean of `rows` rows of x, summed in blocks to keep the digits */
    void (*mean_rows)(float *y, const float *x, ptrdiff_t stride, int rows, int cols);

    /* Round to nearest even; NaN stays NaN. */
    void (*bf16_to_f32)(float *y, const uint16_t *x, size_t n);
    void (*f32_to_bf16)(uint16_t *y, const float *x, size_t n);
    void (*f16_to_f32)(float *y, const uint16_t *x, size_t n);
    void (*f32_to_f16)(uint16_t *y, const float *x, size_t n);

    /* NULL where there are no instructions for it. */
    kernel_peak *peak_f32, *peak_bf16, *peak_i8;
};

struct kernels dn_kernels_choose(enum dn_isa isa);

/* One for each kernels_ISA.c: overwrite what this instruction set does better. */
void dn_kernels_c(struct kernels *table);
void dn_kernels_avx2(struct kernels *table);
void dn_kernels_avx512(struct kernels *table);
void dn_kernels_avx512bf16(struct kernels *table);
void dn_kernels_amx(struct kernels *table);

#endif
