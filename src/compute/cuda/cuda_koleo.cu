/* KoLeo: the nearest row of each row, its loss, and the gradient of all losses. */
#include "compute/cuda/cuda_numbers.h"
#include "compute/cuda/cuda_train_kernels.h"

struct nearest_shared {
    float product[8];
    int32_t row[8];
};

DEVICE const float *koleo_row(const struct cuda_koleo *a, int row)
{
    return (const float *)a->u.data + row * a->u.stride;
}

/* A block owns row block_x; each of its 8 warps multiplies it with every eighth row. Shared:
 * the nearest that each warp found. */
KERNEL(dn_nearest_kernel, struct cuda_koleo, 256)
{
    SHARED(struct nearest_shared, s);
    int warp = thread_x() / 32, lane = thread_x() % 32, row = block_x(), best = row;
    const float *u = koleo_row(&a, row);
    float most = -INFINITY;

    for (int j = warp; j < a.u.rows; j += 8) {
        const float *other = koleo_row(&a, j);
        float product = 0;
        for (int c = lane; c < a.u.cols; c += 32)
            product = fmaf(u[c], other[c], product);
        product = warp_sum(product);
        if (j != row && product > most) {
            most = product;
            best = j;
        }
    }
    s->product[warp] = most;
    s->row[warp] = best;
    block_sync();
    if (thread_x() > 0)
        return;
    for (int w = 1; w < 8; w++)
        if (s->product[w] > most || (s->product[w] == most && s->row[w] < best)) {
            most = s->product[w];
            best = s->row[w];
        }
    a.nearest[row] = most > -INFINITY ? best : row;
}

/* A warp owns row 8 block + warp: its loss, and how steep it is along the difference to its
 * nearest. No shared memory. */
KERNEL(dn_koleo_losses_kernel, struct cuda_koleo, 256)
{
    int row = 8 * block_x() + thread_x() / 32, lane = thread_x() % 32;
    const double eps = 1e-8;
    float squares = 0;

    if (row >= a.u.rows)
        return;
    int near = a.nearest[row];
    const float *u = koleo_row(&a, row), *other = koleo_row(&a, near);
    for (int c = lane; c < a.u.cols; c += 32) {
        float e = u[c] - other[c] + 1e-8F;
        squares = fmaf(e, e, squares);
    }
    double distance = sqrt((double)warp_sum(squares));
    int alone = near == row;
    if (lane > 0)
        return;
    ((float *)a.losses.data)[row * a.losses.stride] =
        alone ? 0 : (float)(-a.weight * log(distance + eps));
    a.slopes[row] =
        alone || distance == 0 ? 0 : (float)(-a.weight / (distance + eps) / distance);
}

/* d_u of row block_x: from its own loss, then from those of the rows it is nearest to, in their
 * order. A thread owns every 128th column; no shared memory. */
KERNEL(dn_koleo_back_kernel, struct cuda_koleo, 128)
{
    int row = block_x();
    const float *u = koleo_row(&a, row), *near = koleo_row(&a, a.nearest[row]);

    for (int c = thread_x(); c < a.u.cols; c += 128) {
        float d = a.slopes[row] * (u[c] - near[c] + 1e-8F);
        for (int j = 0; j < a.u.rows; j++)
            if (a.nearest[j] == row)
                d -= a.slopes[j] * (koleo_row(&a, j)[c] - u[c] + 1e-8F);
        ((float *)a.d_u.data)[row * a.d_u.stride + c] += d;
    }
}
