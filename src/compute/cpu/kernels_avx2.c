/* The kernels for AVX2, FMA and F16C. */
#include <immintrin.h>

#define LANES 8
#define FMA(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define MIN(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define MAX(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#include "compute/cpu/kernels_template.h"

#include "base/half.h"

static void f16_to_f32(float *y, const uint16_t *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        __m128i half;
        memcpy(&half, x + i, sizeof half);
        store(y + i, (vf)_mm256_cvtph_ps(half));
    }
    for (; i < n; i++)
        y[i] = dn_f16_to_f32(x[i]);
}

static void f32_to_f16(uint16_t *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        __m128i half = _mm256_cvtps_ph((__m256)load(x + i), _MM_FROUND_TO_NEAREST_INT);
        memcpy(y + i, &half, sizeof half);
    }
    for (; i < n; i++)
        y[i] = dn_f32_to_f16(x[i]);
}

void dn_kernels_avx2(struct kernels *table)
{
    fill_table(table, DN_ISA_AVX2);
    table->f16_to_f32 = f16_to_f32;
    table->f32_to_f16 = f32_to_f16;
}
