/*
 * Our own matrix products: y [m, n] = residual + scale * act(x [m, k] . w^T + bias) with the
 * weight packed once, in the order in which the micro-kernel reads it, and everything after
 * the sum done while the result is in the first-level cache. In f32, bf16 (sums in f32) or
 * int8 (weights per output channel, activations per row as they come, sums exact).
 *
 * gemm_tile.h has the micro-kernel, gemm_template.h what surrounds it in each instruction set
 * (gemm_c.c, gemm_avx2.c, ...), cpu_gemm_pack.c the packing of weights, cpu_gemm.c the order
 * of the work, and the choice; cpu_product.c products with plain matrices.
 */
#ifndef COMPUTE_CPU_CPU_GEMM_H
#define COMPUTE_CPU_CPU_GEMM_H

#include "base/cpu_features.h"
#include "compute/device.h"

/* What a dword of the packed operands holds: one float, two bf16, four bytes. */
enum tile_kind { TILE_F32 = 0, TILE_BF16, TILE_I8, TILE_KINDS };

/* Dwords of k taken at a time, and from row to row of a packed x: an odd number of cache
 * lines, so that the rows of a tile fall into different sets. */
enum { TILE_K = 512, TILE_STRIDE = TILE_K + 16 };

/* How many blocks of `size` make up `count`. */
static inline int dn_blocks_of(int count, int size)
{
    return count / size + (count % size != 0);
}

/* What a dword of each kind holds. */
extern const int dn_gemm_per_dword[TILE_KINDS];

/* A packed weight [outputs, depth dwords]. */
struct gemm_weight {
    struct weight base;
    enum tile_kind kind;
    int depth;    /* dwords of k */
    int panels;   /* of nr outputs */
    bool gated;   /* a panel has nr / 2 outputs of the first half, then theirs of the second */
    void *values; /* [panels][depth][nr] dwords */
    size_t value_bytes;
    /* [panels * nr] each, in one block; bias may be NULL, scale and sum are int8's */
    float *bias, *scale;
    int32_t *sum;
    void *per_output;
};

/* What follows the sums of one tile. */
struct gemm_finish {
    enum tile_kind kind;
    int rows, cols;    /* of this tile; cols <= nr, or nr / 2 where gated */
    const float *sums; /* [rows, nr] */
    const float *bias; /* [nr] or NULL */
    int gelu, gated;
    const float *scale;    /* [cols] or NULL */
    const float *residual; /* [rows, cols], or NULL */
    ptrdiff_t residual_stride;
    void *y;
    ptrdiff_t y_stride;
    int y_bf16;
    /* Training's ends, of the dtype of y; active or hidden NULL: none. active = gelu(h), where
     * h is y or, if given, hidden, and then y is the sums times gelu'(hidden). */
    void *active;
    const void *hidden;
    ptrdiff_t active_stride, hidden_stride;
    /* int8: x = (byte - x_zero) * x_scale a row, w = byte * w_scale a column; w_sum are the
     * sums of w's bytes. */
    const float *x_scale, *w_scale;
    const int32_t *x_zero, *w_sum;
};

/* c [rows, nr], its rows ldc apart, becomes (or, with add, grows by) a [rows, k dwords] . b
 * [k, nr]: floats, or int32 for bytes. Meanwhile memory that is needed next is asked for, from
 * `soon` on, `pace` bytes a dword. */
struct tile_work {
    int k, add;
    const void *a;
    ptrdiff_t a_stride, a_step; /* bytes from row to row, and from dword to dword */
    const void *b;
    float *c;
    ptrdiff_t ldc;
    const void *soon;
    ptrdiff_t pace;
    /* Of a whole tile without a GELU: the results instead of c. */
    const struct gemm_finish *finish;
};

struct gemm_kernels {
    enum dn_isa isa;
    int mr, nr; /* rows and columns of a tile at most */
    /* NULL where the instruction set has no such product. */
    void (*tile[TILE_KINDS])(int rows, const struct tile_work *w);
    /* count numbers of a row of x, f32 or bf16, to f32 or bf16 for the micro-kernel. */
    void (*convert)(void *to, enum tile_kind kind, const void *x, int x_bf16, int count);
    /* A row to unsigned bytes: x ~ (byte - zero) * scale. */
    void (*quantise)(uint8_t *to, const void *x, int x_bf16, int count, float *scale,
                     int32_t *zero);
    /* A row of a weight to signed bytes, w ~ byte * scale, and the sum of the bytes. */
    void (*quantise_weight)(int8_t *to, const float *w, int count, float *scale, int32_t *sum);
    /* Dwords rows [nr], each `depth` (of which a whole vector may be read), to [depth][nr]. */
    void (*turn)(uint32_t *to, const uint32_t *rows, size_t stride, int depth);
    void (*finish)(const struct gemm_finish *f);
    /* The same for what has active or hidden, without scale and residual. */
    void (*finish_active)(const struct gemm_finish *f);
    /* Columns [0, count) of `rows` rows of x, turned: dword i of column c at to[i * step + c],
     * and zeros up to half a panel; unless NULL, sums [nr / 2] get the sums over rows. */
    void (*across)(float *to, ptrdiff_t step, enum tile_kind kind, const void *x, int x_bf16,
                   ptrdiff_t stride, int rows, int count, float *sums);
    /* Ask for `bytes` of each of some rows, in order to write there. */
    void (*expect)(const void *at, ptrdiff_t stride, int rows, ptrdiff_t bytes);
};

/* One for each gemm_ISA.c. */
extern const struct gemm_kernels dn_gemm_c, dn_gemm_avx2, dn_gemm_avx512, dn_gemm_avx512bf16;

/* The best for an instruction set. */
const struct gemm_kernels *dn_gemm_choose(enum dn_isa isa);

/* What a device uses: NULL where oneDNN's products are as good (see docs/performance.md). */
const struct gemm_kernels *dn_gemm_select(enum dn_isa isa, enum dino_dtype dtype);

/* "ours avx2", for `dino doctor`. */
const char *dn_gemm_name(const struct gemm_kernels *kernels);

/* Packed for arithmetic in `dtype`; an int8 source only for int8. Without bf16 instructions a
 * bf16 weight is rounded to bf16 and multiplied in f32. */
struct weight *dn_gemm_pack(const struct gemm_kernels *kernels, enum dino_dtype dtype,
                            const struct weight_source *from, int threads,
                            struct dino_error *err);
void dn_gemm_weight_free(struct weight *w);

/* op->w from dn_gemm_pack of the same kernels. Uses the queue's scratch and threads. */
void dn_gemm_linear(struct queue *q, const struct gemm_kernels *kernels,
                    const struct op_linear *op);

#endif
