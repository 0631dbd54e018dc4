/* What works on rows: sums over them, normalisations, branches, unit length, and backward. */
#include "compute/cpu/cpu_train.h"

#include <math.h>
#include <string.h>

enum { PIECE = 512 }; /* numbers of a row that are converted at a time */

static size_t piece_at(int c, int cols)
{
    return (size_t)(cols - c < PIECE ? cols - c : PIECE);
}

/* ---- sums over rows ---- */

/*
 * Sums over the rows of a matrix: a piece of ROWS rows is one thread's, who leaves its sums in
 * f32; pieces join in order, in f64. `sets` vectors of cols numbers are summed at once.
 */
enum { ROWS = 64, CHUNK = 64 };

struct row_sums {
    int rows, cols, sets, pieces;
    float *parts; /* [pieces][sets][cols] */
    /* Rows [first, last) of the operation; sums [sets][cols], blank. */
    void (*rows_of)(void *argument, int first, int last, float *sums);
    void *argument;
    float *y[2]; /* [sets] of [cols], or NULL */
    double alpha;
    bool accumulate;
};

static void sum_pieces(void *argument, int from, int to)
{
    const struct row_sums *s = argument;
    size_t each = (size_t)s->sets * (size_t)s->cols;

    for (int i = from; i < to; i++) {
        int first = i * ROWS, last = s->rows - first < ROWS ? s->rows : first + ROWS;
        float *sums = s->parts + (size_t)i * each;
        memset(sums, 0, each * sizeof *sums);
        s->rows_of(s->argument, first, last, sums);
    }
}

static void join_columns(void *argument, int from, int to)
{
    const struct row_sums *s = argument;
    size_t each = (size_t)s->sets * (size_t)s->cols;

    for (int first = from * CHUNK; first < to * CHUNK; first += CHUNK) {
        double sums[CHUNK] = {0};
        int width = (int)each - first < CHUNK ? (int)each - first : CHUNK;
        for (int i = 0; i < s->pieces; i++)
            for (int c = 0; c < width; c++)
                sums[c] += (double)s->parts[(size_t)i * each + (size_t)(first + c)];
        for (int c = 0; c < width; c++) {
            float *y = s->y[(first + c) / s->cols];
            int at = (first + c) % s->cols;
            if (y)
                y[at] = (float)(s->alpha * sums[c] + (s->accumulate ? (double)y[at] : 0));
        }
    }
}

static void sum_rows(struct queue *q, struct row_sums *s)
{
    struct team *team = dn_cpu_queue(q)->team;
    size_t each = (size_t)s->sets * (size_t)s->cols;
    int threads = dn_cpu_threads(q, (size_t)s->rows * (size_t)s->cols);
    int chunks = (int)((each + CHUNK - 1) / CHUNK);

    s->pieces = s->rows / ROWS + (s->rows % ROWS != 0);
    s->parts = dn_cpu_scratch(q, ((size_t)s->pieces * each + 1) * sizeof *s->parts);
    if (!s->parts)
        return;
    dn_team_ranges(team, threads, s->pieces, 1, sum_pieces, s);
    dn_team_ranges(team, dn_cpu_threads(q, (size_t)s->pieces * each), chunks, 1, join_columns,
                   s);
}

struct sum_columns_job {
    const struct train_kernels *k;
    const struct op_sum_columns *op;
};

static void sum_columns_rows(void *argument, int first, int last, float *sums)
{
    const struct sum_columns_job *job = argument;
    const struct op_sum_columns *op = job->op;
    size_t cols = (size_t)op->x.cols;

    for (int r = first; r < last; r++) {
        const float *x = dn_train_row(op->x, r);
        if (op->times.data)
            job->k->add_product(sums, 1, x, dn_train_row(op->times, r), cols);
        else
            job->k->mix(sums, 1, x, 1, cols);
    }
}

void dn_cpu_sum_columns(struct queue *q, const struct op_sum_columns *op)
{
    struct sum_columns_job job = {dn_cpu_train_kernels(q), op};
    struct row_sums s = {.rows = op->x.rows,
                         .cols = op->x.cols,
                         .sets = 1,
                         .rows_of = sum_columns_rows,
                         .argument = &job,
                         .y = {op->y.data},
                         .alpha = op->alpha,
                         .accumulate = op->accumulate};

    sum_rows(q, &s);
}

struct add_rows_job {
    const struct train_kernels *k;
    const struct op_add_rows *op;
};

/* Rows may be named twice: a task has columns of its own. */
static void add_rows_chunks(void *argument, int from, int to)
{
    const struct add_rows_job *job = argument;
    const struct op_add_rows *op = job->op;
    int left = op->y.cols - from * CHUNK, all = (to - from) * CHUNK;
    size_t width = (size_t)(left < all ? left : all);

    for (int i = 0; i < op->count; i++)
        job->k->mix(dn_train_row(op->y, op->to ? op->to[i] : i) + from * CHUNK,
                    (float)op->alpha,
                    dn_train_row(op->x, op->from ? op->from[i] : i) + from * CHUNK, 1, width);
}

void dn_cpu_add_rows(struct queue *q, const struct op_add_rows *op)
{
    struct add_rows_job job = {dn_cpu_train_kernels(q), op};
    int cols = op->y.cols, chunks = (cols + CHUNK - 1) / CHUNK;
    int threads = dn_cpu_threads(q, (size_t)op->count * (size_t)cols);

    dn_team_ranges(dn_cpu_queue(q)->team, threads, chunks, 1, add_rows_chunks, &job);
}

/* ---- layernorm ---- */

struct norm_job {
    const struct kernels *k;
    const struct op_norm *op;
};

static void norm_rows(void *argument, int first, int last)
{
    const struct norm_job *job = argument;
    const struct op_norm *op = job->op;
    const float *weight = op->weight.data, *bias = op->bias.data;
    float results[PIECE], mean, variance;

    for (int r = first; r < last; r++) {
        const float *x = dn_train_row(op->x, op->rows ? op->rows[r] : r);
        job->k->moments(x, (size_t)op->x.cols, &mean, &variance);
        float scale = 1 / sqrtf(variance + (float)op->eps);
        for (int c = 0; c < op->y.cols; c += PIECE) {
            size_t n = piece_at(c, op->y.cols);
            float *result = dn_cpu_room(results, op->y, r, c);
            job->k->normalise(result, x + c, mean, scale, weight + c, bias + c, n);
            dn_cpu_store(job->k, op->y, r, c, result, n);
        }
    }
}

void dn_cpu_norm(struct queue *q, const struct op_norm *op)
{
    struct norm_job job = {dn_cpu_kernels(q), op};

    dn_cpu_rows(q, op->y.rows, (size_t)op->x.cols, norm_rows, &job);
}

struct norm_back_job {
    const struct kernels *k;
    const struct train_kernels *train;
    const struct op_layernorm_back *op;
};

/* With n = (x - mean) scale and g = d_y weight: d_x = (g - mean(g) - n mean(g n)) scale. */
static void norm_back_row(const struct norm_back_job *job, int r, float *d_weight,
                          float *d_bias)
{
    const struct op_layernorm_back *op = job->op;
    int row = op->rows ? op->rows[r] : r, cols = op->x.cols;
    const float *x = dn_train_row(op->x, row), *weight = op->weight.data;
    float *d_x = dn_train_row(op->d_x, row), buffer[PIECE], variance;
    struct norm_row n = {.keep = op->accumulate};

    job->k->moments(x, (size_t)cols, &n.mean, &variance);
    n.scale = 1 / sqrtf(variance + (float)op->eps);
    for (int c = 0; c < cols; c += PIECE) {
        size_t count = piece_at(c, cols);
        const float *d_y = dn_cpu_load(job->k, buffer, op->d_y, r, c, count);
        job->train->norm_back_sums(&n, d_y, x + c, weight + c, d_weight + c, d_bias + c, count);
    }
    n.g_sum /= (float)cols;
    n.gn_sum /= (float)cols;
    for (int c = 0; c < cols; c += PIECE) {
        size_t count = piece_at(c, cols);
        const float *d_y = cols <= PIECE && op->d_y.dtype != DINO_F32
                               ? buffer
                               : dn_cpu_load(job->k, buffer, op->d_y, r, c, count);
        job->train->norm_back(&n, d_x + c, d_y, x + c, weight + c, count);
    }
}

static void norm_back_rows(void *argument, int first, int last, float *sums)
{
    const struct norm_back_job *job = argument;

    for (int r = first; r < last; r++)
        norm_back_row(job, r, sums, sums + job->op->x.cols);
}

void dn_cpu_layernorm_back(struct queue *q, const struct op_layernorm_back *op)
{
    struct norm_back_job job = {dn_cpu_kernels(q), dn_cpu_train_kernels(q), op};
    struct row_sums s = {.rows = op->d_y.rows,
                         .cols = op->x.cols,
                         .sets = 2,
                         .rows_of = norm_back_rows,
                         .argument = &job,
                         .y = {op->d_weight.data, op->d_bias.data},
                         .alpha = 1,
                         .accumulate = true};

    sum_rows(q, &s);
}

/* ---- nonlinearities ---- */

struct swiglu_back_job {
    const struct kernels *k;
    const struct train_kernels *train;
    const struct op_swiglu_back *op;
};

static void swiglu_back_rows(void *argument, int first, int last)
{
    const struct swiglu_back_job *job = argument;
    const struct op_swiglu_back *op = job->op;
    int hidden = op->d_y.cols;
    float gates[PIECE], values[PIECE], d_ys[PIECE], d_gates[PIECE], d_values[PIECE];

    for (int r = first; r < last; r++)
        for (int c = 0; c < hidden; c += PIECE) {
            size_t n = piece_at(c, hidden);
            const float *gate = dn_cpu_load(job->k, gates, op->x, r, c, n);
            const float *value = dn_cpu_load(job->k, values, op->x, r, hidden + c, n);
            const float *d_y = dn_cpu_load(job->k, d_ys, op->d_y, r, c, n);
            float *d_gate = dn_cpu_room(d_gates, op->d_x, r, c);
            float *d_value = dn_cpu_room(d_values, op->d_x, r, hidden + c);
            job->train->swiglu_back(d_gate, d_value, d_y, gate, value, n);
            dn_cpu_store(job->k, op->d_x, r, c, d_gate, n);
            dn_cpu_store(job->k, op->d_x, r, hidden + c, d_value, n);
        }
}

void dn_cpu_swiglu_back(struct queue *q, const struct op_swiglu_back *op)
{
    struct swiglu_back_job job = {dn_cpu_kernels(q), dn_cpu_train_kernels(q), op};

    dn_cpu_rows(q, op->x.rows, 4 * (size_t)op->x.cols, swiglu_back_rows, &job);
}

/* ---- branches ---- */

struct residual_job {
    const struct kernels *k;
    const struct train_kernels *train;
    const struct op_residual *op;
};

static void residual_copy(void *argument, int first, int last)
{
    const struct residual_job *job = argument;
    const struct op_residual *op = job->op;

    for (int r = first; r < last; r++)
        memcpy(dn_train_row(op->y, r), dn_train_row(op->x, r),
               (size_t)op->x.cols * sizeof(float));
}

static void residual_rows(void *argument, int first, int last)
{
    const struct residual_job *job = argument;
    const struct op_residual *op = job->op;
    float buffer[PIECE];

    if (!op->rows && op->y.data != op->x.data)
        residual_copy(argument, first, last);
    for (int i = first; i < last; i++)
        for (int c = 0; c < op->y.cols; c += PIECE) {
            size_t n = piece_at(c, op->y.cols);
            float *y = dn_train_row(op->y, op->rows ? op->rows[i] : i) + c;
            const float *branch = dn_cpu_load(job->k, buffer, op->branch, i, c, n);
            if (op->gamma.data)
                job->train->add_product(y, (float)op->alpha, branch,
                                        (const float *)op->gamma.data + c, n);
            else
                job->train->mix(y, (float)op->alpha, branch, 1, n);
        }
}

void dn_cpu_residual(struct queue *q, const struct op_residual *op)
{
    struct residual_job job = {dn_cpu_kernels(q), dn_cpu_train_kernels(q), op};
    size_t cols = (size_t)op->x.cols;

    if (op->rows && op->y.data != op->x.data)
        dn_cpu_rows(q, op->x.rows, cols, residual_copy, &job);
    dn_cpu_rows(q, op->branch.rows, cols, residual_rows, &job);
}

struct residual_back_job {
    const struct kernels *k;
    const struct train_kernels *train;
    const struct op_residual_back *op;
};

static void residual_back_rows(void *argument, int first, int last, float *d_gamma)
{
    const struct residual_back_job *job = argument;
    const struct op_residual_back *op = job->op;
    float branches[PIECE], results[PIECE], alpha = (float)op->alpha;

    for (int i = first; i < last; i++)
        for (int c = 0; c < op->branch.cols; c += PIECE) {
            size_t n = piece_at(c, op->branch.cols);
            const float *d_y = dn_train_row(op->d_y, op->rows ? op->rows[i] : i) + c;
            const float *branch = dn_cpu_load(job->k, branches, op->branch, i, c, n);
            float *d_branch = dn_cpu_room(results, op->d_branch, i, c);
            if (op->d_gamma.data)
                job->train->add_product(d_gamma + c, alpha, branch, d_y, n);
            if (op->gamma.data)
                job->train->product(d_branch, alpha, d_y, (const float *)op->gamma.data + c, n);
            else
                for (size_t j = 0; j < n; j++)
                    d_branch[j] = alpha * d_y[j];
            dn_cpu_store(job->k, op->d_branch, i, c, d_branch, n);
        }
}

void dn_cpu_residual_back(struct queue *q, const struct op_residual_back *op)
{
    struct residual_back_job job = {dn_cpu_kernels(q), dn_cpu_train_kernels(q), op};
    struct row_sums s = {.rows = op->branch.rows,
                         .cols = op->branch.cols,
                         .sets = 1,
                         .rows_of = residual_back_rows,
                         .argument = &job,
                         .y = {op->d_gamma.data},
                         .alpha = 1,
                         .accumulate = true};

    sum_rows(q, &s);
}

/* ---- unit length ---- */

static float gain_of(struct mat gain, int row)
{
    return gain.data ? *dn_train_row(gain, row) : 1;
}

struct l2norm_job {
    const struct kernels *k;
    const struct train_kernels *train;
    const struct op_l2norm *op;
};

static void l2norm_rows(void *argument, int first, int last)
{
    const struct l2norm_job *job = argument;
    const struct op_l2norm *op = job->op;
    float buffer[PIECE];

    for (int r = first; r < last; r++) {
        const float *x = dn_train_row(op->x, r);
        float length = sqrtf(job->train->dot(x, x, (size_t)op->x.cols));
        float scale = gain_of(op->gain, r) / fmaxf(length, (float)op->eps);
        for (int c = 0; c < op->x.cols; c += PIECE) {
            size_t n = piece_at(c, op->x.cols);
            float *y = dn_cpu_room(buffer, op->y, r, c);
            for (size_t i = 0; i < n; i++)
                y[i] = x[(size_t)c + i] * scale;
            dn_cpu_store(job->k, op->y, r, c, y, n);
        }
    }
}

void dn_cpu_l2norm(struct queue *q, const struct op_l2norm *op)
{
    struct l2norm_job job = {dn_cpu_kernels(q), dn_cpu_train_kernels(q), op};

    dn_cpu_rows(q, op->x.rows, (size_t)op->x.cols, l2norm_rows, &job);
}

struct l2norm_back_job {
    const struct train_kernels *k;
    const struct op_l2norm_back *op;
};

static void l2norm_back_rows(void *argument, int first, int last)
{
    const struct l2norm_back_job *job = argument;
    const struct op_l2norm_back *op = job->op;
    size_t cols = (size_t)op->x.cols;
    float eps = (float)op->eps;

    for (int r = first; r < last; r++) {
        const float *x = dn_train_row(op->x, r), *d_y = dn_train_row(op->d_y, r);
        float *d_x = dn_train_row(op->d_x, r);
        float length = sqrtf(job->k->dot(x, x, cols));
        bool constant = length < eps;
        length = fmaxf(length, eps);
        float along = job->k->dot(x, d_y, cols) / length;
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

void dn_cpu_l2norm_back(struct queue *q, const struct op_l2norm_back *op)
{
    struct l2norm_back_job job = {dn_cpu_train_kernels(q), op};

    dn_cpu_rows(q, op->x.rows, (size_t)op->x.cols, l2norm_back_rows, &job);
}
