/* Matrix products with the instruction set avx512bf16. */
#include "compute/cpu/gemm_template.h"

const struct gemm_kernels dn_gemm_avx512bf16 = GEMM_KERNELS(DN_ISA_AVX512BF16);
