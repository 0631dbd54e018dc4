/*
 * Inside the device "cuda". An operation does not run when it is called: it adds commands to
 * its queue's list (cuda_queue.c), and the list runs when somebody waits. A list that comes a
 * second time becomes a CUDA graph, which is launched from the third time on: the forward pass
 * of a shape is one launch. Operations are in cuda_ops.c (and cuda_linear.c), kernels in *.cu,
 * their arguments in cuda_kernels.h, products by cuBLASLt in cuda_cublaslt.c.
 */
#ifndef COMPUTE_CUDA_DEVICE_H
#define COMPUTE_CUDA_DEVICE_H

#include <cuda_runtime_api.h>

#include "compute/cuda/cuda_kernels.h"
#include "compute/device.h"

struct cuda_device {
    struct device base;
    int index;
    int processors; /* multiprocessors */
    bool tf32;      /* products of f32 may use it */
    bool described; /* there is no GPU: queues rehearse and nothing else */
    char gpu[64];   /* "NVIDIA H100 80GB HBM3" */
};

/* [rows, cols] in the device's dtype, rows `stride` elements apart; bias f32 or NULL, and
 * bias16 the same where the dtype has 16 bits. */
struct cuda_weight {
    struct weight base;
    void *values;
    float *bias;
    uint16_t *bias16;
    int64_t stride;
    size_t allocated;
};

struct cuda_queue;

static inline const struct cuda_device *dn_cuda_device(const struct device *d)
{
    return (const struct cuda_device *)d;
}

/* ---- cuda_device.c ---- */

/* "cuda:0: WHAT: why" into err, unless result is success. */
bool dn_cuda_ok(cudaError_t result, const struct cuda_device *d, const char *what,
                struct dino_error *err);
void *dn_cuda_alloc(const struct device *d, size_t bytes, struct dino_error *err);
void dn_cuda_free(const struct device *d, void *memory, size_t bytes);

/* ---- cuda_queue.c ---- */

struct queue *dn_cuda_queue_new(const struct device *d, int threads, struct dino_error *err);
void dn_cuda_queue_free(struct queue *q);
void dn_cuda_sync(struct queue *q);
void dn_cuda_upload(struct queue *q, void *to, const void *from, size_t bytes);
void dn_cuda_download(struct queue *q, void *to, const void *from, size_t bytes);
/* Hand over what was listed, without waiting, so that what others put on the queue's stream or
 * let it wait for comes behind it. The queue's GPU is chosen then; false if that failed. */
bool dn_cuda_flush(struct queue *q);
cudaStream_t dn_cuda_stream(const struct queue *q);

void dn_cuda_cut(struct queue *q);
/* device_ops.rehearse: its stages, its scratch, and what the library of products takes */
size_t dn_cuda_rehearse(struct queue *q, bool on);
void dn_cuda_fetch(struct queue *q, int place, void *to, const void *from, size_t bytes);
void dn_cuda_arrive(struct queue *q, int place);

/* Add a launch. args is copied; `shared` is the block's shared memory in bytes. */
void dn_cuda_launch(struct queue *q, const void *kernel, int grid_x, int grid_y, int threads,
                    size_t shared, const void *args, size_t bytes);
/* The same with one struct of arguments. */
#define CUDA_LAUNCH(q, kernel, grid_x, grid_y, threads, shared, args)                     \
    dn_cuda_launch(q, (const void *)(uintptr_t)(kernel), grid_x, grid_y, threads, shared, \
                   &(args), sizeof(args))

/* Device memory that will hold these bytes of the host when the list runs; they are copied
 * now. NULL for NULL, and after a failure. */
const void *dn_cuda_stage(struct queue *q, const void *host, size_t bytes);
/* The same, to be filled by the caller: where on the host, and *device. */
void *dn_cuda_stage_room(struct queue *q, size_t bytes, const void **device);
/* Into that room; a rehearsal has nothing to copy. */
void dn_cuda_stage_copy(struct queue *q, void *room, const void *host, size_t bytes);

/* At least this much device memory, the same for every operation of the queue: it lasts until
 * the next operation. NULL after dn_queue_fail. */
void *dn_cuda_scratch(struct queue *q, size_t bytes);

/* y [m, n] = x . w^T (+ bias) (+ residual), added to the list; cuda_product.h */
struct product;
/* Has the library this product? */
bool dn_cuda_offers(struct queue *q, const struct product *p);
void dn_cuda_product(struct queue *q, const struct product *p);

/* ---- operations ---- */

/* Threads of a block of the kernels over single numbers. */
enum { POINTS_BLOCK = 256 };

static inline int dn_cuda_ceil(int64_t a, int64_t b)
{
    return (int)((a + b - 1) / b);
}

static inline bool dn_cuda_aligned(const void *address, size_t bytes)
{
    return (uintptr_t)address % bytes == 0;
}

/* Up to what a block of memory is rounded that another one follows. */
static inline size_t dn_cuda_padded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* m as kernels see it. */
struct cuda_mat dn_cuda_mat(struct mat m);
/* Blocks whose threads own a quad of m each. */
int dn_cuda_quad_blocks(struct mat m);
const int32_t *dn_cuda_stage_rows(struct queue *q, const int *rows, int count);
/* The blocks of a launch of attention: each has up to `rows` rows of one sequence. */
const struct cuda_attend_block *dn_cuda_stage_blocks(struct queue *q, const int *starts,
                                                     int sequences, int rows, int *count);
/* x in that dtype: itself, or a copy in `scratch`. */
struct mat dn_cuda_as(struct queue *q, struct mat x, enum dino_dtype dtype, void *scratch);

void dn_cuda_linear(struct queue *q, const struct op_linear *op);
void dn_cuda_attend(struct queue *q, const struct op_attend *op);
void dn_cuda_attention_map(struct queue *q, const struct op_attention_map *op);
void dn_cuda_layernorm(struct queue *q, const struct op_layernorm *op);
void dn_cuda_swiglu(struct queue *q, const struct op_swiglu *op);
void dn_cuda_gelu(struct queue *q, const struct op_gelu *op);
void dn_cuda_put_rows(struct queue *q, const struct op_put_rows *op);
void dn_cuda_copy(struct queue *q, const struct op_copy *op);
void dn_cuda_mean_rows(struct queue *q, const struct op_mean_rows *op);
void dn_cuda_patchify(struct queue *q, const struct op_patchify *op);
void dn_cuda_place_tokens(struct queue *q, const struct op_place_tokens *op);

/* Kernels; only their addresses are used here. */
void dn_layernorm_kernel(void);
void dn_put_rows_kernel(void);
void dn_mean_rows_kernel(void);
void dn_patchify_kernel(void);
void dn_place_tokens_kernel(void);
void dn_gelu_kernel(void);
void dn_swiglu_kernel(void);
void dn_copy_kernel(void);
void dn_finish_kernel(void);
void dn_product_kernel(void);
void dn_attend_64_kernel(void);
void dn_attend_256_kernel(void);
void dn_attend_mma_bf16_kernel(void);
void dn_attend_mma_f16_kernel(void);
void dn_attention_map_kernel(void);

#endif
