/* One number of a whole matrix: each block leaves one, and one block joins them in order. */
#include "compute/cuda/cuda_numbers.h"
#include "compute/cuda/cuda_train_kernels.h"

/* Number i of x, counted row by row. */
DEVICE float whole_number(const struct cuda_mat *x, int64_t i)
{
    const float *data = (const float *)x->data;

    return x->stride == x->cols ? data[i] : data[i / x->cols * x->stride + i % x->cols];
}

/* Thread 0: the numbers of all threads added in a fixed order. */
DEVICE double block_total(double *shared, double mine)
{
    shared[thread_x()] = mine;
    for (int half = WHOLE_THREADS / 2; half > 0; half /= 2) {
        block_sync();
        if (thread_x() < half)
            shared[thread_x()] += shared[thread_x() + half];
    }
    return shared[0];
}

/* A thread owns every (256 blocks)-th number. Shared: a number a thread. */
KERNEL(dn_sum_squares_kernel, struct cuda_whole, 256)
{
    SHARED(double, shared);
    int64_t all = (int64_t)a.x.rows * a.x.cols, step = (int64_t)WHOLE_THREADS * a.blocks;
    double sum = 0;

    for (int64_t i = (int64_t)WHOLE_THREADS * block_x() + thread_x(); i < all; i += step) {
        double v = (double)whole_number(&a.x, i);
        sum += v * v;
    }
    sum = block_total(shared, sum);
    if (thread_x() == 0)
        ((double *)a.parts)[block_x()] = sum;
}

/* One block. Shared: a number a thread. */
KERNEL(dn_join_sums_kernel, struct cuda_whole, 256)
{
    SHARED(double, shared);
    double sum = 0;

    for (int i = thread_x(); i < a.blocks; i += WHOLE_THREADS)
        sum += ((const double *)a.parts)[i];
    sum = block_total(shared, sum);
    if (thread_x() == 0)
        *(double *)a.y = sum;
}

/* A thread owns every (256 blocks)-th number. Shared: a number a warp. */
KERNEL(dn_largest_kernel, struct cuda_whole, 256)
{
    SHARED(float, shared);
    int64_t all = (int64_t)a.x.rows * a.x.cols, step = (int64_t)WHOLE_THREADS * a.blocks;
    float top = -INFINITY;

    for (int64_t i = (int64_t)WHOLE_THREADS * block_x() + thread_x(); i < all; i += step)
        top = fmaxf(top, whole_number(&a.x, i));
    top = block_max(top, shared);
    if (thread_x() == 0)
        ((float *)a.parts)[block_x()] = top;
}

/* One block. Shared: a number a warp. */
KERNEL(dn_join_largest_kernel, struct cuda_whole, 256)
{
    SHARED(float, shared);
    float top = -INFINITY;

    for (int i = thread_x(); i < a.blocks; i += WHOLE_THREADS)
        top = fmaxf(top, ((const float *)a.parts)[i]);
    top = block_max(top, shared);
    if (thread_x() == 0)
        *(float *)a.y = top;
}
