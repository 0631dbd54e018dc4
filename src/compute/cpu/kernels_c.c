/* The kernels in plain C, for any processor; and the choice among all of them. */
#include <math.h>

#include "base/half.h"
#include "compute/cpu/kernels.h"

static void moments(const float *x, size_t n, float *mean, float *variance)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    *mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n; i++) {
        float d = x[i] - *mean;
        squares += d * d;
    }
    *variance = (float)(squares / (double)n);
}

static void normalise(float *y, const float *x, float mean, float scale, const float *weight,
                      const float *bias, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

static void gelu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 0.5F * x[i] * erfcf(-x[i] * (float)M_SQRT1_2);
}

static void swiglu(float *y, const float *gate, const float *value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0F + expf(-gate[i])) * value[i];
}

static void add_runs(float *y, const float *x, const float *add, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] + add[i];
}

static void scale_add(float *y, const float *x, const float *scale, const float *add, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (scale ? scale[i] : 1.0F) * x[i] + (add ? add[i] : 0.0F);
}

static void mean_rows(float *y, const float *x, ptrdiff_t stride, int rows, int cols)
{
    for (int c = 0; c < cols; c++) {
        float sum = 0;
        for (int r = 0; r < rows; r++)
            sum += x[r * stride + c];
        y[c] = sum / (float)rows;
    }
}

static void bf16_to_f32(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = dn_bf16_to_f32(x[i]);
}

static void f32_to_bf16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = dn_f32_to_bf16(x[i]);
}

static void f16_to_f32(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = dn_f16_to_f32(x[i]);
}

static void f32_to_f16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = dn_f32_to_f16(x[i]);
}

void dn_kernels_c(struct kernels *table)
{
    *table = (struct kernels){
        .isa = DN_ISA_C,
        .moments = moments,
        .normalise = normalise,
        .gelu = gelu,
        .swiglu = swiglu,
        .add = add_runs,
        .scale_add = scale_add,
        .mean_rows = mean_rows,
        .bf16_to_f32 = bf16_to_f32,
        .f32_to_bf16 = f32_to_bf16,
        .f16_to_f32 = f16_to_f32,
        .f32_to_f16 = f32_to_f16,
    };
}

struct kernels dn_kernels_choose(enum dn_isa isa)
{
    struct kernels table;

    (void)isa;
    dn_kernels_c(&table);
    return table;
}
