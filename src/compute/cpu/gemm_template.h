/* What surrounds the micro-kernel in one instruction set; included once a gemm_ISA.c. */
#include "compute/cpu/gemm_tile.h"

TILE_ANY(tile_f32, TILE_F32, 2)
TILE_ANY(tile_i8, TILE_I8, 2)
#if defined(__AVX512BF16__)
TILE_ANY(tile_bf16, TILE_BF16, 2)
#else
#define tile_bf16 NULL
#endif

static void convert(void *to, enum tile_kind kind, const void *x, int x_bf16, int count)
{
    int to_bf16 = kind == TILE_BF16;

    if (to_bf16 == x_bf16) {
        memcpy(to, x, (size_t)count * (to_bf16 ? 2 : 4));
        return;
    }
    for (int i = 0; i < count; i += VL) {
        int n = count - i;
        vf_store_as(to, to_bf16, i, vf_load_as(x, x_bf16, i, n), n);
    }
}

/* The byte of zero is chosen so that 0 is exact: padding and GELU's floor cost no accuracy. */
static void quantise(uint8_t *to, const void *x, int x_bf16, int count, float *scale,
                     int32_t *zero)
{
    vf low = vf_set1(0), high = vf_set1(0);
    for (int i = 0; i < count; i += VL) {
        vf v = vf_load_as(x, x_bf16, i, count - i);
        low = vf_min(low, v);
        high = vf_max(high, v);
    }
    float top = vf_top(high), bottom = -vf_top(vf_set1(0) - low);
    float step = (top - bottom) / 255.0F;
    if (!(step > 1e-30F))
        step = 1e-30F; /* a row of zeros */
    float inverse = 1.0F / step, shift = -bottom * inverse;
    *scale = step;
    *zero = shift >= 0 && shift < 256 ? (int32_t)(shift + 0.5F) : 0;
    for (int i = 0; i < count; i += VL) {
        vf v = vf_load_as(x, x_bf16, i, count - i);
        v = vf_round(v * vf_set1(inverse)) + vf_set1((float)*zero);
        v = vf_min(vf_set1(255.0F), vf_max(vf_set1(0.0F), v));
        vi_store_bytes(to + i, vi_from_f32(v), count - i);
    }
}

/* A row of a weight to signed bytes in [-127, 127], and their sum. */
static void quantise_weight(int8_t *to, const float *x, int count, float *scale, int32_t *sum)
{
    vf high = vf_set1(0);
    for (int i = 0; i < count; i += VL) {
        vf v = vf_load_as(x, 0, i, count - i);
        high = vf_max(high, vf_max(v, vf_set1(0) - v));
    }
    float step = vf_top(high) / 127.0F;
    if (!(step > 1e-30F))
        step = 1e-30F;
    vf total = vf_set1(0); /* whole numbers: exact up to 2^24 a lane */
    for (int i = 0; i < count; i += VL) {
        vf v = vf_round(vf_load_as(x, 0, i, count - i) * vf_set1(1.0F / step));
        v = vf_min(vf_set1(127.0F), vf_max(vf_set1(-127.0F), v));
        total = total + v;
        vi_store_bytes(to + i, vi_from_f32(v), count - i);
    }
    *scale = step;
    *sum = (int32_t)vf_sum(total);
}

/* One vector of results: columns [c, c + n) of row r. */
VEC_INLINE void finish_vector(const struct gemm_finish *f, const int full, int r, int c, int n)
{
    vf v = vf_load(f->sums + r * NR + c);

    if (f->kind == TILE_I8) {
        vi shift = vi_mul(vi_set1(f->x_zero[r]), vi_load(f->w_sum + c));
        v = vf_from_i32(vi_sub((vi)v, shift));
        v = v * (vf_set1(f->x_scale[r]) * vf_load(f->w_scale + c));
    }
    if (f->bias)
        v = v + vf_load(f->bias + c);
    if (f->gelu)
        v = vf_gelu(v);
    if (f->scale)
        v = v * (full ? vf_load(f->scale + c) : vf_load_n(f->scale + c, n));
    if (f->residual) {
        const float *from = f->residual + r * f->residual_stride + c;
        v = v + (full ? vf_load(from) : vf_load_n(from, n));
    }
    char *to = (char *)f->y + r * f->y_stride * (f->y_bf16 ? 2 : 4);
    vf_store_as(to, f->y_bf16, c, v, full ? VL : n);
}

static void finish(const struct gemm_finish *f)
{
    for (int r = 0; r < f->rows; r++)
        for (int c = 0; c < f->cols; c += VL) {
            if (f->cols - c >= VL)
                finish_vector(f, 1, r, c, VL);
            else
                finish_vector(f, 0, r, c, f->cols - c);
        }
}

#define GEMM_KERNELS(isa_)                                                            \
    {                                                                                 \
        .isa = (isa_), .mr = MR, .nr = NR, .tile = {tile_f32, tile_bf16, tile_i8},    \
        .convert = convert, .quantise = quantise, .quantise_weight = quantise_weight, \
        .finish = finish,                                                             \
    }
