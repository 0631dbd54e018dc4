/*
 * A device is a table of operations; a queue runs them in order for one thread.
 *
 * A device is immutable once opened and may be shared; it owns packed weights' memory layout.
 * A queue owns scratch, compiled primitives and the first error; one thread at a time.
 * Devices: "ref" (plain loops: the definition), "cpu" (oneDNN and our kernels), "cuda[:N]".
 * Adding an operation: its contract in ops.h, loops in ref/ref_ops.c, a row in tests/ops,
 * a slot below; then cpu; then cuda. No device falls back to a slower one in silence.
 */
#ifndef COMPUTE_DEVICE_H
#define COMPUTE_DEVICE_H

#include "base/error.h"
#include "compute/ops_train.h"

/* A matrix [rows = outputs, cols = inputs] packed for one device, with its bias. Devices put
 * it first in a struct of their own. */
struct weight {
    int rows, cols;
    enum dino_dtype dtype; /* of the arithmetic: f32, tf32, bf16, f16, int8 (ref: f64) */
    size_t bytes;          /* memory it takes */
};

/* A matrix to be packed, in host memory: w [out, in], any alignment, possibly inside a mapped
 * file: f32, f16 or bf16, or int8 with a scale an output (number = byte * scale). */
struct weight_source {
    struct mat w;
    const float *scale; /* [out], of int8 */
    const float *bias;  /* f32 [out], or NULL */
    bool gated;         /* for OP_SWIGLU: the first half of the outputs gates the second */
};

struct device {
    const struct device_ops *ops;
    char name[16];
    enum dino_dtype dtype;      /* weights are packed for arithmetic in this */
    enum dino_dtype activation; /* what travels between operations */
    int threads;
    bool gates;       /* has OP_SWIGLU at the end of a product */
    bool scales;      /* may scale in a product's end, with scaled_bias */
    int ffn_rows;     /* rows that should pass an FFN together; 0: as caches like it */
    int patch_rows;   /* patches that should be embedded together; 0: a picture's */
    bool host_memory; /* device memory is host memory: nothing needs uploading */
    unsigned char identity[16]; /* of the GPU, the same in every process that opens it */
};

struct peers_ops;

struct queue {
    const struct device *device;
    int threads;
    struct dino_error error; /* the first failure; code 0 while all is well */
    /* Asked before each operation, and within long ones, by the thread that runs the queue;
     * false stops it. NULL: never. */
    bool (*keep_going)(void *context);
    void *context;
};

struct device_ops {
    void (*close)(struct device *d);
    struct queue *(*queue_new)(const struct device *d, int threads, struct dino_error *err);
    void (*queue_free)(struct queue *q);
    void (*queue_sync)(struct queue *q);

    void *(*alloc)(const struct device *d, size_t bytes, struct dino_error *err);
    void (*free)(const struct device *d, void *memory, size_t bytes);
    /* Bytes that can be had now; NULL: it is the machine's memory. */
    double (*room)(const struct device *d);
    /* A good place to end a list that runs as one: commands before and behind it come again
     * apart from each other. NULL: there are no lists. */
    void (*cut)(struct queue *q);
    /* Between on and off, operations count what they take of the device's memory beside what
     * they are given, and do nothing else: no address is followed, downloads leave things as
     * they were. The count is returned at the end, in bytes; the queue then takes so much at
     * once when it first needs some. NULL: operations take nothing. */
    size_t (*rehearse)(struct queue *q, bool on);
    /* Both wait: the host side may be reused or read on return. */
    void (*upload)(struct queue *q, void *to, const void *from, size_t bytes);
    void (*download)(struct queue *q, void *to, const void *from, size_t bytes);
    /* A download that nobody waits for: of what the operations so far leave at `from`, into
     * host_alloc's memory, beside what is queued after it. arrive waits for the last fetch of
     * that place, 0 or 1; till then both sides are taken. NULL where memory is shared. */
    void (*fetch)(struct queue *q, int place, void *to, const void *from, size_t bytes);
    void (*arrive)(struct queue *q, int place);

    /* Host memory that transfers are fastest with; NULL where memory is shared anyway. */
    void *(*host_alloc)(const struct device *d, size_t bytes, struct dino_error *err);
    void (*host_free)(const struct device *d, void *memory);

    /* w: host f32 [out, in], possibly inside a mapped file (unaligned); bias: host f32 [out]
     * or NULL. Thread-safe. */
    struct weight *(*pack)(const struct device *d, struct mat w, const float *bias,
                           struct dino_error *err);
    /* The same of any source: halves always, int8 where the device multiplies int8, gated
     * where it gates. NULL: a device that does none of it. */
    struct weight *(*pack_any)(const struct device *d, const struct weight_source *from,
                               struct dino_error *err);
    void (*weight_free)(const struct device *d, struct weight *w);

    void (*linear)(struct queue *q, const struct op_linear *op);
    void (*attend)(struct queue *q, const struct op_attend *op);
    void (*attention_map)(struct queue *q, const struct op_attention_map *op);
    void (*layernorm)(struct queue *q, const struct op_layernorm *op);
    void (*swiglu)(struct queue *q, const struct op_swiglu *op);
    void (*gelu)(struct queue *q, const struct op_gelu *op);
    void (*put_rows)(struct queue *q, const struct op_put_rows *op);
    void (*copy)(struct queue *q, const struct op_copy *op);
    void (*mean_rows)(struct queue *q, const struct op_mean_rows *op);
    void (*patchify)(struct queue *q, const struct op_patchify *op);
    void (*place_tokens)(struct queue *q, const struct op_place_tokens *op);
    const struct train_ops *train; /* what training adds; NULL: cannot train */
    const struct peers_ops *peers; /* between processes; NULL: through the host (peers.h) */

    /* "linear" -> "onednn 2.6 avx512_core", for `dino doctor`; NULL for an unknown op. */
    const char *(*kernel_name)(const struct device *d, const char *op);
    /* Arithmetic peak in GFLOP/s, measured; 0 where the dtype has no instructions. */
    double (*peak)(const struct device *d, enum dino_dtype dtype, int threads);
};

/*
 * name: NULL or "auto", "ref", "cpu", "cuda", "cuda:N". dtype: F32, BF16, I8, AUTO; ref also
 * takes F64, cuda TF32 and F16. threads: 0 = all cores. An unknown name or an absent device is
 * an error.
 */
struct device *dn_device_open(const char *name, enum dino_dtype dtype, int threads,
                              struct dino_error *err);
void dn_device_close(struct device *d);
/* A "cuda" that need not be there, to count what would be done on it: queues only rehearse. */
struct device *dn_device_describe(enum dino_dtype dtype, struct dino_error *err);
/* How many "cuda:N" there are; 0 with the reason. */
int dn_device_gpus(struct dino_error *err);

struct queue *dn_queue_new(const struct device *d, int threads, struct dino_error *err);
void dn_queue_free(struct queue *q);
/* Wait for everything; false and the first error if any operation failed (and forget it). */
bool dn_queue_finish(struct queue *q, struct dino_error *err);
/* The same without waiting: as far as is known. */
bool dn_queue_report(struct queue *q, struct dino_error *err);

static inline void dn_queue_cut(struct queue *q)
{
    if (q->device->ops->cut)
        q->device->ops->cut(q);
}

/* Has an operation failed, or does keep_going say no? That too is a failure from then on. */
bool dn_queue_stopped(struct queue *q);

/* What training keeps in full on a device: parameters, gradients, moments, the stream. What
 * products read is of the device's activation dtype. */
static inline enum dino_dtype dn_train_dtype(const struct device *d)
{
    return d->activation == DINO_F64 ? DINO_F64 : DINO_F32;
}

/* For implementations: remember the first failure. */
__attribute__((format(printf, 3, 4))) void dn_queue_fail(struct queue *q, enum dino_code code,
                                                         const char *format, ...);

/*
 * A device in a library of its own, libdino_NAME.so, offers one of these under the name
 * dn_device_plugin. It is refused unless version and table_bytes are those of the library
 * that opens it.
 */
struct device_plugin {
    const char *(*version)(void);         /* dino_version */
    size_t table_bytes;                   /* sizeof(struct device_ops) */
    int (*count)(struct dino_error *err); /* devices that can be opened; 0: and why */
    struct device *(*open)(int index, enum dino_dtype dtype, int threads,
                           struct dino_error *err);
    /* One whose queues rehearse (device_ops.rehearse) and do nothing else: it need not be
     * there. */
    struct device *(*describe)(enum dino_dtype dtype, struct dino_error *err);
};

/* One opener a device, named by the table in device.c. */
struct device *dn_ref_open(enum dino_dtype dtype, int threads, struct dino_error *err);
struct device *dn_cpu_open(enum dino_dtype dtype, int threads, struct dino_error *err);

#endif
