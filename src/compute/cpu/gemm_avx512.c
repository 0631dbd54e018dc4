/* Matrix products with the instruction set avx512. */
#include "compute/cpu/gemm_template.h"

const struct gemm_kernels dn_gemm_avx512 = GEMM_KERNELS(DN_ISA_AVX512);
