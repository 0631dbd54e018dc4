/*
 * The resampler's passes in AVX-512 with VNNI. A weight is split into three signed bytes,
 * w = d2 * 65536 + d1 * 256 + d0, and VPDPBUSD adds up four taps of bytes times bytes at a
 * time without rounding or saturation.
 */
#include "image/resample.h"

#include <immintrin.h>
#include <string.h>

#define VNNI __attribute__((target("avx512vnni")))

/* Four weights become four d0, four d1, four d2. */
static void pack(int32_t *weights, size_t groups)
{
    for (size_t g = 0; g < groups; g++, weights += 4) {
        int8_t digits[16] = {0};
        for (int t = 0; t < 4; t++) {
            digits[t] = (int8_t)(weights[t] & 0xff);
            int32_t rest = (weights[t] - digits[t]) >> 8;
            digits[4 + t] = (int8_t)(rest & 0xff);
            digits[8 + t] = (int8_t)((rest - digits[4 + t]) >> 8);
        }
        memcpy(weights, digits, sizeof digits);
    }
}

/* round((65536 * d2 + 256 * d1 + d0) / 2^22) */
static __m512i finish(__m512i d0, __m512i d1, __m512i d2)
{
    __m512i half = _mm512_set1_epi32(1 << (RESAMPLE_BITS - 1));
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(d2, 16), _mm512_slli_epi32(d1, 8));
    sum = _mm512_add_epi32(sum, _mm512_add_epi32(d0, half));
    return _mm512_srai_epi32(sum, RESAMPLE_BITS);
}

static __m256i two_rows(const uint8_t *a, const uint8_t *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)),
                                   _mm_loadu_si128((const __m128i *)b), 1);
}

/* Output pixel i: lanes red, green, blue, nothing of each of the four rows. */
VNNI static inline __m512i pixel(const struct resample_axis *axis, int i,
                                 const uint8_t *const from[4])
{
    const __m512i apart = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
    const int32_t *weights = axis->weights + (size_t)i * (size_t)axis->taps;
    size_t at = (size_t)axis->first[i] * 3;
    __m512i d0 = _mm512_setzero_si512(), d1 = d0, d2 = d0;

    for (int t = 0; t < axis->taps; t += 4, weights += 4, at += 12) {
        __m512i rgb =
            _mm512_inserti64x4(_mm512_castsi256_si512(two_rows(from[0] + at, from[1] + at)),
                               two_rows(from[2] + at, from[3] + at), 1);
        rgb = _mm512_shuffle_epi8(rgb, apart);
        d0 = _mm512_dpbusd_epi32(d0, rgb, _mm512_set1_epi32(weights[0]));
        d1 = _mm512_dpbusd_epi32(d1, rgb, _mm512_set1_epi32(weights[1]));
        d2 = _mm512_dpbusd_epi32(d2, rgb, _mm512_set1_epi32(weights[2]));
    }
    return finish(d0, d1, d2);
}

VNNI static void across(const struct resample_axis *axis, uint8_t *const to[RESAMPLE_GROUP],
                        const uint8_t *const from[RESAMPLE_GROUP])
{
    const __m512i tight = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));

    for (int i = 0; i < axis->out; i += 4) {
        int left = axis->out - i < 4 ? axis->out - i : 4;
        __mmask16 bytes = (__mmask16)((1U << (left * 3)) - 1);
        __m512i low = _mm512_packs_epi32(pixel(axis, i, from), pixel(axis, i + 1, from));
        __m512i high = _mm512_packs_epi32(pixel(axis, i + 2, from), pixel(axis, i + 3, from));
        __m512i rgb = _mm512_shuffle_epi8(_mm512_packus_epi16(low, high), tight);
        size_t at = (size_t)i * 3;

        _mm_mask_storeu_epi8(to[0] + at, bytes, _mm512_extracti32x4_epi32(rgb, 0));
        _mm_mask_storeu_epi8(to[1] + at, bytes, _mm512_extracti32x4_epi32(rgb, 1));
        _mm_mask_storeu_epi8(to[2] + at, bytes, _mm512_extracti32x4_epi32(rgb, 2));
        _mm_mask_storeu_epi8(to[3] + at, bytes, _mm512_extracti32x4_epi32(rgb, 3));
    }
}

struct sums {
    __m512i d0, d1, d2;
};

VNNI static inline void add(struct sums *s, __m512i fours, const int32_t *weights)
{
    s->d0 = _mm512_dpbusd_epi32(s->d0, fours, _mm512_set1_epi32(weights[0]));
    s->d1 = _mm512_dpbusd_epi32(s->d1, fours, _mm512_set1_epi32(weights[1]));
    s->d2 = _mm512_dpbusd_epi32(s->d2, fours, _mm512_set1_epi32(weights[2]));
}

/* 64 bytes of the row, or as many as the mask says. Sums a to d are of bytes 0-3, 4-7, 8-11
 * and 12-15 of each 16. */
VNNI static inline void down64(uint8_t *to, const uint8_t *const *from, const int32_t *weights,
                               int taps, size_t at, __mmask64 mask)
{
    struct sums a = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    struct sums b = a, c = a, d = a;

    for (int t = 0; t < taps; t += 4, weights += 4) {
        __m512i row0 = _mm512_maskz_loadu_epi8(mask, from[t] + at);
        __m512i row1 = _mm512_maskz_loadu_epi8(mask, from[t + 1] + at);
        __m512i row2 = _mm512_maskz_loadu_epi8(mask, from[t + 2] + at);
        __m512i row3 = _mm512_maskz_loadu_epi8(mask, from[t + 3] + at);
        __m512i front01 = _mm512_unpacklo_epi8(row0, row1);
        __m512i front23 = _mm512_unpacklo_epi8(row2, row3);
        __m512i back01 = _mm512_unpackhi_epi8(row0, row1);
        __m512i back23 = _mm512_unpackhi_epi8(row2, row3);

        add(&a, _mm512_unpacklo_epi16(front01, front23), weights);
        add(&b, _mm512_unpackhi_epi16(front01, front23), weights);
        add(&c, _mm512_unpacklo_epi16(back01, back23), weights);
        add(&d, _mm512_unpackhi_epi16(back01, back23), weights);
    }
    __m512i front = _mm512_packs_epi32(finish(a.d0, a.d1, a.d2), finish(b.d0, b.d1, b.d2));
    __m512i back = _mm512_packs_epi32(finish(c.d0, c.d1, c.d2), finish(d.d0, d.d1, d.d2));
    _mm512_mask_storeu_epi8(to + at, mask, _mm512_packus_epi16(front, back));
}

VNNI static void down(uint8_t *to, const uint8_t *const *from, const int32_t *weights, int taps,
                      size_t bytes)
{
    size_t at = 0;

    for (; at + 64 <= bytes; at += 64)
        down64(to, from, weights, taps, at, ~(__mmask64)0);
    if (at < bytes)
        down64(to, from, weights, taps, at, ((__mmask64)1 << (bytes - at)) - 1);
}

const struct resample_kernels dn_resample_avx512 = {
    .pack = pack, .across = across, .down = down};
