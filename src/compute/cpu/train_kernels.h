/*
 * The inner loops of training on the device "cpu" over one run of f32 numbers, for each
 * instruction set. Pointers need no alignment; results may stand in place of inputs of the
 * same index.
 */
#ifndef COMPUTE_CPU_TRAIN_KERNELS_H
#define COMPUTE_CPU_TRAIN_KERNELS_H

#include <stddef.h>

#include "base/cpu_features.h"

struct adamw_run {
    float *p, *m, *v;
    const float *g;
    float keep;           /* 1 - lr * decay */
    float lr, grad_scale; /* lr already over 1 - beta1^step */
    float beta1, rest1, beta2, rest2, eps;
    float second; /* 1 / (1 - beta2^step) */
};

/* A row under layernorm: n = (x - mean) * scale, g = d_y * weight. */
struct norm_row {
    float mean, scale, g_sum, gn_sum;
    int keep; /* add to what is there */
};

struct train_kernels {
    float (*largest)(const float *x, size_t n);
    /* y = exp(scale * (x - top)), scale * (x - top) <= 0; returns the sum. n up to 4096 keeps
     * its digits. */
    float (*exponential)(float *y, const float *x, float top, float scale, size_t n);
    float (*dot)(const float *x, const float *y, size_t n);
    float (*sum)(const float *x, size_t n);
    /* y = a * x + b * y */
    void (*mix)(float *y, float a, const float *x, float b, size_t n);
    /* y = y + a * x * w */
    void (*add_product)(float *y, float a, const float *x, const float *w, size_t n);
    /* y = a * x * w */
    void (*product)(float *y, float a, const float *x, const float *w, size_t n);
    /* The backward of layernorm, part of a row at a time: what is summed over the row and over
     * the rows, and then, with the row's sums made means, the gradient. */
    void (*norm_back_sums)(struct norm_row *row, const float *d_y, const float *x,
                           const float *weight, float *d_weight, float *d_bias, size_t n);
    void (*norm_back)(const struct norm_row *row, float *d_x, const float *d_y, const float *x,
                      const float *weight, size_t n);
    void (*swiglu_back)(float *d_gate, float *d_value, const float *d_y, const float *gate,
                        const float *value, size_t n);
    void (*adamw)(const struct adamw_run *run, size_t n);
};

extern const struct train_kernels dn_train_kernels_c, dn_train_kernels_avx2,
    dn_train_kernels_avx512;

/* The best for an instruction set. */
const struct train_kernels *dn_train_kernels_choose(enum dn_isa isa);

#endif
