/* gemm_vec.h in AVX-512: sixteen lanes, and masks for the first n of them. */
#ifndef COMPUTE_CPU_GEMM_VEC_AVX512_H
#define COMPUTE_CPU_GEMM_VEC_AVX512_H

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

#endif
