/* The training kernels for any processor, and the choice among them. */
#define LANES 4
#define FMA(a, b, c) ((a) * (b) + (c))
#define MIN(a, b) pick((vu)((a) < (b)), a, b)
#define MAX(a, b) pick((vu)((a) > (b)), a, b)
#define TABLE dn_train_kernels_c
#include "compute/cpu/train_kernels_template.h"

const struct train_kernels *dn_train_kernels_choose(enum dn_isa isa)
{
    if (DN_X86 && isa >= DN_ISA_AVX512)
        return &dn_train_kernels_avx512;
    if (DN_X86 && isa >= DN_ISA_AVX2)
        return &dn_train_kernels_avx2;
    return &dn_train_kernels_c;
}
