/* What processes have sent, joined in the order of their ranks. */
#include "compute/cuda/cuda_dialect.h"
#include "compute/cuda/cuda_train_kernels.h"

/* A thread owns a number of y. No shared memory. */
KERNEL(dn_join_parts_kernel, struct cuda_join_parts, 256)
{
    int64_t i = (int64_t)block_x() * 256 + thread_x();

    if (i >= a.count)
        return;
    float y = a.parts[i];
    for (int r = 1; r < a.ranks; r++) {
        float x = a.parts[r * a.count + i];
        if (!a.largest)
            y += x;
        else if (x > y || x != x) /* no number stays none */
            y = x;
    }
    a.y[i] = y;
}
