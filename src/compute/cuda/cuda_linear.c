/*
 * linear on the device "cuda": the library's product with bias, and with scale and residual
 * where it offers that; the exact GELU, what it declines and other residuals are one pass of
 * ours behind it (the library's GELU is the tanh form).
 */
#include "base/alloc.h"
#include "compute/cuda/cuda_device.h"
#include "compute/cuda/cuda_product.h"

struct mat dn_cuda_as(struct queue *q, struct mat x, enum dino_dtype dtype, void *scratch)
{
    struct mat copy = dn_mat(scratch, x.rows, x.cols, dtype);

    if (x.dtype == dtype)
        return x;
    dn_cuda_copy(q, &(struct op_copy){.y = copy, .x = x});
    return copy;
}

static struct product product_of(struct queue *q, struct mat y, struct mat x,
                                 const struct cuda_weight *w, struct mat residual)
{
    return (struct product){
        .y = y.data,
        .x = x.data,
        .w = w->values,
        .residual = residual.data,
        .bias = w->bias,
        .bias16 = y.dtype == x.dtype ? w->bias16 : NULL,
        .y_stride = y.stride,
        .x_stride = x.stride,
        .w_stride = w->stride,
        .residual_stride = residual.data ? residual.stride : 0,
        .m = y.rows,
        .n = y.cols,
        .k = x.cols,
        .y_dtype = y.dtype,
        .in_dtype = x.dtype,
        .tf32 = dn_cuda_device(q->device)->tf32,
    };
}

static void finish(struct queue *q, struct mat x, const struct op_linear *op)
{
    struct cuda_finish a = {.y = dn_cuda_mat(op->y),
                            .x = dn_cuda_mat(x),
                            .residual = dn_cuda_mat(op->residual),
                            .scale = op->scale,
                            .gelu = op->act == OP_GELU};
    int64_t quads = (int64_t)op->y.rows * ((op->y.cols + 3) / 4);

    CUDA_LAUNCH(q, dn_finish_kernel, (int)((quads + 255) / 256), 1, 256, 0, a);
}

/* scale * (x . w^T) + scaled bias + residual in one, if the operation has that form and the
 * library offers it. */
static bool multiply_scaled(struct queue *q, const struct op_linear *op)
{
    const struct cuda_weight *w = (const struct cuda_weight *)op->w;

    if (!op->scale || op->act != OP_NONE || op->y.dtype != DINO_F32 ||
        (w->bias && !op->scaled_bias) ||
        (op->residual.data && op->residual.rows != op->y.rows) ||
        !dn_cuda_aligned(op->scale, 16) || !dn_cuda_aligned(op->scaled_bias, 16))
        return false;
    struct product p = product_of(q, op->y, op->x, w, op->residual);
    p.scale = op->scale;
    p.bias = w->bias ? op->scaled_bias : NULL;
    p.bias16 = NULL;
    if (!dn_cuda_offers(q, &p))
        return false;
    dn_cuda_product(q, &p);
    return true;
}

void dn_cuda_linear(struct queue *q, const struct op_linear *op)
{
    const struct cuda_weight *w = (const struct cuda_weight *)op->w;
    enum dino_dtype dtype = q->device->dtype == DINO_TF32 ? DINO_F32 : q->device->dtype;
    size_t rows = (size_t)op->y.rows, x_bytes = 0, y_bytes = 0;
    bool plain = op->act == OP_NONE && !op->scale;
    bool added = plain && op->residual.data && op->residual.rows == op->y.rows &&
                 op->y.dtype == DINO_F32;
    bool direct = added || (plain && !op->residual.data);
    /* an activation may pass through y itself, what is scaled or added to is kept in f32 */
    bool in_place = op->act == OP_GELU && !op->scale && !op->residual.data;

    if (op->x.dtype == dtype && multiply_scaled(q, op))
        return;
    if (op->x.dtype != dtype)
        x_bytes = dn_cuda_padded(rows * (size_t)op->x.cols * dino_dtype_size(dtype));
    if (!direct && !in_place)
        y_bytes = rows * (size_t)op->y.cols * sizeof(float);
    char *scratch = x_bytes + y_bytes ? dn_cuda_scratch(q, x_bytes + y_bytes) : NULL;
    if (x_bytes + y_bytes && !scratch)
        return;

    struct mat x = dn_cuda_as(q, op->x, dtype, scratch), y = op->y;
    if (y_bytes)
        y = dn_mat(scratch + x_bytes, op->y.rows, op->y.cols, DINO_F32);
    struct product p = product_of(q, y, x, w, added ? op->residual : (struct mat){0});
    dn_cuda_product(q, &p);
    if (!direct)
        finish(q, y, op);
}
