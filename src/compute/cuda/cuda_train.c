/* The backward of the network's operations on the device "cuda", in the order of ops_train.h:
 * arguments for kernels, and how many blocks of them. Losses and the optimizer are in
 * cuda_train_loss.c. */
#include <string.h>

#include "compute/cuda/cuda_product.h"
#include "compute/cuda/cuda_train.h"

/* ---- products ---- */

/* Operands of one dtype, the narrower one; and the bias as the library may want it. */
struct operands {
    struct mat a, b;
    const uint16_t *bias16;
};

static bool is_narrow(enum dino_dtype dtype)
{
    return dtype != DINO_F32;
}

static size_t dense_bytes(struct mat m, enum dino_dtype dtype)
{
    return dn_cuda_padded((size_t)m.rows * (size_t)m.cols * dino_dtype_size(dtype));
}

static bool prepare(struct queue *q, const struct op_matmul *op, struct operands *o)
{
    enum dino_dtype dtype = is_narrow(op->a.dtype) ? op->a.dtype : op->b.dtype;
    bool narrow_bias = op->bias.data && is_narrow(op->y.dtype);
    size_t a = op->a.dtype == dtype ? 0 : dense_bytes(op->a, dtype);
    size_t b = op->b.dtype == dtype ? 0 : dense_bytes(op->b, dtype);
    size_t bias = narrow_bias ? dense_bytes(op->bias, op->y.dtype) : 0;
    char *scratch = a + b + bias ? dn_cuda_scratch(q, a + b + bias) : NULL;

    if (a + b + bias && !scratch)
        return false;
    *o = (struct operands){.a = dn_cuda_as(q, op->a, dtype, scratch),
                           .b = dn_cuda_as(q, op->b, dtype, scratch + a)};
    if (narrow_bias)
        o->bias16 = dn_cuda_as(q, op->bias, op->y.dtype, scratch + a + b).data;
    return true;
}

static void multiply(struct queue *q, const struct op_matmul *op, const struct operands *o)
{
    struct product p = {
        .y = op->y.data,
        .x = o->a.data,
        .w = o->b.data,
        .residual = op->accumulate ? op->y.data : NULL,
        .bias = op->bias.data,
        .bias16 = o->bias16,
        .y_stride = op->y.stride,
        .x_stride = o->a.stride,
        .w_stride = o->b.stride,
        .residual_stride = op->accumulate ? op->y.stride : 0,
        .m = op->y.rows,
        .n = op->y.cols,
        .k = op->transpose_a ? op->a.rows : op->a.cols,
        .y_dtype = op->y.dtype,
        .in_dtype = o->a.dtype,
        .x_turned = op->transpose_a,
        .w_turned = !op->transpose_b,
        .tf32 = dn_cuda_device(q->device)->tf32,
    };

    dn_cuda_product(q, &p);
}

/* What the library's product has at its end is a bias or an addition; the rest is a pass of
 * ours behind it. */
void dn_cuda_matmul(struct queue *q, const struct op_matmul *op)
{
    struct operands operands;

    if (!prepare(q, op, &operands))
        return;
    multiply(q, op, &operands);
    if (op->hidden.data) {
        struct cuda_gelu_back a = {dn_cuda_mat(op->y), dn_cuda_mat(op->hidden),
                                   dn_cuda_mat(op->active)};
        CUDA_LAUNCH(q, dn_gelu_back_kernel, dn_cuda_quad_blocks(op->y), 1, POINTS_BLOCK, 0, a);
    } else if (op->active.data) {
        dn_cuda_gelu(q, &(struct op_gelu){.y = op->active, .x = op->y});
    }
    if (op->a_sums.data)
        dn_cuda_sum_columns(q,
                            &(struct op_sum_columns){
                                .y = op->a_sums, .x = op->a, .alpha = 1, .accumulate = true});
}

/* ---- sums over rows ---- */

enum { COLUMN_THREADS = 256, COLUMN_SHARED = 2 * 8 * COLUMN_TILE * sizeof(float) };

static int tiles_of(struct mat m)
{
    return dn_cuda_ceil(m.cols, COLUMN_TILE);
}

static int chunks_of(struct mat m)
{
    return dn_cuda_ceil(m.rows, COLUMN_ROWS);
}

static size_t parts_bytes(struct mat m)
{
    return dn_cuda_padded((size_t)chunks_of(m) * (size_t)m.cols * sizeof(float));
}

/* y = alpha * the sum of the parts of m, or y += */
static void join(struct queue *q, struct mat y, const float *parts, struct mat m, double alpha,
                 bool accumulate)
{
    struct cuda_join_columns a = {.y = y.data,
                                  .parts = parts,
                                  .cols = m.cols,
                                  .chunks = chunks_of(m),
                                  .alpha = (float)alpha,
                                  .accumulate = accumulate};

    CUDA_LAUNCH(q, dn_join_columns_kernel, dn_cuda_ceil(m.cols, COLUMN_THREADS), 1,
                COLUMN_THREADS, 0, a);
}

void dn_cuda_sum_columns(struct queue *q, const struct op_sum_columns *op)
{
    float *parts = dn_cuda_scratch(q, parts_bytes(op->x));
    struct cuda_sum_columns a = {dn_cuda_mat(op->x), dn_cuda_mat(op->times), parts};

    if (!parts)
        return;
    CUDA_LAUNCH(q, dn_sum_columns_kernel, tiles_of(op->x), chunks_of(op->x), COLUMN_THREADS,
                COLUMN_SHARED, a);
    join(q, op->y, parts, op->x, op->alpha, op->accumulate);
}

/* ---- rows by name ---- */

/* Where each row of y begins in `order`, and which of x go there, in their order; *most: the
 * largest number that go to one. starts [rows + 2], as the last one is scratch. */
static void sort_rows(const struct op_add_rows *op, int *starts, int *order, int *most)
{
    int rows = op->y.rows;

    *most = 0;
    memset(starts, 0, ((size_t)rows + 2) * sizeof *starts);
    for (int i = 0; i < op->count; i++) {
        int *count = &starts[op->to[i] + 2];
        if (++*count > *most)
            *most = *count;
    }
    for (int r = 0; r < rows; r++)
        starts[r + 2] += starts[r + 1];
    for (int i = 0; i < op->count; i++) /* now starts[to + 1] is where to's next one goes */
        order[starts[op->to[i] + 1]++] = op->from ? op->from[i] : i;
}

/* One row each: as a branch joins the stream. */
static void add_single_rows(struct queue *q, const struct op_add_rows *op)
{
    struct mat list = dn_mat(NULL, op->count, op->y.cols, op->y.dtype);
    struct cuda_residual a = {.y = dn_cuda_mat(op->y),
                              .x = dn_cuda_mat(op->y),
                              .branch = dn_cuda_mat(op->x),
                              .list = dn_cuda_mat(list),
                              .to = dn_cuda_stage_rows(q, op->to, op->count),
                              .from = dn_cuda_stage_rows(q, op->from, op->count),
                              .alpha = (float)op->alpha};

    CUDA_LAUNCH(q, dn_residual_kernel, dn_cuda_quad_blocks(list), 1, POINTS_BLOCK, 0, a);
}

void dn_cuda_add_rows(struct queue *q, const struct op_add_rows *op)
{
    size_t rows = (size_t)op->y.rows + 2, count = (size_t)op->count;
    const void *device;
    int most = 1;

    if (!op->to) {
        add_single_rows(q, op);
        return;
    }
    int *starts = dn_cuda_stage_room(q, (rows + count) * sizeof *starts, &device);
    if (!starts)
        return;
    sort_rows(op, starts, starts + rows, &most);
    if (most == 1) {
        add_single_rows(q, op);
        return;
    }
    struct cuda_add_rows a = {.y = dn_cuda_mat(op->y),
                              .x = dn_cuda_mat(op->x),
                              .starts = device,
                              .order = (const int32_t *)device + rows,
                              .alpha = (float)op->alpha};
    CUDA_LAUNCH(q, dn_add_rows_kernel, op->y.rows, tiles_of(op->y), COLUMN_THREADS,
                COLUMN_SHARED, a);
}

/* ---- layernorm ---- */

void dn_cuda_norm(struct queue *q, const struct op_norm *op)
{
    struct cuda_layernorm a = {.y = dn_cuda_mat(op->y),
                               .x = dn_cuda_mat(op->x),
                               .weight = op->weight.data,
                               .bias = op->bias.data,
                               .rows = dn_cuda_stage_rows(q, op->rows, op->y.rows),
                               .eps = (float)op->eps};

    a.quads =
        a.y.quads && a.x.quads && dn_cuda_aligned(a.weight, 16) && dn_cuda_aligned(a.bias, 16);
    CUDA_LAUNCH(q, dn_layernorm_kernel, dn_cuda_ceil(op->y.rows, 4), 1, 128, 0, a);
}

void dn_cuda_layernorm_back(struct queue *q, const struct op_layernorm_back *op)
{
    size_t parts = op->d_weight.data ? parts_bytes(op->d_y) : 0;
    char *scratch =
        dn_cuda_scratch(q, 2 * parts + (size_t)op->d_y.rows * sizeof(struct cuda_norm_row));

    if (!scratch)
        return;
    struct cuda_layernorm_back a = {
        .d_x = dn_cuda_mat(op->d_x),
        .d_y = dn_cuda_mat(op->d_y),
        .x = dn_cuda_mat(op->x),
        .weight = op->weight.data,
        .rows = dn_cuda_stage_rows(q, op->rows, op->d_y.rows),
        .stats = (struct cuda_norm_row *)(void *)(scratch + 2 * parts),
        .weight_parts = parts ? (float *)(void *)scratch : NULL,
        .bias_parts = parts ? (float *)(void *)(scratch + parts) : NULL,
        .eps = (float)op->eps,
        .accumulate = op->accumulate,
    };
    CUDA_LAUNCH(q, dn_layernorm_stats_kernel, dn_cuda_ceil(op->d_y.rows, 4), 1, 128, 0, a);
    CUDA_LAUNCH(q, dn_layernorm_back_kernel, tiles_of(op->d_y), chunks_of(op->d_y),
                COLUMN_THREADS, COLUMN_SHARED, a);
    if (parts) {
        join(q, op->d_weight, a.weight_parts, op->d_y, 1, true);
        join(q, op->d_bias, a.bias_parts, op->d_y, 1, true);
    }
}

/* ---- attention ---- */

/* Tensor cores take heads of 64 in 16 bits whose rows begin at multiples of 16 bytes. */
static bool takes_mma(const struct op_attend_back *op)
{
    return op->y.cols == 64 * op->heads && is_narrow(op->qkv.dtype) &&
           dn_cuda_aligned(op->qkv.data, 16) && op->qkv.stride % 8 == 0 &&
           dn_cuda_aligned(op->d_y.data, 16) && op->d_y.stride % 8 == 0 &&
           dn_cuda_aligned(op->y.data, 4) && op->y.stride % 2 == 0 &&
           dn_cuda_aligned(op->d_qkv.data, 4) && op->d_qkv.stride % 2 == 0;
}

static void attend_back_mma(struct queue *q, const struct op_attend_back *op,
                            struct cuda_attend_back a)
{
    enum { ROWS = 64, TILES = 2 * 2 * 64 * 72 * 2, LEVELS = 2 * 64 * sizeof(float) };
    int blocks;

    a.blocks = dn_cuda_stage_blocks(q, op->starts, op->sequences, ROWS, &blocks);
    if (a.dtype == DINO_BF16) {
        CUDA_LAUNCH(q, dn_attend_back_queries_mma_bf16_kernel, blocks, op->heads, 128, TILES,
                    a);
        CUDA_LAUNCH(q, dn_attend_back_keys_mma_bf16_kernel, blocks, op->heads, 128,
                    TILES + LEVELS, a);
    } else {
        CUDA_LAUNCH(q, dn_attend_back_queries_mma_f16_kernel, blocks, op->heads, 128, TILES, a);
        CUDA_LAUNCH(q, dn_attend_back_keys_mma_f16_kernel, blocks, op->heads, 128,
                    TILES + LEVELS, a);
    }
}

static void attend_back_f32(struct queue *q, const struct op_attend_back *op,
                            struct cuda_attend_back a)
{
    bool slim = a.width <= 64;
    int blocks, rows = slim ? 64 : 16;
    size_t floats = (size_t)(4 * rows * (a.width + 1) + rows * (rows + 1) + 2 * rows);

    a.blocks = dn_cuda_stage_blocks(q, op->starts, op->sequences, rows, &blocks);
    if (slim) {
        CUDA_LAUNCH(q, dn_attend_back_queries_64_kernel, blocks, op->heads, 256,
                    floats * sizeof(float), a);
        CUDA_LAUNCH(q, dn_attend_back_keys_64_kernel, blocks, op->heads, 256,
                    floats * sizeof(float), a);
    } else {
        CUDA_LAUNCH(q, dn_attend_back_queries_256_kernel, blocks, op->heads, 256,
                    floats * sizeof(float), a);
        CUDA_LAUNCH(q, dn_attend_back_keys_256_kernel, blocks, op->heads, 256,
                    floats * sizeof(float), a);
    }
}

void dn_cuda_attend_back(struct queue *q, const struct op_attend_back *op)
{
    size_t numbers = (size_t)op->heads * (size_t)op->y.rows;
    float *levels = dn_cuda_scratch(q, 2 * numbers * sizeof *levels);
    struct cuda_attend_back a = {
        .d_qkv = op->d_qkv.data,
        .d_y = op->d_y.data,
        .y = op->y.data,
        .qkv = op->qkv.data,
        .levels = levels,
        .means = levels ? levels + numbers : NULL,
        .d_qkv_stride = op->d_qkv.stride,
        .d_y_stride = op->d_y.stride,
        .y_stride = op->y.stride,
        .qkv_stride = op->qkv.stride,
        .heads = op->heads,
        .width = op->y.cols / op->heads,
        .dtype = op->qkv.dtype,
        .tokens = op->y.rows,
        .scale = (float)op->scale,
    };

    if (!levels)
        return;
    if (takes_mma(op))
        attend_back_mma(q, op, a);
    else
        attend_back_f32(q, op, a);
}

/* ---- nonlinearities and branches ---- */

void dn_cuda_swiglu_back(struct queue *q, const struct op_swiglu_back *op)
{
    struct cuda_swiglu_back a = {dn_cuda_mat(op->d_x), dn_cuda_mat(op->d_y),
                                 dn_cuda_mat(op->x)};

    if (op->d_y.cols % 4) /* the second half begins at no quad */
        a.x.quads = a.d_x.quads = 0;
    CUDA_LAUNCH(q, dn_swiglu_back_kernel, dn_cuda_quad_blocks(op->d_y), 1, POINTS_BLOCK, 0, a);
}

void dn_cuda_residual(struct queue *q, const struct op_residual *op)
{
    bool some = op->rows && op->x.data != op->y.data; /* the others pass as they are */
    struct cuda_residual a = {.y = dn_cuda_mat(op->y),
                              .x = dn_cuda_mat(some ? op->y : op->x),
                              .branch = dn_cuda_mat(op->branch),
                              .list = dn_cuda_mat(op->branch),
                              .gamma = op->gamma.data,
                              .to = dn_cuda_stage_rows(q, op->rows, op->branch.rows),
                              .alpha = (float)op->alpha};

    if (some)
        dn_cuda_copy(q, &(struct op_copy){.y = op->y, .x = op->x});
    CUDA_LAUNCH(q, dn_residual_kernel, dn_cuda_quad_blocks(op->branch), 1, POINTS_BLOCK, 0, a);
}

void dn_cuda_residual_back(struct queue *q, const struct op_residual_back *op)
{
    float *parts = op->d_gamma.data ? dn_cuda_scratch(q, parts_bytes(op->branch)) : NULL;
    struct cuda_residual_back a = {
        .d_branch = dn_cuda_mat(op->d_branch),
        .d_y = dn_cuda_mat(op->d_y),
        .branch = dn_cuda_mat(op->branch),
        .gamma = op->gamma.data,
        .rows = dn_cuda_stage_rows(q, op->rows, op->branch.rows),
        .parts = parts,
        .alpha = (float)op->alpha,
    };

    if (op->d_gamma.data && !parts)
        return;
    CUDA_LAUNCH(q, dn_residual_back_kernel, tiles_of(op->branch), chunks_of(op->branch),
                COLUMN_THREADS, COLUMN_SHARED, a);
    if (parts)
        join(q, op->d_gamma, parts, op->branch, 1, true);
}
