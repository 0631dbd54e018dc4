#include "model/vit.h"

#include <string.h>

#include "base/alloc.h"
#include "base/half.h"

/* State of one packing: host scratch for one parameter, and where the next vector goes. */
struct packer {
    struct vit *vit;
    const struct weights *weights;
    struct queue *queue;
    float *matrix, *vector; /* host scratch, as large as the largest of their kind */
    float *scale;           /* of an int8 matrix; as large as vector */
    size_t next;            /* float in vit->vectors */
};

static bool is_vector(enum param param)
{
    switch (param) {
    case PARAM_CLS_TOKEN:
    case PARAM_REGISTER_TOKENS:
    case PARAM_MASK_TOKEN:
    case PARAM_NORM1_WEIGHT:
    case PARAM_NORM1_BIAS:
    case PARAM_LS1:
    case PARAM_NORM2_WEIGHT:
    case PARAM_NORM2_BIAS:
    case PARAM_LS2:
    case PARAM_NORM_WEIGHT:
    case PARAM_NORM_BIAS:
        return true;
    default:
        return false;
    }
}

/* Vectors start on cache lines. */
static size_t padded(size_t count)
{
    return (count + 15) / 16 * 16;
}

static const float *put_vector(struct packer *p, const float *host, size_t count)
{
    float *to = p->vit->vectors + p->next;

    p->queue->device->ops->upload(p->queue, to, host, count * sizeof *host);
    p->next += padded(count);
    return to;
}

/* Read one parameter and move it to the device; NULL where the network has none. */
static const float *pack_vector(struct packer *p, enum param param, int block)
{
    if (!dn_param_present(&p->vit->config, param))
        return NULL;
    dn_weights_read(p->weights, param, block, p->vector, &p->vit->bad_values);
    return put_vector(p, p->vector, dn_param_elements(&p->vit->config, param));
}

/* ls * bias, for devices that scale in a product's end. */
static const float *pack_scaled(struct packer *p, enum param ls, enum param bias, int block)
{
    const struct vit_config *c = &p->vit->config;
    int64_t counted_before = 0;

    if (!p->vit->device->scales || !dn_param_present(c, ls) || !dn_param_present(c, bias))
        return NULL;
    dn_weights_read(p->weights, ls, block, p->scale, &counted_before);
    dn_weights_read(p->weights, bias, block, p->vector, &counted_before);
    for (int d = 0; d < c->dim; d++)
        p->vector[d] *= p->scale[d];
    return put_vector(p, p->vector, (size_t)c->dim);
}

static struct weight *pack_mat(struct packer *p, const struct weight_source *from,
                               struct dino_error *err)
{
    const struct device *device = p->vit->device;
    bool plain = from->w.dtype == DINO_F32 && !from->gated;
    struct weight *packed = plain ? device->ops->pack(device, from->w, from->bias, err)
                                  : device->ops->pack_any(device, from, err);

    if (packed)
        p->vit->packed_bytes += packed->bytes;
    return packed;
}

/* Does the file hold bytes that the device multiplies? */
static bool takes_int8(const struct vit *vit, const struct weights *weights, enum param param,
                       int block)
{
    return vit->device->dtype == DINO_I8 && vit->device->ops->pack_any &&
           dn_weights_int8(weights, param, block);
}

/* A matrix as it lies in the file, if the device can pack it from there; else NULL. */
static const void *in_place(const struct vit *vit, const struct weights *weights,
                            enum param param, int block, enum dino_dtype *dtype)
{
    const void *data = dn_weights_view(weights, param, block, dtype);

    return data && (*dtype == DINO_F32 || vit->device->ops->pack_any) ? data : NULL;
}

/* The numbers of a matrix, as they lie in the file where that will do, else read to scratch. */
static struct weight_source read_matrix(struct packer *p, enum param param, int block)
{
    size_t count = dn_param_elements(&p->vit->config, param);
    struct weight_source from = {0};
    int64_t shape[4];

    dn_param_shape(&p->vit->config, param, shape);
    int rows = (int)shape[0], cols = (int)(count / (size_t)shape[0]);
    if (takes_int8(p->vit, p->weights, param, block)) {
        const int8_t *bytes = dn_weights_read_int8(p->weights, param, block,
                                                   (int8_t *)(void *)p->matrix, p->scale);
        from.w = dn_mat((void *)(uintptr_t)bytes, rows, cols, DINO_I8);
        from.scale = p->scale;
        return from;
    }
    enum dino_dtype dtype;
    const void *data = in_place(p->vit, p->weights, param, block, &dtype);
    if (data) {
        p->vit->bad_values += (int64_t)dn_count_bad(data, dtype, count);
    } else {
        dn_weights_read(p->weights, param, block, p->matrix, &p->vit->bad_values);
        data = p->matrix;
        dtype = DINO_F32;
    }
    from.w = dn_mat((void *)(uintptr_t)data, rows, cols, dtype);
    return from;
}

static struct weight *pack_matrix(struct packer *p, enum param weight, enum param bias,
                                  int block, struct dino_error *err)
{
    struct weight_source from = read_matrix(p, weight, block);

    from.gated = weight == PARAM_W12_WEIGHT && p->vit->device->gates;
    if (dn_param_present(&p->vit->config, bias)) {
        dn_weights_read(p->weights, bias, block, p->vector, &p->vit->bad_values);
        from.bias = p->vector;
    }
    struct weight *packed = pack_mat(p, &from, err);
    dn_weights_drop(p->weights, weight, block);
    return packed;
}

static struct weight *pack_unit(struct packer *p, struct dino_error *err)
{
    int dim = p->vit->config.dim;

    memset(p->matrix, 0, (size_t)dim * (size_t)dim * sizeof *p->matrix);
    for (int i = 0; i < dim; i++)
        p->matrix[(size_t)i * (size_t)dim + (size_t)i] = 1;
    struct weight_source from = {.w = dn_mat(p->matrix, dim, dim, DINO_F32)};
    return pack_mat(p, &from, err);
}

static bool pack_ffn(struct packer *p, struct vit_block *b, int i, struct dino_error *err)
{
    switch (p->vit->config.ffn) {
    case DINO_FFN_MLP:
        b->in = pack_matrix(p, PARAM_FC1_WEIGHT, PARAM_FC1_BIAS, i, err);
        b->out = b->in ? pack_matrix(p, PARAM_FC2_WEIGHT, PARAM_FC2_BIAS, i, err) : NULL;
        return b->in && b->out;
    case DINO_FFN_SWIGLU:
        b->in = pack_matrix(p, PARAM_W12_WEIGHT, PARAM_W12_BIAS, i, err);
        b->out = b->in ? pack_matrix(p, PARAM_W3_WEIGHT, PARAM_W3_BIAS, i, err) : NULL;
        return b->in && b->out;
    default:
        b->out = pack_unit(p, err);
        return b->out != NULL;
    }
}

static bool pack_block(struct packer *p, int i, struct dino_error *err)
{
    struct vit_block *b = &p->vit->blocks[i];

    b->norm1_weight = pack_vector(p, PARAM_NORM1_WEIGHT, i);
    b->norm1_bias = pack_vector(p, PARAM_NORM1_BIAS, i);
    b->qkv = pack_matrix(p, PARAM_QKV_WEIGHT, PARAM_QKV_BIAS, i, err);
    if (!b->qkv)
        return false;
    b->proj = pack_matrix(p, PARAM_PROJ_WEIGHT, PARAM_PROJ_BIAS, i, err);
    if (!b->proj)
        return false;
    b->ls1 = pack_vector(p, PARAM_LS1, i);
    b->norm2_weight = pack_vector(p, PARAM_NORM2_WEIGHT, i);
    b->norm2_bias = pack_vector(p, PARAM_NORM2_BIAS, i);
    b->ls2 = pack_vector(p, PARAM_LS2, i);
    b->proj_bias = pack_scaled(p, PARAM_LS1, PARAM_PROJ_BIAS, i);
    if (p->vit->config.ffn == DINO_FFN_MLP)
        b->out_bias = pack_scaled(p, PARAM_LS2, PARAM_FC2_BIAS, i);
    if (p->vit->config.ffn == DINO_FFN_SWIGLU)
        b->out_bias = pack_scaled(p, PARAM_LS2, PARAM_W3_BIAS, i);
    return pack_ffn(p, b, i, err);
}

/* The class token never moves: its position is added once, here. The grid stays on the host. */
static bool pack_embeddings(struct packer *p, struct dino_error *err)
{
    struct vit *vit = p->vit;
    size_t dim = (size_t)vit->config.dim;
    size_t entries = dn_param_elements(&vit->config, PARAM_POS_EMBED) - dim;

    vit->grid = dn_calloc(entries + dim, sizeof *vit->grid, "position embeddings", err);
    if (!vit->grid)
        return false;
    dn_weights_read(p->weights, PARAM_POS_EMBED, -1, vit->grid, &vit->bad_values);
    dn_weights_read(p->weights, PARAM_CLS_TOKEN, -1, p->vector, &vit->bad_values);
    for (size_t d = 0; d < dim; d++)
        p->vector[d] += vit->grid[d];
    vit->cls = put_vector(p, p->vector, dim);
    memmove(vit->grid, vit->grid + dim, entries * sizeof *vit->grid);

    vit->registers = pack_vector(p, PARAM_REGISTER_TOKENS, -1);
    vit->mask = pack_vector(p, PARAM_MASK_TOKEN, -1);
    vit->norm_weight = pack_vector(p, PARAM_NORM_WEIGHT, -1);
    vit->norm_bias = pack_vector(p, PARAM_NORM_BIAS, -1);
    vit->patch = pack_matrix(p, PARAM_PATCH_WEIGHT, PARAM_PATCH_BIAS, -1, err);
    return vit->patch != NULL;
}

/* Floats of scratch that a matrix wants when it cannot be packed straight from the file. */
static size_t scratch_of(const struct vit *vit, const struct weights *weights, enum param param)
{
    size_t count = dn_param_elements(&vit->config, param), most = 0;
    int blocks = dn_param_per_block(param) ? vit->config.depth : 1;

    for (int i = 0; i < blocks; i++) {
        enum dino_dtype dtype;
        size_t wanted = in_place(vit, weights, param, i, &dtype) ? 0 : count;
        if (takes_int8(vit, weights, param, i))
            wanted = count / sizeof(float) + 1;
        most = wanted > most ? wanted : most;
    }
    return most;
}

/* Count the floats of device memory for all vectors; find the largest matrix and vector that
 * pass through host scratch. */
static void measure(struct vit *vit, const struct weights *weights, size_t *matrix,
                    size_t *vector)
{
    size_t dim = (size_t)vit->config.dim;

    *vector = *matrix = 0;
    if (vit->config.ffn == DINO_FFN_IDENTITY)
        *matrix = dim * dim;
    for (int i = 0; i < PARAM_COUNT; i++) {
        enum param param = (enum param)i;
        if (!dn_param_present(&vit->config, param) || param == PARAM_POS_EMBED)
            continue;
        size_t count = dn_param_elements(&vit->config, param);
        int64_t shape[4];
        if (dn_param_is_matrix(param)) { /* its bias and scales are vectors */
            size_t wanted = scratch_of(vit, weights, param);
            *matrix = wanted > *matrix ? wanted : *matrix;
            dn_param_shape(&vit->config, param, shape);
            count = (size_t)shape[0];
        }
        if (is_vector(param))
            vit->vector_count +=
                padded(count) * (size_t)(dn_param_per_block(param) ? vit->config.depth : 1);
        if ((param == PARAM_LS1 || param == PARAM_LS2) && vit->device->scales)
            vit->vector_count += padded(count) * (size_t)vit->config.depth; /* and its bias */
        *vector = count > *vector ? count : *vector;
    }
}

bool dn_vit_pack(struct vit *vit, const struct device *device, const struct weights *weights,
                 struct dino_error *err)
{
    struct packer p = {.vit = vit, .weights = weights};
    size_t matrix, vector;
    bool ok = false;

    *vit = (struct vit){.config = weights->config, .device = device};
    measure(vit, weights, &matrix, &vector);
    vit->blocks = dn_calloc((size_t)vit->config.depth, sizeof *vit->blocks, "blocks", err);
    p.vector = dn_calloc(vector, 2 * sizeof *p.vector, "weights", err);
    p.scale = p.vector ? p.vector + vector : NULL;
    p.matrix = dn_calloc(matrix, sizeof *p.matrix, "weights", err);
    p.queue = dn_queue_new(device, 0, err);
    if (!vit->blocks || !p.vector || !p.matrix || !p.queue)
        goto done;
    vit->vectors = device->ops->alloc(device, vit->vector_count * sizeof *vit->vectors, err);
    if (!vit->vectors)
        goto done;
    vit->packed_bytes = vit->vector_count * sizeof *vit->vectors;

    ok = pack_embeddings(&p, err);
    for (int i = 0; ok && i < vit->config.depth; i++)
        ok = pack_block(&p, i, err);
    ok = dn_queue_finish(p.queue, ok ? err : NULL) && ok;
done:
    dn_queue_free(p.queue);
    free(p.matrix);
    free(p.vector);
    if (!ok)
        dn_vit_release(vit);
    return ok;
}

void dn_vit_release(struct vit *vit)
{
    const struct device *device = vit->device;

    for (int i = 0; vit->blocks && i < vit->config.depth; i++) {
        struct weight *matrices[] = {vit->blocks[i].qkv, vit->blocks[i].proj, vit->blocks[i].in,
                                     vit->blocks[i].out};
        for (size_t m = 0; m < sizeof matrices / sizeof *matrices; m++)
            if (matrices[m])
                device->ops->weight_free(device, matrices[m]);
    }
    if (vit->patch)
        device->ops->weight_free(device, vit->patch);
    if (vit->vectors)
        device->ops->free(device, vit->vectors, vit->vector_count * sizeof *vit->vectors);
    free(vit->blocks);
    free(vit->grid);
    *vit = (struct vit){0};
}
