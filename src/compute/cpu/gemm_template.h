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

static void turn(uint32_t *to, const uint32_t *rows, size_t stride, int depth)
{
    for (int half = 0; half < NR; half += VL)
        for (int k = 0; k < depth; k += VL) {
            vf t[VL];
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                t[i] = vf_load(rows + (size_t)(half + i) * stride + k);
            vf_transpose(t);
            for (int i = 0; i < VL && k + i < depth; i++)
                vf_store(to + (size_t)(k + i) * NR + half, t[i]);
        }
}

static void expect(const void *at, ptrdiff_t stride, int rows, ptrdiff_t bytes)
{
    const char *row = at;

    for (int r = 0; r < rows; r++, row += stride)
        for (ptrdiff_t i = 0; i < bytes; i += 64)
            vec_expect(row + i);
}

enum gelu_kind { NO_GELU, EXACT_GELU, ROUGH_GELU };

/*
 * Rows are finished in groups, step by step of the formula: so many independent numbers are
 * under way at once that the processor need not wait for any one of them.
 */
#if defined(__AVX512F__)
enum { GROUP = 7 };
#else
enum { GROUP = 2 };
#endif
#define GROUP_LOOP _Pragma("GCC unroll 8") for (int i = 0; i < GROUP; i++)

#define HORNER(p, x, factor) GROUP_LOOP p[i] = vf_fma(p[i], x[i], vf_set1(factor))

/* v = max(v, 0) - t e 2^n, e from a polynomial in f: the ends of both GELUs. */
VEC_INLINE void gelu_end(vf v[GROUP], const vf t[GROUP], vf e[GROUP], const vf n[GROUP])
{
    GROUP_LOOP v[i] = vf_max(vf_set1(0), v[i]);
    GROUP_LOOP e[i] = t[i] * vf_scale2(e[i], n[i]);
    GROUP_LOOP v[i] = v[i] - e[i];
}

/*
 * 0.5 x (1 + erf(x / sqrt 2)) = max(x, 0) - t Q(t), t = |x|, where Q(t) = erfc(t / sqrt 2) / 2
 * = 2^p(t) and p is a minimax fit, exact at 0. Relative error 2e-7 near zero and for every
 * positive x; absolute 1e-8 in the negative tail. Beyond 8, Q is 6e-16. From x: t and p.
 */
VEC_INLINE void tail_exact(const vf x[GROUP], vf t[GROUP], vf p[GROUP])
{
    GROUP_LOOP t[i] = vf_min(vf_set1(8.0F), vf_abs(x[i]));
    GROUP_LOOP p[i] = vf_set1(-1.67961442e-8F);
    HORNER(p, t, 5.6472535e-7F);
    HORNER(p, t, -7.96093837e-6F);
    HORNER(p, t, 5.96764334e-5F);
    HORNER(p, t, -0.000223856381F);
    HORNER(p, t, -0.000112858246F);
    HORNER(p, t, 0.0070824467F);
    HORNER(p, t, -0.0525315104F);
    HORNER(p, t, -0.459192028F);
    HORNER(p, t, -1.15110729F);
    HORNER(p, t, -1.0F);
}

/* The same for results that are rounded to bf16 next: Q within 1.1e-4, and 0 beyond 5.5. */
VEC_INLINE void tail_rough(const vf x[GROUP], vf t[GROUP], vf p[GROUP])
{
    GROUP_LOOP t[i] = vf_min(vf_set1(5.5F), vf_abs(x[i]));
    GROUP_LOOP p[i] = vf_set1(-0.000397098238F);
    HORNER(p, t, 0.00656198247F);
    HORNER(p, t, -0.0506355703F);
    HORNER(p, t, -0.46098251F);
    HORNER(p, t, -1.15061476F);
    HORNER(p, t, -1.0F);
}

VEC_INLINE void gelu_exact(vf v[GROUP])
{
    vf t[GROUP], p[GROUP], n[GROUP], e[GROUP];

    tail_exact(v, t, p);
    GROUP_LOOP n[i] = vf_round(p[i]);
    GROUP_LOOP p[i] = p[i] - n[i];
    GROUP_LOOP e[i] = vf_set1(0.00015353362F); /* as vf_exp2 */
    HORNER(e, p, 0.00133988744F);
    HORNER(e, p, 0.00961843736F);
    HORNER(e, p, 0.0555033247F);
    HORNER(e, p, 0.240226479F);
    HORNER(e, p, 0.693147203F);
    HORNER(e, p, 1.0F);
    gelu_end(v, t, e, n);
}

VEC_INLINE void gelu_rough(vf v[GROUP])
{
    vf t[GROUP], p[GROUP], n[GROUP], e[GROUP];

    tail_rough(v, t, p);
    GROUP_LOOP n[i] = vf_round(p[i]);
    GROUP_LOOP p[i] = p[i] - n[i];
    GROUP_LOOP e[i] = vf_set1(0.055171668F); /* as vf_exp2_rough */
    HORNER(e, p, 0.242611122F);
    HORNER(e, p, 0.693260986F);
    HORNER(e, p, 0.999928074F);
    gelu_end(v, t, e, n);
}

/* The sums of a vector from column c on (of a bias, n numbers) of some rows as numbers. */
VEC_INLINE void finish_sums(const struct gemm_finish *f, const int int8, const int rows[GROUP],
                            int c, int n, vf v[GROUP])
{
    vf bias = f->bias ? vf_load_as(f->bias, 0, c, n) : vf_set1(0);

    GROUP_LOOP v[i] = vf_load(f->sums + rows[i] * NR + c);
    if (int8) {
        vf w_scale = vf_load(f->w_scale + c);
        vi w_sum = vi_load(f->w_sum + c);
        GROUP_LOOP v[i] =
            vf_from_i32(vi_sub((vi)v[i], vi_mul(vi_set1(f->x_zero[rows[i]]), w_sum)));
        GROUP_LOOP v[i] = vf_fma(v[i], vf_set1(f->x_scale[rows[i]]) * w_scale, bias);
    } else {
        GROUP_LOOP v[i] = v[i] + bias;
    }
}

/* Columns [c, c + n) of all rows; int8, gelu and full (n == VL) are constants. */
VEC_INLINE void finish_columns(const struct gemm_finish *f, const int int8,
                               const enum gelu_kind gelu, const int full, int c, int n)
{
    vf scale = vf_set1(1);
    ptrdiff_t y_stride = f->y_stride * (f->y_bf16 ? 2 : 4);

    if (f->scale)
        scale = full ? vf_load(f->scale + c) : vf_load_n(f->scale + c, n);
    for (int first = 0; first < f->rows; first += GROUP) {
        vf v[GROUP];
        int rows[GROUP]; /* behind the last row, the last again: the same result twice */
        GROUP_LOOP rows[i] = first + i < f->rows ? first + i : f->rows - 1;
        finish_sums(f, int8, rows, c, full ? VL : n, v);
        if (gelu == EXACT_GELU)
            gelu_exact(v);
        if (gelu == ROUGH_GELU)
            gelu_rough(v);
        if (f->scale)
            GROUP_LOOP v[i] = v[i] * scale;
        if (f->residual) {
            GROUP_LOOP
            {
                const float *from = f->residual + rows[i] * f->residual_stride + c;
                v[i] = v[i] + (full ? vf_load(from) : vf_load_n(from, n));
            }
        }
        GROUP_LOOP vf_store_as((char *)f->y + rows[i] * y_stride, f->y_bf16, c, v[i],
                               full ? VL : n);
    }
}

VEC_INLINE void finish_tile(const struct gemm_finish *f, const int int8,
                            const enum gelu_kind gelu)
{
    for (int c = 0; c < f->cols; c += VL) {
        if (f->cols - c >= VL)
            finish_columns(f, int8, gelu, 1, c, VL);
        else
            finish_columns(f, int8, gelu, 0, c, f->cols - c);
    }
}

/*
 * silu(gate) * value, gate / (1 + 2^(-gate log2 e)) * value: the tile's two vectors make one.
 * Within +-126 powers of 2 are normal numbers; beyond, silu is 0 or the gate itself.
 */
VEC_INLINE void finish_gated(const struct gemm_finish *f, const int int8, const int rough)
{
    ptrdiff_t y_stride = f->y_stride * (f->y_bf16 ? 2 : 4);

    for (int first = 0; first < f->rows; first += GROUP) {
        vf gate[GROUP], value[GROUP], e[GROUP];
        int rows[GROUP];
        GROUP_LOOP rows[i] = first + i < f->rows ? first + i : f->rows - 1;
        finish_sums(f, int8, rows, 0, VL, gate);
        finish_sums(f, int8, rows, VL, VL, value);
        GROUP_LOOP e[i] = gate[i] * vf_set1(-1.44269504F);
        GROUP_LOOP e[i] = vf_min(vf_set1(126.0F), vf_max(vf_set1(-126.0F), e[i]));
        GROUP_LOOP e[i] = rough ? vf_exp2_rough(e[i]) : vf_exp2(e[i]);
        GROUP_LOOP gate[i] = gate[i] * value[i] / (vf_set1(1) + e[i]);
        GROUP_LOOP vf_store_as((char *)f->y + rows[i] * y_stride, f->y_bf16, 0, gate[i],
                               f->cols);
    }
}

static void finish_gates(const struct gemm_finish *f)
{
    switch (2 * f->y_bf16 + (f->kind == TILE_I8)) {
    case 0:
        finish_gated(f, 0, 0);
        break;
    case 1:
        finish_gated(f, 1, 0);
        break;
    case 2:
        finish_gated(f, 0, 1);
        break;
    default:
        finish_gated(f, 1, 1);
        break;
    }
}

static void finish(const struct gemm_finish *f)
{
    enum gelu_kind gelu = !f->gelu ? NO_GELU : f->y_bf16 ? ROUGH_GELU : EXACT_GELU;

    if (f->gated) {
        finish_gates(f);
        return;
    }
    switch (2 * gelu + (f->kind == TILE_I8)) {
    case 2 * NO_GELU:
        finish_tile(f, 0, NO_GELU);
        break;
    case 2 * NO_GELU + 1:
        finish_tile(f, 1, NO_GELU);
        break;
    case 2 * EXACT_GELU:
        finish_tile(f, 0, EXACT_GELU);
        break;
    case 2 * EXACT_GELU + 1:
        finish_tile(f, 1, EXACT_GELU);
        break;
    case 2 * ROUGH_GELU:
        finish_tile(f, 0, ROUGH_GELU);
        break;
    default:
        finish_tile(f, 1, ROUGH_GELU);
        break;
    }
}

/* ---- what training adds ---- */

/*
 * From hidden numbers h to gelu(h) and gelu'(h). With t = |h| and Q as above: gelu = max(h, 0)
 * - t Q, and gelu' = 1/2 + sign(h) (1/2 - d), d = Q - t phi(t), phi the normal density.
 */
VEC_INLINE void gelu_and_slope(vf h[GROUP], vf slope[GROUP], const int rough)
{
    vf t[GROUP], p[GROUP], q[GROUP];

    if (rough) {
        tail_rough(h, t, p);
        GROUP_LOOP q[i] = vf_exp2_rough(p[i]);
        GROUP_LOOP p[i] = vf_exp2_rough(t[i] * t[i] * vf_set1(-0.72134752F));
    } else {
        tail_exact(h, t, p);
        GROUP_LOOP q[i] = vf_exp2(p[i]);
        GROUP_LOOP p[i] = vf_exp2(t[i] * t[i] * vf_set1(-0.72134752F));
    }
    GROUP_LOOP p[i] = q[i] - t[i] * (p[i] * vf_set1(0.398942280F));
    GROUP_LOOP slope[i] = vf_set1(0.5F) + vf_turn_sign(vf_set1(0.5F) - p[i], h[i]);
    GROUP_LOOP h[i] = vf_max(vf_set1(0), h[i]) - t[i] * q[i];
}

/* Columns [c, c + n) of all rows; bf16 and back (there is hidden) are constants. */
VEC_INLINE void active_columns(const struct gemm_finish *f, const int bf16, const int back,
                               int c, int n)
{
    vf bias = f->bias ? vf_load_as(f->bias, 0, c, n) : vf_set1(0);
    ptrdiff_t size = bf16 ? 2 : 4;

    for (int first = 0; first < f->rows; first += GROUP) {
        vf v[GROUP], h[GROUP], slope[GROUP];
        int rows[GROUP]; /* behind the last row, the last again: the same result twice */
        GROUP_LOOP rows[i] = first + i < f->rows ? first + i : f->rows - 1;
        GROUP_LOOP v[i] = vf_load(f->sums + rows[i] * NR + c) + bias;
        if (back) {
            GROUP_LOOP
            {
                const char *row = (const char *)f->hidden + rows[i] * f->hidden_stride * size;
                h[i] = vf_load_as(row, bf16, c, n);
            }
        } else {
            GROUP_LOOP h[i] = bf16 ? vf_round_bf16(v[i]) : v[i];
        }
        if (back) {
            gelu_and_slope(h, slope, bf16);
            GROUP_LOOP v[i] = v[i] * slope[i];
        } else if (bf16) {
            gelu_rough(h);
        } else {
            gelu_exact(h);
        }
        GROUP_LOOP vf_store_as((char *)f->y + rows[i] * f->y_stride * size, bf16, c, v[i], n);
        if (f->active)
            GROUP_LOOP vf_store_as((char *)f->active + rows[i] * f->active_stride * size, bf16,
                                   c, h[i], n);
    }
}

VEC_INLINE void active_tile(const struct gemm_finish *f, const int bf16, const int back)
{
    for (int c = 0; c < f->cols; c += VL) {
        if (f->cols - c >= VL)
            active_columns(f, bf16, back, c, VL);
        else
            active_columns(f, bf16, back, c, f->cols - c);
    }
}

static void finish_active(const struct gemm_finish *f)
{
    if (f->hidden && f->y_bf16)
        active_tile(f, 1, 1);
    else if (f->hidden)
        active_tile(f, 0, 1);
    else if (f->y_bf16)
        active_tile(f, 1, 0);
    else
        active_tile(f, 0, 0);
}

/* kind and x_bf16 are constants. */
VEC_INLINE void across_rows(float *to, ptrdiff_t step, const enum tile_kind kind, const void *x,
                            const int x_bf16, ptrdiff_t stride, int rows, int count,
                            float *sums)
{
    int per = kind == TILE_BF16 ? 2 : 1;
    ptrdiff_t bytes = stride * (x_bf16 ? 2 : 4);
    vf even = vf_set1(0), odd = vf_set1(0);
    const char *row = x;

    for (int r = 0; r < rows; r += per, row += per * bytes, to += step) {
        vf low = vf_load_as(row, x_bf16, 0, count), high = vf_set1(0);
        if (per == 2 && r + 1 < rows)
            high = vf_load_as(row + bytes, x_bf16, 0, count);
        if (per == 2 && !x_bf16) {
            vf_store(to, vf_pair_bf16(vf_round_bf16(low), vf_round_bf16(high)));
        } else if (per == 2) {
            vf_store(to, vf_pair_bf16(low, high));
        } else {
            vf_store(to, low);
        }
        even = even + low;
        odd = odd + high;
    }
    if (sums)
        vf_store_n(sums, even + odd, count);
}

static void across(float *to, ptrdiff_t step, enum tile_kind kind, const void *x, int x_bf16,
                   ptrdiff_t stride, int rows, int count, float *sums)
{
    if (kind == TILE_BF16 && x_bf16)
        across_rows(to, step, TILE_BF16, x, 1, stride, rows, count, sums);
    else if (kind == TILE_BF16)
        across_rows(to, step, TILE_BF16, x, 0, stride, rows, count, sums);
    else if (x_bf16)
        across_rows(to, step, TILE_F32, x, 1, stride, rows, count, sums);
    else
        across_rows(to, step, TILE_F32, x, 0, stride, rows, count, sums);
}

#define GEMM_KERNELS(isa_)                                                                \
    {                                                                                     \
        .isa = (isa_), .mr = MR, .nr = NR, .tile = {tile_f32, tile_bf16, tile_i8},        \
        .convert = convert, .quantise = quantise, .quantise_weight = quantise_weight,     \
        .turn = turn, .finish = finish, .finish_active = finish_active, .across = across, \
        .expect = expect,                                                                 \
    }
