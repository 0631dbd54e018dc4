/* Attention with the instruction set avx512. */
#include "compute/cpu/attend_back_template.h"

const struct attend_kernels dn_attend_avx512 = ATTEND_KERNELS(DN_ISA_AVX512);
