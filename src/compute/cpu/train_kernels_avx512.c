/* The training kernels for AVX-512. */
#include <immintrin.h>

#define LANES 16
#define FMA(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define MIN(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define MAX(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define TABLE dn_train_kernels_avx512
#include "compute/cpu/train_kernels_template.h"
