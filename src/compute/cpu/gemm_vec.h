/*
 * The vectors that the product and attention templates are written in: one set of names for
 * AVX-512, AVX2 and plain C. Included only by the kernel files, each compiled with its own
 * instruction set. gemm_vec_avx512.h, gemm_vec_avx2.h and gemm_vec_plain.h define the same
 * functions, one register each; here is what is made of them.
 */
#ifndef COMPUTE_CPU_GEMM_VEC_H
#define COMPUTE_CPU_GEMM_VEC_H

#include <stdint.h>
#include <string.h>

#include "base/half.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define VEC_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include "compute/cpu/gemm_vec_avx512.h"
#elif defined(__AVX2__)
#include "compute/cpu/gemm_vec_avx2.h"
#else
#include "compute/cpu/gemm_vec_plain.h"
#endif

VEC_INLINE void vf_store_bf16_pair(uint16_t *p, vf x, vf y)
{
#if defined(__AVX512BF16__)
    _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh(y, x));
#else
    vf_store_bf16(p, x);
    vf_store_bf16(p + VL, y);
#endif
}

/* Either real dtype of an activation, counted in elements from the start of the row. */
VEC_INLINE vf vf_load_as(const void *row, int is_bf16, int at, int n)
{
    if (is_bf16) {
        const uint16_t *p = (const uint16_t *)row + at;
        return n >= VL ? vf_load_bf16(p) : vf_load_bf16_n(p, n);
    }
    const float *p = (const float *)row + at;
    return n >= VL ? vf_load(p) : vf_load_n(p, n);
}
VEC_INLINE void vf_store_as(void *row, int is_bf16, int at, vf x, int n)
{
    if (is_bf16) {
        uint16_t *p = (uint16_t *)row + at;
        if (n >= VL)
            vf_store_bf16(p, x);
        else
            vf_store_bf16_n(p, x, n);
        return;
    }
    float *p = (float *)row + at;
    if (n >= VL)
        vf_store(p, x);
    else
        vf_store_n(p, x, n);
}

/* This line will be written soon. */
VEC_INLINE void vec_expect(const char *line)
{
#if defined(__AVX2__)
    __asm__ volatile("prefetchw %0" ::"m"(*line)); /* a builtin would need -mprfchw */
#else
    __builtin_prefetch(line, 1);
#endif
}

/* One dword in every lane, from any address. */
VEC_INLINE vf vf_spread(const void *p)
{
    float x;
    memcpy(&x, p, sizeof x);
    return vf_set1(x);
}

VEC_INLINE vf vf_abs(vf x)
{
    return (vf)((vi)x & vi_set1(0x7fffffff));
}

/* x with its sign turned where y is negative. */
VEC_INLINE vf vf_turn_sign(vf x, vf y)
{
    return (vf)((vi)x ^ ((vi)y & vi_set1(INT32_MIN)));
}

/* The bf16 nearest to x, as a float. */
VEC_INLINE vf vf_round_bf16(vf x)
{
#if defined(__AVX512F__)
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(vf_to_bf16(x)), 16));
#else
    uint16_t narrow[VL];
    vf_store_bf16(narrow, x);
    return vf_load_bf16(narrow);
#endif
}

/* Dwords of two bf16: low and high, which hold nothing finer. */
VEC_INLINE vf vf_pair_bf16(vf low, vf high)
{
#if defined(__AVX512F__)
    return (vf)_mm512_or_si512(_mm512_srli_epi32((vi)low, 16), (vi)high);
#elif defined(__AVX2__)
    return (vf)_mm256_or_si256(_mm256_srli_epi32((vi)low, 16), (vi)high);
#else
    return (vf)(((vi)low >> 16 & 0xffff) | (vi)high);
#endif
}

/*
 * 2^x within 1 ulp, 0 far below; NaN stays NaN. A minimax fit (relative error 2e-9) on half
 * an octave either side of the nearest whole number.
 */
VEC_INLINE vf vf_exp2(vf x)
{
    vf n = vf_round(x), f = x - n;
    vf p = vf_set1(0.00015353362F);
    p = vf_fma(p, f, vf_set1(0.00133988744F));
    p = vf_fma(p, f, vf_set1(0.00961843736F));
    p = vf_fma(p, f, vf_set1(0.0555033247F));
    p = vf_fma(p, f, vf_set1(0.240226479F));
    p = vf_fma(p, f, vf_set1(0.693147203F));
    p = vf_fma(p, f, vf_set1(1.0F));
    return vf_scale2(p, n);
}

/* 2^x within 8e-5, a fiftieth of what rounding to bf16 then does. */
VEC_INLINE vf vf_exp2_rough(vf x)
{
    vf n = vf_round(x), f = x - n;
    vf p = vf_set1(0.055171668F);
    p = vf_fma(p, f, vf_set1(0.242611122F));
    p = vf_fma(p, f, vf_set1(0.693260986F));
    p = vf_fma(p, f, vf_set1(0.999928074F));
    return vf_scale2(p, n);
}

#endif
