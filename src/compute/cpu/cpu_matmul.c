/*
 * Matrix products by oneDNN. A weight is reordered once
 * into the layout oneDNN likes best; a primitive is compiled at the first use of a shape and
 * kept in the queue, with the bias inside. What follows the sum is a pass of our own, because
 * oneDNN's costs more: adding a residual of 1370 x 384 slowed its product by a seventh, our
 * pass takes a fortieth. Only GELU to bf16 stays inside, where its rounding hides its error.
 */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "compute/cpu/cpu_device.h"
#include "compute/cpu/cpu_onednn.h"

/* ---------------------------------------------------------------- engine and weights */

struct matmul_engine {
    dnnl_engine_t engine;
    enum dino_dtype inner; /* of x and w inside oneDNN: bf16 only where it is native */
    char name[80];
};

struct cpu_weight {
    struct weight base;
    layout layout; /* as [cols, rows]: oneDNN's matmul multiplies x [m, k] by [k, n] */
    dnnl_memory_t memory;
    void *values;
    size_t value_bytes;
    float *bias; /* [rows] or NULL */
};

static dnnl_data_type_t type_of(enum dino_dtype dtype)
{
    return dtype == DINO_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* Cap oneDNN as DINO_ISA caps us. Its limit is set once a process, before the first use; a
 * later call of the same value is harmless, and a different one is refused and ignored. */
static void cap_isa(enum dn_isa isa)
{
    static const dnnl_cpu_isa_t caps[DN_ISA_COUNT] = {
        [DN_ISA_C] = dnnl_cpu_isa_sse41,
        [DN_ISA_AVX2] = dnnl_cpu_isa_avx2,
        [DN_ISA_AVX512] = dnnl_cpu_isa_avx512_core,
        [DN_ISA_AVX512BF16] = dnnl_cpu_isa_avx512_core_bf16,
        [DN_ISA_AMX] = dnnl_cpu_isa_avx512_core_amx,
    };
    dnnl_set_max_cpu_isa(caps[isa]);
}

/* The primitive for x [m, k] . w with w in any layout, to learn the layout and the name. */
static dnnl_primitive_desc_t probe(const struct matmul_engine *e, int m, int n, int k)
{
    dnnl_data_type_t type = type_of(e->inner);
    layout x = dn_layout_new(m, k, k, 1, type), w = dn_layout_any(k, n, type);
    layout y = dn_layout_new(m, n, n, 1, dnnl_f32), bias = dn_layout_new(1, n, n, 1, dnnl_f32);
    dnnl_primitive_desc_t plan = NULL;

    if (x && w && y && bias &&
        dn_plan_new(&plan, e->engine, x, w, bias, y, NULL) != dnnl_success)
        plan = NULL;
    dn_layout_free(x);
    dn_layout_free(w);
    dn_layout_free(y);
    dn_layout_free(bias);
    return plan;
}

struct matmul_engine *dn_matmul_open(struct cpu_features features, enum dino_dtype dtype,
                                     struct dino_error *err)
{
    const dnnl_version_t *version = dnnl_version();
    struct matmul_engine *e = dn_calloc(1, sizeof *e, "the matrix engine", err);
    const char *implementation = NULL;

    if (!e)
        return NULL;
    if (features.capped)
        cap_isa(features.isa);
    e->inner = dtype == DINO_BF16 && features.isa >= DN_ISA_AVX512BF16 ? DINO_BF16 : DINO_F32;
    if (dnnl_engine_create(&e->engine, dnnl_cpu, 0) != dnnl_success) {
        dn_fail(err, DINO_EDEVICE, "oneDNN has no CPU engine");
        free(e);
        return NULL;
    }
    dnnl_primitive_desc_t plan = probe(e, 257, 384, 384);
    if (!plan) {
        dn_fail(err, DINO_EDEVICE, "oneDNN has no %s matrix product on this processor",
                dino_dtype_name(e->inner));
        dn_matmul_close(e);
        return NULL;
    }
    dnnl_primitive_desc_query(plan, dnnl_query_impl_info_str, 0, &implementation);
    snprintf(e->name, sizeof e->name, "onednn %d.%d.%d %s%s", version->major, version->minor,
             version->patch, implementation ? implementation : "",
             dtype != e->inner ? " (bf16 by f32)" : "");
    dnnl_primitive_desc_destroy(plan);
    return e;
}

void dn_matmul_close(struct matmul_engine *e)
{
    if (!e)
        return;
    dnnl_engine_destroy(e->engine);
    free(e);
}

const char *dn_matmul_name(const struct matmul_engine *e)
{
    return e->name;
}

void dn_cpu_weight_free(const struct device *d, struct weight *base)
{
    struct cpu_weight *w = (struct cpu_weight *)base;

    (void)d;
    if (!w)
        return;
    if (w->memory)
        dnnl_memory_destroy(w->memory);
    dn_layout_free(w->layout);
    dn_free_aligned(w->values, w->value_bytes);
    free(w->bias);
    free(w);
}

/* values <- from (f32 [rows, cols], row-major), in the weight's layout */
static bool reorder(const struct matmul_engine *e, struct cpu_weight *w, const float *from,
                    ptrdiff_t stride)
{
    layout plain = dn_layout_new(w->base.cols, w->base.rows, 1, stride, dnnl_f32);
    dnnl_primitive_desc_t plan = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t source = NULL;
    dnnl_stream_t stream = NULL;
    union {
        const float *constant;
        void *handle;
    } values = {.constant = from};
    bool good =
        plain && dnnl_memory_create(&source, plain, e->engine, values.handle) == dnnl_success &&
        dnnl_stream_create(&stream, e->engine, dnnl_stream_default_flags) == dnnl_success &&
        dnnl_reorder_primitive_desc_create(&plan, plain, e->engine, w->layout, e->engine,
                                           NULL) == dnnl_success &&
        dnnl_primitive_create(&primitive, plan) == dnnl_success;

    if (good) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, w->memory}};
        good = dnnl_primitive_execute(primitive, stream, 2, args) == dnnl_success &&
               dnnl_stream_wait(stream) == dnnl_success;
    }
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (plan)
        dnnl_primitive_desc_destroy(plan);
    if (source)
        dnnl_memory_destroy(source);
    if (stream)
        dnnl_stream_destroy(stream);
    dn_layout_free(plain);
    return good;
}

/* An aligned copy of w in f32, rounded to bf16 if wanted; NULL and err without memory. */
static float *plain_copy(struct mat w, bool to_bf16, struct dino_error *err)
{
    size_t rows = (size_t)w.rows, cols = (size_t)w.cols, bytes;
    ptrdiff_t number = (ptrdiff_t)dino_dtype_size(w.dtype);

    if (!dn_size_mul(rows, cols, &bytes) || !dn_size_mul(bytes, sizeof(float), &bytes)) {
        dn_fail_memory(err, SIZE_MAX, "a weight");
        return NULL;
    }
    float *copy = dn_alloc_aligned(bytes, "a weight", err);
    for (size_t r = 0; copy && r < rows; r++) {
        const char *row = (const char *)w.data + (ptrdiff_t)r * w.stride * number;
        dn_widen(copy + r * cols, row, w.dtype, cols);
        for (size_t c = 0; to_bf16 && c < cols; c++)
            copy[r * cols + c] = dn_bf16_to_f32(dn_f32_to_bf16(copy[r * cols + c]));
    }
    return copy;
}

static bool fill_weight(const struct matmul_engine *e, struct cpu_weight *w, struct mat from,
                        struct dino_error *err)
{
    dnnl_primitive_desc_t plan = probe(e, 257, from.rows, from.cols);
    bool rounded = w->base.dtype == DINO_BF16 && e->inner == DINO_F32, good;

    if (plan) {
        w->layout =
            dn_layout_clone(dnnl_primitive_desc_query_md(plan, dnnl_query_weights_md, 0));
        dnnl_primitive_desc_destroy(plan);
    }
    if (!w->layout)
        return dn_fail(err, DINO_EDEVICE, "oneDNN cannot multiply by a weight of %d x %d",
                       from.rows, from.cols);
    w->value_bytes = dnnl_memory_desc_get_size(w->layout);
    w->values = dn_alloc_aligned(w->value_bytes, "a packed weight", err);
    if (!w->values)
        return false;
    if (dnnl_memory_create(&w->memory, w->layout, e->engine, w->values) != dnnl_success)
        return dn_fail_memory(err, w->value_bytes, "a packed weight");

    if (rounded || from.dtype != DINO_F32 || (uintptr_t)from.data % sizeof(float)) {
        float *copy = plain_copy(from, rounded, err);
        if (!copy)
            return false;
        good = reorder(e, w, copy, from.cols);
        dn_free_aligned(copy, (size_t)from.rows * (size_t)from.cols * sizeof *copy);
    } else {
        good = reorder(e, w, from.data, from.stride);
    }
    return good || dn_fail(err, DINO_EDEVICE, "oneDNN cannot pack a weight of %d x %d",
                           from.rows, from.cols);
}

struct weight *dn_cpu_pack(const struct device *d, struct mat from, const float *bias,
                           struct dino_error *err)
{
    const struct matmul_engine *e = ((const struct cpu_device *)d)->matmul;
    struct cpu_weight *w = dn_calloc(1, sizeof *w, "a weight", err);
    size_t bias_bytes = bias ? (size_t)from.rows * sizeof *bias : 0;

    if (!w)
        return NULL;
    w->base = (struct weight){.rows = from.rows, .cols = from.cols, .dtype = d->dtype};
    if (bias) {
        w->bias = dn_calloc((size_t)from.rows, sizeof *bias, "a bias", err);
        if (!w->bias)
            goto failed;
        memcpy(w->bias, bias, bias_bytes);
    }
    if (!fill_weight(e, w, from, err))
        goto failed;
    w->base.bytes = w->value_bytes + bias_bytes;
    return &w->base;

failed:
    dn_cpu_weight_free(d, &w->base);
    return NULL;
}

/* ---------------------------------------------------------------- compiled primitives */

/* Everything that a primitive is compiled for. */
struct shape {
    int m, n, k, threads;
    enum dino_dtype x, y;
    bool bias, gelu;
};

struct compiled {
    struct shape shape;
    uint64_t used; /* when, for throwing out the oldest */
    dnnl_primitive_t primitive;
    dnnl_memory_t x, y, bias, scratch;
    size_t scratch_bytes;
};

enum { MOST_COMPILED = 128 };

struct matmul_cache {
    dnnl_stream_t stream;
    int count;
    uint64_t clock;
    struct compiled entries[MOST_COMPILED];
};

struct matmul_cache *dn_matmul_cache_new(const struct matmul_engine *e, struct dino_error *err)
{
    struct matmul_cache *cache = dn_calloc(1, sizeof *cache, "a cache of primitives", err);

    if (!cache)
        return NULL;
    if (dnnl_stream_create(&cache->stream, e->engine, dnnl_stream_default_flags) !=
        dnnl_success) {
        dn_fail(err, DINO_EDEVICE, "oneDNN makes no stream");
        free(cache);
        return NULL;
    }
    return cache;
}

static void compiled_release(struct compiled *c)
{
    dnnl_memory_t memories[] = {c->x, c->y, c->bias, c->scratch};

    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i])
            dnnl_memory_destroy(memories[i]);
    if (c->primitive)
        dnnl_primitive_destroy(c->primitive);
    *c = (struct compiled){0};
}

void dn_matmul_cache_free(struct matmul_cache *cache)
{
    if (!cache)
        return;
    for (int i = 0; i < cache->count; i++)
        compiled_release(&cache->entries[i]);
    dnnl_stream_destroy(cache->stream);
    free(cache);
}

static dnnl_primitive_attr_t attributes(const struct shape *s)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    bool good = dnnl_primitive_attr_create(&attr) == dnnl_success &&
                dnnl_post_ops_create(&ops) == dnnl_success &&
                (!s->gelu || dn_append_gelu(ops) == dnnl_success) &&
                dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success &&
                dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) ==
                    dnnl_success;

    if (ops)
        dnnl_post_ops_destroy(ops);
    if (!good && attr) {
        dnnl_primitive_attr_destroy(attr);
        attr = NULL;
    }
    return attr;
}

static bool memory_new(dnnl_memory_t *memory, bool wanted, const_layout l, dnnl_engine_t engine)
{
    return !wanted || dnnl_memory_create(memory, l, engine, DNNL_MEMORY_NONE) == dnnl_success;
}

static bool compile(struct compiled *c, const struct shape *s, const struct matmul_engine *e,
                    const_layout w)
{
    layout x = dn_layout_new(s->m, s->k, s->k, 1, type_of(s->x));
    layout y = dn_layout_new(s->m, s->n, s->n, 1, type_of(s->y));
    layout column = dn_layout_new(1, s->n, s->n, 1, dnnl_f32);
    dnnl_primitive_attr_t attr = attributes(s);
    dnnl_primitive_desc_t plan = NULL;
    bool good =
        x && y && column && attr &&
        dn_plan_new(&plan, e->engine, x, w, s->bias ? column : NULL, y, attr) == dnnl_success &&
        dnnl_primitive_create(&c->primitive, plan) == dnnl_success;

    if (good) {
        const_layout scratch = dnnl_primitive_desc_query_md(plan, dnnl_query_scratchpad_md, 0);
        c->shape = *s;
        c->scratch_bytes = dnnl_memory_desc_get_size(scratch);
        good = memory_new(&c->x, true, x, e->engine) && memory_new(&c->y, true, y, e->engine) &&
               memory_new(&c->bias, s->bias, column, e->engine) &&
               memory_new(&c->scratch, true, scratch, e->engine);
    }
    if (plan)
        dnnl_primitive_desc_destroy(plan);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    dn_layout_free(x);
    dn_layout_free(y);
    dn_layout_free(column);
    if (!good)
        compiled_release(c);
    return good;
}

static bool same_shape(const struct shape *a, const struct shape *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->threads == b->threads &&
           a->x == b->x && a->y == b->y && a->bias == b->bias && a->gelu == b->gelu;
}

/* The primitive for a shape, compiled now if it is new. */
static struct compiled *find(struct cpu_queue *q, const struct shape *s, const_layout w)
{
    struct matmul_cache *cache = q->matmul;
    struct compiled *oldest = &cache->entries[0];

    for (int i = 0; i < cache->count; i++) {
        struct compiled *c = &cache->entries[i];
        if (same_shape(&c->shape, s)) {
            c->used = ++cache->clock;
            return c;
        }
        if (c->used < oldest->used)
            oldest = c;
    }
    if (cache->count < MOST_COMPILED)
        oldest = &cache->entries[cache->count++];
    compiled_release(oldest);
    if (!compile(oldest, s, q->device->matmul, w)) {
        dn_queue_fail(&q->base, DINO_EDEVICE, "oneDNN cannot multiply %d x %d by %d x %d", s->m,
                      s->k, s->k, s->n);
        return NULL;
    }
    oldest->used = ++cache->clock;
    return oldest;
}

/* ---------------------------------------------------------------- linear */

/* The operands as oneDNN gets them; what has no data yet is to stand in scratch. */
struct product {
    struct mat x, y;
    const struct cpu_weight *w;
    bool gelu;
};

static bool set_memory(dnnl_memory_t memory, const void *data)
{
    union {
        const void *constant;
        void *handle;
    } p = {.constant = data};

    return !memory || dnnl_memory_set_data_handle(memory, p.handle) == dnnl_success;
}

static bool execute(struct cpu_queue *q, const struct compiled *c, const struct product *p,
                    void *scratch)
{
    dnnl_exec_arg_t args[5] = {{DNNL_ARG_SRC, c->x},
                               {DNNL_ARG_WEIGHTS, p->w->memory},
                               {DNNL_ARG_DST, c->y},
                               {DNNL_ARG_SCRATCHPAD, c->scratch},
                               {DNNL_ARG_BIAS, c->bias}};

    return set_memory(c->x, p->x.data) && set_memory(c->y, p->y.data) &&
           set_memory(c->bias, p->w->bias) && set_memory(c->scratch, scratch) &&
           dnnl_primitive_execute(c->primitive, q->matmul->stream, c->bias ? 5 : 4, args) ==
               dnnl_success &&
           dnnl_stream_wait(q->matmul->stream) == dnnl_success;
}

/* y = residual + scale * t, a row */
static void finish_row(const struct kernels *k, const struct op_linear *op, const float *t,
                       int row)
{
    enum { PIECE = 512 };
    int shared = op->residual.rows == 1 ? 0 : row;
    float results[PIECE];

    for (int c = 0; c < op->y.cols; c += PIECE) {
        size_t n = (size_t)(op->y.cols - c < PIECE ? op->y.cols - c : PIECE);
        const float *scale = op->scale ? op->scale + c : NULL;
        const float *residual = op->residual.data ? dn_cpu_at(op->residual, shared, c) : NULL;
        float *result = dn_cpu_room(results, op->y, row, c);
        k->scale_add(result, t + c, scale, residual, n);
        dn_cpu_store(k, op->y, row, c, result, n);
    }
}

static void finish(struct queue *q, const struct op_linear *op, const struct product *p)
{
    const struct kernels *k = dn_cpu_kernels(q);
    int threads = dn_cpu_threads(q, (size_t)op->y.rows * (size_t)op->y.cols);

    if (op->act == OP_GELU && !p->gelu)
        dn_cpu_gelu(q, &(struct op_gelu){.y = p->y, .x = p->y});
    if (p->y.data == op->y.data)
        return;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < op->y.rows; r++)
        finish_row(k, op, dn_cpu_at(p->y, r, 0), r);
}

static size_t aligned_bytes(struct mat m)
{
    size_t bytes = (size_t)m.rows * (size_t)m.cols * dino_dtype_size(m.dtype);

    return m.data ? 0 : (bytes + DN_ALIGN - 1) / DN_ALIGN * DN_ALIGN;
}

static void multiply(struct queue *base, const struct op_linear *op, struct product *p)
{
    struct cpu_queue *q = dn_cpu_queue(base);
    const struct shape shape = {.m = p->x.rows,
                                .n = p->y.cols,
                                .k = p->x.cols,
                                .threads = base->threads,
                                .x = p->x.dtype,
                                .y = p->y.dtype,
                                .bias = p->w->bias,
                                .gelu = p->gelu};
    struct compiled *c = find(q, &shape, p->w->layout);
    if (!c)
        return;

    size_t x_bytes = aligned_bytes(p->x), y_bytes = aligned_bytes(p->y);
    char *scratch = dn_cpu_scratch(base, x_bytes + y_bytes + c->scratch_bytes + 1);
    if (!scratch)
        return;
    if (!p->x.data) {
        p->x.data = scratch;
        dn_cpu_copy(base, &(struct op_copy){.y = p->x, .x = op->x});
    }
    if (!p->y.data)
        p->y.data = scratch + x_bytes;
    if (execute(q, c, p, scratch + x_bytes + y_bytes))
        finish(base, op, p);
    else
        dn_queue_fail(base, DINO_EDEVICE, "oneDNN failed to multiply %d x %d by %d x %d",
                      shape.m, shape.k, shape.k, shape.n);
}

/* oneDNN 2.6 multiplies matrices with gaps between their rows by its reference loops, a
 * thousand times slower: they are copied instead. */
static bool dense(struct mat m)
{
    return m.stride == m.cols || m.rows == 1;
}

void dn_cpu_linear(struct queue *q, const struct op_linear *op)
{
    const struct matmul_engine *e = dn_cpu_queue(q)->device->matmul;
    struct product p = {.x = op->x, .y = op->y, .w = (const struct cpu_weight *)op->w};

    if (op->x.dtype != e->inner || !dense(op->x))
        p.x = dn_mat(NULL, op->x.rows, op->x.cols, e->inner);
    if (op->scale || op->residual.data || !dense(op->y) ||
        (op->y.dtype != DINO_F32 && e->inner != DINO_BF16))
        p.y = dn_mat(NULL, op->y.rows, op->y.cols, DINO_F32);
    p.gelu = op->act == OP_GELU && p.y.dtype == DINO_BF16;

    int before = omp_get_max_threads(); /* of the calling thread; governs oneDNN too */
    omp_set_num_threads(q->threads);
    multiply(q, op, &p);
    omp_set_num_threads(before);
}
