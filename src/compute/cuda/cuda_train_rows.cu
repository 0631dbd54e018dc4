/* Kernels over rows that training adds: unit length, softmax, cross-entropy, Sinkhorn-Knopp. */
#include "compute/cuda/cuda_numbers.h"
#include "compute/cuda/cuda_train_kernels.h"

/* ---- unit length ---- */

DEVICE float length_of(const float *x, int cols, int lane)
{
    float squares = 0;

    for (int c = lane; c < cols; c += 32)
        squares = fmaf(x[c], x[c], squares);
    return sqrtf(warp_sum(squares));
}

DEVICE float gain_of(const struct cuda_mat *gain, int row)
{
    return gain->data ? ((const float *)gain->data)[row * gain->stride] : 1;
}

/* A warp owns row 4 block + warp. No shared memory. */
KERNEL(dn_l2norm_kernel, struct cuda_l2norm, 128)
{
    int row = 4 * block_x() + thread_x() / 32, lane = thread_x() % 32;

    if (row >= a.x.rows)
        return;
    const float *x = (const float *)a.x.data + row * a.x.stride;
    float scale = gain_of(&a.gain, row) / fmaxf(length_of(x, a.x.cols, lane), a.eps);
    for (int c = lane; c < a.x.cols; c += 32)
        set_number(a.y.data, a.y.dtype, row * a.y.stride + c, x[c] * scale);
}

/* A warp owns row 4 block + warp. No shared memory. */
KERNEL(dn_l2norm_back_kernel, struct cuda_l2norm_back, 128)
{
    int row = 4 * block_x() + thread_x() / 32, lane = thread_x() % 32, cols = a.x.cols;
    float along = 0;

    if (row >= a.x.rows)
        return;
    const float *x = (const float *)a.x.data + row * a.x.stride;
    const float *d_y = (const float *)a.d_y.data + row * a.d_y.stride;
    float *d_x = (float *)a.d_x.data + row * a.d_x.stride;
    float length = length_of(x, cols, lane), over = 1 / fmaxf(length, a.eps);
    for (int c = lane; c < cols; c += 32)
        along = fmaf(x[c] * over, d_y[c], along);
    along = warp_sum(along);
    if (lane == 0 && a.d_gain.data)
        ((float *)a.d_gain.data)[row * a.d_gain.stride] += along;
    if (length < a.eps)
        along = 0;
    float scale = gain_of(&a.gain, row) * over;
    for (int c = lane; c < cols; c += 32) {
        float d = scale * (d_y[c] - x[c] * over * along);
        d_x[c] = a.accumulate ? d_x[c] + d : d;
    }
}

/* ---- softmax and cross-entropy ---- */

/* A block owns a row: its largest number, then exponentials in y and their sum, then shares.
 * Shared: what the warps found. */
KERNEL(dn_softmax_kernel, struct cuda_softmax, 256)
{
    SHARED(float, shared);
    int cols = a.x.cols;
    const float *x = (const float *)a.x.data + block_x() * a.x.stride;
    float *y = (float *)a.y.data + block_x() * a.y.stride, top = -INFINITY, sum = 0;

    for (int c = thread_x(); c < cols; c += 256)
        top = fmaxf(top, a.centre ? x[c] - a.centre[c] : x[c]);
    top = block_max(top, shared);
    for (int c = thread_x(); c < cols; c += 256) {
        float v = a.centre ? x[c] - a.centre[c] : x[c];
        y[c] = expf((v - top) * a.scale);
        sum += y[c];
    }
    float over = 1 / block_sum(sum, shared);
    for (int c = thread_x(); c < cols; c += 256)
        y[c] *= over;
}

/* A block owns a row of x; d_x may be x, whose numbers a thread reads before it writes them.
 * Shared: what the warps found. */
KERNEL(dn_cross_entropy_kernel, struct cuda_cross_entropy, 256)
{
    SHARED(float, shared);
    int row = block_x(), cols = a.x.cols;
    const float *x = (const float *)a.x.data + row * a.x.stride, *t = (const float *)a.t.data;
    const int32_t *rows = a.rows + (int64_t)row * a.per;
    float *d_x = (float *)a.d_x.data + row * a.d_x.stride;
    float top = -INFINITY, sum = 0, total = 0, product = 0; /* of t, and of t (x - top) */

    for (int c = thread_x(); c < cols; c += 256)
        top = fmaxf(top, x[c]);
    top = block_max(top, shared);
    for (int c = thread_x(); c < cols; c += 256) {
        float target = 0;
        for (int j = 0; j < a.per; j++)
            target += t[rows[j] * a.t.stride + c];
        sum += expf((x[c] - top) * a.scale);
        total += target;
        product = fmaf(target, x[c] - top, product);
    }
    sum = block_sum(sum, shared);
    total = block_sum(total, shared);
    product = block_sum(product, shared);
    float weight = (float)a.weights[row], slope = weight * a.scale, share = total / sum;
    if (thread_x() == 0)
        ((float *)a.losses.data)[row * a.losses.stride] =
            weight * (total * logf(sum) - product * a.scale);
    for (int c = thread_x(); c < cols; c += 256) {
        float target = 0;
        for (int j = 0; j < a.per; j++)
            target += t[rows[j] * a.t.stride + c];
        d_x[c] = slope * (share * expf((x[c] - top) * a.scale) - target);
    }
}

/* ---- Sinkhorn-Knopp ---- */

/* A block owns a row. Shared: what the warps found. */
KERNEL(dn_sinkhorn_kernel, struct cuda_sinkhorn, 256)
{
    SHARED(float, shared);
    float *q = (float *)a.q.data + block_x() * a.q.stride, total = 0;

    for (int c = thread_x(); c < a.q.cols; c += 256) {
        q[c] = a.sums[c] != 0 ? q[c] / a.sums[c] : 0;
        total += q[c];
    }
    total = block_sum(total, shared);
    float over = total != 0 ? 1 / total : 0;
    for (int c = thread_x(); c < a.q.cols; c += 256)
        q[c] *= over;
}
