/* What AVX-512 BF16 and VNNI add: the measure of their own arithmetic. The row kernels stay
 * those of AVX-512, in f32. */
#include <immintrin.h>

#include "compute/cpu/kernels.h"

enum { CHAINS = 16 };

static float peak_bf16(size_t rounds, double *operations)
{
    __m512 a[CHAINS], sum = _mm512_setzero_ps();
    __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1), _mm512_set1_ps(2));

    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (size_t k = 0; k < rounds; k++) {
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_dpbf16_ps(a[i], x, x);
    }
    for (int i = 0; i < CHAINS; i++)
        sum = _mm512_add_ps(sum, a[i]);
    *operations = 2.0 * 32 * CHAINS * (double)rounds;
    return _mm512_reduce_add_ps(sum);
}

static float peak_i8(size_t rounds, double *operations)
{
    __m512i a[CHAINS], sum = _mm512_setzero_si512(), x = _mm512_set1_epi8(3);

    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_epi32(i);
    for (size_t k = 0; k < rounds; k++) {
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_dpbusd_epi32(a[i], x, x);
    }
    for (int i = 0; i < CHAINS; i++)
        sum = _mm512_add_epi32(sum, a[i]);
    *operations = 2.0 * 64 * CHAINS * (double)rounds;
    return (float)_mm512_cvtsi512_si32(sum); /* any lane: it only keeps the work alive */
}

void dn_kernels_avx512bf16(struct kernels *table)
{
    table->peak_bf16 = peak_bf16;
    table->peak_i8 = peak_i8;
}
