/* Training's products with plain matrices, by our own kernels: f32, or bf16 with f32 sums. */
#include <string.h>

#include "compute/cpu/cpu_gemm_plan.h"
#include "compute/cpu/cpu_train.h"

/* y = bias, or zeros: a product over nothing. */
static void fill_rows(const struct op_matmul *op)
{
    size_t bytes = (size_t)op->y.cols * sizeof(float);

    for (int r = 0; r < op->y.rows; r++) {
        if (op->bias.data)
            memcpy(dn_train_row(op->y, r), op->bias.data, bytes);
        else
            memset(dn_train_row(op->y, r), 0, bytes);
    }
}

void dn_cpu_matmul(struct queue *q, const struct op_matmul *op)
{
    const struct gemm_kernels *kernels = dn_gemm_choose(dn_cpu_queue(q)->device->features.isa);
    int k = op->transpose_a ? op->a.rows : op->a.cols;
    bool bf16 = op->a.dtype == DINO_BF16 || op->b.dtype == DINO_BF16;
    enum tile_kind kind = bf16 && kernels->tile[TILE_BF16] ? TILE_BF16 : TILE_F32;
    struct gemm_plan p = {
        .kernels = kernels,
        .kind = kind,
        .m = op->y.rows,
        .n = op->y.cols,
        .depth = dn_blocks_of(k, dn_gemm_per_dword[kind]),
        .a = op->a,
        .b = op->b,
        .a_across = op->transpose_a,
        .b_across = !op->transpose_b,
        .a_sums = op->a_sums.data,
        .end = {.bias = op->bias.data,
                .residual = op->accumulate ? op->y.data : NULL,
                .residual_stride = op->y.stride,
                .y = op->y.data,
                .y_stride = op->y.stride,
                .y_bf16 = op->y.dtype == DINO_BF16,
                .active = op->active.data,
                .active_stride = op->active.stride,
                .hidden = op->hidden.data,
                .hidden_stride = op->hidden.stride},
    };

    if (k > 0)
        dn_gemm_run(q, &p);
    else if (!op->accumulate)
        fill_rows(op);
}
