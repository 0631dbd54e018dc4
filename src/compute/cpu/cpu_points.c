/* Operations on single numbers: swiglu, gelu, copy with conversion. 16-bit rows are computed
 * in f32, PIECE numbers at a time. */
#include <string.h>

#include "compute/cpu/cpu_device.h"

enum { PIECE = 512 }; /* 2 KiB: three buffers stay in the first-level cache */

const float *dn_cpu_load(const struct kernels *k, float *buffer, struct mat m, int row, int c,
                         size_t n)
{
    const void *from = dn_cpu_at(m, row, c);

    if (m.dtype == DINO_F32)
        return from;
    if (m.dtype == DINO_BF16)
        k->bf16_to_f32(buffer, from, n);
    else if (m.dtype == DINO_F16)
        k->f16_to_f32(buffer, from, n);
    else
        for (size_t i = 0; i < n; i++)
            buffer[i] = (float)((const double *)from)[i];
    return buffer;
}

float *dn_cpu_room(float *buffer, struct mat m, int row, int c)
{
    return m.dtype == DINO_F32 ? dn_cpu_at(m, row, c) : buffer;
}

void dn_cpu_store(const struct kernels *k, struct mat m, int row, int c, const float *from,
                  size_t n)
{
    void *to = dn_cpu_at(m, row, c);

    if (m.dtype == DINO_F32) {
        if (to != from)
            memcpy(to, from, n * sizeof *from);
    } else if (m.dtype == DINO_BF16) {
        k->f32_to_bf16(to, from, n);
    } else if (m.dtype == DINO_F16) {
        k->f32_to_f16(to, from, n);
    } else {
        for (size_t i = 0; i < n; i++)
            ((double *)to)[i] = from[i];
    }
}

static size_t piece_at(int c, int cols)
{
    return (size_t)(cols - c < PIECE ? cols - c : PIECE);
}

struct swiglu_job {
    const struct kernels *k;
    const struct op_swiglu *op;
};

static void swiglu_row(const struct kernels *k, const struct op_swiglu *op, int row)
{
    float gates[PIECE], values[PIECE], results[PIECE];
    int hidden = op->y.cols;

    for (int c = 0; c < hidden; c += PIECE) {
        size_t n = piece_at(c, hidden);
        const float *gate = dn_cpu_load(k, gates, op->x, row, c, n);
        const float *value = dn_cpu_load(k, values, op->x, row, hidden + c, n);
        float *result = dn_cpu_room(results, op->y, row, c);
        k->swiglu(result, gate, value, n);
        dn_cpu_store(k, op->y, row, c, result, n);
    }
}

static void swiglu_rows(void *argument, int first, int last)
{
    const struct swiglu_job *job = argument;

    for (int r = first; r < last; r++)
        swiglu_row(job->k, job->op, r);
}

void dn_cpu_swiglu(struct queue *q, const struct op_swiglu *op)
{
    struct swiglu_job job = {dn_cpu_kernels(q), op};

    dn_cpu_rows(q, op->y.rows, (size_t)op->x.cols, swiglu_rows, &job);
}

struct gelu_job {
    const struct kernels *k;
    const struct op_gelu *op;
};

static void gelu_row(const struct kernels *k, const struct op_gelu *op, int row)
{
    float values[PIECE], results[PIECE];

    for (int c = 0; c < op->y.cols; c += PIECE) {
        size_t n = piece_at(c, op->y.cols);
        const float *value = dn_cpu_load(k, values, op->x, row, c, n);
        float *result = dn_cpu_room(results, op->y, row, c);
        k->gelu(result, value, n);
        dn_cpu_store(k, op->y, row, c, result, n);
    }
}

static void gelu_rows(void *argument, int first, int last)
{
    const struct gelu_job *job = argument;

    for (int r = first; r < last; r++)
        gelu_row(job->k, job->op, r);
}

void dn_cpu_gelu(struct queue *q, const struct op_gelu *op)
{
    struct gelu_job job = {dn_cpu_kernels(q), op};

    dn_cpu_rows(q, op->y.rows, 4 * (size_t)op->x.cols, gelu_rows, &job);
}

enum { RUN = 1 << 14 }; /* numbers of a row that are one task: a matrix may have one row */

struct copy_job {
    const struct kernels *k;
    const struct op_copy *op;
    int runs; /* of a row */
};

static void copy_run(const struct copy_job *job, int row, int first)
{
    const struct op_copy *op = job->op;
    int left = op->y.cols - first, count = left < RUN ? left : RUN;
    float values[PIECE];

    if (op->x.dtype == op->y.dtype) {
        memcpy(dn_cpu_at(op->y, row, first), dn_cpu_at(op->x, row, first),
               (size_t)count * dino_dtype_size(op->y.dtype));
        return;
    }
    for (int c = first; c < first + count; c += PIECE) {
        size_t n = piece_at(c, first + count);
        dn_cpu_store(job->k, op->y, row, c, dn_cpu_load(job->k, values, op->x, row, c, n), n);
    }
}

static void copy_runs(void *argument, int first, int last)
{
    const struct copy_job *job = argument;

    for (int i = first; i < last; i++)
        copy_run(job, i / job->runs, i % job->runs * RUN);
}

void dn_cpu_copy(struct queue *q, const struct op_copy *op)
{
    struct copy_job job = {dn_cpu_kernels(q), op, op->x.cols / RUN + (op->x.cols % RUN != 0)};
    size_t size = (size_t)(op->x.cols < RUN ? op->x.cols : RUN);

    dn_cpu_rows(q, op->y.rows * job.runs, size, copy_runs, &job);
}
