/* Attention with the instruction set c. */
#include "compute/cpu/attend_back_template.h"

const struct attend_kernels dn_attend_c = ATTEND_KERNELS(DN_ISA_C);
