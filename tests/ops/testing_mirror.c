/*
 * A device whose operations take the host's memory although the one behind it has memory of its
 * own: every operand is copied there, with what lies between its rows, and back. So the tests
 * of operations, which keep their matrices on the host between guards, run on a real GPU.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ops/testing_ops.h"

enum { OPERANDS = 10, ALIGN = 256 };

struct copy {
    char *host, *block, *device; /* device: as far from a multiple of ALIGN as host */
    size_t bytes, room;
    bool written;
};

struct mirror_queue {
    struct queue base;
    struct queue *inner;
    struct copy copies[OPERANDS];
    int count;
};

struct mirror_device {
    struct device base;
    struct device *inner;
};

static const struct device *inner_of(const struct device *d)
{
    return ((const struct mirror_device *)d)->inner;
}

static struct mirror_queue *begin(struct queue *q)
{
    struct mirror_queue *m = (struct mirror_queue *)q;

    m->count = 0;
    return m;
}

/* `bytes` of the host on the device; the same place for what is already there. */
static void *place(struct mirror_queue *q, const void *data, size_t bytes, bool written)
{
    const struct device *d = q->inner->device;
    char *host = (char *)(uintptr_t)data;

    for (int i = 0; i < q->count; i++) {
        struct copy *c = &q->copies[i];
        if (host < c->host || host + bytes > c->host + c->bytes)
            continue;
        c->written = c->written || written;
        return c->device + (host - c->host);
    }
    assert(q->count < OPERANDS);
    struct copy *c = &q->copies[q->count++];
    *c = (struct copy){.host = host, .bytes = bytes, .room = bytes + ALIGN, .written = written};
    c->block = d->ops->alloc(d, c->room, NULL);
    CHECK(c->block);
    c->device = c->block + (uintptr_t)host % ALIGN;
    d->ops->upload(q->inner, c->device, host, bytes);
    return c->device;
}

static void place_mat(struct mirror_queue *q, struct mat *m, bool written)
{
    size_t size = dino_dtype_size(m->dtype);
    if (m->data && m->rows > 0)
        m->data =
            place(q, m->data, size * (size_t)((m->rows - 1) * m->stride + m->cols), written);
}

static const float *place_vector(struct mirror_queue *q, const float *v, int n)
{
    return v ? place(q, v, (size_t)n * sizeof *v, false) : NULL;
}

/* What was written comes back; a failure goes up. */
static void end(struct mirror_queue *q)
{
    const struct device *d = q->inner->device;
    struct dino_error err;

    for (int i = 0; i < q->count; i++) {
        struct copy *c = &q->copies[i];
        if (c->written)
            d->ops->download(q->inner, c->host, c->device, c->bytes);
        d->ops->free(d, c->block, c->room);
    }
    if (!dn_queue_finish(q->inner, &err))
        dn_queue_fail(&q->base, err.code, "%s", err.message);
}

/* ---- operations: outputs first, so that what is read in place is one copy ---- */

static void linear(struct queue *base, const struct op_linear *given)
{
    struct mirror_queue *q = begin(base);
    struct op_linear op = *given;

    place_mat(q, &op.y, true);
    place_mat(q, &op.x, false);
    place_mat(q, &op.residual, false);
    op.scale = place_vector(q, op.scale, op.y.cols);
    op.scaled_bias = place_vector(q, op.scaled_bias, op.y.cols);
    dn_linear(q->inner, op);
    end(q);
}

static void attend(struct queue *base, const struct op_attend *given)
{
    struct mirror_queue *q = begin(base);
    struct op_attend op = *given;

    place_mat(q, &op.y, true);
    place_mat(q, &op.qkv, false);
    dn_attend(q->inner, op);
    end(q);
}

static void attention_map(struct queue *base, const struct op_attention_map *given)
{
    struct mirror_queue *q = begin(base);
    struct op_attention_map op = *given;

    place_mat(q, &op.y, true);
    place_mat(q, &op.qkv, false);
    dn_attention_map(q->inner, op);
    end(q);
}

static void layernorm(struct queue *base, const struct op_layernorm *given)
{
    struct mirror_queue *q = begin(base);
    struct op_layernorm op = *given;

    place_mat(q, &op.y, true);
    place_mat(q, &op.x, false);
    op.weight = place_vector(q, op.weight, op.x.cols);
    op.bias = place_vector(q, op.bias, op.x.cols);
    dn_layernorm(q->inner, op);
    end(q);
}

#define POINTS(name)                                                    \
    static void name(struct queue *base, const struct op_##name *given) \
    {                                                                   \
        struct mirror_queue *q = begin(base);                           \
        struct op_##name op = *given;                                   \
                                                                        \
        place_mat(q, &op.y, true);                                      \
        place_mat(q, &op.x, false);                                     \
        dn_##name(q->inner, op);                                        \
        end(q);                                                         \
    }
POINTS(swiglu)
POINTS(gelu)
POINTS(copy)
POINTS(mean_rows)

static void put_rows(struct queue *base, const struct op_put_rows *given)
{
    struct mirror_queue *q = begin(base);
    struct op_put_rows op = *given;

    place_mat(q, &op.y, true);
    place_mat(q, &op.x, false);
    place_mat(q, &op.add, false);
    dn_put_rows(q->inner, op);
    end(q);
}

static void patchify(struct queue *base, const struct op_patchify *given)
{
    struct mirror_queue *q = begin(base);
    struct op_patchify op = *given;

    place_mat(q, &op.y, true);
    dn_patchify(q->inner, op);
    end(q);
}

static void place_tokens(struct queue *base, const struct op_place_tokens *given)
{
    struct mirror_queue *q = begin(base);
    struct op_place_tokens op = *given;
    const float *positions[OPERANDS];
    int dim = op.y.cols, front = 1 + op.register_count;

    place_mat(q, &op.y, true);
    place_mat(q, &op.x, false);
    op.cls = place_vector(q, op.cls, dim);
    op.registers = place_vector(q, op.registers, op.register_count * dim);
    for (int i = 0; i < op.count; i++)
        positions[i] =
            place_vector(q, op.positions[i], (op.starts[i + 1] - op.starts[i] - front) * dim);
    op.positions = positions;
    dn_place_tokens(q->inner, op);
    end(q);
}

/* ---- training: what is written may be read as well ---- */

#define BOTH(field) place_mat(q, &op.field, true)
#define READ(field) place_mat(q, &op.field, false)
#define TRAIN(name, ...)                                                \
    static void name(struct queue *base, const struct op_##name *given) \
    {                                                                   \
        struct mirror_queue *q = begin(base);                           \
        struct op_##name op = *given;                                   \
                                                                        \
        __VA_ARGS__;                                                    \
        dn_##name(q->inner, op);                                        \
        end(q);                                                         \
    }
TRAIN(matmul, BOTH(y); BOTH(active); BOTH(a_sums); READ(a); READ(b); READ(bias); READ(hidden))
TRAIN(sum_columns, BOTH(y); READ(x); READ(times))
TRAIN(add_rows, BOTH(y); READ(x))
TRAIN(norm, BOTH(y); READ(x); READ(weight); READ(bias))
TRAIN(layernorm_back, BOTH(d_x); BOTH(d_weight); BOTH(d_bias); READ(d_y); READ(x); READ(weight))
TRAIN(attend_back, BOTH(d_qkv); READ(d_y); READ(y); READ(qkv))
TRAIN(swiglu_back, BOTH(d_x); READ(d_y); READ(x))
TRAIN(residual, BOTH(y); READ(x); READ(branch); READ(gamma))
TRAIN(residual_back, BOTH(d_branch); BOTH(d_gamma); READ(d_y); READ(branch); READ(gamma))
TRAIN(l2norm, BOTH(y); READ(x); READ(gain))
TRAIN(l2norm_back, BOTH(d_x); BOTH(d_gain); READ(d_y); READ(x); READ(gain))
TRAIN(softmax, BOTH(y); READ(x); READ(centre))
TRAIN(cross_entropy, BOTH(d_x); BOTH(losses); READ(x); READ(t))
TRAIN(largest, BOTH(y); READ(x))
TRAIN(exponential, BOTH(y); READ(x); READ(top))
TRAIN(sinkhorn, BOTH(q); READ(sums))
TRAIN(koleo, BOTH(d_u); BOTH(losses); READ(u);
      op.nearest = place(q, op.nearest, (size_t)op.u.rows * sizeof *op.nearest, true))
TRAIN(sum_squares, BOTH(y); READ(x))
TRAIN(adamw, BOTH(p); BOTH(m); BOTH(v); READ(g))
TRAIN(lerp, BOTH(y); READ(x))
TRAIN(fill, BOTH(y))

static const struct train_ops mirror_train_ops = {
    .matmul = matmul,
    .sum_columns = sum_columns,
    .add_rows = add_rows,
    .norm = norm,
    .layernorm_back = layernorm_back,
    .attend_back = attend_back,
    .swiglu_back = swiglu_back,
    .residual = residual,
    .residual_back = residual_back,
    .l2norm = l2norm,
    .l2norm_back = l2norm_back,
    .softmax = softmax,
    .cross_entropy = cross_entropy,
    .largest = largest,
    .exponential = exponential,
    .sinkhorn = sinkhorn,
    .koleo = koleo,
    .sum_squares = sum_squares,
    .adamw = adamw,
    .lerp = lerp,
    .fill = fill,
};

/* ---- the rest goes through ---- */

static void device_close(struct device *d)
{
    dn_device_close(((struct mirror_device *)d)->inner);
    free(d);
}

static struct queue *queue_new(const struct device *d, int threads, struct dino_error *err)
{
    struct mirror_queue *q = calloc(1, sizeof *q);

    CHECK(q);
    q->base = (struct queue){.device = d, .threads = threads};
    q->inner = dn_queue_new(inner_of(d), threads, err);
    if (q->inner)
        return &q->base;
    free(q);
    return NULL;
}

static void queue_free(struct queue *q)
{
    dn_queue_free(((struct mirror_queue *)q)->inner);
    free(q);
}

static void queue_sync(struct queue *q)
{
    (void)q; /* every operation ended */
}

/* Memory is the host's, too: tests look into blocks of parameters. */
static void *memory_new(const struct device *d, size_t bytes, struct dino_error *err)
{
    bool possible = bytes < SIZE_MAX / 2;
    void *memory = possible ? aligned_alloc(ALIGN, (bytes + ALIGN) / ALIGN * ALIGN) : NULL;

    (void)d;
    if (memory)
        return memset(memory, 0xff, bytes);
    dn_fail(err, DINO_ENOMEM, "wanted %zu bytes", bytes);
    return NULL;
}

static void memory_free(const struct device *d, void *memory, size_t bytes)
{
    (void)d, (void)bytes;
    free(memory);
}

static void transfer(struct queue *q, void *to, const void *from, size_t bytes)
{
    (void)q;
    memcpy(to, from, bytes);
}

static struct weight *pack(const struct device *d, struct mat w, const float *bias,
                           struct dino_error *err)
{
    return inner_of(d)->ops->pack(inner_of(d), w, bias, err);
}

static void weight_free(const struct device *d, struct weight *w)
{
    inner_of(d)->ops->weight_free(inner_of(d), w);
}

static const char *kernel_name(const struct device *d, const char *op)
{
    return inner_of(d)->ops->kernel_name(inner_of(d), op);
}

static double peak(const struct device *d, enum dino_dtype dtype, int threads)
{
    return inner_of(d)->ops->peak(inner_of(d), dtype, threads);
}

static const struct device_ops mirror_ops = {
    .close = device_close,
    .queue_new = queue_new,
    .queue_free = queue_free,
    .queue_sync = queue_sync,
    .alloc = memory_new,
    .free = memory_free,
    .upload = transfer,
    .download = transfer,
    .pack = pack,
    .weight_free = weight_free,
    .linear = linear,
    .attend = attend,
    .attention_map = attention_map,
    .layernorm = layernorm,
    .swiglu = swiglu,
    .gelu = gelu,
    .put_rows = put_rows,
    .copy = copy,
    .mean_rows = mean_rows,
    .patchify = patchify,
    .place_tokens = place_tokens,
    .train = &mirror_train_ops,
    .kernel_name = kernel_name,
    .peak = peak,
};

struct device *ops_mirror(struct device *inner)
{
    struct mirror_device *d = calloc(1, sizeof *d);

    CHECK(d);
    d->base = *inner;
    d->base.ops = &mirror_ops;
    d->inner = inner;
    return &d->base;
}
