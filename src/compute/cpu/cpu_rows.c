/* Operations on whole rows: layernorm, put_rows, mean_rows, patchify, place_tokens. */
#include <math.h>
#include <string.h>

#include "compute/cpu/cpu_device.h"

enum { PIECE = 512 };

static size_t piece_at(int c, int cols)
{
    return (size_t)(cols - c < PIECE ? cols - c : PIECE);
}

struct layernorm_job {
    const struct kernels *k;
    const struct op_layernorm *op;
};

static void layernorm_row(const struct kernels *k, const struct op_layernorm *op, int row)
{
    const float *x = dn_cpu_at(op->x, row, 0);
    float mean, variance, results[PIECE];

    k->moments(x, (size_t)op->x.cols, &mean, &variance);
    float scale = 1.0F / sqrtf(variance + op->eps);
    for (int c = 0; c < op->y.cols; c += PIECE) {
        size_t n = piece_at(c, op->y.cols);
        float *result = dn_cpu_room(results, op->y, row, c);
        k->normalise(result, x + c, mean, scale, op->weight + c, op->bias + c, n);
        dn_cpu_store(k, op->y, row, c, result, n);
    }
}

static void layernorm_rows(void *argument, int first, int last)
{
    const struct layernorm_job *job = argument;

    for (int r = first; r < last; r++)
        layernorm_row(job->k, job->op, r);
}

void dn_cpu_layernorm(struct queue *q, const struct op_layernorm *op)
{
    struct layernorm_job job = {dn_cpu_kernels(q), op};

    dn_cpu_rows(q, op->y.rows, (size_t)op->x.cols, layernorm_rows, &job);
}

/* Row `row` of a matrix whose single row may stand for all. */
static const float *shared_row(struct mat m, int row)
{
    return dn_cpu_at(m, m.rows == 1 ? 0 : row, 0);
}

struct put_job {
    const struct kernels *k;
    const struct op_put_rows *op;
};

static void put_range(void *argument, int first, int last)
{
    const struct put_job *job = argument;
    const struct op_put_rows *op = job->op;
    size_t cols = (size_t)op->y.cols;

    for (int i = first; i < last; i++) {
        float *to = dn_cpu_at(op->y, op->to ? op->to[i] : i, 0);
        const float *from = op->from ? dn_cpu_at(op->x, op->from[i], 0) : shared_row(op->x, i);
        if (op->add.data)
            job->k->add(to, from, shared_row(op->add, i), cols);
        else
            memcpy(to, from, cols * sizeof *to);
    }
}

void dn_cpu_put_rows(struct queue *q, const struct op_put_rows *op)
{
    struct put_job job = {dn_cpu_kernels(q), op};

    dn_cpu_rows(q, op->count, (size_t)op->y.cols, put_range, &job);
}

enum { STRIP = 128 };

struct mean_job {
    const struct kernels *k;
    const struct op_mean_rows *op;
};

/* Few sequences are long: a task is a strip of columns of one of them. */
static void mean_strips(void *argument, int from, int to)
{
    const struct mean_job *job = argument;
    const struct op_mean_rows *op = job->op;
    int strips = (op->y.cols + STRIP - 1) / STRIP;

    for (int i = from; i < to; i++) {
        int s = i / strips, c = i % strips * STRIP;
        int first = op->starts[s] + op->skip;
        int cols = op->y.cols - c < STRIP ? op->y.cols - c : STRIP;
        job->k->mean_rows(dn_cpu_at(op->y, s, c), dn_cpu_at(op->x, first, c), op->x.stride,
                          op->starts[s + 1] - first, cols);
    }
}

void dn_cpu_mean_rows(struct queue *q, const struct op_mean_rows *op)
{
    struct mean_job job = {dn_cpu_kernels(q), op};
    int tasks = op->sequences * ((op->y.cols + STRIP - 1) / STRIP);
    size_t numbers = (size_t)op->x.rows * (size_t)op->x.cols / (size_t)tasks;

    dn_cpu_rows(q, tasks, numbers, mean_strips, &job);
}

/* All 256 values that a channel's bytes can have, each with torchvision's roundings. */
static void pixel_table(float table[256], float mean, float std)
{
    for (int v = 0; v < 256; v++)
        table[v] = ((float)v / 255.0F - mean) / std;
}

/* One patch's rows of one channel, to `to` [patch, patch]. */
static void patch_channel(float *to, const struct op_picture *picture, int patch,
                          const float table[256], int channel, int top, int left)
{
    for (int r = 0; r < patch; r++, to += patch) {
        size_t at = (size_t)(top + r) * (size_t)picture->width + (size_t)left;
        if (picture->planes) {
            size_t plane = (size_t)picture->height * (size_t)picture->width;
            memcpy(to, picture->planes + (size_t)channel * plane + at,
                   (size_t)patch * sizeof *to);
            continue;
        }
        const uint8_t *pixels = picture->pixels + at * 3 + (size_t)channel;
        for (int c = 0; c < patch; c++)
            to[c] = table[pixels[3 * c]];
    }
}

struct patch_job {
    const struct kernels *k;
    const struct op_picture *picture;
    struct mat y;
    int channels, patch;
    float tables[3][256];
    float *rows; /* a row's channel of f32 for each row, where y is not f32 */
};

static void patch_rows(void *argument, int first, int last)
{
    const struct patch_job *job = argument;
    int patch = job->patch, across = job->picture->width / patch, area = patch * patch;

    for (int r = first; r < last; r++)
        for (int channel = 0; channel < job->channels; channel++) {
            float *buffer = job->rows ? job->rows + (size_t)r * (size_t)area : NULL;
            float *to = dn_cpu_room(buffer, job->y, r, channel * area);
            patch_channel(to, job->picture, patch, job->tables[channel < 3 ? channel : 0],
                          channel, r / across * patch, r % across * patch);
            dn_cpu_store(job->k, job->y, r, channel * area, to, (size_t)area);
        }
}

static void patchify_one(struct queue *q, struct patch_job *job)
{
    const struct op_picture *picture = job->picture;

    for (int channel = 0; picture->pixels && !picture->planes && channel < 3; channel++)
        pixel_table(job->tables[channel], picture->mean[channel], picture->std[channel]);
    if (job->y.dtype != DINO_F32) {
        size_t area = (size_t)job->patch * (size_t)job->patch;
        job->rows = dn_cpu_scratch(q, (size_t)job->y.rows * area * sizeof *job->rows);
        if (!job->rows)
            return;
    }
    dn_cpu_rows(q, job->y.rows, (size_t)job->y.cols, patch_rows, job);
}

void dn_cpu_patchify(struct queue *q, const struct op_patchify *op)
{
    struct patch_job job = {
        .k = dn_cpu_kernels(q), .channels = op->channels, .patch = op->patch};
    int first = 0;

    for (int i = 0; i < op->count; i++) {
        job.picture = &op->pictures[i];
        int rows = (job.picture->height / op->patch) * (job.picture->width / op->patch);
        job.y = dn_mat_rows(op->y, first, rows);
        if (rows > 0)
            patchify_one(q, &job);
        first += rows;
    }
}

struct place_job {
    const struct kernels *k;
    const struct op_place_tokens *op;
};

static void place_row(const struct place_job *job, int i, int row)
{
    const struct op_place_tokens *op = job->op;
    size_t dim = (size_t)op->y.cols;
    int token = row - op->starts[i], patch = token - 1 - op->register_count;
    float *to = dn_cpu_at(op->y, row, 0);

    if (patch >= 0) {
        int from = row - op->starts[0] - (i + 1) * (1 + op->register_count);
        job->k->add(to, dn_cpu_at(op->x, from, 0), op->positions[i] + (size_t)patch * dim, dim);
    } else {
        const float *front = token ? op->registers + (size_t)(token - 1) * dim : op->cls;
        memcpy(to, front, dim * sizeof *to);
    }
}

static void place_range(void *argument, int first, int last)
{
    const struct place_job *job = argument;
    const int *starts = job->op->starts;

    for (int i = 0, row = first + starts[0]; row < last + starts[0]; row++) {
        while (row >= starts[i + 1])
            i++;
        place_row(job, i, row);
    }
}

void dn_cpu_place_tokens(struct queue *q, const struct op_place_tokens *op)
{
    struct place_job job = {dn_cpu_kernels(q), op};

    dn_cpu_rows(q, op->starts[op->count] - op->starts[0], (size_t)op->y.cols, place_range,
                &job);
}
