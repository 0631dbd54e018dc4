/*
 * Attention as one streaming kernel: for a tile of queries at a time, blocks of scores are
 * made, exponentiated and multiplied with the values while they are in the first-level cache;
 * the largest score so far is carried along, so no more than a tile by a block ever exists.
 * Keys and values of a head are packed once for all its queries, in the order in which the
 * micro-kernel of gemm_tile.h reads them.
 */
#ifndef COMPUTE_CPU_CPU_ATTEND_H
#define COMPUTE_CPU_CPU_ATTEND_H

#include "compute/cpu/cpu_gemm.h"

/* One head of one sequence. q, k, v: f32 or bf16 [tokens, width], rows `stride` apart. */
struct attend_head {
    const void *q, *k, *v;
    ptrdiff_t stride;
    int bf16; /* of q, k, v and y */
    int tokens, width;
    float scale;
    void *keys, *values, *tile; /* scratch of attend_sizes */
};

struct attend_sizes {
    size_t keys, values, tile; /* bytes, multiples of DN_ALIGN */
};

/* The backward of one head of one sequence: what d_y [tokens, width] says of q, k and v. */
struct attend_back {
    struct attend_head head; /* keys, values and tile are not used */
    const void *y, *d_y;
    void *d_q, *d_k, *d_v;
    ptrdiff_t y_stride, d_y_stride, d_stride;
    void *scratch; /* of back_bytes, aligned to DN_ALIGN */
};

struct attend_kernels {
    enum dn_isa isa;
    struct attend_sizes (*sizes)(int tokens, int width, int bf16);
    void (*pack)(const struct attend_head *h); /* keys and values */
    /* y [rows, width], of h's dtype, for the queries [first, first + rows) */
    void (*rows)(const struct attend_head *h, int first, int rows, void *y, ptrdiff_t y_stride);
    /* y [rows, tokens] f32: the probabilities */
    void (*map)(const struct attend_head *h, int first, int rows, float *y, ptrdiff_t y_stride);
    void (*back)(const struct attend_back *b);
    size_t (*back_bytes)(int tokens, int width, int bf16);
};

/* One for each attend_ISA.c. */
extern const struct attend_kernels dn_attend_c, dn_attend_avx2, dn_attend_avx512,
    dn_attend_avx512bf16;

/* The best for an instruction set. */
const struct attend_kernels *dn_attend_choose(enum dn_isa isa);

#endif
