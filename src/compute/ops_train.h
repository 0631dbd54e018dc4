/*
 * The operations that training adds to those of ops.h: products with plain matrices, the
 * backward of everything, losses and the optimizer. A device that can train has a table of
 * them; ref/ref_train*.c is the same contract as plain loops.
 *
 * Everywhere, beside what ops.h says
 * - Matrices are f32, or on ref all f32 or all f64. Those that an operation calls activations
 *   may also be bf16 or f16 on a device opened for it, where ref takes f64. Whatever is summed
 *   is summed in f32 at least.
 * - A vector is a matrix with one row, a column has one column. Scalars are double.
 * - d_x is the gradient of x. What accumulates says so; everything else is overwritten.
 * - Optional matrices have no data. Index arrays live in host memory.
 */
#ifndef COMPUTE_OPS_TRAIN_H
#define COMPUTE_OPS_TRAIN_H

#include "compute/ops.h"

/*
 * y [m, n] = a . b + bias, or y += a . b with accumulate. transpose_a: a is stored [k, m];
 * transpose_b: b is stored [n, k]. bias: [1, n], optional, added to every row (not with
 * accumulate). Forward: y = x w^T + bias; backward: d_x = d_y w and d_w += d_y^T x.
 *
 * y, a and b are activations, y f32 with accumulate. Where a or b has 16 bits the other may be
 * rounded to them as well. What else one pass can do (none with accumulate but a_sums):
 * - active [m, n], of the dtype of y: gelu(h), where h is y (rounded or not) or hidden.
 * - hidden [m, n], of the dtype of y: y = (a . b) gelu'(hidden), without bias.
 * - a_sums [1, m], with transpose_a: += the sums over k of a: the gradient of a bias.
 */
struct op_matmul {
    struct mat y, a, b, bias;
    bool transpose_a, transpose_b, accumulate;
    struct mat active, hidden, a_sums;
};

/* y [1, n] = alpha * the sum over rows of x [m, n], or of x times `times` [m, n] element by
 * element; y += with accumulate. */
struct op_sum_columns {
    struct mat y, x, times;
    double alpha;
    bool accumulate;
};

/* y[to[i], :] += alpha * x[from[i], :], i < count, in that order; rows may be named twice.
 * NULL: i. */
struct op_add_rows {
    struct mat y, x;
    const int *to, *from;
    int count;
    double alpha;
};

/*
 * The backward of layernorm, from x [m, n] and weight [1, n]: d_x = (or += with accumulate)
 * what d_y [m, n] says; d_weight, d_bias [1, n] += theirs. Mean and deviation are taken from x
 * again. d_x may be d_y. d_weight and d_bias: both or neither. d_y: activation. rows: row i of
 * d_y belongs to row rows[i] of x and d_x; distinct; NULL: i.
 */
struct op_layernorm_back {
    struct mat d_x, d_weight, d_bias, d_y, x, weight;
    const int *rows;
    double eps;
    bool accumulate;
};

/* As layernorm, with weight and bias [1, n] of the dtype of x. y, an activation, may be x.
 * rows: row i of y is of row rows[i] of x; NULL: i. */
struct op_norm {
    struct mat y, x, weight, bias;
    const int *rows;
    double eps;
};

/* The backward of attend, from qkv and y as attend left it: d_qkv [tokens, 3 dim]. The
 * probabilities are computed again; no more than a few rows of them exist at a time. All four
 * are activations of one dtype. */
struct op_attend_back {
    struct mat d_qkv, d_y, y, qkv;
    int heads;
    double scale;
    const int *starts;
    int sequences;
};

/* d_x [m, 2h] from d_y [m, h] and x [m, 2h]: activations. */
struct op_swiglu_back {
    struct mat d_x, d_y, x;
};

/*
 * A branch joins the stream: y = x, then y[rows[i], :] += alpha * gamma * branch[i, :].
 * x, y [m, n], may be the same; branch [count, n]; gamma [1, n], optional (ones); rows are
 * distinct, NULL: i. Stochastic depth names the rows of the samples it kept. branch:
 * activation.
 */
struct op_residual {
    struct mat y, x, branch, gamma;
    const int *rows;
    double alpha;
};

/* d_branch[i, :] = alpha * gamma * d_y[rows[i], :], and
 * d_gamma += sum over i of alpha * branch[i, :] * d_y[rows[i], :]. d_branch, branch:
 * activations. */
struct op_residual_back {
    struct mat d_branch, d_gamma, d_y, branch, gamma;
    const int *rows;
    double alpha;
};

/* y = gain[r] * x / max(|x|, eps) for each row r of x [m, n]; gain [m, 1], optional (ones).
 * y: activation. */
struct op_l2norm {
    struct mat y, x, gain;
    double eps;
};

/* The backward from x and gain: d_x (+= with accumulate) and d_gain [m, 1] +=, optional. Where
 * |x| < eps, |x| counts as the constant eps. d_x may be d_y where it does not accumulate. */
struct op_l2norm_back {
    struct mat d_x, d_gain, d_y, x, gain;
    double eps;
    bool accumulate;
};

/* y = softmax((x - centre) / temperature) over each row; centre [1, n], optional. y may be
 * x. */
struct op_softmax {
    struct mat y, x, centre;
    double temperature;
};

/*
 * Row r of x [m, n] is held against the targets rows[r * per + j], j < per, of t [_, n]:
 *   losses[r] = weights[r] * sum_j sum_k -t[., k] * log_softmax(x[r] / temperature)_k
 * losses [m, 1]; d_x [m, n] is the gradient of their sum, and may be x. rows and weights are
 * host memory. One pass finds the softmax, a second one writes the gradient.
 */
struct op_cross_entropy {
    struct mat d_x, losses, x, t;
    const int *rows;
    const double *weights;
    int per;
    double temperature;
};

/* y [1, 1] = the largest element of x. */
struct op_largest {
    struct mat y, x;
};

/* y = exp((x - top) / temperature), top [1, 1]; y may be x. */
struct op_exponential {
    struct mat y, x, top;
    double temperature;
};

/* One half of a round of Sinkhorn-Knopp: q[s, k] /= sums[k], then each row is divided by its
 * sum. q [samples, prototypes], sums [1, prototypes] (op_sum_columns, and over all processes
 * where there are many). 0 / 0 counts as 0. */
struct op_sinkhorn {
    struct mat q, sums;
};

/*
 * KoLeo on rows u [m, n] of unit length: nearest[i] is the row j != i with the largest u_i.u_j,
 * the smaller one of equals; d_i = |u_i - u_nearest + 1e-8|, losses[i] = -weight / m *
 * log(d_i + 1e-8); d_u += the gradient of their sum through both rows of each pair. nearest:
 * device memory [m]. One row alone has no neighbour: nearest itself, loss 0, gradient 0.
 */
struct op_koleo {
    struct mat d_u, losses, u;
    int *nearest;
    double weight;
};

/* y [1, 1] f64 = the sum of squares of x, in f64. */
struct op_sum_squares {
    struct mat y, x;
};

/*
 * AdamW on the vectors p, m, v [1, n] with the gradient grad_scale * g, in this order:
 * p *= 1 - lr * decay; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
 * p -= lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps). step counts from 1.
 */
struct op_adamw {
    struct mat p, m, v, g;
    double lr, decay, beta1, beta2, eps, grad_scale;
    int64_t step;
};

/* y = keep * y + add * x. */
struct op_lerp {
    struct mat y, x;
    double keep, add;
};

/* y = value */
struct op_fill {
    struct mat y;
    double value;
};

struct train_ops {
    void (*matmul)(struct queue *q, const struct op_matmul *op);
    void (*sum_columns)(struct queue *q, const struct op_sum_columns *op);
    void (*add_rows)(struct queue *q, const struct op_add_rows *op);
    void (*norm)(struct queue *q, const struct op_norm *op);
    void (*layernorm_back)(struct queue *q, const struct op_layernorm_back *op);
    void (*attend_back)(struct queue *q, const struct op_attend_back *op);
    void (*swiglu_back)(struct queue *q, const struct op_swiglu_back *op);
    void (*residual)(struct queue *q, const struct op_residual *op);
    void (*residual_back)(struct queue *q, const struct op_residual_back *op);
    void (*l2norm)(struct queue *q, const struct op_l2norm *op);
    void (*l2norm_back)(struct queue *q, const struct op_l2norm_back *op);
    void (*softmax)(struct queue *q, const struct op_softmax *op);
    void (*cross_entropy)(struct queue *q, const struct op_cross_entropy *op);
    void (*largest)(struct queue *q, const struct op_largest *op);
    void (*exponential)(struct queue *q, const struct op_exponential *op);
    void (*sinkhorn)(struct queue *q, const struct op_sinkhorn *op);
    void (*koleo)(struct queue *q, const struct op_koleo *op);
    void (*sum_squares)(struct queue *q, const struct op_sum_squares *op);
    void (*adamw)(struct queue *q, const struct op_adamw *op);
    void (*lerp)(struct queue *q, const struct op_lerp *op);
    void (*fill)(struct queue *q, const struct op_fill *op);
};

extern const struct train_ops dn_ref_train_ops;

void dn_matmul(struct queue *q, struct op_matmul op);
void dn_sum_columns(struct queue *q, struct op_sum_columns op);
void dn_add_rows(struct queue *q, struct op_add_rows op);
void dn_norm(struct queue *q, struct op_norm op);
void dn_layernorm_back(struct queue *q, struct op_layernorm_back op);
void dn_attend_back(struct queue *q, struct op_attend_back op);
void dn_swiglu_back(struct queue *q, struct op_swiglu_back op);
void dn_residual(struct queue *q, struct op_residual op);
void dn_residual_back(struct queue *q, struct op_residual_back op);
void dn_l2norm(struct queue *q, struct op_l2norm op);
void dn_l2norm_back(struct queue *q, struct op_l2norm_back op);
void dn_softmax(struct queue *q, struct op_softmax op);
void dn_cross_entropy(struct queue *q, struct op_cross_entropy op);
void dn_largest(struct queue *q, struct op_largest op);
void dn_exponential(struct queue *q, struct op_exponential op);
void dn_sinkhorn(struct queue *q, struct op_sinkhorn op);
void dn_koleo(struct queue *q, struct op_koleo op);
void dn_sum_squares(struct queue *q, struct op_sum_squares op);
void dn_adamw(struct queue *q, struct op_adamw op);
void dn_lerp(struct queue *q, struct op_lerp op);
void dn_fill(struct queue *q, struct op_fill op);

#endif
