/* Products with plain matrices, and the backward of what works on rows. */
#include "compute/cpu/cpu_train.h"

#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <string.h>

static size_t numbers(struct mat m)
{
    return (size_t)m.rows * (size_t)m.cols;
}

/* ---- products ---- */

bool dn_cpu_product(const struct product_shape *s, const float *a, const float *b, float keep,
                    float *c)
{
    return dnnl_sgemm(s->transpose_a ? 'T' : 'N', s->transpose_b ? 'T' : 'N', s->m, s->n, s->k,
                      1, a, s->a_stride, b, s->b_stride, keep, c, s->c_stride) == dnnl_success;
}

/* y = bias, or zeros, as the start of a sum */
static void fill_rows(struct queue *q, struct mat y, struct mat bias)
{
    int threads = dn_cpu_threads(q, numbers(y));
    size_t bytes = (size_t)y.cols * sizeof(float);

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < y.rows; r++) {
        if (bias.data)
            memcpy(dn_train_row(y, r), bias.data, bytes);
        else
            memset(dn_train_row(y, r), 0, bytes);
    }
}

void dn_cpu_matmul(struct queue *q, const struct op_matmul *op)
{
    struct product_shape shape = {
        .m = op->y.rows,
        .n = op->y.cols,
        .k = op->transpose_a ? op->a.rows : op->a.cols,
        .transpose_a = op->transpose_a,
        .transpose_b = op->transpose_b,
        .a_stride = op->a.stride,
        .b_stride = op->b.stride,
        .c_stride = op->y.stride,
    };
    bool start = op->bias.data || (shape.k == 0 && !op->accumulate);

    if (start)
        fill_rows(q, op->y, op->bias);
    if (shape.k == 0)
        return;
    int before = omp_get_max_threads(); /* of the calling thread; governs oneDNN too */
    omp_set_num_threads(q->threads);
    if (!dn_cpu_product(&shape, op->a.data, op->b.data, start || op->accumulate, op->y.data))
        dn_queue_fail(q, DINO_EDEVICE, "oneDNN failed to multiply %d x %d by %d x %d", shape.m,
                      shape.k, shape.k, shape.n);
    omp_set_num_threads(before);
}

/* ---- sums over rows ---- */

enum { CHUNK = 64, ROWS = 64 }; /* columns of a task; rows that are summed in f32 */

/* Where the sums of one chunk of columns are taken. */
struct chunk {
    double sum[CHUNK], product[CHUNK];
};

/* What is summed: x, and x times (times - mean) * scale, row by row. */
struct column_sums {
    struct mat x, times;
    const int *times_rows; /* NULL: as x */
    const float *moments;  /* [rows, 2] mean and scale of `times`, or NULL: 0 and 1 */
};

static void chunk_sums(const struct train_kernels *k, const struct column_sums *s, int first,
                       int width, struct chunk *out)
{
    memset(out, 0, sizeof *out);
    for (int top = 0; top < s->x.rows; top += ROWS) {
        float sum[CHUNK] = {0}, product[CHUNK] = {0};
        int bottom = top + ROWS < s->x.rows ? top + ROWS : s->x.rows;
        for (int r = top; r < bottom; r++) {
            const float *x = dn_train_row(s->x, r) + first;
            int row = s->times_rows ? s->times_rows[r] : r;
            const float *times = s->times.data ? dn_train_row(s->times, row) + first : NULL;
            float mean = s->moments ? s->moments[2 * r] : 0;
            float scale = s->moments ? s->moments[2 * r + 1] : 1;
            k->add_columns(sum, product, x, times, mean, scale, (size_t)width);
        }
        for (int c = 0; c < width; c++) {
            out->sum[c] += (double)sum[c];
            out->product[c] += (double)product[c];
        }
    }
}

/* sums and products [1, cols] = (or +=) alpha * what chunk_sums says; either may be missing */
static void column_sums(struct queue *q, const struct column_sums *s, struct mat sums,
                        struct mat products, double alpha, bool accumulate)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int cols = s->x.cols, threads = dn_cpu_threads(q, numbers(s->x));

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int first = 0; first < cols; first += CHUNK) {
        struct chunk chunk;
        int width = cols - first < CHUNK ? cols - first : CHUNK;
        chunk_sums(k, s, first, width, &chunk);
        for (int c = 0; c < width; c++) {
            float *sum = (float *)sums.data + first + c;
            float *product = (float *)products.data + first + c;
            if (sums.data)
                *sum = (float)(alpha * chunk.sum[c] + (accumulate ? (double)*sum : 0));
            if (products.data)
                *product =
                    (float)(alpha * chunk.product[c] + (accumulate ? (double)*product : 0));
        }
    }
}

void dn_cpu_sum_columns(struct queue *q, const struct op_sum_columns *op)
{
    struct column_sums s = {.x = op->x, .times = op->times};
    struct mat none = {0};

    column_sums(q, &s, op->times.data ? none : op->y, op->times.data ? op->y : none, op->alpha,
                op->accumulate);
}

void dn_cpu_add_rows(struct queue *q, const struct op_add_rows *op)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int cols = op->y.cols;
    int threads = dn_cpu_threads(q, (size_t)op->count * (size_t)cols);

    /* rows may be named twice: a thread has columns of its own */
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int first = 0; first < cols; first += CHUNK) {
        size_t width = (size_t)(cols - first < CHUNK ? cols - first : CHUNK);
        for (int i = 0; i < op->count; i++)
            k->mix(dn_train_row(op->y, op->to ? op->to[i] : i) + first, (float)op->alpha,
                   dn_train_row(op->x, op->from ? op->from[i] : i) + first, 1, width);
    }
}

/* ---- layernorm ---- */

void dn_cpu_norm(struct queue *q, const struct op_norm *op)
{
    dn_cpu_layernorm(q, &(struct op_layernorm){.y = op->y,
                                               .x = op->x,
                                               .weight = op->weight.data,
                                               .bias = op->bias.data,
                                               .eps = (float)op->eps});
}

/* With n = (x - mean) scale and g = d_y weight: d_x = (g - mean(g) - n mean(g n)) scale. */
static void norm_back_row(const struct op_layernorm_back *op, int row, float mean, float scale)
{
    const float *x = dn_train_row(op->x, row), *d_y = dn_train_row(op->d_y, row);
    const float *weight = op->weight.data;
    float *d_x = dn_train_row(op->d_x, row), g_sum = 0, gn_sum = 0;
    int n = op->x.cols;

#pragma omp simd reduction(+ : g_sum, gn_sum)
    for (int c = 0; c < n; c++) {
        float g = d_y[c] * weight[c];
        g_sum += g;
        gn_sum += g * ((x[c] - mean) * scale);
    }
    float g_mean = g_sum / (float)n, gn_mean = gn_sum / (float)n;
    float keep = op->accumulate ? 1 : 0;
#pragma omp simd
    for (int c = 0; c < n; c++) {
        float g = d_y[c] * weight[c], normal = (x[c] - mean) * scale;
        float d = (g - g_mean - normal * gn_mean) * scale;
        d_x[c] = keep != 0 ? d_x[c] + d : d;
    }
}

void dn_cpu_layernorm_back(struct queue *q, const struct op_layernorm_back *op)
{
    const struct kernels *k = dn_cpu_kernels(q);
    int rows = op->x.rows, threads = dn_cpu_threads(q, numbers(op->x));
    float *moments = dn_cpu_scratch(q, 2 * (size_t)rows * sizeof *moments);

    if (!moments)
        return;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < rows; r++) {
        float variance;
        k->moments(dn_train_row(op->x, r), (size_t)op->x.cols, &moments[2 * r], &variance);
        moments[2 * r + 1] = 1 / sqrtf(variance + (float)op->eps);
    }
    if (op->d_weight.data) {
        struct column_sums s = {.x = op->d_y, .times = op->x, .moments = moments};
        column_sums(q, &s, op->d_bias, op->d_weight, 1, true);
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < rows; r++)
        norm_back_row(op, r, moments[2 * r], moments[2 * r + 1]);
}

/* ---- nonlinearities ---- */

void dn_cpu_gelu_back(struct queue *q, const struct op_gelu_back *op)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int threads = dn_cpu_threads(q, 4 * numbers(op->x));

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < op->x.rows; r++)
        k->gelu_back(dn_train_row(op->d_x, r), dn_train_row(op->d_y, r), dn_train_row(op->x, r),
                     (size_t)op->x.cols);
}

void dn_cpu_swiglu_back(struct queue *q, const struct op_swiglu_back *op)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int threads = dn_cpu_threads(q, 4 * numbers(op->x)), hidden = op->d_y.cols;

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < op->x.rows; r++) {
        const float *x = dn_train_row(op->x, r);
        float *d_x = dn_train_row(op->d_x, r);
        k->swiglu_back(d_x, d_x + hidden, dn_train_row(op->d_y, r), x, x + hidden,
                       (size_t)hidden);
    }
}

/* ---- branches ---- */

void dn_cpu_residual(struct queue *q, const struct op_residual *op)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int threads = dn_cpu_threads(q, numbers(op->x));
    size_t cols = (size_t)op->x.cols;

    if (op->y.data != op->x.data) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int r = 0; r < op->x.rows; r++)
            memcpy(dn_train_row(op->y, r), dn_train_row(op->x, r), cols * sizeof(float));
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int i = 0; i < op->branch.rows; i++) {
        float *y = dn_train_row(op->y, op->rows ? op->rows[i] : i);
        const float *branch = dn_train_row(op->branch, i);
        if (op->gamma.data)
            k->add_product(y, (float)op->alpha, branch, op->gamma.data, cols);
        else
            k->mix(y, (float)op->alpha, branch, 1, cols);
    }
}

void dn_cpu_residual_back(struct queue *q, const struct op_residual_back *op)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int threads = dn_cpu_threads(q, numbers(op->branch));
    size_t cols = (size_t)op->branch.cols;

    if (op->d_gamma.data) {
        struct column_sums s = {.x = op->branch, .times = op->d_y, .times_rows = op->rows};
        column_sums(q, &s, (struct mat){0}, op->d_gamma, op->alpha, true);
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int i = 0; i < op->branch.rows; i++) {
        const float *d_y = dn_train_row(op->d_y, op->rows ? op->rows[i] : i);
        float *d_branch = dn_train_row(op->d_branch, i);
        if (op->gamma.data)
            k->product(d_branch, (float)op->alpha, d_y, op->gamma.data, cols);
        else
            for (size_t c = 0; c < cols; c++)
                d_branch[c] = (float)op->alpha * d_y[c];
    }
}

/* ---- unit length ---- */

static float gain_of(struct mat gain, int row)
{
    return gain.data ? *dn_train_row(gain, row) : 1;
}

void dn_cpu_l2norm(struct queue *q, const struct op_l2norm *op)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int threads = dn_cpu_threads(q, numbers(op->x));
    size_t cols = (size_t)op->x.cols;

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < op->x.rows; r++) {
        const float *x = dn_train_row(op->x, r);
        float *y = dn_train_row(op->y, r);
        float length = fmaxf(sqrtf(k->dot(x, x, cols)), (float)op->eps);
        float scale = gain_of(op->gain, r) / length;
        for (size_t c = 0; c < cols; c++)
            y[c] = x[c] * scale;
    }
}

void dn_cpu_l2norm_back(struct queue *q, const struct op_l2norm_back *op)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int threads = dn_cpu_threads(q, numbers(op->x));
    size_t cols = (size_t)op->x.cols;

#pragma omp parallel for num_threads(threads) schedule(static)
    for (int r = 0; r < op->x.rows; r++) {
        const float *x = dn_train_row(op->x, r), *d_y = dn_train_row(op->d_y, r);
        float *d_x = dn_train_row(op->d_x, r);
        float length = sqrtf(k->dot(x, x, cols)), eps = (float)op->eps;
        bool constant = length < eps;
        length = fmaxf(length, eps);
        float along = k->dot(x, d_y, cols) / length;
        if (op->d_gain.data)
            *dn_train_row(op->d_gain, r) += along;
        along = constant ? 0 : along / length;
        float scale = gain_of(op->gain, r) / length;
        for (size_t c = 0; c < cols; c++) {
            float d = scale * (d_y[c] - x[c] * along);
            d_x[c] = op->accumulate ? d_x[c] + d : d;
        }
    }
}
