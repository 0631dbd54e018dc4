/* Kernels over single numbers that training adds: nonlinearities backward, branches joining the
 * stream, the optimizer. */
#include "compute/cuda/cuda_quads.h"
#include "compute/cuda/cuda_train_kernels.h"

/* y *= gelu'(hidden), active = gelu(hidden). A thread owns a quad; no shared memory. */
KERNEL(dn_gelu_back_kernel, struct cuda_gelu_back, 256)
{
    struct quad q = quad_of(&a.y, block_x());
    float v[4] = {0, 0, 0, 0}, hidden[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    quad_read(v, &a.y, q.row, q.col, q.count);
    quad_read(hidden, &a.hidden, q.row, q.col, q.count);
    UNROLL
    for (int j = 0; j < 4; j++)
        v[j] *= gelu_slope_of(hidden[j]);
    quad_write(&a.y, q, v);
    if (!a.active.data)
        return;
    UNROLL
    for (int j = 0; j < 4; j++)
        v[j] = gelu_of(hidden[j]);
    quad_write(&a.active, q, v);
}

/* A thread owns a quad of d_y and its two of d_x. No shared memory. */
KERNEL(dn_swiglu_back_kernel, struct cuda_swiglu_back, 256)
{
    struct quad q = quad_of(&a.d_y, block_x());
    float gate[4] = {0, 0, 0, 0}, value[4] = {0, 0, 0, 0}, d_y[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    quad_read(gate, &a.x, q.row, q.col, q.count);
    quad_read(value, &a.x, q.row, a.d_y.cols + q.col, q.count);
    quad_read(d_y, &a.d_y, q.row, q.col, q.count);
    UNROLL
    for (int j = 0; j < 4; j++) {
        float share = 1 / (1 + expf(-gate[j])), d = d_y[j] * share;
        d_y[j] = d * gate[j];
        gate[j] = d * value[j] * (1 + gate[j] * (1 - share));
    }
    quad_write(&a.d_x, q, gate);
    q.col += a.d_y.cols;
    quad_write(&a.d_x, q, d_y);
}

/* A thread owns a quad of a row of the branch. No shared memory. */
KERNEL(dn_residual_kernel, struct cuda_residual, 256)
{
    struct quad q = quad_of(&a.list, block_x());
    float v[4] = {0, 0, 0, 0}, x[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    quad_read(v, &a.branch, a.from ? a.from[q.row] : q.row, q.col, q.count);
    if (a.to)
        q.row = a.to[q.row];
    quad_read(x, &a.x, q.row, q.col, q.count);
    UNROLL
    for (int j = 0; j < 4; j++) {
        float gamma = a.gamma && j < q.count ? a.gamma[q.col + j] : 1;
        x[j] = fmaf(a.alpha * gamma, v[j], x[j]);
    }
    quad_write(&a.y, q, x);
}

/* A thread owns a quad. No shared memory. */
KERNEL(dn_exponential_kernel, struct cuda_exponential, 256)
{
    struct quad q = quad_of(&a.y, block_x());
    float v[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    quad_read(v, &a.x, q.row, q.col, q.count);
    UNROLL
    for (int j = 0; j < 4; j++)
        v[j] = expf((v[j] - *a.top) * a.scale);
    quad_write(&a.y, q, v);
}

/* A thread owns a quad of the four vectors. No shared memory. */
KERNEL(dn_adamw_kernel, struct cuda_adamw, 256)
{
    struct quad q = quad_of(&a.p, block_x());
    float p[4] = {0, 0, 0, 0}, m[4] = {0, 0, 0, 0}, v[4] = {0, 0, 0, 0}, g[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    quad_read(p, &a.p, 0, q.col, q.count);
    quad_read(m, &a.m, 0, q.col, q.count);
    quad_read(v, &a.v, 0, q.col, q.count);
    quad_read(g, &a.g, 0, q.col, q.count);
    float keep = a.now[0], lr = a.now[1], grad_scale = a.now[2], second = a.now[3];
    UNROLL
    for (int j = 0; j < 4; j++) {
        float d = grad_scale * g[j];
        m[j] = a.beta1 * m[j] + a.rest1 * d;
        v[j] = a.beta2 * v[j] + a.rest2 * d * d;
        p[j] = keep * p[j] - lr * m[j] / (sqrtf(v[j] * second) + a.eps);
    }
    quad_write(&a.p, q, p);
    quad_write(&a.m, q, m);
    quad_write(&a.v, q, v);
}

/* A thread owns a quad. No shared memory. */
KERNEL(dn_lerp_kernel, struct cuda_lerp, 256)
{
    struct quad q = quad_of(&a.y, block_x());
    float y[4] = {0, 0, 0, 0}, x[4] = {1, 1, 1, 1};

    if (q.count == 0)
        return;
    if (a.x.data) {
        quad_read(y, &a.y, q.row, q.col, q.count);
        quad_read(x, &a.x, q.row, q.col, q.count);
    }
    UNROLL
    for (int j = 0; j < 4; j++)
        y[j] = a.x.data ? fmaf(a.now[1], x[j], a.now[0] * y[j]) : a.add;
    quad_write(&a.y, q, y);
}
