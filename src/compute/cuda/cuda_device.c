/* The device "cuda": opening, memory, weights, and the table of its operations. */
#include "compute/cuda/cuda_device.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "compute/cuda/cuda_product.h"
#include "compute/cuda/cuda_train.h"

bool dn_cuda_ok(cudaError_t result, const struct cuda_device *d, const char *what,
                struct dino_error *err)
{
    if (result == cudaSuccess)
        return true;
    cudaGetLastError(); /* it would be reported again by the next call */
    return dn_fail(err, result == cudaErrorMemoryAllocation ? DINO_ENOMEM : DINO_EDEVICE,
                   "%s failed at %s: %s", d->base.name, what, cudaGetErrorString(result));
}

/* ---- memory ---- */

void *dn_cuda_alloc(const struct device *base, size_t bytes, struct dino_error *err)
{
    const struct cuda_device *d = dn_cuda_device(base);
    size_t left = 0, total = 0;
    void *memory = NULL;

    if (!dn_cuda_ok(cudaSetDevice(d->index), d, "choosing the GPU", err))
        return NULL;
    cudaError_t result = cudaMalloc(&memory, bytes ? bytes : 1);
    if (result == cudaSuccess)
        return memory;
    if (result != cudaErrorMemoryAllocation) {
        dn_cuda_ok(result, d, "memory", err);
        return NULL;
    }
    cudaGetLastError();
    cudaMemGetInfo(&left, &total);
    dn_fail(err, DINO_ENOMEM, "%s: out of memory: wanted %zu MiB, %zu of %zu MiB are free",
            d->base.name, (bytes + (1 << 20) - 1) >> 20, left >> 20, total >> 20);
    return NULL;
}

void dn_cuda_free(const struct device *base, void *memory, size_t bytes)
{
    (void)bytes;
    if (!memory)
        return;
    cudaSetDevice(dn_cuda_device(base)->index);
    cudaFree(memory);
}

static double room(const struct device *base)
{
    const struct cuda_device *d = dn_cuda_device(base);
    size_t left = 0, total = 0;

    if (dn_cuda_ok(cudaSetDevice(d->index), d, "choosing the GPU", NULL))
        dn_cuda_ok(cudaMemGetInfo(&left, &total), d, "asking for its memory", NULL);
    return (double)left;
}

static void *host_alloc(const struct device *base, size_t bytes, struct dino_error *err)
{
    const struct cuda_device *d = dn_cuda_device(base);
    void *memory = NULL;

    if (dn_cuda_ok(cudaSetDevice(d->index), d, "choosing the GPU", err) &&
        dn_cuda_ok(cudaHostAlloc(&memory, bytes ? bytes : 1, cudaHostAllocDefault), d,
                   "page-locked memory", err))
        return memory;
    return NULL;
}

static void host_free(const struct device *d, void *memory)
{
    cudaSetDevice(dn_cuda_device(d)->index);
    cudaFreeHost(memory);
}

/* ---- weights ---- */

static void weight_free(const struct device *d, struct weight *base)
{
    struct cuda_weight *w = (struct cuda_weight *)base;

    if (!w)
        return;
    dn_cuda_free(d, w->values, w->allocated);
    free(w);
}

/* The dtype a device's weights are stored in. */
static enum dino_dtype stored_dtype(const struct device *d)
{
    return d->dtype == DINO_TF32 ? DINO_F32 : d->dtype;
}

/* Where things lie in a weight's block: rows in the device's dtype, `stride` elements apart,
 * the bias in f32, and in 16 bits. */
struct placing {
    enum dino_dtype dtype;
    size_t size, stride, bias, bias16, bytes;
};

static bool place(const struct device *d, struct mat w, struct placing *p,
                  struct dino_error *err)
{
    enum { ALIGN = 64 }; /* bytes: what tensor cores like rows to begin at */
    size_t rows = (size_t)w.rows;

    p->dtype = stored_dtype(d);
    p->size = dino_dtype_size(p->dtype);
    p->stride = ((size_t)w.cols * p->size + ALIGN - 1) / ALIGN * ALIGN / p->size;
    if (!dn_size_mul(rows, p->stride * p->size, &p->bias) ||
        !dn_size_add(p->bias, (rows + ALIGN) * 6, &p->bytes))
        return dn_fail_memory(err, SIZE_MAX, "a weight");
    p->bias16 = p->bias + (rows * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN;
    return true;
}

/* The block on the host, zeros where nothing lies. */
static char *convert(const struct placing *p, struct mat w, const float *bias,
                     struct dino_error *err)
{
    char *block = dn_calloc(1, p->bytes, "a weight", err);

    for (int r = 0; block && r < w.rows; r++) {
        const char *row = (const char *)w.data + (ptrdiff_t)r * w.stride * 4;
        char *to = block + (size_t)r * p->stride * p->size;
        for (int c = 0; c < w.cols; c++) { /* the file's floats may be unaligned */
            float value;
            memcpy(&value, row + 4 * (ptrdiff_t)c, sizeof value);
            dn_from_f32(to + (size_t)c * p->size, p->dtype, &value, 1);
        }
    }
    if (block && bias) {
        memcpy(block + p->bias, bias, (size_t)w.rows * sizeof *bias);
        if (p->size == 2)
            dn_from_f32(block + p->bias16, p->dtype, bias, (size_t)w.rows);
    }
    return block;
}

static struct weight *pack(const struct device *base, struct mat w, const float *bias,
                           struct dino_error *err)
{
    const struct cuda_device *d = dn_cuda_device(base);
    struct placing p;
    struct cuda_weight *packed = dn_calloc(1, sizeof *packed, "a weight", err);

    if (!packed || !place(base, w, &p, err)) {
        free(packed);
        return NULL;
    }
    char *block = convert(&p, w, bias, err);
    packed->values = block ? dn_cuda_alloc(base, p.bytes, err) : NULL;
    packed->allocated = p.bytes;
    bool ok = packed->values &&
              dn_cuda_ok(cudaMemcpy(packed->values, block, p.bytes, cudaMemcpyHostToDevice), d,
                         "a copy", err);
    free(block);
    if (!ok) {
        weight_free(base, &packed->base);
        return NULL;
    }
    packed->stride = (int64_t)p.stride;
    if (bias) {
        packed->bias = (float *)(void *)((char *)packed->values + p.bias);
        if (p.size == 2)
            packed->bias16 = (uint16_t *)(void *)((char *)packed->values + p.bias16);
    }
    packed->base =
        (struct weight){.rows = w.rows, .cols = w.cols, .dtype = base->dtype, .bytes = p.bytes};
    return &packed->base;
}

/* ---- the table ---- */

static void device_close(struct device *d)
{
    free(d);
}

static const char *kernel_name(const struct device *d, const char *op)
{
    static const char *const ours[] = {"attention_map", "layernorm", "swiglu",    "gelu",
                                       "put_rows",      "copy",      "mean_rows", "patchify",
                                       "place_tokens",  NULL};
    bool halves = d->activation == DINO_BF16 || d->activation == DINO_F16;

    if (strcmp(op, "linear") == 0)
        return dn_product_name();
    if (strcmp(op, "attend") == 0)
        return halves ? "cuda: mma.sync for heads of 64, others in f32" : "cuda: f32";
    for (int i = 0; ours[i]; i++)
        if (strcmp(op, ours[i]) == 0)
            return "cuda";
    return NULL;
}

static double peak(const struct device *d, enum dino_dtype dtype, int threads)
{
    (void)d, (void)dtype, (void)threads;
    return 0; /* not measured */
}

static const struct device_ops cuda_ops = {
    .close = device_close,
    .queue_new = dn_cuda_queue_new,
    .queue_free = dn_cuda_queue_free,
    .queue_sync = dn_cuda_sync,
    .alloc = dn_cuda_alloc,
    .free = dn_cuda_free,
    .room = room,
    .cut = dn_cuda_cut,
    .rehearse = dn_cuda_rehearse,
    .upload = dn_cuda_upload,
    .download = dn_cuda_download,
    .fetch = dn_cuda_fetch,
    .arrive = dn_cuda_arrive,
    .host_alloc = host_alloc,
    .host_free = host_free,
    .pack = pack,
    .weight_free = weight_free,
    .linear = dn_cuda_linear,
    .attend = dn_cuda_attend,
    .attention_map = dn_cuda_attention_map,
    .layernorm = dn_cuda_layernorm,
    .swiglu = dn_cuda_swiglu,
    .gelu = dn_cuda_gelu,
    .put_rows = dn_cuda_put_rows,
    .copy = dn_cuda_copy,
    .mean_rows = dn_cuda_mean_rows,
    .patchify = dn_cuda_patchify,
    .place_tokens = dn_cuda_place_tokens,
    .train = &dn_cuda_train_ops,
    .peers = &dn_cuda_peers_ops,
    .kernel_name = kernel_name,
    .peak = peak,
};

/* ---- opening ---- */

static bool count_gpus(int *count, struct dino_error *err)
{
    int driver = 0, runtime = 0;
    cudaError_t result = cudaGetDeviceCount(count);

    if (result == cudaSuccess && *count > 0)
        return true;
    cudaGetLastError();
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        return dn_fail(err, DINO_EDEVICE, "device cuda: this machine has no NVIDIA driver");
    if (result == cudaErrorInsufficientDriver)
        return dn_fail(err, DINO_EDEVICE,
                       "device cuda: the NVIDIA driver is for CUDA %d.%d, wanted one for %d.%d "
                       "or later",
                       driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (result == cudaSuccess || result == cudaErrorNoDevice)
        return dn_fail(err, DINO_EDEVICE, "device cuda: this machine has no NVIDIA GPU");
    return dn_fail(err, DINO_EDEVICE, "device cuda: %s", cudaGetErrorString(result));
}

static int count_devices(struct dino_error *err)
{
    int gpus = 0;

    return count_gpus(&gpus, err) ? gpus : 0;
}

static bool dtype_ok(enum dino_dtype *dtype, struct dino_error *err)
{
    if (*dtype == DINO_AUTO)
        *dtype = DINO_BF16;
    return *dtype == DINO_F32 || *dtype == DINO_TF32 || *dtype == DINO_BF16 ||
           *dtype == DINO_F16 ||
           dn_fail(err, DINO_EUNSUPPORTED,
                   "device cuda computes f32, tf32, bf16 or f16, not %s",
                   dino_dtype_name(*dtype));
}

static struct cuda_device *device_new(enum dino_dtype dtype, int threads,
                                      struct dino_error *err)
{
    struct cuda_device *d = dn_calloc(1, sizeof *d, "a device", err);

    if (!d)
        return NULL;
    d->base = (struct device){.ops = &cuda_ops,
                              .name = "cuda",
                              .dtype = dtype,
                              .activation = dtype == DINO_TF32 ? DINO_F32 : dtype,
                              .threads = threads,
                              .scales = true,
                              .ffn_rows = 1 << 16,
                              .patch_rows = 1 << 16};
    d->tf32 = dtype == DINO_TF32;
    return d;
}

static struct device *describe(enum dino_dtype dtype, struct dino_error *err)
{
    struct cuda_device *d = dtype_ok(&dtype, err) ? device_new(dtype, 1, err) : NULL;

    if (!d)
        return NULL;
    d->described = true;
    return &d->base;
}

static struct device *open_device(int index, enum dino_dtype dtype, int threads,
                                  struct dino_error *err)
{
    struct cudaDeviceProp gpu;
    int count = 0;

    if (!dtype_ok(&dtype, err) || !count_gpus(&count, err))
        return NULL;
    if (index >= count) {
        dn_fail(err, DINO_EDEVICE, "device cuda:%d: this machine has %d GPU%s, from cuda:0 on",
                index, count, count == 1 ? "" : "s");
        return NULL;
    }
    struct cuda_device *d = device_new(dtype, threads, err);
    if (!d)
        return NULL;
    d->index = index;
    snprintf(d->base.name, sizeof d->base.name, "cuda:%d", index % 1024);
    if (!dn_cuda_ok(cudaGetDeviceProperties(&gpu, index), d, "asking for its properties", err))
        goto failed;
    snprintf(d->gpu, sizeof d->gpu, "%.63s", gpu.name);
    memcpy(d->base.identity, &gpu.uuid, sizeof d->base.identity);
    d->processors = gpu.multiProcessorCount;
    if (gpu.major >= 8)
        return &d->base;
    dn_fail(err, DINO_EUNSUPPORTED,
            "device %s: %s has compute capability %d.%d, wanted 8.0 (Ampere) or later",
            d->base.name, d->gpu, gpu.major, gpu.minor);
failed:
    free(d);
    return NULL;
}

extern const struct device_plugin dn_device_plugin;
__attribute__((visibility("default"))) const struct device_plugin dn_device_plugin = {
    .version = dino_version,
    .table_bytes = sizeof(struct device_ops),
    .count = count_devices,
    .open = open_device,
    .describe = describe,
};
