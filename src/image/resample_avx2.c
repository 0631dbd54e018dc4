/*
 * The resampler's passes in AVX2. A weight w is split as 256 * high + low, both of which fit
 * 16 bits, so that the multiply-and-add of 16-bit pairs gives exact 32-bit sums of each.
 */
#include "image/resample.h"

#include <immintrin.h>
#include <string.h>

/* Four weights become pairs: high 0 1, high 2 3, low 0 1, low 2 3. */
static void pack(int32_t *weights, size_t groups)
{
    for (size_t g = 0; g < groups; g++, weights += 4) {
        int16_t pairs[8];
        for (int t = 0; t < 4; t++) {
            pairs[t] = (int16_t)(weights[t] >> 8);
            pairs[4 + t] = (int16_t)(weights[t] & 0xff);
        }
        memcpy(weights, pairs, sizeof pairs);
    }
}

/* round((256 * high + low) / 2^22) */
static __m256i finish(__m256i high, __m256i low)
{
    __m256i half = _mm256_set1_epi32(1 << (RESAMPLE_BITS - 1));
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 8), _mm256_add_epi32(low, half));
    return _mm256_srai_epi32(sum, RESAMPLE_BITS);
}

static __m256i two_rows(const uint8_t *a, const uint8_t *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)),
                                   _mm_loadu_si128((const __m128i *)b), 1);
}

/* 16-bit pairs R0R1 G0G1 B0B1 of the first two of four RGB pixels, and of the last two. */
static __m256i first_pair(__m256i rgb)
{
    return _mm256_shuffle_epi8(rgb, _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1,
                                                     -1, -1, -1, -1, 0, -1, 3, -1, 1, -1, 4, -1,
                                                     2, -1, 5, -1, -1, -1, -1, -1));
}

static __m256i last_pair(__m256i rgb)
{
    return _mm256_shuffle_epi8(rgb, _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1,
                                                     -1, -1, -1, -1, 6, -1, 9, -1, 7, -1, 10,
                                                     -1, 8, -1, 11, -1, -1, -1, -1, -1));
}

/* Output pixel i of four rows: lanes red, green, blue, nothing of rows 0 and 1, and of 2 and 3.
 */
static void pixel(const struct resample_axis *axis, int i, const uint8_t *const from[4],
                  __m256i *upper, __m256i *lower)
{
    const int32_t *weights = axis->weights + (size_t)i * (size_t)axis->taps;
    size_t at = (size_t)axis->first[i] * 3;
    __m256i high0 = _mm256_setzero_si256(), low0 = high0, high2 = high0, low2 = high0;

    for (int t = 0; t < axis->taps; t += 4, weights += 4, at += 12) {
        __m256i high01 = _mm256_set1_epi32(weights[0]), high23 = _mm256_set1_epi32(weights[1]);
        __m256i low01 = _mm256_set1_epi32(weights[2]), low23 = _mm256_set1_epi32(weights[3]);
        __m256i rgb = two_rows(from[0] + at, from[1] + at);
        __m256i a = first_pair(rgb), b = last_pair(rgb);

        high0 = _mm256_add_epi32(high0, _mm256_madd_epi16(a, high01));
        low0 = _mm256_add_epi32(low0, _mm256_madd_epi16(a, low01));
        high0 = _mm256_add_epi32(high0, _mm256_madd_epi16(b, high23));
        low0 = _mm256_add_epi32(low0, _mm256_madd_epi16(b, low23));
        rgb = two_rows(from[2] + at, from[3] + at);
        a = first_pair(rgb);
        b = last_pair(rgb);
        high2 = _mm256_add_epi32(high2, _mm256_madd_epi16(a, high01));
        low2 = _mm256_add_epi32(low2, _mm256_madd_epi16(a, low01));
        high2 = _mm256_add_epi32(high2, _mm256_madd_epi16(b, high23));
        low2 = _mm256_add_epi32(low2, _mm256_madd_epi16(b, low23));
    }
    *upper = finish(high0, low0);
    *lower = finish(high2, low2);
}

/* Four pixels of 32-bit red, green, blue, nothing to 12 bytes of each of two rows. */
static void store(const __m256i v[4], uint8_t *row0, uint8_t *row1, size_t bytes)
{
    __m256i tight = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0,
                                     1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    __m256i b =
        _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    uint8_t out[32];

    _mm256_storeu_si256((__m256i *)out, _mm256_shuffle_epi8(b, tight));
    if (bytes == 12) {
        memcpy(row0, out, 12);
        memcpy(row1, out + 16, 12);
    } else {
        memcpy(row0, out, bytes);
        memcpy(row1, out + 16, bytes);
    }
}

static void across(const struct resample_axis *axis, uint8_t *const to[RESAMPLE_GROUP],
                   const uint8_t *const from[RESAMPLE_GROUP])
{
    for (int i = 0; i < axis->out; i += 4) {
        int left = axis->out - i;
        size_t at = (size_t)i * 3, bytes = left < 4 ? (size_t)left * 3 : 12;
        __m256i upper[4], lower[4];

        for (int j = 0; j < 4; j++)
            pixel(axis, i + j, from, &upper[j], &lower[j]);
        store(upper, to[0] + at, to[1] + at, bytes);
        store(lower, to[2] + at, to[3] + at, bytes);
    }
}

struct sums {
    __m256i high, low;
};

static inline void add(struct sums *s, __m256i pairs, int32_t high, int32_t low)
{
    s->high = _mm256_add_epi32(s->high, _mm256_madd_epi16(pairs, _mm256_set1_epi32(high)));
    s->low = _mm256_add_epi32(s->low, _mm256_madd_epi16(pairs, _mm256_set1_epi32(low)));
}

/* 32 bytes of the row. Sums a to d are of bytes 0-3, 4-7, 8-11 and 12-15 of each 16. */
static void down32(uint8_t *to, const uint8_t *const *from, const int32_t *weights, int taps,
                   size_t at)
{
    __m256i zero = _mm256_setzero_si256();
    struct sums a = {zero, zero}, b = a, c = a, d = a;

    for (int t = 0; t < taps; t += 2) {
        const int32_t *w = weights + t / 4 * 4 + t / 2 % 2;
        __m256i row0 = _mm256_loadu_si256((const __m256i *)(from[t] + at));
        __m256i row1 = _mm256_loadu_si256((const __m256i *)(from[t + 1] + at));
        __m256i front = _mm256_unpacklo_epi8(row0, row1);
        __m256i back = _mm256_unpackhi_epi8(row0, row1);

        add(&a, _mm256_unpacklo_epi8(front, zero), w[0], w[2]);
        add(&b, _mm256_unpackhi_epi8(front, zero), w[0], w[2]);
        add(&c, _mm256_unpacklo_epi8(back, zero), w[0], w[2]);
        add(&d, _mm256_unpackhi_epi8(back, zero), w[0], w[2]);
    }
    __m256i front = _mm256_packs_epi32(finish(a.high, a.low), finish(b.high, b.low));
    __m256i back = _mm256_packs_epi32(finish(c.high, c.low), finish(d.high, d.low));
    _mm256_storeu_si256((__m256i *)(to + at), _mm256_packus_epi16(front, back));
}

/* Rows shorter than a vector, from packed weights. */
static void down_short(uint8_t *to, const uint8_t *const *from, const int32_t *weights,
                       int taps, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        int32_t sum = 0;
        for (int t = 0; t < taps; t++) {
            int16_t pairs[8];
            memcpy(pairs, weights + t / 4 * 4, sizeof pairs);
            sum += (pairs[t % 4] * 256 + pairs[4 + t % 4]) * from[t][i];
        }
        to[i] = dn_resample_round(sum);
    }
}

static void down(uint8_t *to, const uint8_t *const *from, const int32_t *weights, int taps,
                 size_t bytes)
{
    size_t at = 0;

    if (bytes < 32) {
        down_short(to, from, weights, taps, bytes);
        return;
    }
    for (; at + 32 <= bytes; at += 32)
        down32(to, from, weights, taps, at);
    if (at < bytes) /* once more over the last 32: the same bytes again */
        down32(to, from, weights, taps, bytes - 32);
}

const struct resample_kernels dn_resample_avx2 = {.pack = pack, .across = across, .down = down};
