/* Matrix products with the instruction set c. */
#include "compute/cpu/gemm_template.h"

const struct gemm_kernels dn_gemm_c = GEMM_KERNELS(DN_ISA_C);
