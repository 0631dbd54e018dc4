/*
 * The one micro-kernel: c [rows, NR] += a [rows, k] . b [k, NR], all sums in registers. An
 * element of k is a dword: one float, two bf16 or four bytes, and `kind` says how two dwords
 * are multiplied into a lane. Included by the kernel files (gemm_template.h for linear layers,
 * attend_template.h for attention).
 *
 * Rows of a are a_stride bytes apart and their dwords a_step, so that a may also be stored
 * across, [k, rows].
 */
#ifndef COMPUTE_CPU_GEMM_TILE_H
#define COMPUTE_CPU_GEMM_TILE_H

#include "compute/cpu/cpu_gemm.h"
#include "compute/cpu/gemm_vec.h"

#if defined(__AVX512F__)
enum { MR = 14 }; /* 14 x 2 sums, two of b, one of a: 31 of 32 registers */
#elif defined(__AVX2__)
enum { MR = 6 };
#else
enum { MR = 4 };
#endif
enum { NR = 2 * VL };

#if defined(__AVX512BF16__)
VEC_INLINE vf tile_dot_bf16(vf sum, vf a, vf b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
#endif

/* Four unsigned bytes of a by four signed bytes of b, exact. */
#if defined(__AVX512VNNI__)
VEC_INLINE vf tile_dot_i8(vf sum, vf a, vf b)
{
    /* The intrinsic's integer type makes gcc 12 copy, and then spill, every sum. */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}
#elif defined(__AVX512F__)
VEC_INLINE vf tile_dot_i8(vf sum, vf a, vf b)
{
    vi low = vi_set1(0x00ff00ff);
    vi even = _mm512_madd_epi16((vi)a & low, _mm512_srai_epi16(_mm512_slli_epi16((vi)b, 8), 8));
    vi odd = _mm512_madd_epi16(_mm512_srli_epi16((vi)a, 8), _mm512_srai_epi16((vi)b, 8));
    return (vf)_mm512_add_epi32((vi)sum, _mm512_add_epi32(even, odd));
}
#elif defined(__AVX2__)
VEC_INLINE vf tile_dot_i8(vf sum, vf a, vf b)
{
    vi low = vi_set1(0x00ff00ff);
    vi even = _mm256_madd_epi16(_mm256_and_si256((vi)a, low),
                                _mm256_srai_epi16(_mm256_slli_epi16((vi)b, 8), 8));
    vi odd = _mm256_madd_epi16(_mm256_srli_epi16((vi)a, 8), _mm256_srai_epi16((vi)b, 8));
    return (vf)_mm256_add_epi32((vi)sum, _mm256_add_epi32(even, odd));
}
#else
VEC_INLINE vf tile_dot_i8(vf sum, vf a, vf b)
{
    vi x = (vi)a, y = (vi)b, s = (vi)sum;
    s += (x & 255) * (y << 24 >> 24);
    s += (x >> 8 & 255) * (y << 16 >> 24);
    s += (x >> 16 & 255) * (y << 8 >> 24);
    s += (x >> 24 & 255) * (y >> 24);
    return (vf)s;
}
#endif

VEC_INLINE vf tile_dot(const enum tile_kind kind, vf sum, vf a, vf b)
{
    if (kind == TILE_I8)
        return tile_dot_i8(sum, a, b);
#if defined(__AVX512BF16__)
    if (kind == TILE_BF16)
        return tile_dot_bf16(sum, a, b);
#endif
    return vf_fma(a, b, sum);
}

VEC_INLINE vf tile_add(const enum tile_kind kind, vf a, vf b)
{
    if (kind == TILE_I8)
        return (vf)vi_add((vi)a, (vi)b);
    return a + b;
}

/* Columns of row r of a whole tile, straight from the sums: all of gemm_finish but the GELU. */
VEC_INLINE void tile_end(const enum tile_kind kind, const struct gemm_finish *f, int r, vf v0,
                         vf v1)
{
    if (kind == TILE_I8) {
        vi zero = vi_set1(f->x_zero[r]);
        vf scale = vf_set1(f->x_scale[r]);
        v0 = vf_from_i32(vi_sub((vi)v0, vi_mul(zero, vi_load(f->w_sum))));
        v1 = vf_from_i32(vi_sub((vi)v1, vi_mul(zero, vi_load(f->w_sum + VL))));
        v0 = v0 * (scale * vf_load(f->w_scale));
        v1 = v1 * (scale * vf_load(f->w_scale + VL));
    }
    if (f->bias) {
        v0 = v0 + vf_load(f->bias);
        v1 = v1 + vf_load(f->bias + VL);
    }
    if (f->scale) {
        v0 = v0 * vf_load(f->scale);
        v1 = v1 * vf_load(f->scale + VL);
    }
    if (f->residual) {
        const float *from = f->residual + r * f->residual_stride;
        v0 = v0 + vf_load(from);
        v1 = v1 + vf_load(from + VL);
    }
    if (f->y_bf16) {
        vf_store_bf16_pair((uint16_t *)f->y + r * f->y_stride, v0, v1);
    } else {
        float *to = (float *)f->y + r * f->y_stride;
        vf_store(to, v0);
        vf_store(to + VL, v1);
    }
}

/* Named variables, not arrays: these stay in registers under every compiler and -O2. Five
 * pointers and two multiples of the stride reach all rows: row r is 0 to 2 strides from the
 * pointer that its name has. */
#define TILE_ROWS_0(X) X(0, 0, 0) X(1, 0, 1) X(2, 0, 2) X(3, 3, 0) X(4, 3, 1)
#define TILE_ROWS_5(X) X(5, 3, 2) X(6, 6, 0) X(7, 6, 1) X(8, 6, 2) X(9, 9, 0)
#define TILE_ROWS_10(X) X(10, 9, 1) X(11, 9, 2) X(12, 12, 0) X(13, 12, 1)
#define TILE_ROWS(X) TILE_ROWS_0(X) TILE_ROWS_5(X) TILE_ROWS_10(X)

/* kind, nv (1 or 2) and mr are constants at every call. */
VEC_INLINE void tile(const enum tile_kind kind, const int nv, const int mr,
                     const struct tile_work *w)
{
    const ptrdiff_t stride = w->a_stride, step = w->a_step, pace = w->pace;
    const char *a0 = w->a, *a3 = a0 + 3 * stride, *a6 = a3 + 3 * stride;
    const char *a9 = a6 + 3 * stride, *a12 = a9 + 3 * stride;
    const float *b = w->b;
    const char *soon = w->soon;
#define ZERO(r, from, times) vf c##r##0 = vf_set1(0), c##r##1 = vf_set1(0);
    TILE_ROWS(ZERO)
#undef ZERO
    for (int k = w->k; k > 0; k--) {
        vf b0 = vf_load(b), b1 = nv > 1 ? vf_load(b + VL) : b0;
        __builtin_prefetch(soon, 0, 2);
#define STEP(r, from, times)                          \
    if (mr > r) {                                     \
        vf x = vf_spread(a##from + times * stride);   \
        c##r##0 = tile_dot(kind, c##r##0, x, b0);     \
        if (nv > 1)                                   \
            c##r##1 = tile_dot(kind, c##r##1, x, b1); \
    }
        TILE_ROWS(STEP)
#undef STEP
        a0 += step, a3 += step, a6 += step, a9 += step, a12 += step;
        b += nv * VL;
        soon += pace;
    }
#define GROW(r, from, times)                                      \
    if (mr > r) {                                                 \
        const float *sum = w->c + r * w->ldc;                     \
        c##r##0 = tile_add(kind, c##r##0, vf_load(sum));          \
        if (nv > 1)                                               \
            c##r##1 = tile_add(kind, c##r##1, vf_load(sum + VL)); \
    }
    if (w->add) {
        TILE_ROWS(GROW)
    }
#undef GROW
#define END(r, from, times) \
    if (mr > r)             \
        tile_end(kind, w->finish, r, c##r##0, c##r##1);
    if (nv > 1 && w->finish) {
        TILE_ROWS(END)
        return;
    }
#undef END
#define KEEP(r, from, times)            \
    if (mr > r) {                       \
        float *to = w->c + r * w->ldc;  \
        vf_store(to, c##r##0);          \
        if (nv > 1)                     \
            vf_store(to + VL, c##r##1); \
    }
    TILE_ROWS(KEEP)
#undef KEEP
}

/* A function of this name for any mr: the constants that a switch makes of it. */
#define TILE_CASE(r, from, times)     \
    case r + 1:                       \
        if (r < MR)                   \
            tile(kind, nv, r + 1, w); \
        break;
#define TILE_ANY(name, kind_, nv_)                                                \
    static __attribute__((noinline)) void name(int mr, const struct tile_work *w) \
    {                                                                             \
        const enum tile_kind kind = kind_;                                        \
        const int nv = nv_;                                                       \
        switch (mr) {                                                             \
            TILE_ROWS(TILE_CASE)                                                  \
        }                                                                         \
    }

#endif
