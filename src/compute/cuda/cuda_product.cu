/* Matrix products that the library declines: any dtype, address and stride, f32 arithmetic. */
#include "compute/cuda/cuda_numbers.h"

enum { TILE = 64, DEPTH = 16, PRODUCT_PITCH = TILE + 1 };

struct product_shared {
    float x[DEPTH][PRODUCT_PITCH], w[DEPTH][PRODUCT_PITCH];
};

/* to[k][r] = element (first + r, begin + k) of a matrix [rows, depth]; zeros outside. */
DEVICE void load_tile(float (*to)[PRODUCT_PITCH], const void *from, int dtype, int64_t row,
                      int64_t col, int first, int rows, int begin, int depth)
{
    for (int i = thread_x(); i < TILE * DEPTH; i += 256) {
        int r = i / DEPTH, k = i % DEPTH;
        bool real = first + r < rows && begin + k < depth;
        to[k][r] = real ? number(from, dtype, (first + r) * row + (begin + k) * col) : 0;
    }
}

/* A block owns 64 x 64 of y, thread t rows 4 (t / 16) .. + 3 and columns t % 16 + 16 j. Shared:
 * 16 columns of the rows of x and w. */
KERNEL(dn_product_kernel, struct cuda_product, 256)
{
    SHARED(struct product_shared, s);
    int ty = thread_x() / 16, tx = thread_x() % 16;
    int first_row = TILE * block_x(), first_col = TILE * block_y();
    float sum[4][4];

    UNROLL
    for (int i = 0; i < 4; i++) {
        UNROLL
        for (int j = 0; j < 4; j++)
            sum[i][j] = 0;
    }
    for (int begin = 0; begin < a.k; begin += DEPTH) {
        block_sync();
        load_tile(s->x, a.x, a.x_dtype, a.x_row, a.x_col, first_row, a.m, begin, a.k);
        load_tile(s->w, a.w, a.w_dtype, a.w_row, a.w_col, first_col, a.n, begin, a.k);
        block_sync();
        for (int k = 0; k < DEPTH; k++) {
            float x[4], w[4];
            UNROLL
            for (int i = 0; i < 4; i++) {
                x[i] = s->x[k][4 * ty + i];
                w[i] = s->w[k][tx + 16 * i];
            }
            UNROLL
            for (int i = 0; i < 4; i++) {
                UNROLL
                for (int j = 0; j < 4; j++)
                    sum[i][j] = fmaf(x[i], w[j], sum[i][j]);
            }
        }
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            int row = first_row + 4 * ty + i, col = first_col + tx + 16 * j;
            if (row >= a.m || col >= a.n)
                continue;
            float value = sum[i][j];
            if (a.bias)
                value += a.bias[col];
            if (a.residual)
                value += ((const float *)a.residual)[row * a.residual_stride + col];
            set_number(a.y, a.y_dtype, row * a.y_stride + col, value);
        }
    }
}
