/* The kernels for AVX-512 F, BW, VL and DQ. The half-width conversions stay those of AVX2:
 * they wait for memory. */
#include <immintrin.h>

#define LANES 16
#define FMA(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define MIN(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define MAX(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#include "compute/cpu/kernels_template.h"

void dn_kernels_avx512(struct kernels *table)
{
    fill_table(table, DN_ISA_AVX512);
}
