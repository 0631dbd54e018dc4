/*
 * The backward of attention. A task is one head of one sequence, which owns its columns of the
 * gradient; it takes the queries in blocks, so that the probabilities of a block, computed
 * again, are all that exists of them.
 */
#include <omp.h>
#include <string.h>

#include "compute/cpu/cpu_train.h"

enum { QUERIES = 64 }; /* of a block */

/* One head of one sequence. Gradients are blank on entry. */
struct head {
    const float *q, *k, *v, *y, *d_y;
    float *d_q, *d_k, *d_v;
    ptrdiff_t stride, d_stride, y_stride, d_y_stride;
    int tokens, width;
    float scale;
    float *p, *d_p; /* scratch [QUERIES, tokens] */
};

static bool multiply(int m, int n, int k, const float *a, ptrdiff_t a_stride, const float *b,
                     ptrdiff_t b_stride, bool transpose_b, float *c, ptrdiff_t c_stride)
{
    struct product_shape shape = {.m = m,
                                  .n = n,
                                  .k = k,
                                  .transpose_b = transpose_b,
                                  .a_stride = a_stride,
                                  .b_stride = b_stride,
                                  .c_stride = c_stride};

    return dn_cpu_product(&shape, a, b, 0, c);
}

/* c += a^T b */
static bool multiply_add(int m, int n, int k, const float *a, ptrdiff_t a_stride,
                         const float *b, ptrdiff_t b_stride, float *c, ptrdiff_t c_stride)
{
    struct product_shape shape = {.m = m,
                                  .n = n,
                                  .k = k,
                                  .transpose_a = true,
                                  .a_stride = a_stride,
                                  .b_stride = b_stride,
                                  .c_stride = c_stride};

    return dn_cpu_product(&shape, a, b, 1, c);
}

/* Scores to probabilities, and d_p to scale * p (d_p - d_y . y): the gradient of the scores
 * before their scale. */
static void block_rows(const struct train_kernels *k, const struct head *h, int first, int rows)
{
    size_t tokens = (size_t)h->tokens;

    for (int r = 0; r < rows; r++) {
        float *p = h->p + (size_t)r * tokens, *d_p = h->d_p + (size_t)r * tokens;
        float mean = k->dot(h->y + (first + r) * h->y_stride,
                            h->d_y + (first + r) * h->d_y_stride, (size_t)h->width);
        float top = k->largest(p, tokens);
        double sum = 0;
        for (size_t i = 0; i < tokens; i += TRAIN_PIECE) {
            size_t n = tokens - i < TRAIN_PIECE ? tokens - i : TRAIN_PIECE;
            sum += (double)k->exponential(p + i, p + i, top, h->scale, n);
        }
        float share = (float)(1 / sum);
        for (size_t i = 0; i < tokens; i++) {
            p[i] *= share;
            d_p[i] = h->scale * p[i] * (d_p[i] - mean);
        }
    }
}

static bool head_back(const struct train_kernels *kernels, const struct head *h)
{
    int n = h->tokens, width = h->width;
    bool good = true;

    for (int first = 0; good && first < n; first += QUERIES) {
        int rows = n - first < QUERIES ? n - first : QUERIES;
        const float *q = h->q + first * h->stride, *d_y = h->d_y + first * h->d_y_stride;
        good = multiply(rows, n, width, q, h->stride, h->k, h->stride, true, h->p, n) &&
               multiply(rows, n, width, d_y, h->d_y_stride, h->v, h->stride, true, h->d_p, n);
        block_rows(kernels, h, first, rows);
        good = good &&
               multiply(rows, width, n, h->d_p, n, h->k, h->stride, false,
                        h->d_q + first * h->d_stride, h->d_stride) &&
               multiply_add(n, width, rows, h->d_p, n, q, h->stride, h->d_k, h->d_stride) &&
               multiply_add(n, width, rows, h->p, n, d_y, h->d_y_stride, h->d_v, h->d_stride);
    }
    return good;
}

static struct head head_of(const struct op_attend_back *op, int sequence, int head,
                           float *scratch, int longest)
{
    int dim = op->y.cols, width = dim / op->heads, first = op->starts[sequence];
    const float *qkv = dn_train_row(op->qkv, first) + head * width;
    float *d_qkv = dn_train_row(op->d_qkv, first) + head * width;

    return (struct head){
        .q = qkv,
        .k = qkv + dim,
        .v = qkv + 2 * dim,
        .y = dn_train_row(op->y, first) + head * width,
        .d_y = dn_train_row(op->d_y, first) + head * width,
        .d_q = d_qkv,
        .d_k = d_qkv + dim,
        .d_v = d_qkv + 2 * dim,
        .stride = op->qkv.stride,
        .d_stride = op->d_qkv.stride,
        .y_stride = op->y.stride,
        .d_y_stride = op->d_y.stride,
        .tokens = op->starts[sequence + 1] - first,
        .width = width,
        .scale = (float)op->scale,
        .p = scratch,
        .d_p = scratch + (size_t)QUERIES * (size_t)longest,
    };
}

static void blank(const struct head *h)
{
    size_t bytes = (size_t)h->width * sizeof(float);

    for (int r = 0; r < h->tokens; r++) {
        memset(h->d_k + r * h->d_stride, 0, bytes);
        memset(h->d_v + r * h->d_stride, 0, bytes);
    }
}

void dn_cpu_attend_back(struct queue *q, const struct op_attend_back *op)
{
    const struct train_kernels *k = dn_cpu_train_kernels(q);
    int longest = 0, tasks = op->sequences * op->heads, bad = 0;

    for (int s = 0; s < op->sequences; s++)
        if (op->starts[s + 1] - op->starts[s] > longest)
            longest = op->starts[s + 1] - op->starts[s];
    size_t each = 2 * (size_t)QUERIES * (size_t)longest;
    float *scratch = dn_cpu_scratch(q, (size_t)q->threads * each * sizeof *scratch);
    if (!scratch)
        return;

#pragma omp parallel for num_threads(q->threads) schedule(dynamic) reduction(+ : bad)
    for (int t = 0; t < tasks; t++) {
        struct head h = head_of(op, t / op->heads, t % op->heads,
                                scratch + (size_t)omp_get_thread_num() * each, longest);
        blank(&h);
        bad += !head_back(k, &h);
    }
    if (bad)
        dn_queue_fail(q, DINO_EDEVICE, "oneDNN failed in the backward of attention");
}
