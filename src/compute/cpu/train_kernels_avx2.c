/* The training kernels for AVX2 and FMA. */
#include <immintrin.h>

#define LANES 8
#define FMA(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define MIN(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define MAX(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define TABLE dn_train_kernels_avx2
#include "compute/cpu/train_kernels_template.h"
