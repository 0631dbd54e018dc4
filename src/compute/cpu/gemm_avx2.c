/* Matrix products with the instruction set avx2. */
#include "compute/cpu/gemm_template.h"

const struct gemm_kernels dn_gemm_avx2 = GEMM_KERNELS(DN_ISA_AVX2);
