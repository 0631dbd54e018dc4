/* Checks the contract of every training operation before a device sees it. */
#include "compute/ops_train.h"

#include <assert.h>

#include "compute/device.h"

/* May the operation run? Not after a failure, nor on a device that cannot train. */
static bool ready(struct queue *q)
{
    if (q->error.code != DINO_OK)
        return false;
    if (!q->device->ops->train)
        dn_queue_fail(q, DINO_EUNSUPPORTED, "device %s cannot train", q->device->name);
    return q->device->ops->train;
}

/* A vector of that many columns, or nothing. */
static bool vector_or_none(struct mat m, int cols)
{
    return !m.data || (m.rows == 1 && m.cols == cols);
}

void dn_matmul(struct queue *q, struct op_matmul op)
{
    int m = op.transpose_a ? op.a.cols : op.a.rows, k = op.transpose_a ? op.a.rows : op.a.cols;
    int n = op.transpose_b ? op.b.rows : op.b.cols;

    assert(op.y.rows == m && op.y.cols == n);
    assert(k == (op.transpose_b ? op.b.cols : op.b.rows));
    assert(vector_or_none(op.bias, n) && vector_or_none(op.a_sums, m));
    assert(!op.active.data || dn_mat_same_shape(op.active, op.y));
    assert(!op.hidden.data || (dn_mat_same_shape(op.hidden, op.y) && !op.bias.data));
    assert(!op.accumulate || !(op.bias.data || op.active.data || op.hidden.data));
    assert(!op.a_sums.data || op.transpose_a);
    if (m > 0 && n > 0 && ready(q))
        q->device->ops->train->matmul(q, &op);
}

void dn_sum_columns(struct queue *q, struct op_sum_columns op)
{
    assert(op.y.rows == 1 && op.y.cols == op.x.cols);
    assert(!op.times.data || dn_mat_same_shape(op.times, op.x));
    if (ready(q))
        q->device->ops->train->sum_columns(q, &op);
}

void dn_add_rows(struct queue *q, struct op_add_rows op)
{
    assert(op.y.cols == op.x.cols);
    if (op.count > 0 && ready(q))
        q->device->ops->train->add_rows(q, &op);
}

void dn_norm(struct queue *q, struct op_norm op)
{
    assert(op.rows ? op.y.cols == op.x.cols : dn_mat_same_shape(op.y, op.x));
    assert(op.weight.cols == op.x.cols && op.bias.cols == op.x.cols);
    if (op.y.rows > 0 && ready(q))
        q->device->ops->train->norm(q, &op);
}

void dn_layernorm_back(struct queue *q, struct op_layernorm_back op)
{
    assert(dn_mat_same_shape(op.d_x, op.x) && op.d_y.cols == op.x.cols);
    assert(op.rows || op.d_y.rows == op.x.rows);
    assert(vector_or_none(op.d_weight, op.x.cols) && vector_or_none(op.d_bias, op.x.cols));
    assert(!op.d_weight.data == !op.d_bias.data && op.weight.cols == op.x.cols);
    if (op.d_y.rows > 0 && ready(q))
        q->device->ops->train->layernorm_back(q, &op);
}

void dn_attend_back(struct queue *q, struct op_attend_back op)
{
    assert(dn_mat_same_shape(op.d_qkv, op.qkv) && dn_mat_same_shape(op.d_y, op.y));
    assert(op.qkv.rows == op.y.rows && op.qkv.cols == 3 * op.y.cols);
    assert(op.heads > 0 && op.y.cols % op.heads == 0);
    assert(op.starts[0] == 0 && op.starts[op.sequences] == op.y.rows);
    if (op.y.rows > 0 && ready(q))
        q->device->ops->train->attend_back(q, &op);
}

void dn_swiglu_back(struct queue *q, struct op_swiglu_back op)
{
    assert(dn_mat_same_shape(op.d_x, op.x));
    assert(op.d_y.rows == op.x.rows && 2 * op.d_y.cols == op.x.cols);
    if (op.x.rows > 0 && ready(q))
        q->device->ops->train->swiglu_back(q, &op);
}

void dn_residual(struct queue *q, struct op_residual op)
{
    assert(dn_mat_same_shape(op.y, op.x) && op.branch.cols == op.x.cols);
    assert(op.rows || op.branch.rows == op.x.rows);
    assert(vector_or_none(op.gamma, op.x.cols));
    if (op.x.rows > 0 && ready(q))
        q->device->ops->train->residual(q, &op);
}

void dn_residual_back(struct queue *q, struct op_residual_back op)
{
    assert(dn_mat_same_shape(op.d_branch, op.branch) && op.branch.cols == op.d_y.cols);
    assert(op.rows || op.branch.rows == op.d_y.rows);
    assert(vector_or_none(op.gamma, op.d_y.cols) && vector_or_none(op.d_gamma, op.d_y.cols));
    if (op.branch.rows > 0 && ready(q))
        q->device->ops->train->residual_back(q, &op);
}

void dn_l2norm(struct queue *q, struct op_l2norm op)
{
    assert(dn_mat_same_shape(op.y, op.x));
    assert(!op.gain.data || (op.gain.rows == op.x.rows && op.gain.cols == 1));
    if (op.x.rows > 0 && ready(q))
        q->device->ops->train->l2norm(q, &op);
}

void dn_l2norm_back(struct queue *q, struct op_l2norm_back op)
{
    assert(dn_mat_same_shape(op.d_x, op.x) && dn_mat_same_shape(op.d_y, op.x));
    assert(!op.gain.data || (op.gain.rows == op.x.rows && op.gain.cols == 1));
    assert(!op.d_gain.data || (op.gain.data && dn_mat_same_shape(op.d_gain, op.gain)));
    if (op.x.rows > 0 && ready(q))
        q->device->ops->train->l2norm_back(q, &op);
}

void dn_softmax(struct queue *q, struct op_softmax op)
{
    assert(dn_mat_same_shape(op.y, op.x) && vector_or_none(op.centre, op.x.cols));
    assert(op.temperature > 0);
    if (op.x.rows > 0 && ready(q))
        q->device->ops->train->softmax(q, &op);
}

void dn_cross_entropy(struct queue *q, struct op_cross_entropy op)
{
    assert(dn_mat_same_shape(op.d_x, op.x) && op.t.cols == op.x.cols);
    assert(op.losses.rows == op.x.rows && op.losses.cols == 1);
    assert(op.per > 0 && op.temperature > 0);
    if (op.x.rows > 0 && ready(q))
        q->device->ops->train->cross_entropy(q, &op);
}

void dn_largest(struct queue *q, struct op_largest op)
{
    assert(op.y.rows == 1 && op.y.cols == 1 && op.x.rows > 0 && op.x.cols > 0);
    if (ready(q))
        q->device->ops->train->largest(q, &op);
}

void dn_exponential(struct queue *q, struct op_exponential op)
{
    assert(dn_mat_same_shape(op.y, op.x) && op.temperature > 0);
    if (op.x.rows > 0 && ready(q))
        q->device->ops->train->exponential(q, &op);
}

void dn_sinkhorn(struct queue *q, struct op_sinkhorn op)
{
    assert(op.sums.rows == 1 && op.sums.cols == op.q.cols);
    if (op.q.rows > 0 && ready(q))
        q->device->ops->train->sinkhorn(q, &op);
}

void dn_koleo(struct queue *q, struct op_koleo op)
{
    assert(dn_mat_same_shape(op.d_u, op.u));
    assert(op.losses.rows == op.u.rows && op.losses.cols == 1);
    if (op.u.rows > 0 && ready(q))
        q->device->ops->train->koleo(q, &op);
}

void dn_sum_squares(struct queue *q, struct op_sum_squares op)
{
    assert(op.y.rows == 1 && op.y.cols == 1 && op.y.dtype == DINO_F64);
    if (ready(q))
        q->device->ops->train->sum_squares(q, &op);
}

void dn_adamw(struct queue *q, struct op_adamw op)
{
    assert(op.p.rows == 1 && dn_mat_same_shape(op.p, op.g));
    assert(dn_mat_same_shape(op.p, op.m) && dn_mat_same_shape(op.p, op.v) && op.step >= 1);
    if (op.p.cols > 0 && ready(q))
        q->device->ops->train->adamw(q, &op);
}

void dn_lerp(struct queue *q, struct op_lerp op)
{
    assert(dn_mat_same_shape(op.y, op.x));
    if (op.y.rows > 0 && ready(q))
        q->device->ops->train->lerp(q, &op);
}

void dn_fill(struct queue *q, struct op_fill op)
{
    if (op.y.rows > 0 && ready(q))
        q->device->ops->train->fill(q, &op);
}
