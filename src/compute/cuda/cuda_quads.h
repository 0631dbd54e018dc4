/* Four numbers of a row at a time, for kernels over single numbers. */
#ifndef COMPUTE_CUDA_QUADS_H
#define COMPUTE_CUDA_QUADS_H

#include "compute/cuda/cuda_numbers.h"

/* Quad `i` of all quads of a matrix, counted row by row: its row, first column and how many
 * columns it has (4 but at the end of a row; 0 behind the last row). */
struct quad {
    int row, col, count;
};

DEVICE struct quad quad_of(const struct cuda_mat *m, int block)
{
    int64_t i = (int64_t)block * 256 + thread_x(), per_row = (m->cols + 3) / 4;
    struct quad q;

    q.row = (int)(i / per_row);
    q.col = (int)(4 * (i % per_row));
    q.count = q.row >= m->rows ? 0 : m->cols - q.col < 4 ? m->cols - q.col : 4;
    return q;
}

DEVICE void quad_read(float to[4], const struct cuda_mat *m, int row, int col, int count)
{
    int64_t at = (int64_t)row * m->stride + col;

    if (m->quads) {
        numbers4(to, m->data, m->dtype, at);
        return;
    }
    UNROLL
    for (int j = 0; j < 4; j++)
        if (j < count)
            to[j] = number(m->data, m->dtype, at + j);
}

DEVICE void quad_write(const struct cuda_mat *m, struct quad q, const float from[4])
{
    int64_t at = (int64_t)q.row * m->stride + q.col;

    if (m->quads) {
        set_numbers4(m->data, m->dtype, at, from);
        return;
    }
    UNROLL
    for (int j = 0; j < 4; j++)
        if (j < q.count)
            set_number(m->data, m->dtype, at + j, from[j]);
}

#endif
