/* Softmax, losses and the optimizer, and the table of training operations. */
#include <math.h>
#include <string.h>

#include "compute/cpu/cpu_train.h"

static size_t piece_of(size_t done, size_t all)
{
    return all - done < TRAIN_PIECE ? all - done : TRAIN_PIECE;
}

/* y = exp(scale (x - top)); the sum. */
static double exponential_row(const struct train_kernels *k, float *y, const float *x,
                              float top, float scale, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i += TRAIN_PIECE)
        sum += (double)k->exponential(y + i, x + i, top, scale, piece_of(i, n));
    return sum;
}

static double sum_row(const struct train_kernels *k, const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i += TRAIN_PIECE)
        sum += (double)k->sum(x + i, piece_of(i, n));
    return sum;
}

static void scale_row(float *x, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

/* An operation on rows as a task of dn_cpu_rows. */
struct job {
    const struct train_kernels *k;
    const void *op;
    double *parts; /* what each task leaves, joined in order */
};

static void run(struct queue *q, void (*task)(void *argument, int first, int last),
                const void *op, int rows, size_t numbers)
{
    struct job job = {.k = dn_cpu_train_kernels(q), .op = op};

    dn_cpu_rows(q, rows, numbers, task, &job);
}

static void softmax_rows(void *argument, int first, int last)
{
    const struct job *job = argument;
    const struct op_softmax *op = job->op;
    float scale = (float)(1 / op->temperature);
    size_t n = (size_t)op->x.cols;

    for (int r = first; r < last; r++) {
        const float *x = dn_train_row(op->x, r), *centre = op->centre.data;
        float *y = dn_train_row(op->y, r);
        for (size_t c = 0; centre && c < n; c++)
            y[c] = x[c] - centre[c];
        x = centre ? y : x;
        double sum = exponential_row(job->k, y, x, job->k->largest(x, n), scale, n);
        scale_row(y, (float)(1 / sum), n);
    }
}

static void softmax(struct queue *q, const struct op_softmax *op)
{
    run(q, softmax_rows, op, op->x.rows, 4 * (size_t)op->x.cols);
}

/* What one row's targets and logits have in common. */
struct target_sums {
    double total;   /* of the targets */
    double product; /* of targets and logits, less the largest logit */
};

static struct target_sums target_sums(const struct op_cross_entropy *op, int row, float top)
{
    struct target_sums sums = {0};
    const float *x = dn_train_row(op->x, row);
    size_t n = (size_t)op->x.cols;

    for (int j = 0; j < op->per; j++) {
        const float *t = dn_train_row(op->t, op->rows[row * op->per + j]);
        for (size_t i = 0; i < n; i += TRAIN_PIECE) {
            size_t end = i + piece_of(i, n);
            float total = 0, product = 0;
#pragma omp simd reduction(+ : total, product)
            for (size_t c = i; c < end; c++) {
                total += t[c];
                product += t[c] * (x[c] - top);
            }
            sums.total += (double)total;
            sums.product += (double)product;
        }
    }
    return sums;
}

/* The exponentials take the place of the gradient until the targets are subtracted. */
static void cross_entropy_row(const struct train_kernels *k, const struct op_cross_entropy *op,
                              int row)
{
    const float *x = dn_train_row(op->x, row);
    float *d_x = dn_train_row(op->d_x, row), scale = (float)(1 / op->temperature);
    size_t n = (size_t)op->x.cols;
    double weight = op->weights[row];
    float top = k->largest(x, n);
    struct target_sums sums = target_sums(op, row, top);
    double sum = exponential_row(k, d_x, x, top, scale, n);

    *dn_train_row(op->losses, row) =
        (float)(weight * (sums.total * log(sum) - sums.product / op->temperature));
    float slope = (float)(weight / op->temperature);
    float share = (float)(weight / op->temperature * sums.total / sum);
    for (int j = 0; j < op->per; j++)
        k->mix(d_x, -slope, dn_train_row(op->t, op->rows[row * op->per + j]),
               j == 0 ? share : 1, n);
}

static void cross_entropy_rows(void *argument, int first, int last)
{
    const struct job *job = argument;

    for (int r = first; r < last; r++)
        cross_entropy_row(job->k, job->op, r);
}

static void cross_entropy(struct queue *q, const struct op_cross_entropy *op)
{
    run(q, cross_entropy_rows, op, op->x.rows, 8 * (size_t)op->x.cols);
}

static void largest_rows(void *argument, int first, int last)
{
    const struct job *job = argument;
    const struct op_largest *op = job->op;

    for (int r = first; r < last; r++)
        job->parts[r] = (double)job->k->largest(dn_train_row(op->x, r), (size_t)op->x.cols);
}

static void largest(struct queue *q, const struct op_largest *op)
{
    struct job job = {.k = dn_cpu_train_kernels(q), .op = op};
    double top = -INFINITY;

    job.parts = dn_cpu_scratch(q, (size_t)op->x.rows * sizeof *job.parts);
    if (!job.parts)
        return;
    dn_cpu_rows(q, op->x.rows, (size_t)op->x.cols, largest_rows, &job);
    for (int r = 0; r < op->x.rows; r++)
        top = fmax(top, job.parts[r]);
    *(float *)op->y.data = (float)top;
}

static void exponential_rows(void *argument, int first, int last)
{
    const struct job *job = argument;
    const struct op_exponential *op = job->op;
    float top = *(const float *)op->top.data, scale = (float)(1 / op->temperature);

    for (int r = first; r < last; r++)
        job->k->exponential(dn_train_row(op->y, r), dn_train_row(op->x, r), top, scale,
                            (size_t)op->x.cols);
}

static void exponential(struct queue *q, const struct op_exponential *op)
{
    run(q, exponential_rows, op, op->x.rows, 4 * (size_t)op->x.cols);
}

static void sinkhorn_rows(void *argument, int first, int last)
{
    const struct job *job = argument;
    const struct op_sinkhorn *op = job->op;
    const float *sums = op->sums.data;
    size_t n = (size_t)op->q.cols;

    for (int r = first; r < last; r++) {
        float *row = dn_train_row(op->q, r);
        for (size_t c = 0; c < n; c++)
            row[c] = sums[c] != 0 ? row[c] / sums[c] : 0;
        double total = sum_row(job->k, row, n);
        scale_row(row, total != 0 ? (float)(1 / total) : 0, n);
    }
}

static void sinkhorn(struct queue *q, const struct op_sinkhorn *op)
{
    run(q, sinkhorn_rows, op, op->q.rows, (size_t)op->q.cols);
}

/* ---- KoLeo ---- */

static int nearest_row(const struct train_kernels *k, struct mat u, int row)
{
    int best = row;
    float most = -INFINITY;

    for (int j = 0; j < u.rows; j++) {
        float product = k->dot(dn_train_row(u, row), dn_train_row(u, j), (size_t)u.cols);
        if (j != row && product > most) {
            most = product;
            best = j;
        }
    }
    return best;
}

/* A row's gradient goes to the row it is near as well: one thread, in order. */
static void repel(const struct op_koleo *op, int row, int near)
{
    const double eps = 1e-8;
    const float *u = dn_train_row(op->u, row), *other = dn_train_row(op->u, near);
    float *d_u = dn_train_row(op->d_u, row), *d_other = dn_train_row(op->d_u, near);
    double squares = 0, weight = op->weight / op->u.rows;

    for (int c = 0; c < op->u.cols; c++) {
        double e = (double)(u[c] - other[c]) + eps;
        squares += e * e;
    }
    double distance = sqrt(squares);
    *dn_train_row(op->losses, row) = (float)(-weight * log(distance + eps));
    double slope = distance > 0 ? -weight / (distance + eps) / distance : 0;
    for (int c = 0; c < op->u.cols; c++) {
        float d = (float)(slope * ((double)(u[c] - other[c]) + eps));
        d_u[c] += d;
        d_other[c] -= d;
    }
}

static void nearest_rows(void *argument, int first, int last)
{
    const struct job *job = argument;
    const struct op_koleo *op = job->op;

    for (int i = first; i < last; i++)
        op->nearest[i] = nearest_row(job->k, op->u, i);
}

static void koleo(struct queue *q, const struct op_koleo *op)
{
    int rows = op->u.rows;

    run(q, nearest_rows, op, rows, (size_t)rows * (size_t)op->u.cols);
    for (int i = 0; i < rows; i++) {
        *dn_train_row(op->losses, i) = 0;
        if (op->nearest[i] != i)
            repel(op, i, op->nearest[i]);
    }
}

/* ---- optimizer ---- */

enum { RUN = 1 << 14 }; /* numbers of a task */

/* The run-th run of RUN numbers of a row: where it begins; *n: how long it is. */
static int run_of(struct mat m, int run, size_t *n)
{
    int first = run * RUN, left = m.cols - first;

    *n = (size_t)(left < RUN ? left : RUN);
    return first;
}

static int runs(struct mat m)
{
    return m.cols / RUN + (m.cols % RUN != 0);
}

/* What a run touches at most. */
static size_t run_size(struct mat m)
{
    return (size_t)(m.cols < RUN ? m.cols : RUN);
}

static double squares_of(const struct train_kernels *k, const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i += TRAIN_PIECE)
        sum += (double)k->dot(x + i, x + i, piece_of(i, n));
    return sum;
}

static void squares_runs(void *argument, int from, int to)
{
    const struct job *job = argument;
    const struct op_sum_squares *op = job->op;
    int each = runs(op->x);

    for (int t = from; t < to; t++) {
        size_t n;
        int first = run_of(op->x, t % each, &n);
        job->parts[t] = squares_of(job->k, dn_train_row(op->x, t / each) + first, n);
    }
}

static void sum_squares(struct queue *q, const struct op_sum_squares *op)
{
    struct job job = {.k = dn_cpu_train_kernels(q), .op = op};
    int tasks = runs(op->x) * op->x.rows;
    double sum = 0;

    job.parts = dn_cpu_scratch(q, ((size_t)tasks + 1) * sizeof *job.parts);
    if (!job.parts)
        return;
    dn_cpu_rows(q, tasks, run_size(op->x), squares_runs, &job);
    for (int t = 0; t < tasks; t++)
        sum += job.parts[t];
    *(double *)op->y.data = sum;
}

static void adamw_runs(void *argument, int from, int to)
{
    const struct job *job = argument;
    const struct op_adamw *op = job->op;
    struct adamw_run run = {
        .keep = (float)(1 - op->lr * op->decay),
        .lr = (float)(op->lr / (1 - pow(op->beta1, (double)op->step))),
        .grad_scale = (float)op->grad_scale,
        .beta1 = (float)op->beta1,
        .rest1 = (float)(1 - op->beta1),
        .beta2 = (float)op->beta2,
        .rest2 = (float)(1 - op->beta2),
        .eps = (float)op->eps,
        .second = (float)(1 / (1 - pow(op->beta2, (double)op->step))),
    };

    for (int t = from; t < to; t++) {
        size_t n;
        int first = run_of(op->p, t, &n);
        run.p = (float *)op->p.data + first;
        run.m = (float *)op->m.data + first;
        run.v = (float *)op->v.data + first;
        run.g = (const float *)op->g.data + first;
        job->k->adamw(&run, n);
    }
}

static void adamw(struct queue *q, const struct op_adamw *op)
{
    run(q, adamw_runs, op, runs(op->p), RUN);
}

static void lerp_runs(void *argument, int from, int to)
{
    const struct job *job = argument;
    const struct op_lerp *op = job->op;
    int each = runs(op->y);

    for (int t = from; t < to; t++) {
        size_t n;
        int first = run_of(op->y, t % each, &n), row = t / each;
        job->k->mix(dn_train_row(op->y, row) + first, (float)op->add,
                    dn_train_row(op->x, row) + first, (float)op->keep, n);
    }
}

static void lerp(struct queue *q, const struct op_lerp *op)
{
    run(q, lerp_runs, op, runs(op->y) * op->y.rows, run_size(op->y));
}

static void fill_runs(void *argument, int from, int to)
{
    const struct job *job = argument;
    const struct op_fill *op = job->op;
    int each = runs(op->y);

    for (int t = from; t < to; t++) {
        size_t n;
        int first = run_of(op->y, t % each, &n);
        float *y = dn_train_row(op->y, t / each) + first;
        for (size_t i = 0; i < n; i++)
            y[i] = (float)op->value;
    }
}

static void fill(struct queue *q, const struct op_fill *op)
{
    run(q, fill_runs, op, runs(op->y) * op->y.rows, run_size(op->y));
}

const struct train_ops dn_cpu_train_ops = {
    .matmul = dn_cpu_matmul,
    .sum_columns = dn_cpu_sum_columns,
    .add_rows = dn_cpu_add_rows,
    .norm = dn_cpu_norm,
    .layernorm_back = dn_cpu_layernorm_back,
    .attend_back = dn_cpu_attend_back,
    .swiglu_back = dn_cpu_swiglu_back,
    .residual = dn_cpu_residual,
    .residual_back = dn_cpu_residual_back,
    .l2norm = dn_cpu_l2norm,
    .l2norm_back = dn_cpu_l2norm_back,
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
