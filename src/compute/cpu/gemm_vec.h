/*
 * The vectors that the product and attention templates are written in: one set of names for
 * AVX-512, AVX2 and plain C (GCC's vector types, so Arm and old x86 get four lanes). Included
 * only by the kernel files, each compiled with its own instruction set.
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

enum { VL = 16 };
typedef __m512 vf;
typedef __m512i vi;

VEC_INLINE vf vf_set1(float x)
{
    return _mm512_set1_ps(x);
}
VEC_INLINE vf vf_load(const void *p)
{
    return _mm512_loadu_ps(p);
}
VEC_INLINE void vf_store(void *p, vf x)
{
    _mm512_storeu_ps(p, x);
}
/* The first n of the lanes, 0 <= n <= VL; the others are zero, or untouched in memory. */
VEC_INLINE vf vf_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p);
}
VEC_INLINE void vf_store_n(float *p, vf x, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1U << n) - 1), x);
}
VEC_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
VEC_INLINE vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
VEC_INLINE vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
VEC_INLINE vf vf_round(vf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x * 2^n for whole n <= 127; what lies below the normal range may become zero. */
VEC_INLINE vf vf_scale2(vf x, vf n)
{
    return _mm512_scalef_ps(x, n);
}
VEC_INLINE vi vi_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
VEC_INLINE vi vi_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}
VEC_INLINE vf vf_from_i32(vi x)
{
    return _mm512_cvtepi32_ps(x);
}
VEC_INLINE vi vi_from_f32(vf x)
{
    return _mm512_cvtps_epi32(x);
}
VEC_INLINE vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
VEC_INLINE vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
VEC_INLINE vi vi_mul(vi a, vi b)
{
    return _mm512_mullo_epi32(a, b);
}
/* The low byte of the first n lanes, n >= 1. */
VEC_INLINE void vi_store_bytes(void *p, vi x, int n)
{
    __m128i bytes = _mm512_cvtepi32_epi8(x);
    if (n >= VL)
        _mm_storeu_si128(p, bytes);
    else
        _mm_mask_storeu_epi8(p, (__mmask16)((1U << n) - 1), bytes);
}
VEC_INLINE vf vf_load_bf16(const uint16_t *p)
{
    __m256i h = _mm256_loadu_si256((const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
VEC_INLINE vf vf_load_bf16_n(const uint16_t *p, int n)
{
    __m256i h = _mm256_maskz_loadu_epi16((__mmask16)((1U << n) - 1), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
VEC_INLINE __m256i vf_to_bf16(vf x)
{
#if defined(__AVX512BF16__)
    return (__m256i)_mm512_cvtneps_pbh(x);
#else
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    up = _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
#endif
}
VEC_INLINE void vf_store_bf16(uint16_t *p, vf x)
{
    _mm256_storeu_si256((void *)p, vf_to_bf16(x));
}
VEC_INLINE void vf_store_bf16_n(uint16_t *p, vf x, int n)
{
    _mm256_mask_storeu_epi16(p, (__mmask16)((1U << n) - 1), vf_to_bf16(x));
}
VEC_INLINE float vf_sum(vf x)
{
    return _mm512_reduce_add_ps(x);
}
VEC_INLINE float vf_top(vf x)
{
    return _mm512_reduce_max_ps(x);
}

/* The first n lanes of x, 0 <= n <= VL, the others of y. */
VEC_INLINE vf vf_pick_n(vf x, vf y, int n)
{
    return _mm512_mask_mov_ps(y, (__mmask16)((1U << n) - 1), x);
}
/* Lane i of row j goes to lane j of row i. */
VEC_INLINE void vf_transpose(vf row[VL])
{
    vf t[16];
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* 4 x 4 within each quarter */
        vf a = _mm512_unpacklo_ps(row[i], row[i + 1]);
        vf b = _mm512_unpackhi_ps(row[i], row[i + 1]);
        vf c = _mm512_unpacklo_ps(row[i + 2], row[i + 3]);
        vf d = _mm512_unpackhi_ps(row[i + 2], row[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* and the quarters among themselves */
        vf a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        vf b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        vf c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        vf d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        row[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        row[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        row[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        row[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

#elif defined(__AVX2__)

enum { VL = 8 };
typedef __m256 vf;
typedef __m256i vi;

VEC_INLINE vf vf_set1(float x)
{
    return _mm256_set1_ps(x);
}
VEC_INLINE vf vf_load(const void *p)
{
    return _mm256_loadu_ps(p);
}
VEC_INLINE void vf_store(void *p, vf x)
{
    _mm256_storeu_ps(p, x);
}
VEC_INLINE __m256i vi_first(int n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}
VEC_INLINE vf vf_load_n(const float *p, int n)
{
    return _mm256_maskload_ps(p, vi_first(n));
}
VEC_INLINE void vf_store_n(float *p, vf x, int n)
{
    _mm256_maskstore_ps(p, vi_first(n), x);
}
VEC_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
VEC_INLINE vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
VEC_INLINE vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
VEC_INLINE vf vf_round(vf x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VEC_INLINE vf vf_scale2(vf x, vf n)
{
    __m256i power = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    power = _mm256_max_epi32(power, _mm256_setzero_si256());
    return x * _mm256_castsi256_ps(_mm256_slli_epi32(power, 23));
}
VEC_INLINE vi vi_load(const void *p)
{
    return _mm256_loadu_si256(p);
}
VEC_INLINE vi vi_set1(int32_t x)
{
    return _mm256_set1_epi32(x);
}
VEC_INLINE vf vf_from_i32(vi x)
{
    return _mm256_cvtepi32_ps(x);
}
VEC_INLINE vi vi_from_f32(vf x)
{
    return _mm256_cvtps_epi32(x);
}
VEC_INLINE vi vi_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
VEC_INLINE vi vi_sub(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}
VEC_INLINE vi vi_mul(vi a, vi b)
{
    return _mm256_mullo_epi32(a, b);
}
VEC_INLINE void vi_store_bytes(void *p, vi x, int n)
{
    int32_t lanes[8];
    uint8_t bytes[8];
    _mm256_storeu_si256((void *)lanes, x);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)lanes[i];
    memcpy(p, bytes, (size_t)(n >= 8 ? 8 : n));
}
VEC_INLINE vf vf_load_bf16(const uint16_t *p)
{
    __m128i h = _mm_loadu_si128((const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
VEC_INLINE vf vf_load_bf16_n(const uint16_t *p, int n)
{
    uint16_t part[8] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);
    return vf_load_bf16(part);
}
VEC_INLINE void vf_store_bf16(uint16_t *p, vf x)
{
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    up = _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
    up = _mm256_permute4x64_epi64(_mm256_packus_epi32(up, up), 0x08);
    _mm_storeu_si128((void *)p, _mm256_castsi256_si128(up));
}
VEC_INLINE void vf_store_bf16_n(uint16_t *p, vf x, int n)
{
    uint16_t part[8];
    vf_store_bf16(part, x);
    memcpy(p, part, (size_t)n * sizeof *p);
}
VEC_INLINE float vf_sum(vf x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
VEC_INLINE float vf_top(vf x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

VEC_INLINE vf vf_pick_n(vf x, vf y, int n)
{
    return _mm256_blendv_ps(y, x, _mm256_castsi256_ps(vi_first(n)));
}
VEC_INLINE void vf_transpose(vf row[VL])
{
    vf t[8];
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        vf a = _mm256_unpacklo_ps(row[i], row[i + 1]);
        vf b = _mm256_unpackhi_ps(row[i], row[i + 1]);
        vf c = _mm256_unpacklo_ps(row[i + 2], row[i + 3]);
        vf d = _mm256_unpackhi_ps(row[i + 2], row[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        row[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        row[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

#else

enum { VL = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));

VEC_INLINE vf vf_set1(float x)
{
    return (vf){x, x, x, x};
}
VEC_INLINE vf vf_load(const void *p)
{
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}
VEC_INLINE void vf_store(void *p, vf x)
{
    memcpy(p, &x, sizeof x);
}
VEC_INLINE vf vf_load_n(const float *p, int n)
{
    vf x = {0};
    for (int i = 0; i < n; i++)
        x[i] = p[i];
    return x;
}
VEC_INLINE void vf_store_n(float *p, vf x, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = x[i];
}
VEC_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return a * b + c;
}
/* The second where either is NaN, as the x86 instructions do. */
VEC_INLINE vf vf_max(vf a, vf b)
{
    vi first = a > b;
    return (vf)((first & (vi)a) | (~first & (vi)b));
}
VEC_INLINE vf vf_min(vf a, vf b)
{
    vi first = a < b;
    return (vf)((first & (vi)a) | (~first & (vi)b));
}
/* |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction. */
VEC_INLINE vf vf_round(vf x)
{
    return (x + 12582912.0F) - 12582912.0F;
}
VEC_INLINE vi vi_from_f32(vf x)
{
    return __builtin_convertvector(vf_round(x), vi);
}
VEC_INLINE vf vf_scale2(vf x, vf n)
{
    vi power = vi_from_f32(n) + 127;
    return x * (vf)((power & (power > 0)) << 23);
}
VEC_INLINE vi vi_load(const void *p)
{
    vi x;
    memcpy(&x, p, sizeof x);
    return x;
}
VEC_INLINE vi vi_set1(int32_t x)
{
    return (vi){x, x, x, x};
}
VEC_INLINE vf vf_from_i32(vi x)
{
    return __builtin_convertvector(x, vf);
}
VEC_INLINE vi vi_add(vi a, vi b)
{
    return a + b;
}
VEC_INLINE vi vi_sub(vi a, vi b)
{
    return a - b;
}
VEC_INLINE vi vi_mul(vi a, vi b)
{
    return a * b;
}
VEC_INLINE void vi_store_bytes(void *p, vi x, int n)
{
    for (int i = 0; i < (n >= VL ? VL : n); i++)
        ((uint8_t *)p)[i] = (uint8_t)x[i];
}
VEC_INLINE vf vf_load_bf16_n(const uint16_t *p, int n)
{
    vf x = {0};
    for (int i = 0; i < n; i++)
        x[i] = dn_bf16_to_f32(p[i]);
    return x;
}
VEC_INLINE vf vf_load_bf16(const uint16_t *p)
{
    return vf_load_bf16_n(p, VL);
}
VEC_INLINE void vf_store_bf16_n(uint16_t *p, vf x, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = dn_f32_to_bf16(x[i]);
}
VEC_INLINE void vf_store_bf16(uint16_t *p, vf x)
{
    vf_store_bf16_n(p, x, VL);
}
VEC_INLINE float vf_sum(vf x)
{
    return (x[0] + x[2]) + (x[1] + x[3]);
}
VEC_INLINE float vf_top(vf x)
{
    float a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
}

VEC_INLINE vf vf_pick_n(vf x, vf y, int n)
{
    for (int i = n; i < VL; i++)
        x[i] = y[i];
    return x;
}
VEC_INLINE void vf_transpose(vf row[VL])
{
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < i; j++) {
            float t = row[i][j];
            row[i][j] = row[j][i];
            row[j][i] = t;
        }
}

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
