/* gemm_vec.h in AVX2: eight lanes. */
#ifndef COMPUTE_CPU_GEMM_VEC_AVX2_H
#define COMPUTE_CPU_GEMM_VEC_AVX2_H

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

#endif
