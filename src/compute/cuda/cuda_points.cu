/* Kernels over single numbers: swiglu, gelu, copy, and what follows a product. */
#include "compute/cuda/cuda_quads.h"

/* A thread owns a quad of y. No shared memory. */
KERNEL(dn_gelu_kernel, struct cuda_points, 256)
{
    struct quad q = quad_of(&a.y, block_x());
    float v[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    quad_read(v, &a.x, q.row, q.col, q.count);
    UNROLL
    for (int j = 0; j < 4; j++)
        v[j] = gelu_of(v[j]);
    quad_write(&a.y, q, v);
}

/* A thread owns a quad of y. No shared memory. */
KERNEL(dn_swiglu_kernel, struct cuda_points, 256)
{
    struct quad q = quad_of(&a.y, block_x());
    float gate[4] = {0, 0, 0, 0}, value[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    quad_read(gate, &a.x, q.row, q.col, q.count);
    quad_read(value, &a.x, q.row, a.y.cols + q.col, q.count);
    UNROLL
    for (int j = 0; j < 4; j++)
        gate[j] = silu_of(gate[j]) * value[j];
    quad_write(&a.y, q, gate);
}

/* A thread owns a quad of y. No shared memory. */
KERNEL(dn_finish_kernel, struct cuda_finish, 256)
{
    struct quad q = quad_of(&a.y, block_x());
    float v[4] = {0, 0, 0, 0}, residual[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    quad_read(v, &a.x, q.row, q.col, q.count);
    if (a.residual.data)
        quad_read(residual, &a.residual, a.residual.rows == 1 ? 0 : q.row, q.col, q.count);
    UNROLL
    for (int j = 0; j < 4; j++) {
        if (a.gelu)
            v[j] = gelu_of(v[j]);
        if (a.scale && j < q.count)
            v[j] *= a.scale[q.col + j];
        v[j] += residual[j];
    }
    quad_write(&a.y, q, v);
}

/* A thread owns a quad of y; no shared memory. f64 goes number by number. */
KERNEL(dn_copy_kernel, struct cuda_points, 256)
{
    struct quad q = quad_of(&a.y, block_x());
    float v[4] = {0, 0, 0, 0};

    if (q.count == 0)
        return;
    if (a.x.dtype != DINO_F64 && a.y.dtype != DINO_F64) {
        quad_read(v, &a.x, q.row, q.col, q.count);
        quad_write(&a.y, q, v);
        return;
    }
    int64_t x = (int64_t)q.row * a.x.stride + q.col, y = (int64_t)q.row * a.y.stride + q.col;
    for (int j = 0; j < q.count; j++) {
        double value = a.x.dtype == DINO_F64 ? ((const double *)a.x.data)[x + j]
                                             : (double)number(a.x.data, a.x.dtype, x + j);
        if (a.y.dtype == DINO_F64)
            ((double *)a.y.data)[y + j] = value;
        else
            set_number(a.y.data, a.y.dtype, y + j, (float)value);
    }
}
