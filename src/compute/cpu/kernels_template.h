/*
 * The kernels of kernels.h in vectors of LANES floats, included once for each instruction set.
 * The including file defines LANES, FMA(a, b, c) = a * b + c (fused where there is such an
 * instruction; nothing here needs it to be), MIN(a, b) = a < b ? a : b and MAX(a, b) likewise
 * (so b where one of them is NaN), and then calls fill_table.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "compute/cpu/kernels.h"

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * LANES)));

static inline vf load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The first n < LANES numbers at p, zeros behind them. */
static inline vf load_part(const float *p, size_t n)
{
    vf v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

static inline void store_part(float *p, vf v, size_t n)
{
    memcpy(p, &v, n * sizeof *p);
}

static inline vf splat(float x)
{
    return x - (vf){0};
}

/* mask ? a : b, lane by lane; mask lanes are all ones or all zeros */
static inline vf pick(vu mask, vf a, vf b)
{
    return (vf)((mask & (vu)a) | (~mask & (vu)b));
}

static inline vf magnitude(vf x)
{
    return (vf)((vu)x & 0x7fffffffU);
}

static inline float lane_sum(vf v)
{
    typedef float quad __attribute__((vector_size(16)));
    quad quads[LANES / 4];

    memcpy(quads, &v, sizeof v);
    for (int i = 1; i < LANES / 4; i++)
        quads[0] += quads[i];
    return (quads[0][0] + quads[0][2]) + (quads[0][1] + quads[0][3]);
}

/*
 * exp(x + small) for x <= 0 and |small| < 0.1; below 2^-126 it is 0. x is split into
 * n ln 2 + r, |r| <= ln 2 / 2, with ln 2 in two parts so that the first product is exact;
 * exp(r) is Cephes' polynomial (expf.c), within a unit in the last place.
 */
static inline vf exp_negative(vf x, vf small)
{
    const float round = 0x1.8p23F; /* adding it leaves an integer in the lowest bits */
    x = MAX(splat(-88.03F), x);    /* n = -127, whose power below is 0; NaN stays */
    vf shifted = FMA(x, splat(1.44269504F), splat(round));
    vf n = shifted - round;
    vf r = FMA(n, splat(-0.693359375F), x);
    r = FMA(n, splat(2.12194440e-4F), r) + small;

    vf p = FMA(r, splat(1.9875691500e-4F), splat(1.3981999507e-3F));
    p = FMA(p, r, splat(8.3334519073e-3F));
    p = FMA(p, r, splat(4.1665795894e-2F));
    p = FMA(p, r, splat(1.6666665459e-1F));
    p = FMA(p, r, splat(5.0000001201e-1F));
    p = FMA(p, r * r, r) + 1.0F;

    vf power = (vf)(((vu)shifted - (0x4b400000U - 127U)) << 23); /* 2^n */
    return p * power;
}

/*
 * gelu(x) = x Phi(x) = max(x, 0) - a Phi(-a), a = |x|, which loses no digits on either side.
 * Phi(-a) = exp(-a^2 / 2) R(a); R is t times a polynomial in s = 1 - t, where
 * t = 1 / (1 + 3/8 a), fitted to 0.2 units in the last place on [0, 13.5]; s is made of a, so
 * that it is exact where R is steep. a^2 is taken in two exact parts, because
 * its rounding would be magnified by the exponential.
 */
static inline vf gelu_of(vf x)
{
    vf a = magnitude(x);
    a = MIN(splat(15), a); /* Phi(-15) is 0; NaN stays */
    vf t = 1.0F / FMA(a, splat(0.375F), splat(1));
    vf s = a * 0.375F * t;
    vf p = FMA(s, splat(-0.0216216865F), splat(0.0568018387F));
    p = FMA(p, s, splat(-0.0294483091F));
    p = FMA(p, s, splat(-0.0030432266F));
    p = FMA(p, s, splat(-0.0441072059F));
    p = FMA(p, s, splat(-0.0154552268F));
    p = FMA(p, s, splat(0.120243828F));
    p = FMA(p, s, splat(0.150066954F));
    p = FMA(p, s, splat(-0.563845329F));
    p = FMA(p, s, splat(0.499999995F));
    p *= t;

    vf high = (vf)((vu)a & 0xfffff000U); /* 12 bits: the square is exact */
    vf e = exp_negative(-0.5F * high * high, -0.5F * (a - high) * (a + high));
    return FMA(-a, p * e, MAX(x, splat(0)));
}

static void gelu(float *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store(y + i, gelu_of(load(x + i)));
    if (i < n)
        store_part(y + i, gelu_of(load_part(x + i, n - i)), n - i);
}

/* v / (1 + exp(-v)), with the exponential of -|v| on both sides so that it cannot overflow */
static inline vf silu_of(vf v)
{
    vf e = exp_negative(-magnitude(v), splat(0));

    return pick((vu)(v < 0.0F), v * e, v) / (1.0F + e);
}

static void swiglu(float *y, const float *gate, const float *value, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store(y + i, silu_of(load(gate + i)) * load(value + i));
    if (i < n)
        store_part(y + i, silu_of(load_part(gate + i, n - i)) * load_part(value + i, n - i),
                   n - i);
}

static void add_run(float *y, const float *x, const float *add, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store(y + i, load(x + i) + load(add + i));
    if (i < n)
        store_part(y + i, load_part(x + i, n - i) + load_part(add + i, n - i), n - i);
}

static void scale_add(float *y, const float *x, const float *scale, const float *add, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store(y + i, FMA(load(x + i), scale ? load(scale + i) : splat(1),
                         add ? load(add + i) : splat(0)));
    if (i < n)
        store_part(y + i,
                   FMA(load_part(x + i, n - i), scale ? load_part(scale + i, n - i) : splat(1),
                       add ? load_part(add + i, n - i) : splat(0)),
                   n - i);
}

/* The second pass also sums the deviations: what they do not add up to zero corrects the
 * mean and the variance for the rounding of the first. */
static void moments(const float *x, size_t n, float *mean, float *variance)
{
    vf sums[4] = {{0}}, squares[4] = {{0}};
    size_t i, whole = n / (4 * LANES) * (4 * LANES);

    for (i = 0; i < whole; i += 4 * LANES) {
#pragma GCC unroll 4 /* or the sums would live in memory */
        for (int j = 0; j < 4; j++)
            sums[j] += load(x + i + j * LANES);
    }
    float sum = lane_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; i < n; i++)
        sum += x[i];
    float middle = sum / (float)n;

    for (int j = 0; j < 4; j++)
        sums[j] = splat(0);
    for (i = 0; i < whole; i += 4 * LANES) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            vf d = load(x + i + j * LANES) - middle;
            sums[j] += d;
            squares[j] = FMA(d, d, squares[j]);
        }
    }
    float rest = lane_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    float square = lane_sum((squares[0] + squares[1]) + (squares[2] + squares[3]));
    for (; i < n; i++) {
        float d = x[i] - middle;
        rest += d;
        square += d * d;
    }
    rest /= (float)n;
    square = square / (float)n - rest * rest;
    *mean = middle + rest;
    *variance = square > 0 ? square : square != square ? square : 0; /* NaN stays */
}

static inline vf normal_of(vf x, float mean, float scale, vf weight, vf bias)
{
    return FMA((x - mean) * scale, weight, bias);
}

static void normalise(float *y, const float *x, float mean, float scale, const float *weight,
                      const float *bias, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store(y + i, normal_of(load(x + i), mean, scale, load(weight + i), load(bias + i)));
    if (i < n)
        store_part(y + i,
                   normal_of(load_part(x + i, n - i), mean, scale, load_part(weight + i, n - i),
                             load_part(bias + i, n - i)),
                   n - i);
}

enum { MEAN_BLOCK = 32 }; /* rows that are summed before they join the total */

/* width <= LANES columns */
static inline vf sum_column(const float *x, ptrdiff_t stride, int rows, size_t width)
{
    vf total = {0};

    for (int first = 0; first < rows; first += MEAN_BLOCK) {
        int last = first + MEAN_BLOCK < rows ? first + MEAN_BLOCK : rows;
        vf sum = {0};
        for (int r = first; r < last; r++)
            sum += width == LANES ? load(x + r * stride) : load_part(x + r * stride, width);
        total += sum;
    }
    return total;
}

static void mean_rows(float *y, const float *x, ptrdiff_t stride, int rows, int cols)
{
    int c = 0;

    for (; c + LANES <= cols; c += LANES)
        store(y + c, sum_column(x + c, stride, rows, LANES) / (float)rows);
    if (c < cols) {
        size_t width = (size_t)(cols - c);
        store_part(y + c, sum_column(x + c, stride, rows, width) / (float)rows, width);
    }
}

static inline vf from_bf16(const uint16_t *x)
{
    vh half;
    memcpy(&half, x, sizeof half);
    return (vf)(__builtin_convertvector(half, vu) << 16);
}

static void bf16_to_f32(float *y, const uint16_t *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        store(y + i, from_bf16(x + i));
    for (; i < n; i++) {
        uint32_t bits = (uint32_t)x[i] << 16;
        memcpy(y + i, &bits, sizeof bits);
    }
}

/* The processor's own instruction would flush subnormal numbers. */
static inline vh to_bf16(vf x)
{
    vu bits = (vu)x;
    vu rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
    vu nan = (vu)((bits & 0x7fffffffU) > 0x7f800000U);

    return __builtin_convertvector((nan & (bits >> 16 | 0x40U)) | (~nan & rounded), vh);
}

static void f32_to_bf16(uint16_t *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vh half = to_bf16(load(x + i));
        memcpy(y + i, &half, sizeof half);
    }
    if (i < n) {
        vh half = to_bf16(load_part(x + i, n - i));
        memcpy(y + i, &half, (n - i) * sizeof *y);
    }
}

/* Enough chains to hide the latency of two multiply-adds a cycle. */
static float peak_f32(size_t rounds, double *operations)
{
    enum { CHAINS = 12 };
    vf a[CHAINS], x = splat(0.999F), y = splat(0.5F), sum = {0};

    for (int i = 0; i < CHAINS; i++)
        a[i] = splat((float)i);
    for (size_t k = 0; k < rounds; k++) {
#pragma GCC unroll 12 /* or the chains would live in memory */
        for (int i = 0; i < CHAINS; i++)
            a[i] = FMA(a[i], x, y);
    }
    for (int i = 0; i < CHAINS; i++)
        sum += a[i];
    *operations = 2.0 * LANES * CHAINS * (double)rounds;
    return lane_sum(sum);
}

static void fill_table(struct kernels *table, enum dn_isa isa)
{
    table->isa = isa;
    table->moments = moments;
    table->normalise = normalise;
    table->gelu = gelu;
    table->swiglu = swiglu;
    table->add = add_run;
    table->scale_add = scale_add;
    table->mean_rows = mean_rows;
    table->bf16_to_f32 = bf16_to_f32;
    table->f32_to_bf16 = f32_to_bf16;
    table->peak_f32 = peak_f32;
}
