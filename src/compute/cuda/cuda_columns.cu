/*
 * Sums over rows, and what has them in passing: sum_columns, the backward of layernorm and of
 * a branch's scale, scatter-add. No atomics: a block sums its rows, and cuda_join_columns adds
 * what the blocks left in their order, so that the same shapes give the same bits.
 */
#include "compute/cuda/cuda_numbers.h"
#include "compute/cuda/cuda_train_kernels.h"

enum { COLUMN_WARPS = 8 };

struct column_shared {
    float sums[2][COLUMN_WARPS][COLUMN_TILE];
};

/* The column of this thread; its warp has every eighth row of the block's. */
DEVICE int own_column(void)
{
    return COLUMN_TILE * block_x() + thread_x() % 32;
}

DEVICE int own_row(void)
{
    return COLUMN_ROWS * block_y() + thread_x() / 32;
}

DEVICE int end_row(int rows)
{
    int end = COLUMN_ROWS * (block_y() + 1);
    return end < rows ? end : rows;
}

/* The warps' sums to the block's place in parts, if there is one. */
DEVICE void leave_sums(float (*sums)[COLUMN_TILE], float sum, float *parts, int cols)
{
    int warp = thread_x() / 32, lane = thread_x() % 32, col = own_column();

    sums[warp][lane] = sum;
    block_sync();
    if (warp > 0 || col >= cols || !parts)
        return;
    for (int w = 1; w < COLUMN_WARPS; w++)
        sum += sums[w][lane];
    parts[(int64_t)block_y() * cols + col] = sum;
}

/* A block owns 32 columns of 128 rows. Shared: the sums of its 8 warps. */
KERNEL(dn_sum_columns_kernel, struct cuda_sum_columns, 256)
{
    SHARED(struct column_shared, s);
    int col = own_column(), end = end_row(a.x.rows);
    float sum = 0;

    for (int r = own_row(); r < end && col < a.x.cols; r += COLUMN_WARPS) {
        float v = number(a.x.data, a.x.dtype, r * a.x.stride + col);
        if (a.times.data)
            v *= number(a.times.data, a.times.dtype, r * a.times.stride + col);
        sum += v;
    }
    leave_sums(s->sums[0], sum, a.parts, a.x.cols);
}

/* A block owns 256 columns. No shared memory. */
KERNEL(dn_join_columns_kernel, struct cuda_join_columns, 256)
{
    int col = 256 * block_x() + thread_x();
    double sum = 0;

    if (col >= a.cols)
        return;
    for (int i = 0; i < a.chunks; i++)
        sum += (double)a.parts[(int64_t)i * a.cols + col];
    sum *= (double)a.alpha;
    a.y[col] = a.accumulate ? (float)((double)a.y[col] + sum) : (float)sum;
}

/* ---- layernorm ---- */

/* A warp owns row 4 block + warp of d_y. No shared memory. */
KERNEL(dn_layernorm_stats_kernel, struct cuda_layernorm_back, 128)
{
    int row = 4 * block_x() + thread_x() / 32, lane = thread_x() % 32, cols = a.x.cols;
    float mean, g_sum = 0, g_normal = 0;

    if (row >= a.d_y.rows)
        return;
    const float *x = (const float *)a.x.data + (a.rows ? a.rows[row] : row) * a.x.stride;
    struct moments m = moments_of_row(x, cols, a.eps, &mean);
    for (int c = lane; c < cols; c += 32) {
        float g = number(a.d_y.data, a.d_y.dtype, row * a.d_y.stride + c) * a.weight[c];
        g_sum += g;
        g_normal = fmaf(g, (x[c] - mean - m.shift) * m.over, g_normal);
    }
    g_sum = warp_sum(g_sum) / (float)cols;
    g_normal = warp_sum(g_normal) / (float)cols;
    if (lane == 0) {
        struct cuda_norm_row *to = a.stats + row;
        to->mean = mean;
        to->shift = m.shift;
        to->over = m.over;
        to->g = g_sum;
        to->g_normal = g_normal;
    }
}

/* A block owns 32 columns of 128 rows of d_y: d_x there, and its part of d_weight and d_bias.
 * Shared: the sums of its 8 warps. */
KERNEL(dn_layernorm_back_kernel, struct cuda_layernorm_back, 256)
{
    SHARED(struct column_shared, s);
    int col = own_column(), cols = a.x.cols, end = end_row(a.d_y.rows);
    float weight = col < cols ? a.weight[col] : 0, weight_sum = 0, bias_sum = 0;

    for (int r = own_row(); r < end && col < cols; r += COLUMN_WARPS) {
        struct cuda_norm_row row = a.stats[r];
        int64_t at = a.rows ? a.rows[r] : r;
        float x = ((const float *)a.x.data)[at * a.x.stride + col];
        float d_y = number(a.d_y.data, a.d_y.dtype, r * a.d_y.stride + col);
        float normal = (x - row.mean - row.shift) * row.over;
        float d = (d_y * weight - row.g - normal * row.g_normal) * row.over;
        float *d_x = (float *)a.d_x.data + at * a.d_x.stride + col;
        *d_x = a.accumulate ? *d_x + d : d;
        weight_sum = fmaf(d_y, normal, weight_sum);
        bias_sum += d_y;
    }
    leave_sums(s->sums[0], weight_sum, a.weight_parts, cols);
    leave_sums(s->sums[1], bias_sum, a.bias_parts, cols);
}

/* ---- branches ---- */

/* A block owns 32 columns of 128 rows of the branch: d_branch there, and its part of d_gamma.
 * Shared: the sums of its 8 warps. */
KERNEL(dn_residual_back_kernel, struct cuda_residual_back, 256)
{
    SHARED(struct column_shared, s);
    int col = own_column(), cols = a.branch.cols, end = end_row(a.branch.rows);
    float gamma = a.gamma && col < cols ? a.gamma[col] : 1, sum = 0;

    for (int r = own_row(); r < end && col < cols; r += COLUMN_WARPS) {
        int64_t at = a.rows ? a.rows[r] : r;
        float d_y = a.alpha * ((const float *)a.d_y.data)[at * a.d_y.stride + col];
        sum = fmaf(d_y, number(a.branch.data, a.branch.dtype, r * a.branch.stride + col), sum);
        set_number(a.d_branch.data, a.d_branch.dtype, r * a.d_branch.stride + col, d_y * gamma);
    }
    leave_sums(s->sums[0], sum, a.parts, cols);
}

/* ---- scatter-add ---- */

/* A block owns 32 columns of row block_x of y; each of its 8 warps adds every eighth row that
 * goes there. Shared: the warps' sums. */
KERNEL(dn_add_rows_kernel, struct cuda_add_rows, 256)
{
    SHARED(struct column_shared, s);
    int warp = thread_x() / 32, lane = thread_x() % 32, row = block_x();
    int col = COLUMN_TILE * block_y() + lane;
    int first = a.starts[row], end = a.starts[row + 1];
    float sum = 0;

    for (int i = first + warp; i < end && col < a.y.cols; i += COLUMN_WARPS)
        sum += ((const float *)a.x.data)[a.order[i] * a.x.stride + col];
    s->sums[0][warp][lane] = sum;
    block_sync();
    if (warp > 0 || col >= a.y.cols || first == end)
        return;
    for (int w = 1; w < COLUMN_WARPS; w++)
        sum += s->sums[0][w][lane];
    float *y = (float *)a.y.data + row * a.y.stride + col;
    *y = fmaf(a.alpha, sum, *y);
}
