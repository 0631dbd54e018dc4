/*
 * The arguments of every kernel, shared by the host (C) and the kernels (CUDA). A launch is
 * compared with earlier ones byte by byte, so structs have no holes: pointers and 64-bit
 * numbers first, then an even number of 32-bit ones.
 */
#ifndef COMPUTE_CUDA_KERNELS_H
#define COMPUTE_CUDA_KERNELS_H

#include <stdint.h>

#include "dino.h"

/* A matrix in device memory. quads: cols, stride and address allow four numbers at a time. */
struct cuda_mat {
    void *data;
    int64_t stride;
    int32_t rows, cols;
    int32_t dtype; /* enum dino_dtype */
    int32_t quads;
};

/* cuda_rows.cu */
struct cuda_layernorm {
    struct cuda_mat y, x;
    const float *weight, *bias;
    const int32_t *rows; /* row i of y is of row rows[i] of x; or NULL */
    float eps;
    int32_t quads; /* all of the above */
};

struct cuda_put_rows {
    struct cuda_mat y, x, add; /* add without data: nothing */
    const int32_t *to, *from;  /* or NULL */
};

struct cuda_mean_rows {
    struct cuda_mat y, x;
    const int32_t *starts;
    int32_t skip, unused;
};

struct cuda_picture {
    const float *planes; /* or */
    const uint8_t *pixels;
    int32_t first; /* its rows begin there */
    int32_t height, width, unused;
    float mean[3], std[3];
};

struct cuda_patchify {
    struct cuda_mat y;
    const struct cuda_picture *pictures; /* [count] */
    int32_t count, patch;
};

struct cuda_place_tokens {
    struct cuda_mat y, x;
    const float *cls, *registers;
    const float *const *positions; /* [count] */
    const int32_t *starts;         /* [count + 1] */
    int32_t count, register_count;
};

/* cuda_points.cu */
struct cuda_points {
    struct cuda_mat y, x;
};

/* y = residual + scale * act(x): what follows a product. */
struct cuda_finish {
    struct cuda_mat y, x, residual; /* residual: as y, one row, or no data */
    const float *scale;             /* or NULL */
    int32_t gelu, quads;
};

/* cuda_product.cu: y [m, n] = x [m, k] . w^T + bias + residual, w [n, k]; any layout */
struct cuda_product {
    void *y;
    const void *x, *w, *residual; /* residual: f32, or NULL */
    const float *bias;            /* or NULL */
    int64_t y_stride, residual_stride;
    int64_t x_row, x_col, w_row, w_col; /* steps from row to row and column to column */
    int32_t m, n, k;
    int32_t y_dtype, x_dtype, w_dtype;
};

/* cuda_attend.cu, cuda_attend_mma.cu: a block is one head of some queries of one sequence */
struct cuda_attend_block {
    int32_t first, tokens; /* rows of the sequence */
    int32_t query;         /* first query within it */
};

struct cuda_attend {
    void *y;
    const void *qkv;
    int64_t y_stride, qkv_stride;
    const struct cuda_attend_block *blocks; /* [grid x] */
    int32_t heads, width, dtype;
    float scale;
};

struct cuda_attention_map {
    float *y;
    const void *qkv;
    int64_t y_stride, qkv_stride;
    int32_t tokens, heads, width, dtype;
    float scale;
    int32_t unused;
};

#endif
