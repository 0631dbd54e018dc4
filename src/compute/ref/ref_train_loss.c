/*
 * Normalisation, softmax, losses and the optimizer as plain loops, in the order of
 * ops_train.h, and the table of all training operations of the device "ref".
 */
#include <string.h>

#include "base/alloc.h"
#include "compute/ref/ref_mat.h"
#include "compute/ref/ref_train.h"

static double length_of(struct mat x, int row)
{
    double sum = 0;

    for (int c = 0; c < x.cols; c++)
        sum += get(x, row, c) * get(x, row, c);
    return sqrt(sum);
}

static void l2norm(struct queue *q, const struct op_l2norm *op)
{
    (void)q;
    for (int r = 0; r < op->x.rows; r++) {
        double length = fmax(length_of(op->x, r), op->eps);
        double gain = op->gain.data ? get(op->gain, r, 0) : 1;
        for (int c = 0; c < op->x.cols; c++)
            put(op->y, r, c, gain * get(op->x, r, c) / length);
    }
}

/* With u = x / |x|: d_x = gain / |x| (d_y - u (u . d_y)), d_gain = u . d_y. */
static void l2norm_back(struct queue *q, const struct op_l2norm_back *op)
{
    (void)q;
    for (int r = 0; r < op->x.rows; r++) {
        double length = length_of(op->x, r), along = 0;
        double gain = op->gain.data ? get(op->gain, r, 0) : 1;
        bool constant = length < op->eps;
        length = fmax(length, op->eps);
        for (int c = 0; c < op->x.cols; c++)
            along += get(op->x, r, c) / length * get(op->d_y, r, c);
        if (op->d_gain.data)
            put(op->d_gain, r, 0, get(op->d_gain, r, 0) + along);
        if (constant)
            along = 0;
        for (int c = 0; c < op->x.cols; c++) {
            double d = gain / length * (get(op->d_y, r, c) - get(op->x, r, c) / length * along);
            put(op->d_x, r, c, op->accumulate ? get(op->d_x, r, c) + d : d);
        }
    }
}

static void softmax(struct queue *q, const struct op_softmax *op)
{
    double *p = dn_ref_scratch(q, (size_t)op->x.cols);

    for (int r = 0; p && r < op->x.rows; r++) {
        double top = -INFINITY, sum = 0;
        for (int c = 0; c < op->x.cols; c++) {
            double centre = op->centre.data ? get(op->centre, 0, c) : 0;
            top = fmax(top, p[c] = (get(op->x, r, c) - centre) / op->temperature);
        }
        for (int c = 0; c < op->x.cols; c++)
            sum += p[c] = exp(p[c] - top);
        for (int c = 0; c < op->x.cols; c++)
            put(op->y, r, c, p[c] / sum);
    }
    free(p);
}

/* With p = softmax(x / temperature) and t the sum of the targets:
 * loss = sum_k t_k (log sum exp - x_k / temperature), d_x = (p sum(t) - t) / temperature. */
static void cross_entropy(struct queue *q, const struct op_cross_entropy *op)
{
    for (int r = 0; r < op->x.rows; r++) {
        double top = -INFINITY, sum = 0, total = 0, product = 0;
        for (int c = 0; c < op->x.cols; c++)
            top = fmax(top, get(op->x, r, c) / op->temperature);
        for (int c = 0; c < op->x.cols; c++)
            sum += exp(get(op->x, r, c) / op->temperature - top);
        for (int j = 0; j < op->per; j++)
            for (int c = 0; c < op->x.cols; c++) {
                double t = get(op->t, op->rows[r * op->per + j], c);
                total += t;
                product += t * (get(op->x, r, c) / op->temperature - top);
            }
        put(op->losses, r, 0, op->weights[r] * (total * log(sum) - product));

        for (int c = 0; c < op->x.cols; c++) {
            double d = total * exp(get(op->x, r, c) / op->temperature - top) / sum;
            for (int j = 0; j < op->per; j++)
                d -= get(op->t, op->rows[r * op->per + j], c);
            put(op->d_x, r, c, op->weights[r] / op->temperature * d);
        }
    }
    (void)q;
}

static void largest(struct queue *q, const struct op_largest *op)
{
    double top = -INFINITY;

    (void)q;
    for (int r = 0; r < op->x.rows; r++)
        for (int c = 0; c < op->x.cols; c++)
            top = fmax(top, get(op->x, r, c));
    put(op->y, 0, 0, top);
}

static void exponential(struct queue *q, const struct op_exponential *op)
{
    double top = get(op->top, 0, 0);

    (void)q;
    for (int r = 0; r < op->x.rows; r++)
        for (int c = 0; c < op->x.cols; c++)
            put(op->y, r, c, exp((get(op->x, r, c) - top) / op->temperature));
}

static void sinkhorn(struct queue *q, const struct op_sinkhorn *op)
{
    (void)q;
    for (int r = 0; r < op->q.rows; r++) {
        double total = 0;
        for (int c = 0; c < op->q.cols; c++) {
            double sum = get(op->sums, 0, c);
            double share = sum != 0 ? get(op->q, r, c) / sum : 0;
            put(op->q, r, c, share);
            total += share;
        }
        for (int c = 0; c < op->q.cols; c++)
            put(op->q, r, c, total != 0 ? get(op->q, r, c) / total : 0);
    }
}

static int nearest_row(struct mat u, int row)
{
    int best = row;
    double most = -INFINITY;

    for (int j = 0; j < u.rows; j++) {
        double product = 0;
        for (int c = 0; c < u.cols; c++)
            product += get(u, row, c) * get(u, j, c);
        if (j != row && product > most) {
            most = product;
            best = j;
        }
    }
    return best;
}

static void koleo(struct queue *q, const struct op_koleo *op)
{
    const double eps = 1e-8;
    struct mat u = op->u, d_u = op->d_u;

    (void)q;
    for (int i = 0; i < u.rows; i++) {
        int near = op->nearest[i] = nearest_row(u, i);
        double squares = 0;
        put(op->losses, i, 0, 0);
        if (near == i)
            continue;
        for (int c = 0; c < u.cols; c++) {
            double e = get(u, i, c) - get(u, near, c) + eps;
            squares += e * e;
        }
        double distance = sqrt(squares);
        put(op->losses, i, 0, -op->weight / u.rows * log(distance + eps));
        double slope = distance > 0 ? -op->weight / u.rows / (distance + eps) / distance : 0;
        for (int c = 0; c < u.cols; c++) {
            double d = slope * (get(u, i, c) - get(u, near, c) + eps);
            put(d_u, i, c, get(d_u, i, c) + d);
            put(d_u, near, c, get(d_u, near, c) - d);
        }
    }
}

static void sum_squares(struct queue *q, const struct op_sum_squares *op)
{
    double sum = 0;

    (void)q;
    for (int r = 0; r < op->x.rows; r++)
        for (int c = 0; c < op->x.cols; c++)
            sum += get(op->x, r, c) * get(op->x, r, c);
    put(op->y, 0, 0, sum);
}

static void adamw(struct queue *q, const struct op_adamw *op)
{
    double first = 1 - pow(op->beta1, (double)op->step);
    double second = 1 - pow(op->beta2, (double)op->step);

    (void)q;
    for (int c = 0; c < op->p.cols; c++) {
        double g = op->grad_scale * get(op->g, 0, c);
        double p = get(op->p, 0, c) * (1 - op->lr * op->decay);
        double m = op->beta1 * get(op->m, 0, c) + (1 - op->beta1) * g;
        double v = op->beta2 * get(op->v, 0, c) + (1 - op->beta2) * g * g;
        put(op->m, 0, c, m);
        put(op->v, 0, c, v);
        put(op->p, 0, c, p - op->lr * (m / first) / (sqrt(v / second) + op->eps));
    }
}

static void lerp(struct queue *q, const struct op_lerp *op)
{
    (void)q;
    for (int r = 0; r < op->y.rows; r++)
        for (int c = 0; c < op->y.cols; c++)
            put(op->y, r, c, op->keep * get(op->y, r, c) + op->add * get(op->x, r, c));
}

void dn_ref_fill(struct queue *q, const struct op_fill *op)
{
    (void)q;
    for (int r = 0; r < op->y.rows; r++)
        for (int c = 0; c < op->y.cols; c++)
            put(op->y, r, c, op->value);
}

const struct train_ops dn_ref_train_ops = {
    .matmul = dn_ref_matmul,
    .sum_columns = dn_ref_sum_columns,
    .add_rows = dn_ref_add_rows,
    .norm = dn_ref_norm,
    .layernorm_back = dn_ref_layernorm_back,
    .attend_back = dn_ref_attend_back,
    .swiglu_back = dn_ref_swiglu_back,
    .residual = dn_ref_residual,
    .residual_back = dn_ref_residual_back,
    .l2norm = l2norm,
    .l2norm_back = l2norm_back,
    .softmax = softmax,
    .cross_entropy = cross_entropy,
    .largest = largest,
    .exponential = exponential,
    .sinkhorn = sinkhorn,
    .koleo = koleo,
    .sum_squares = sum_squares,
    .adamw = adamw,
    .lerp = lerp,
    .fill = dn_ref_fill,
};
