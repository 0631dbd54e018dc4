/* The operations of the device "cuda" but products: arguments for kernels, and how many blocks
 * of them. */
#include "compute/cuda/cuda_device.h"

#include <string.h>

#include "base/alloc.h"

struct cuda_mat dn_cuda_mat(struct mat m)
{
    return (struct cuda_mat){
        .data = m.data,
        .stride = m.stride,
        .rows = m.rows,
        .cols = m.cols,
        .dtype = m.dtype,
        .quads = m.data && m.cols % 4 == 0 && m.stride % 4 == 0 &&
                 dn_cuda_aligned(m.data, 4 * dino_dtype_size(m.dtype)),
    };
}

int dn_cuda_quad_blocks(struct mat m)
{
    return dn_cuda_ceil((int64_t)m.rows * ((m.cols + 3) / 4), POINTS_BLOCK);
}

/* ---- rows ---- */

void dn_cuda_layernorm(struct queue *q, const struct op_layernorm *op)
{
    struct cuda_layernorm a = {.y = dn_cuda_mat(op->y),
                               .x = dn_cuda_mat(op->x),
                               .weight = op->weight,
                               .bias = op->bias,
                               .eps = op->eps};

    a.quads = a.y.quads && a.x.quads && dn_cuda_aligned(op->weight, 16) &&
              dn_cuda_aligned(op->bias, 16);
    CUDA_LAUNCH(q, dn_layernorm_kernel, dn_cuda_ceil(op->x.rows, 4), 1, 128, 0, a);
}

const int32_t *dn_cuda_stage_rows(struct queue *q, const int *rows, int count)
{
    return dn_cuda_stage(q, rows, (size_t)count * sizeof *rows);
}

void dn_cuda_put_rows(struct queue *q, const struct op_put_rows *op)
{
    struct cuda_put_rows a = {.y = dn_cuda_mat(op->y),
                              .x = dn_cuda_mat(op->x),
                              .add = dn_cuda_mat(op->add),
                              .to = dn_cuda_stage_rows(q, op->to, op->count),
                              .from = dn_cuda_stage_rows(q, op->from, op->count)};

    CUDA_LAUNCH(q, dn_put_rows_kernel, op->count, 1, 128, 0, a);
}

void dn_cuda_mean_rows(struct queue *q, const struct op_mean_rows *op)
{
    struct cuda_mean_rows a = {.y = dn_cuda_mat(op->y),
                               .x = dn_cuda_mat(op->x),
                               .starts = dn_cuda_stage_rows(q, op->starts, op->sequences + 1),
                               .skip = op->skip};

    CUDA_LAUNCH(q, dn_mean_rows_kernel, dn_cuda_ceil(op->x.cols, 32), op->sequences, 256,
                8 * 32 * sizeof(double), a);
}

/* Planes may lie on either side. */
static bool on_device(const float *planes)
{
    struct cudaPointerAttributes attributes;

    return planes && cudaPointerGetAttributes(&attributes, planes) == cudaSuccess &&
           attributes.type == cudaMemoryTypeDevice;
}

/* Bytes of a picture that come from the host. */
static size_t picture_bytes(const struct op_picture *p, int channels)
{
    size_t numbers = (size_t)channels * (size_t)p->height * (size_t)p->width;

    return p->planes ? on_device(p->planes) ? 0 : numbers * sizeof(float) : numbers;
}

/* The table and then what it points to, in one piece of a stage. */
static const struct cuda_picture *stage_pictures(struct queue *q, const struct op_patchify *op)
{
    size_t bytes = dn_cuda_padded((size_t)op->count * sizeof(struct cuda_picture)), at = bytes;
    const void *device;
    int32_t first = 0;

    for (int i = 0; i < op->count; i++)
        bytes += dn_cuda_padded(picture_bytes(&op->pictures[i], op->channels));
    char *room = dn_cuda_stage_room(q, bytes, &device);
    struct cuda_picture *to = (struct cuda_picture *)(void *)room;
    for (int i = 0; room && i < op->count; i++) {
        const struct op_picture *p = &op->pictures[i];
        size_t size = picture_bytes(p, op->channels);
        const char *there = (const char *)device + at;
        to[i] = (struct cuda_picture){.first = first, .height = p->height, .width = p->width};
        if (!p->planes)
            to[i].pixels = (const uint8_t *)there;
        else
            to[i].planes = size ? (const float *)(const void *)there : p->planes;
        dn_cuda_stage_copy(q, room + at, p->planes ? (const void *)p->planes : p->pixels, size);
        memcpy(to[i].mean, p->mean, sizeof to[i].mean);
        memcpy(to[i].std, p->std, sizeof to[i].std);
        first += (p->height / op->patch) * (p->width / op->patch);
        at += dn_cuda_padded(size);
    }
    return device;
}

void dn_cuda_patchify(struct queue *q, const struct op_patchify *op)
{
    struct cuda_patchify a = {.y = dn_cuda_mat(op->y),
                              .pictures = stage_pictures(q, op),
                              .count = op->count,
                              .patch = op->patch};

    CUDA_LAUNCH(q, dn_patchify_kernel, op->y.rows, 1, 128, 0, a);
}

void dn_cuda_place_tokens(struct queue *q, const struct op_place_tokens *op)
{
    struct cuda_place_tokens a = {
        .y = dn_cuda_mat(op->y),
        .x = dn_cuda_mat(op->x),
        .cls = op->cls,
        .registers = op->registers,
        .positions = dn_cuda_stage(q, op->positions, (size_t)op->count * sizeof(float *)),
        .starts = dn_cuda_stage_rows(q, op->starts, op->count + 1),
        .count = op->count,
        .register_count = op->register_count,
    };

    CUDA_LAUNCH(q, dn_place_tokens_kernel, op->starts[op->count] - op->starts[0], 1, 128, 0, a);
}

/* ---- single numbers ---- */

void dn_cuda_gelu(struct queue *q, const struct op_gelu *op)
{
    struct cuda_points a = {dn_cuda_mat(op->y), dn_cuda_mat(op->x)};

    CUDA_LAUNCH(q, dn_gelu_kernel, dn_cuda_quad_blocks(op->y), 1, POINTS_BLOCK, 0, a);
}

void dn_cuda_swiglu(struct queue *q, const struct op_swiglu *op)
{
    struct cuda_points a = {dn_cuda_mat(op->y), dn_cuda_mat(op->x)};

    a.x.quads = a.x.quads && op->y.cols % 4 == 0; /* the second half begins at a quad */
    CUDA_LAUNCH(q, dn_swiglu_kernel, dn_cuda_quad_blocks(op->y), 1, POINTS_BLOCK, 0, a);
}

void dn_cuda_copy(struct queue *q, const struct op_copy *op)
{
    struct cuda_points a = {dn_cuda_mat(op->y), dn_cuda_mat(op->x)};

    CUDA_LAUNCH(q, dn_copy_kernel, dn_cuda_quad_blocks(op->y), 1, POINTS_BLOCK, 0, a);
}

/* ---- attention ---- */

const struct cuda_attend_block *dn_cuda_stage_blocks(struct queue *q, const int *starts,
                                                     int sequences, int rows, int *count)
{
    const void *device;
    int n = 0;

    *count = 0;
    for (int s = 0; s < sequences; s++)
        *count += dn_cuda_ceil(starts[s + 1] - starts[s], rows);
    struct cuda_attend_block *blocks =
        dn_cuda_stage_room(q, (size_t)*count * sizeof *blocks, &device);
    for (int s = 0; blocks && s < sequences; s++) {
        int first = starts[s], tokens = starts[s + 1] - first;
        for (int row = 0; row < tokens; row += rows)
            blocks[n++] = (struct cuda_attend_block){first, tokens, row};
    }
    return device;
}

/* Tensor cores take heads of 64 in 16 bits whose rows begin at multiples of 16 bytes. */
static bool takes_mma(const struct op_attend *op)
{
    return op->y.cols == 64 * op->heads &&
           (op->qkv.dtype == DINO_BF16 || op->qkv.dtype == DINO_F16) &&
           dn_cuda_aligned(op->qkv.data, 16) && op->qkv.stride % 8 == 0 &&
           dn_cuda_aligned(op->y.data, 4) && op->y.stride % 2 == 0;
}

void dn_cuda_attend(struct queue *q, const struct op_attend *op)
{
    enum { MMA_QUERIES = 64, MMA_SHARED = 2 * 2 * 64 * 72 * 2 };
    int blocks, width = op->y.cols / op->heads;
    struct cuda_attend a = {.y = op->y.data,
                            .qkv = op->qkv.data,
                            .y_stride = op->y.stride,
                            .qkv_stride = op->qkv.stride,
                            .heads = op->heads,
                            .width = width,
                            .dtype = op->qkv.dtype,
                            .scale = (float)op->scale};

    if (takes_mma(op)) {
        a.blocks = dn_cuda_stage_blocks(q, op->starts, op->sequences, MMA_QUERIES, &blocks);
        if (a.dtype == DINO_BF16)
            CUDA_LAUNCH(q, dn_attend_mma_bf16_kernel, blocks, op->heads, 128, MMA_SHARED, a);
        else
            CUDA_LAUNCH(q, dn_attend_mma_f16_kernel, blocks, op->heads, 128, MMA_SHARED, a);
        return;
    }
    int rows = width <= 64 ? 64 : 32; /* queries of a block, and keys of a tile */
    size_t floats = (size_t)(2 * rows * (width + 1) + rows * (rows + 1));
    a.blocks = dn_cuda_stage_blocks(q, op->starts, op->sequences, rows, &blocks);
    if (width <= 64)
        CUDA_LAUNCH(q, dn_attend_64_kernel, blocks, op->heads, 256, floats * sizeof(float), a);
    else
        CUDA_LAUNCH(q, dn_attend_256_kernel, blocks, op->heads, 256, floats * sizeof(float), a);
}

void dn_cuda_attention_map(struct queue *q, const struct op_attention_map *op)
{
    struct cuda_attention_map a = {.y = op->y.data,
                                   .qkv = op->qkv.data,
                                   .y_stride = op->y.stride,
                                   .qkv_stride = op->qkv.stride,
                                   .tokens = op->qkv.rows,
                                   .heads = op->heads,
                                   .width = op->qkv.cols / 3 / op->heads,
                                   .dtype = op->qkv.dtype,
                                   .scale = op->scale};

    CUDA_LAUNCH(q, dn_attention_map_kernel, a.tokens, op->heads, 128, (256 + 8) * sizeof(float),
                a);
}
