/* Softmax, losses and the optimizer on the device "cuda", and the table of its training
 * operations. */
#include <math.h>

#include "compute/cuda/cuda_train.h"

enum { ROW_THREADS = 256, ROW_SHARED = 8 * sizeof(float) };

/* ---- rows ---- */

static void l2norm(struct queue *q, const struct op_l2norm *op)
{
    struct cuda_l2norm a = {.y = dn_cuda_mat(op->y),
                            .x = dn_cuda_mat(op->x),
                            .gain = dn_cuda_mat(op->gain),
                            .eps = (float)op->eps};

    CUDA_LAUNCH(q, dn_l2norm_kernel, dn_cuda_ceil(op->x.rows, 4), 1, 128, 0, a);
}

static void l2norm_back(struct queue *q, const struct op_l2norm_back *op)
{
    struct cuda_l2norm_back a = {.d_x = dn_cuda_mat(op->d_x),
                                 .d_gain = dn_cuda_mat(op->d_gain),
                                 .d_y = dn_cuda_mat(op->d_y),
                                 .x = dn_cuda_mat(op->x),
                                 .gain = dn_cuda_mat(op->gain),
                                 .eps = (float)op->eps,
                                 .accumulate = op->accumulate};

    CUDA_LAUNCH(q, dn_l2norm_back_kernel, dn_cuda_ceil(op->x.rows, 4), 1, 128, 0, a);
}

static void softmax(struct queue *q, const struct op_softmax *op)
{
    struct cuda_softmax a = {.y = dn_cuda_mat(op->y),
                             .x = dn_cuda_mat(op->x),
                             .centre = op->centre.data,
                             .scale = (float)(1 / op->temperature)};

    CUDA_LAUNCH(q, dn_softmax_kernel, op->x.rows, 1, ROW_THREADS, ROW_SHARED, a);
}

static void cross_entropy(struct queue *q, const struct op_cross_entropy *op)
{
    size_t rows = (size_t)op->x.rows;
    struct cuda_cross_entropy a = {
        .d_x = dn_cuda_mat(op->d_x),
        .losses = dn_cuda_mat(op->losses),
        .x = dn_cuda_mat(op->x),
        .t = dn_cuda_mat(op->t),
        .rows = dn_cuda_stage_rows(q, op->rows, op->x.rows * op->per),
        .weights = dn_cuda_stage(q, op->weights, rows * sizeof *op->weights),
        .scale = (float)(1 / op->temperature),
        .per = op->per,
    };

    CUDA_LAUNCH(q, dn_cross_entropy_kernel, op->x.rows, 1, ROW_THREADS, ROW_SHARED, a);
}

static void sinkhorn(struct queue *q, const struct op_sinkhorn *op)
{
    struct cuda_sinkhorn a = {dn_cuda_mat(op->q), op->sums.data};

    CUDA_LAUNCH(q, dn_sinkhorn_kernel, op->q.rows, 1, ROW_THREADS, ROW_SHARED, a);
}

/* ---- whole matrices ---- */

/* How x is cut: at most WHOLE_BLOCKS blocks with 16 numbers a thread or more. */
static struct cuda_whole whole(struct queue *q, struct mat x, void *y)
{
    int64_t blocks = ((int64_t)x.rows * x.cols + 16 * WHOLE_THREADS - 1) / (16 * WHOLE_THREADS);

    return (struct cuda_whole){
        .x = dn_cuda_mat(x),
        .parts = dn_cuda_scratch(q, WHOLE_BLOCKS * sizeof(double)),
        .y = y,
        .blocks = blocks < 1              ? 1
                  : blocks < WHOLE_BLOCKS ? (int)blocks
                                          : WHOLE_BLOCKS,
    };
}

static void largest(struct queue *q, const struct op_largest *op)
{
    struct cuda_whole a = whole(q, op->x, op->y.data);

    if (!a.parts)
        return;
    CUDA_LAUNCH(q, dn_largest_kernel, a.blocks, 1, WHOLE_THREADS, ROW_SHARED, a);
    CUDA_LAUNCH(q, dn_join_largest_kernel, 1, 1, WHOLE_THREADS, ROW_SHARED, a);
}

static void sum_squares(struct queue *q, const struct op_sum_squares *op)
{
    enum { SHARED = WHOLE_THREADS * sizeof(double) };
    struct cuda_whole a = whole(q, op->x, op->y.data);

    if (!a.parts)
        return;
    CUDA_LAUNCH(q, dn_sum_squares_kernel, a.blocks, 1, WHOLE_THREADS, SHARED, a);
    CUDA_LAUNCH(q, dn_join_sums_kernel, 1, 1, WHOLE_THREADS, SHARED, a);
}

static void koleo(struct queue *q, const struct op_koleo *op)
{
    enum { NEAREST = 8 * (sizeof(float) + sizeof(int32_t)) };
    int rows = op->u.rows;
    struct cuda_koleo a = {
        .d_u = dn_cuda_mat(op->d_u),
        .losses = dn_cuda_mat(op->losses),
        .u = dn_cuda_mat(op->u),
        .nearest = op->nearest,
        .slopes = dn_cuda_scratch(q, (size_t)rows * sizeof *a.slopes),
        .weight = op->weight / rows,
    };

    if (!a.slopes)
        return;
    CUDA_LAUNCH(q, dn_nearest_kernel, rows, 1, 256, NEAREST, a);
    CUDA_LAUNCH(q, dn_koleo_losses_kernel, dn_cuda_ceil(rows, 8), 1, 256, 0, a);
    CUDA_LAUNCH(q, dn_koleo_back_kernel, rows, 1, 128, 0, a);
}

/* ---- single numbers ---- */

static void exponential(struct queue *q, const struct op_exponential *op)
{
    struct cuda_exponential a = {.y = dn_cuda_mat(op->y),
                                 .x = dn_cuda_mat(op->x),
                                 .top = op->top.data,
                                 .scale = (float)(1 / op->temperature)};

    CUDA_LAUNCH(q, dn_exponential_kernel, dn_cuda_quad_blocks(op->y), 1, POINTS_BLOCK, 0, a);
}

static void adamw(struct queue *q, const struct op_adamw *op)
{
    double first = 1 - pow(op->beta1, (double)op->step);
    double second = 1 - pow(op->beta2, (double)op->step);
    const float now[] = {(float)(1 - op->lr * op->decay), (float)(op->lr / first),
                         (float)op->grad_scale, (float)(1 / second)};
    struct cuda_adamw a = {
        .p = dn_cuda_mat(op->p),
        .m = dn_cuda_mat(op->m),
        .v = dn_cuda_mat(op->v),
        .g = dn_cuda_mat(op->g),
        .now = dn_cuda_stage(q, now, sizeof now),
        .beta1 = (float)op->beta1,
        .rest1 = (float)(1 - op->beta1),
        .beta2 = (float)op->beta2,
        .rest2 = (float)(1 - op->beta2),
        .eps = (float)op->eps,
    };

    CUDA_LAUNCH(q, dn_adamw_kernel, dn_cuda_quad_blocks(op->p), 1, POINTS_BLOCK, 0, a);
}

static void lerp(struct queue *q, const struct op_lerp *op)
{
    const float now[] = {(float)op->keep, (float)op->add};
    struct cuda_lerp a = {.y = dn_cuda_mat(op->y),
                          .x = dn_cuda_mat(op->x),
                          .now = dn_cuda_stage(q, now, sizeof now)};

    CUDA_LAUNCH(q, dn_lerp_kernel, dn_cuda_quad_blocks(op->y), 1, POINTS_BLOCK, 0, a);
}

static void fill(struct queue *q, const struct op_fill *op)
{
    struct cuda_lerp a = {.y = dn_cuda_mat(op->y), .add = (float)op->value};

    CUDA_LAUNCH(q, dn_lerp_kernel, dn_cuda_quad_blocks(op->y), 1, POINTS_BLOCK, 0, a);
}

const struct train_ops dn_cuda_train_ops = {
    .matmul = dn_cuda_matmul,
    .sum_columns = dn_cuda_sum_columns,
    .add_rows = dn_cuda_add_rows,
    .norm = dn_cuda_norm,
    .layernorm_back = dn_cuda_layernorm_back,
    .attend_back = dn_cuda_attend_back,
    .swiglu_back = dn_cuda_swiglu_back,
    .residual = dn_cuda_residual,
    .residual_back = dn_cuda_residual_back,
    .l2norm = l2norm,
    .l2norm_back = l2norm_back,
    .softmax = softmax,
    .cross_entropy = cross_entropy,
    .largest = largest,
    .exponential = exponential,
    .sinkhorn = sinkhorn,
    .koleo = koleo,
    .sum_squares = sum_squares,
    .adamw = adamw,
    .lerp = lerp,
    .fill = fill,
};
