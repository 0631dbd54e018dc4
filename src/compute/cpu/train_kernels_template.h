/*
 * The kernels of train_kernels.h, included once for each instruction set by a file that
 * defines LANES, FMA, MIN and MAX as kernels_template.h wants them, and TABLE, the name of
 * its table. Simple loops are left to the compiler.
 */
#include <math.h>

#include "compute/cpu/kernels_template.h"
#include "compute/cpu/train_kernels.h"

static float largest_of(const float *x, size_t n)
{
    float top = -INFINITY;

#pragma omp simd reduction(max : top)
    for (size_t i = 0; i < n; i++)
        top = x[i] > top ? x[i] : top;
    return top;
}

static float exponential(float *y, const float *x, float top, float scale, size_t n)
{
    vf sums = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf e = exp_negative((load(x + i) - top) * scale, splat(0));
        store(y + i, e);
        sums += e;
    }
    float sum = lane_sum(sums);
    if (i < n) {
        float last[LANES];
        store(last, exp_negative((load_part(x + i, n - i) - top) * scale, splat(0)));
        for (size_t j = 0; i + j < n; j++)
            sum += y[i + j] = last[j];
    }
    return sum;
}

static float dot(const float *x, const float *y, size_t n)
{
    double total = 0; /* of short sums, so that long ones lose no more, vectorised or not */

    for (size_t first = 0; first < n; first += 256) {
        size_t last = n - first < 256 ? n : first + 256;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = first; i < last; i++)
            sum += x[i] * y[i];
        total += (double)sum;
    }
    return (float)total;
}

static float sum_run(const float *x, size_t n)
{
    float sum = 0;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static void mix(float *y, float a, const float *x, float b, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = a * x[i] + b * y[i];
}

static void add_product(float *y, float a, const float *x, const float *w, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i] * w[i];
}

static void product(float *y, float a, const float *x, const float *w, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = a * x[i] * w[i];
}

static void norm_back_sums(struct norm_row *row, const float *d_y, const float *x,
                           const float *weight, float *d_weight, float *d_bias, size_t n)
{
    float g_sum = 0, gn_sum = 0, mean = row->mean, scale = row->scale;

#pragma omp simd reduction(+ : g_sum, gn_sum)
    for (size_t i = 0; i < n; i++) {
        float normal = (x[i] - mean) * scale, g = d_y[i] * weight[i];
        d_weight[i] += d_y[i] * normal;
        d_bias[i] += d_y[i];
        g_sum += g;
        gn_sum += g * normal;
    }
    row->g_sum += g_sum;
    row->gn_sum += gn_sum;
}

static void norm_back(const struct norm_row *row, float *d_x, const float *d_y, const float *x,
                      const float *weight, size_t n)
{
    float g_mean = row->g_sum, gn_mean = row->gn_sum, mean = row->mean, scale = row->scale;
    float keep = row->keep ? 1 : 0;

#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float g = d_y[i] * weight[i], normal = (x[i] - mean) * scale;
        float d = (g - g_mean - normal * gn_mean) * scale;
        d_x[i] = keep != 0 ? d_x[i] + d : d;
    }
}

/* 1 / (1 + exp(-v)), with the exponential of -|v| on both sides */
static inline vf sigmoid_of(vf v)
{
    vf e = exp_negative(-magnitude(v), splat(0));

    return pick((vu)(v < 0.0F), e, splat(1)) / (1.0F + e);
}

static void swiglu_back(float *d_gate, float *d_value, const float *d_y, const float *gate,
                        const float *value, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t count = n - i < LANES ? n - i : LANES;
        vf g = load_part(gate + i, count), dy = load_part(d_y + i, count);
        vf v = load_part(value + i, count), share = sigmoid_of(g);
        store_part(d_gate + i, dy * v * share * (1.0F + g * (1.0F - share)), count);
        store_part(d_value + i, dy * g * share, count);
    }
}

static void adamw(const struct adamw_run *r, size_t n)
{
    float *p = r->p, *m = r->m, *v = r->v;
    const float *gradient = r->g;

#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float g = r->grad_scale * gradient[i];
        m[i] = r->beta1 * m[i] + r->rest1 * g;
        v[i] = r->beta2 * v[i] + r->rest2 * g * g;
        p[i] = r->keep * p[i] - r->lr * m[i] / (sqrtf(v[i] * r->second) + r->eps);
    }
}

/* The table of kernels_template.h is not wanted here; its functions are. */
static void (*const unused)(struct kernels *, enum dn_isa) __attribute__((unused)) = fill_table;

const struct train_kernels TABLE = {
    .largest = largest_of,
    .exponential = exponential,
    .dot = dot,
    .sum = sum_run,
    .mix = mix,
    .add_product = add_product,
    .product = product,
    .norm_back_sums = norm_back_sums,
    .norm_back = norm_back,
    .swiglu_back = swiglu_back,
    .adamw = adamw,
};
