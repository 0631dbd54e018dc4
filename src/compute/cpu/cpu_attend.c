/* Attention over packed sequences, and the probabilities of one sequence. */
#include <math.h>

#include "base/half.h"
#include "compute/cpu/cpu_device.h"

/* q [width] . rows of k, scaled; then softmax over them, in place. */
static void probabilities(float *p, const float *query, const float *key, ptrdiff_t stride,
                          int tokens, int width, float scale)
{
    float top = -INFINITY, sum = 0;

    for (int t = 0; t < tokens; t++) {
        float score = 0;
        for (int c = 0; c < width; c++)
            score += query[c] * key[t * stride + c];
        p[t] = score * scale;
        top = fmaxf(top, p[t]);
    }
    for (int t = 0; t < tokens; t++)
        sum += p[t] = expf(p[t] - top);
    for (int t = 0; t < tokens; t++)
        p[t] /= sum;
}

/* qkv as f32: itself, or converted to scratch. */
static struct mat as_f32(struct queue *q, struct mat m, float *room)
{
    const struct kernels *k = dn_cpu_kernels(q);

    if (m.dtype == DINO_F32)
        return m;
    for (int r = 0; r < m.rows; r++)
        k->bf16_to_f32(room + (size_t)r * (size_t)m.cols, dn_cpu_at(m, r, 0), (size_t)m.cols);
    return dn_mat(room, m.rows, m.cols, DINO_F32);
}

/* Query row r of one sequence and head. p: [tokens] */
static void attend_row(struct mat y, struct mat qkv, int head, int width, int r, float scale,
                       float *p)
{
    float *row = p, result[256] = {0};
    int dim = y.cols;
    const float *query = dn_cpu_at(qkv, r, head * width);
    const float *key = dn_cpu_at(qkv, 0, dim + head * width);
    const float *value = dn_cpu_at(qkv, 0, 2 * dim + head * width);

    probabilities(row, query, key, qkv.stride, qkv.rows, width, scale);
    for (int t = 0; t < qkv.rows; t++)
        for (int c = 0; c < width; c++)
            result[c] += row[t] * value[t * qkv.stride + c];
    for (int c = 0; c < width; c++) {
        if (y.dtype == DINO_F32)
            *(float *)dn_cpu_at(y, r, head * width + c) = result[c];
        else
            *(uint16_t *)dn_cpu_at(y, r, head * width + c) = dn_f32_to_bf16(result[c]);
    }
}

void dn_cpu_attend(struct queue *q, const struct op_attend *op)
{
    int width = op->y.cols / op->heads, longest = 0;

    for (int s = 0; s < op->sequences; s++)
        if (op->starts[s + 1] - op->starts[s] > longest)
            longest = op->starts[s + 1] - op->starts[s];
    size_t rows_size = (size_t)op->heads * (size_t)longest;
    size_t copy_size = (size_t)op->qkv.rows * (size_t)op->qkv.cols;
    float *rows = dn_cpu_scratch(q, (rows_size + copy_size) * sizeof *rows);
    if (!rows)
        return;
    struct mat qkv = as_f32(q, op->qkv, rows + rows_size);

    for (int s = 0; s < op->sequences; s++) {
        int first = op->starts[s], tokens = op->starts[s + 1] - first;
        struct mat y = dn_mat_rows(op->y, first, tokens);
        struct mat part = dn_mat_rows(qkv, first, tokens);
#pragma omp parallel for num_threads(q->threads) schedule(static)
        for (int head = 0; head < op->heads; head++)
            for (int r = 0; r < tokens; r++)
                attend_row(y, part, head, width, r, op->scale,
                           rows + (size_t)head * (size_t)longest);
    }
}

void dn_cpu_attention_map(struct queue *q, const struct op_attention_map *op)
{
    int tokens = op->qkv.rows, dim = op->qkv.cols / 3, width = dim / op->heads;
    float *room = dn_cpu_scratch(q, (size_t)op->qkv.rows * (size_t)op->qkv.cols * sizeof *room);
    if (!room)
        return;
    struct mat qkv = as_f32(q, op->qkv, room);

#pragma omp parallel for num_threads(q->threads) schedule(static)
    for (int i = 0; i < op->heads * tokens; i++) {
        int head = i / tokens, r = i % tokens;
        probabilities(dn_cpu_at(op->y, i, 0), dn_cpu_at(qkv, r, head * width),
                      dn_cpu_at(qkv, 0, dim + head * width), qkv.stride, tokens, width,
                      op->scale);
    }
}

const char *dn_cpu_attend_name(const struct cpu_device *d)
{
    (void)d;
    return "plain C";
}
