/* The choice among the kernels: each instruction set overwrites what it does better. */
#include "compute/cpu/kernels.h"

struct kernels dn_kernels_choose(enum dn_isa isa)
{
    struct kernels table;

    dn_kernels_c(&table);
    if (DN_X86 && isa >= DN_ISA_AVX2)
        dn_kernels_avx2(&table);
    if (DN_X86 && isa >= DN_ISA_AVX512)
        dn_kernels_avx512(&table);
    if (DN_X86 && isa >= DN_ISA_AVX512BF16)
        dn_kernels_avx512bf16(&table);
    if (DN_X86 && isa >= DN_ISA_AMX)
        dn_kernels_amx(&table);
    return table;
}
