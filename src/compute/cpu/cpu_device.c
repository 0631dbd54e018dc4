/* The device "cpu": opening, queues, memory, and the table of its operations. */
#include "compute/cpu/cpu_device.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/alloc.h"
#include "compute/cpu/cpu_train.h"
#include "compute/cpu/cpu_gemm.h"
#include "compute/host_memory.h"

static void device_close(struct device *d)
{
    struct cpu_device *cpu = (struct cpu_device *)d;

    dn_matmul_close(cpu->matmul);
    free(cpu);
}

static struct queue *queue_new(const struct device *d, int threads, struct dino_error *err)
{
    struct cpu_queue *q = dn_calloc(1, sizeof *q, "a queue", err);

    if (!q)
        return NULL;
    q->base = (struct queue){.device = d, .threads = threads};
    q->device = (const struct cpu_device *)d;
    if (q->device->gemm)
        q->team = dn_team_new(threads, err);
    else
        q->matmul = dn_matmul_cache_new(q->device->matmul, err);
    if (!q->team && !q->matmul) {
        free(q);
        return NULL;
    }
    return &q->base;
}

static void queue_free(struct queue *base)
{
    struct cpu_queue *q = dn_cpu_queue(base);

    dn_team_free(q->team);
    dn_matmul_cache_free(q->matmul);
    dn_free_aligned(q->scratch, q->scratch_bytes);
    free(q);
}

void *dn_cpu_scratch(struct queue *base, size_t bytes)
{
    struct cpu_queue *q = dn_cpu_queue(base);
    struct dino_error err;

    if (bytes <= q->scratch_bytes && q->scratch)
        return q->scratch;
    dn_free_aligned(q->scratch, q->scratch_bytes);
    q->scratch = dn_alloc_aligned(bytes, "scratch of the cpu device", &err);
    q->scratch_bytes = q->scratch ? bytes : 0;
    if (!q->scratch)
        dn_queue_fail(base, err.code, "%s", err.message);
    return q->scratch;
}

void dn_cpu_rows(struct queue *q, int rows, size_t numbers,
                 void (*task)(void *argument, int first, int last), void *argument)
{
    int threads = dn_cpu_threads(q, (size_t)rows * numbers);
    size_t grain = 1 + 8192 / (numbers + 1);

    dn_team_ranges(dn_cpu_queue(q)->team, threads, rows, (int)grain, task, argument);
}

/* Only our own products know int8 and gates. */
static struct weight *pack_any(const struct device *d, const struct weight_source *from,
                               struct dino_error *err)
{
    const struct gemm_kernels *gemm = ((const struct cpu_device *)d)->gemm;

    return gemm ? dn_gemm_pack(gemm, d->dtype, from, d->threads, err)
                : dn_cpu_pack(d, from->w, from->bias, err);
}

static struct weight *pack(const struct device *d, struct mat w, const float *bias,
                           struct dino_error *err)
{
    return pack_any(d, &(struct weight_source){.w = w, .bias = bias}, err);
}

static void weight_free(const struct device *d, struct weight *w)
{
    if (((const struct cpu_device *)d)->gemm)
        dn_gemm_weight_free(w);
    else
        dn_cpu_weight_free(d, w);
}

static void linear(struct queue *q, const struct op_linear *op)
{
    const struct gemm_kernels *gemm = dn_cpu_queue(q)->device->gemm;

    if (gemm)
        dn_gemm_linear(q, gemm, op);
    else
        dn_cpu_linear(q, op);
}

static const char *kernel_name(const struct device *d, const char *op)
{
    static const char *const ours[] = {"layernorm", "swiglu",       "gelu",
                                       "put_rows",  "copy",         "mean_rows",
                                       "patchify",  "place_tokens", NULL};
    const struct cpu_device *cpu = (const struct cpu_device *)d;

    if (strcmp(op, "linear") == 0)
        return cpu->gemm ? dn_gemm_name(cpu->gemm) : dn_matmul_name(cpu->matmul);
    if (strcmp(op, "attend") == 0 || strcmp(op, "attention_map") == 0)
        return dn_cpu_attend_name(cpu);
    for (int i = 0; ours[i]; i++)
        if (strcmp(op, ours[i]) == 0)
            return dn_isa_name(cpu->kernels.isa);
    return NULL;
}

/* GFLOP/s of one short run on `threads` threads at once. */
static double peak_once(kernel_peak *run, int threads, size_t rounds)
{
    double total = 0, sink = 0, start = omp_get_wtime();

#pragma omp parallel num_threads(threads) reduction(+ : total, sink)
    {
        double operations;
        sink += run(rounds, &operations);
        total += operations;
    }
    double seconds = omp_get_wtime() - start;
    return sink == sink && seconds > 0 ? total / seconds * 1e-9 : 0;
}

static double peak(const struct device *d, enum dino_dtype dtype, int threads)
{
    const struct kernels *k = &((const struct cpu_device *)d)->kernels;
    kernel_peak *run = dtype == DINO_F32    ? k->peak_f32
                       : dtype == DINO_BF16 ? k->peak_bf16
                       : dtype == DINO_I8   ? k->peak_i8
                                            : NULL;
    double best = 0;

    if (threads <= 0 || threads > d->threads)
        threads = d->threads;
    /* Many short runs: the first wake the processor up, and some are not interrupted. */
    for (int i = 0; run && i < 20; i++)
        best = fmax(best, peak_once(run, threads, 300000));
    return best;
}

static const struct device_ops cpu_ops = {
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
    .linear = linear,
    .attend = dn_cpu_attend,
    .attention_map = dn_cpu_attention_map,
    .layernorm = dn_cpu_layernorm,
    .swiglu = dn_cpu_swiglu,
    .gelu = dn_cpu_gelu,
    .put_rows = dn_cpu_put_rows,
    .copy = dn_cpu_copy,
    .mean_rows = dn_cpu_mean_rows,
    .patchify = dn_cpu_patchify,
    .place_tokens = dn_cpu_place_tokens,
    .train = &dn_cpu_train_ops,
    .kernel_name = kernel_name,
    .peak = peak,
};

struct device *dn_cpu_open(enum dino_dtype dtype, int threads, struct dino_error *err)
{
    if (dtype == DINO_AUTO) /* bf16 pays where the processor multiplies it, and only there */
        dtype = dn_cpu_features().isa >= DN_ISA_AVX512BF16 ? DINO_BF16 : DINO_F32;
    if (dtype != DINO_F32 && dtype != DINO_BF16 && dtype != DINO_I8) {
        dn_fail(err, DINO_EUNSUPPORTED, "device cpu computes f32, bf16 or int8, not %s",
                dino_dtype_name(dtype));
        return NULL;
    }
    struct cpu_device *d = dn_calloc(1, sizeof *d, "a device", err);
    if (!d)
        return NULL;
    d->base = (struct device){.ops = &cpu_ops,
                              .name = "cpu",
                              .dtype = dtype,
                              .activation = dtype,
                              .threads = threads,
                              .host_memory = true};
    d->features = dn_cpu_features();
    d->kernels = dn_kernels_choose(d->features.isa);
    d->gemm = dn_gemm_select(d->features.isa, dtype);
    if (dtype == DINO_I8)
        d->base.activation = d->features.isa >= DN_ISA_AVX512BF16 ? DINO_BF16 : DINO_F32;
    d->base.gates = d->gemm != NULL;
    if (!d->gemm)
        d->matmul = dn_matmul_open(d->features, dtype, err);
    if (!d->gemm && !d->matmul) {
        free(d);
        return NULL;
    }
    return &d->base;
}
