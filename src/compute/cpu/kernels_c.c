/* The kernels for any processor: four numbers at a time, which every compiler maps to what
 * the processor has, down to plain C. */
#define LANES 4
#define FMA(a, b, c) ((a) * (b) + (c))
#define MIN(a, b) pick((vu)((a) < (b)), a, b)
#define MAX(a, b) pick((vu)((a) > (b)), a, b)
#include "compute/cpu/kernels_template.h"

#include "base/half.h"

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
    *table = (struct kernels){.f16_to_f32 = f16_to_f32, .f32_to_f16 = f32_to_f16};
    fill_table(table, DN_ISA_C);
}
