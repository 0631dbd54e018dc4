/*
 * What this processor can do, and what DINO_ISA allows of it. The environment variable caps
 * the instruction set (c, avx2, avx512, avx512bf16, amx), so that one machine tests every path.
 */
#ifndef BASE_CPU_FEATURES_H
#define BASE_CPU_FEATURES_H

#include <stdbool.h>

/* Whether this build has kernels for x86 at all: `if (DN_X86 && ...)` keeps the names of the
 * others' out of the program. */
#if defined(__x86_64__)
enum { DN_X86 = 1 };
#else
enum { DN_X86 = 0 };
#endif

/* In ascending order: each includes those before it. */
enum dn_isa {
    DN_ISA_C = 0,
    DN_ISA_AVX2,       /* AVX2 + FMA + F16C */
    DN_ISA_AVX512,     /* AVX-512 F, BW, VL, DQ */
    DN_ISA_AVX512BF16, /* + AVX-512 BF16 and VNNI */
    DN_ISA_AMX,        /* + AMX tile, bf16, int8, and the kernel grants tiles */
    DN_ISA_COUNT,
};

struct cpu_features {
    enum dn_isa isa;      /* best usable, after the cap */
    enum dn_isa detected; /* before the cap */
    bool vnni;            /* AVX-512 VNNI within the cap */
    bool capped;
};

struct cpu_features dn_cpu_features(void);
const char *dn_isa_name(enum dn_isa isa);
bool dn_isa_parse(const char *name, enum dn_isa *isa);

/* In a loop that waits for another thread: let the processor rest a moment. */
static inline void dn_cpu_rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Marketing name of the processor; "unknown" where it cannot be read. */
void dn_cpu_name(char name[64]);

/* Cores this process may run on: its affinity mask, capped by the cgroup's CPU quota. */
int dn_cpu_cores(void);

#endif
