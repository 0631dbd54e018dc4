/* Matrices of rows, and nothing else: no graph, no 4-D tensors. */
#ifndef COMPUTE_MAT_H
#define COMPUTE_MAT_H

#include <stddef.h>
#include <stdint.h>

#include "dino.h"

/* data [rows, cols] in the memory of some device; row r starts at element r * stride. */
struct mat {
    void *data;
    int rows, cols;
    ptrdiff_t stride; /* in elements, >= cols */
    enum dino_dtype dtype;
};

static inline struct mat dn_mat(void *data, int rows, int cols, enum dino_dtype dtype)
{
    return (struct mat){data, rows, cols, cols, dtype};
}

/* Rows [first, first + rows) of m. */
static inline struct mat dn_mat_rows(struct mat m, int first, int rows)
{
    m.data = (char *)m.data + (ptrdiff_t)first * m.stride * (ptrdiff_t)dino_dtype_size(m.dtype);
    m.rows = rows;
    return m;
}

/* Columns [first, first + cols) of m. */
static inline struct mat dn_mat_cols(struct mat m, int first, int cols)
{
    m.data = (char *)m.data + (ptrdiff_t)first * (ptrdiff_t)dino_dtype_size(m.dtype);
    m.cols = cols;
    return m;
}

static inline bool dn_mat_same_shape(struct mat a, struct mat b)
{
    return a.rows == b.rows && a.cols == b.cols;
}

#endif
