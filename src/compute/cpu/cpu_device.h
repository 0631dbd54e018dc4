/*
 * Inside the device "cpu": its device and queue, and one function an operation. Matrix
 * products are in cpu_gemm.c (ours) and cpu_matmul.c (oneDNN), attention in cpu_attend.c,
 * operations on rows in cpu_rows.c, on single numbers in cpu_points.c, threads in cpu_team.c.
 *
 * Beside oneDNN's products the threads are OpenMP's. libgomp's threads spin for milliseconds
 * before they sleep. On cores that others use too this is ruinous: two processes of two threads
 * on two cores did 20 small rounds a second, with OMP_WAIT_POLICY=passive 700. Alone on the
 * machine passive halves the speed of small operations, while GOMP_SPINCOUNT=1000 costs nothing
 * there and bears company several times better than the default. libgomp reads its environment
 * while it is loaded, before any code of ours: a program that wants another policy sets it
 * before it starts, or starts itself again.
 */
#ifndef COMPUTE_CPU_DEVICE_H
#define COMPUTE_CPU_DEVICE_H

#include "compute/cpu/cpu_team.h"
#include "compute/cpu/kernels.h"
#include "compute/device.h"

struct cpu_device {
    struct device base;
    struct cpu_features features;
    struct kernels kernels;
    const struct gemm_kernels *gemm; /* our own matrix products, or NULL: oneDNN's */
    struct matmul_engine *matmul;    /* NULL where products are ours */
};

struct cpu_queue {
    struct queue base;
    const struct cpu_device *device;
    struct team *team;           /* NULL beside oneDNN: OpenMP's threads */
    struct matmul_cache *matmul; /* compiled primitives */
    void *scratch;
    size_t scratch_bytes;
};

static inline struct cpu_queue *dn_cpu_queue(struct queue *q)
{
    return (struct cpu_queue *)q;
}

static inline const struct kernels *dn_cpu_kernels(struct queue *q)
{
    return &dn_cpu_queue(q)->device->kernels;
}

/* At least `bytes` of memory aligned to DN_ALIGN that lasts until the next call; kept from
 * operation to operation. NULL after dn_queue_fail. */
void *dn_cpu_scratch(struct queue *q, size_t bytes);

/* How many threads this much work (in numbers touched) is worth: waking one costs about as
 * much as a few thousand numbers. */
static inline int dn_cpu_threads(const struct queue *q, size_t numbers)
{
    size_t worth = 1 + numbers / 8192;
    return worth < (size_t)q->threads ? (int)worth : q->threads;
}

/* task(argument, first, last) for ranges of rows that make up [0, rows), shared among threads
 * where there is enough to do; `numbers` are touched in a row. */
void dn_cpu_rows(struct queue *q, int rows, size_t numbers,
                 void (*task)(void *argument, int first, int last), void *argument);

/* cpu_matmul.c */
struct matmul_engine *dn_matmul_open(struct cpu_features features, enum dino_dtype dtype,
                                     struct dino_error *err);
void dn_matmul_close(struct matmul_engine *engine);
struct matmul_cache *dn_matmul_cache_new(const struct matmul_engine *engine,
                                         struct dino_error *err);
void dn_matmul_cache_free(struct matmul_cache *cache);
struct weight *dn_cpu_pack(const struct device *d, struct mat w, const float *bias,
                           struct dino_error *err);
void dn_cpu_weight_free(const struct device *d, struct weight *w);
void dn_cpu_linear(struct queue *q, const struct op_linear *op);
/* "onednn 2.6 brg:avx512_core" */
const char *dn_matmul_name(const struct matmul_engine *engine);

/* cpu_attend.c */
void dn_cpu_attend(struct queue *q, const struct op_attend *op);
void dn_cpu_attention_map(struct queue *q, const struct op_attention_map *op);
const char *dn_cpu_attend_name(const struct cpu_device *d);

/* cpu_rows.c */
void dn_cpu_layernorm(struct queue *q, const struct op_layernorm *op);
void dn_cpu_put_rows(struct queue *q, const struct op_put_rows *op);
void dn_cpu_mean_rows(struct queue *q, const struct op_mean_rows *op);
void dn_cpu_patchify(struct queue *q, const struct op_patchify *op);
void dn_cpu_place_tokens(struct queue *q, const struct op_place_tokens *op);

/* cpu_points.c */
void dn_cpu_swiglu(struct queue *q, const struct op_swiglu *op);
void dn_cpu_gelu(struct queue *q, const struct op_gelu *op);
void dn_cpu_copy(struct queue *q, const struct op_copy *op);
/* A run of n numbers of one row from column c on, as f32: in place, or converted to
 * buffer. And back. */
const float *dn_cpu_load(const struct kernels *k, float *buffer, struct mat m, int row, int c,
                         size_t n);
float *dn_cpu_room(float *buffer, struct mat m, int row, int c);
void dn_cpu_store(const struct kernels *k, struct mat m, int row, int c, const float *from,
                  size_t n);
/* The address of element (row, c). */
static inline void *dn_cpu_at(struct mat m, int row, int c)
{
    return (char *)m.data +
           ((ptrdiff_t)row * m.stride + c) * (ptrdiff_t)dino_dtype_size(m.dtype);
}

#endif
