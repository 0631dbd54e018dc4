/* The device "ref": the definition of every operation. One thread, host memory, f64 inside. */
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "compute/host_memory.h"
#include "compute/ref/ref_ops.h"

static void device_close(struct device *d)
{
    free(d);
}

static struct queue *queue_new(const struct device *d, int threads, struct dino_error *err)
{
    struct queue *q = dn_calloc(1, sizeof *q, "a queue", err);

    if (q)
        *q = (struct queue){.device = d, .threads = threads};
    return q;
}

static void queue_free(struct queue *q)
{
    free(q);
}

static void weight_free(const struct device *d, struct weight *w)
{
    struct ref_weight *packed = (struct ref_weight *)w;

    (void)d;
    if (!packed)
        return;
    free(packed->values);
    free(packed->bias);
    free(packed);
}

static struct weight *pack(const struct device *d, struct mat w, const float *bias,
                           struct dino_error *err)
{
    struct ref_weight *packed = dn_calloc(1, sizeof *packed, "a weight", err);
    size_t rows = (size_t)w.rows, cols = (size_t)w.cols, count;
    ptrdiff_t number = (ptrdiff_t)dino_dtype_size(w.dtype);

    if (!packed)
        return NULL;
    if (!dn_size_mul(rows, cols, &count)) {
        dn_fail_memory(err, SIZE_MAX, "a weight");
        goto failed;
    }
    packed->values = dn_calloc(count, sizeof(double), "a weight", err);
    packed->bias = dn_calloc(rows, sizeof(double), "a bias", err);
    if (!packed->values || !packed->bias)
        goto failed;

    for (size_t r = 0; r < rows; r++) {
        const char *row = (const char *)w.data + (ptrdiff_t)r * w.stride * number;
        for (ptrdiff_t c = 0; c < w.cols; c++) {
            float value;
            dn_widen(&value, row + c * number, w.dtype, 1);
            packed->values[r * cols + (size_t)c] = value;
        }
        packed->bias[r] = bias ? bias[r] : 0;
    }
    packed->base = (struct weight){
        .rows = w.rows, .cols = w.cols, .dtype = d->dtype, .bytes = 8 * (count + rows)};
    return &packed->base;

failed:
    weight_free(d, &packed->base);
    return NULL;
}

/* Gated or not, the numbers lie as they came; int8 is never asked for. */
static struct weight *pack_any(const struct device *d, const struct weight_source *from,
                               struct dino_error *err)
{
    return pack(d, from->w, from->bias, err);
}

static const char *kernel_name(const struct device *d, const char *op)
{
    static const char *const ops[] = {"linear",    "attend",   "attention_map", "layernorm",
                                      "swiglu",    "gelu",     "put_rows",      "copy",
                                      "mean_rows", "patchify", "place_tokens",  NULL};
    (void)d;
    for (int i = 0; ops[i]; i++)
        if (strcmp(op, ops[i]) == 0)
            return "plain loops in f64";
    return NULL;
}

static double peak(const struct device *d, enum dino_dtype dtype, int threads)
{
    (void)d, (void)dtype, (void)threads;
    return 0; /* nobody asks a definition how fast it is */
}

static const struct device_ops ref_ops = {
    .close = device_close,
    .queue_new = queue_new,
    .queue_free = queue_free,
    .queue_sync = dn_host_sync,
    .alloc = dn_host_alloc,
    .free = dn_host_free,
    .upload = dn_host_transfer,
    .download = dn_host_transfer,
    .pack = pack,
    .pack_any = pack_any,
    .weight_free = weight_free,
    .linear = dn_ref_linear,
    .attend = dn_ref_attend,
    .attention_map = dn_ref_attention_map,
    .layernorm = dn_ref_layernorm,
    .swiglu = dn_ref_swiglu,
    .gelu = dn_ref_gelu,
    .put_rows = dn_ref_put_rows,
    .copy = dn_ref_copy,
    .mean_rows = dn_ref_mean_rows,
    .patchify = dn_ref_patchify,
    .place_tokens = dn_ref_place_tokens,
    .train = &dn_ref_train_ops,
    .kernel_name = kernel_name,
    .peak = peak,
};

struct device *dn_ref_open(enum dino_dtype dtype, int threads, struct dino_error *err)
{
    (void)threads; /* the definition has one */
    if (dtype == DINO_AUTO)
        dtype = DINO_F32;
    if (dtype != DINO_F32 && dtype != DINO_F64) {
        dn_fail(err, DINO_EUNSUPPORTED, "device ref computes f32 or f64, not %s",
                dino_dtype_name(dtype));
        return NULL;
    }
    struct device *d = dn_calloc(1, sizeof *d, "a device", err);
    if (d)
        *d = (struct device){.ops = &ref_ops,
                             .name = "ref",
                             .dtype = DINO_F64,
                             .activation = dtype,
                             .threads = 1,
                             .gates = true,
                             .host_memory = true};
    return d;
}
