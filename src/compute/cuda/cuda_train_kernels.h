/* The arguments of training's kernels, under the rules of cuda_kernels.h. */
#ifndef COMPUTE_CUDA_TRAIN_KERNELS_H
#define COMPUTE_CUDA_TRAIN_KERNELS_H

#include "compute/cuda/cuda_kernels.h"

/* How the kernels of cuda_columns.cu cut a matrix: a block owns this many columns of this many
 * rows, and leaves one sum a column in parts [chunks, cols]. */
enum { COLUMN_TILE = 32, COLUMN_ROWS = 128 };

struct cuda_sum_columns {
    struct cuda_mat x, times; /* times without data: ones */
    float *parts;
};

/* y = alpha * the sum of parts, or y += */
struct cuda_join_columns {
    float *y;
    const float *parts;
    int32_t cols, chunks;
    float alpha;
    int32_t accumulate;
};

/* What a row of x and d_y says about d_x: with n = (x - mean - shift) over and g = d_y weight,
 * the means of g and of g n. */
struct cuda_norm_row {
    float mean, shift, over, g, g_normal;
};

struct cuda_layernorm_back {
    struct cuda_mat d_x, d_y, x;
    const float *weight;
    const int32_t *rows; /* or NULL */
    struct cuda_norm_row *stats;
    float *weight_parts, *bias_parts; /* or NULL */
    float eps;
    int32_t accumulate;
};

struct cuda_residual_back {
    struct cuda_mat d_branch, d_y, branch;
    const float *gamma;  /* or NULL */
    const int32_t *rows; /* or NULL */
    float *parts;        /* or NULL */
    float alpha;
    int32_t unused;
};

/* y[r] += alpha * the sum of x[order[i]], starts[r] <= i < starts[r + 1] */
struct cuda_add_rows {
    struct cuda_mat y, x;
    const int32_t *starts, *order;
    float alpha;
    int32_t unused;
};

/* cuda_train_rows.cu */
struct cuda_l2norm {
    struct cuda_mat y, x, gain; /* gain without data: ones */
    float eps;
    int32_t unused;
};

struct cuda_l2norm_back {
    struct cuda_mat d_x, d_gain, d_y, x, gain;
    float eps;
    int32_t accumulate;
};

struct cuda_softmax {
    struct cuda_mat y, x;
    const float *centre; /* or NULL */
    float scale;         /* 1 / temperature */
    int32_t unused;
};

struct cuda_cross_entropy {
    struct cuda_mat d_x, losses, x, t;
    const int32_t *rows;
    const double *weights;
    float scale;
    int32_t per;
};

struct cuda_sinkhorn {
    struct cuda_mat q;
    const float *sums;
};

/* cuda_train_points.cu */
struct cuda_gelu_back {
    struct cuda_mat y, hidden, active; /* active without data: not wanted */
};

struct cuda_swiglu_back {
    struct cuda_mat d_x, d_y, x;
};

/* y[to[i]] = x[to[i]] + alpha * gamma * branch[from[i]] */
struct cuda_residual {
    struct cuda_mat y, x, branch;
    struct cuda_mat list;     /* what i counts: its rows; no data */
    const float *gamma;       /* or NULL */
    const int32_t *to, *from; /* or NULL: i */
    float alpha;
    int32_t unused;
};

struct cuda_exponential {
    struct cuda_mat y, x;
    const float *top;
    float scale;
    int32_t unused;
};

/* What changes from step to step is staged, so that the command stays the same. */
struct cuda_adamw {
    struct cuda_mat p, m, v, g;
    const float *now; /* keep, lr, grad_scale, second */
    float beta1, rest1, beta2, rest2, eps;
    int32_t unused;
};

/* y = now[0] * y + now[1] * x; without x: y = add */
struct cuda_lerp {
    struct cuda_mat y, x;
    const float *now;
    float add;
    int32_t unused;
};

/* cuda_whole.cu: one number of a whole matrix, by way of one a block */
enum { WHOLE_BLOCKS = 1024, WHOLE_THREADS = 256 };

struct cuda_whole {
    struct cuda_mat x;
    void *parts, *y; /* f64 for sums, f32 for the largest */
    int32_t blocks, unused;
};

/* cuda_koleo.cu */
struct cuda_koleo {
    struct cuda_mat d_u, losses, u;
    int32_t *nearest;
    float *slopes; /* [rows] */
    double weight; /* of a row */
};

/* cuda_attend_back.cu, cuda_attend_back_mma.cu: blocks as of cuda_attend, over queries for
 * d_q, over keys for d_k and d_v */
struct cuda_attend_back {
    void *d_qkv;
    const void *d_y, *y, *qkv;
    float *levels, *means; /* [heads, tokens] log sum exp of scores; d_y . y */
    int64_t d_qkv_stride, d_y_stride, y_stride, qkv_stride;
    const struct cuda_attend_block *blocks;
    int32_t heads, width, dtype, tokens;
    float scale;
    int32_t unused;
};

/* cuda_parts.cu: y[i] = the sum, or the largest, of parts[r * count + i], in the order of r */
struct cuda_join_parts {
    float *y;
    const float *parts; /* [ranks, count] */
    int64_t count;
    int32_t ranks, largest;
};

#endif
