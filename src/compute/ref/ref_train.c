/*
 * The backward of the network's operations as plain loops, in the order of ops_train.h.
 * Everything is computed in f64 and rounded once, to the dtype of the matrix it is stored in.
 * Losses and the optimizer are in ref_train_loss.c.
 */
#include "compute/ref/ref_train.h"

#include "base/alloc.h"
#include "compute/ref/ref_mat.h"

static void add(struct mat m, int row, int col, double value)
{
    put(m, row, col, get(m, row, col) + value);
}

double *dn_ref_scratch(struct queue *q, size_t count)
{
    return dn_calloc(count, sizeof(double), "scratch of the reference device", &q->error);
}

/* gelu'(x) = Phi(x) + x phi(x), Phi and phi of the normal distribution */
static double gelu_slope(double x)
{
    const double density = 0.39894228040143267794; /* 1 / sqrt(2 pi) */

    return 0.5 * erfc(-x * M_SQRT1_2) + x * density * exp(-0.5 * x * x);
}

void dn_ref_matmul(struct queue *q, const struct op_matmul *op)
{
    int inner = op->transpose_a ? op->a.rows : op->a.cols;

    (void)q;
    for (int r = 0; r < op->y.rows; r++)
        for (int c = 0; c < op->y.cols; c++) {
            double sum = op->bias.data ? get(op->bias, 0, c) : 0;
            for (int k = 0; k < inner; k++)
                sum += (op->transpose_a ? get(op->a, k, r) : get(op->a, r, k)) *
                       (op->transpose_b ? get(op->b, c, k) : get(op->b, k, c));
            double hidden = op->hidden.data ? get(op->hidden, r, c) : sum;
            if (op->hidden.data)
                sum *= gelu_slope(hidden);
            put(op->y, r, c, op->accumulate ? get(op->y, r, c) + sum : sum);
            if (op->active.data)
                put(op->active, r, c, gelu(hidden));
        }
    for (int r = 0; op->a_sums.data && r < op->y.rows; r++)
        for (int k = 0; k < inner; k++)
            add(op->a_sums, 0, r, get(op->a, k, r));
}

void dn_ref_sum_columns(struct queue *q, const struct op_sum_columns *op)
{
    (void)q;
    for (int c = 0; c < op->x.cols; c++) {
        double sum = 0;
        for (int r = 0; r < op->x.rows; r++)
            sum += get(op->x, r, c) * (op->times.data ? get(op->times, r, c) : 1);
        sum *= op->alpha;
        put(op->y, 0, c, op->accumulate ? get(op->y, 0, c) + sum : sum);
    }
}

void dn_ref_add_rows(struct queue *q, const struct op_add_rows *op)
{
    (void)q;
    for (int i = 0; i < op->count; i++)
        for (int c = 0; c < op->y.cols; c++)
            add(op->y, op->to ? op->to[i] : i, c,
                op->alpha * get(op->x, op->from ? op->from[i] : i, c));
}

static void moments(struct mat x, int row, double eps, double *mean, double *deviation)
{
    double sum = 0, squares = 0;

    for (int c = 0; c < x.cols; c++)
        sum += get(x, row, c);
    *mean = sum / x.cols;
    for (int c = 0; c < x.cols; c++) {
        double d = get(x, row, c) - *mean;
        squares += d * d;
    }
    *deviation = sqrt(squares / x.cols + eps);
}

void dn_ref_norm(struct queue *q, const struct op_norm *op)
{
    double mean, deviation;

    (void)q;
    for (int r = 0; r < op->y.rows; r++) {
        int row = op->rows ? op->rows[r] : r;
        moments(op->x, row, op->eps, &mean, &deviation);
        for (int c = 0; c < op->x.cols; c++)
            put(op->y, r, c,
                (get(op->x, row, c) - mean) / deviation * get(op->weight, 0, c) +
                    get(op->bias, 0, c));
    }
}

/* With n = (x - mean) / deviation and g = d_y * weight, both of one row:
 * d_x = (g - mean(g) - n mean(g n)) / deviation. */
void dn_ref_layernorm_back(struct queue *q, const struct op_layernorm_back *op)
{
    double mean, deviation;

    (void)q;
    for (int r = 0; r < op->d_y.rows; r++) {
        double g_sum = 0, gn_sum = 0;
        int row = op->rows ? op->rows[r] : r;
        moments(op->x, row, op->eps, &mean, &deviation);
        for (int c = 0; c < op->x.cols; c++) {
            double normal = (get(op->x, row, c) - mean) / deviation, dy = get(op->d_y, r, c);
            g_sum += dy * get(op->weight, 0, c);
            gn_sum += dy * get(op->weight, 0, c) * normal;
            if (op->d_weight.data) {
                add(op->d_weight, 0, c, dy * normal);
                add(op->d_bias, 0, c, dy);
            }
        }
        for (int c = 0; c < op->x.cols; c++) {
            double normal = (get(op->x, row, c) - mean) / deviation;
            double g = get(op->d_y, r, c) * get(op->weight, 0, c);
            double d = (g - g_sum / op->x.cols - normal * gn_sum / op->x.cols) / deviation;
            put(op->d_x, row, c, op->accumulate ? get(op->d_x, row, c) + d : d);
        }
    }
}

/* One head of one sequence: its columns of q, k, v and of their gradients. */
struct head {
    struct mat q, k, v, d_q, d_k, d_v, y, d_y;
    double scale;
};

static struct mat part(struct mat m, int first, int rows, int col, int cols)
{
    return dn_mat_cols(dn_mat_rows(m, first, rows), col, cols);
}

static double dot(struct mat a, int i, struct mat b, int j)
{
    double sum = 0;

    for (int c = 0; c < a.cols; c++)
        sum += get(a, i, c) * get(b, j, c);
    return sum;
}

/*
 * Query i: p = softmax(scale q k^T), d_v_j += p_j d_y, d_s_j = p_j (d_y . v_j - d_y . y),
 * d_q += scale d_s_j k_j, d_k_j += scale d_s_j q.
 */
static void query_back(const struct head *h, int i, double *p)
{
    double top = -INFINITY, sum = 0, mean = dot(h->d_y, i, h->y, i);

    for (int j = 0; j < h->k.rows; j++)
        top = fmax(top, p[j] = h->scale * dot(h->q, i, h->k, j));
    for (int j = 0; j < h->k.rows; j++)
        sum += p[j] = exp(p[j] - top);
    for (int j = 0; j < h->k.rows; j++) {
        double share = p[j] / sum, d_score = share * (dot(h->d_y, i, h->v, j) - mean);
        for (int c = 0; c < h->q.cols; c++) {
            add(h->d_v, j, c, share * get(h->d_y, i, c));
            add(h->d_q, i, c, h->scale * d_score * get(h->k, j, c));
            add(h->d_k, j, c, h->scale * d_score * get(h->q, i, c));
        }
    }
}

void dn_ref_attend_back(struct queue *q, const struct op_attend_back *op)
{
    int dim = op->y.cols, width = dim / op->heads;
    double *p = dn_ref_scratch(q, (size_t)op->y.rows);

    if (!p)
        return;
    dn_ref_fill(q, &(struct op_fill){.y = op->d_qkv});
    for (int s = 0; s < op->sequences; s++)
        for (int head = 0; head < op->heads; head++) {
            int first = op->starts[s], rows = op->starts[s + 1] - first, at = head * width;
            struct head h = {
                .q = part(op->qkv, first, rows, at, width),
                .k = part(op->qkv, first, rows, dim + at, width),
                .v = part(op->qkv, first, rows, 2 * dim + at, width),
                .d_q = part(op->d_qkv, first, rows, at, width),
                .d_k = part(op->d_qkv, first, rows, dim + at, width),
                .d_v = part(op->d_qkv, first, rows, 2 * dim + at, width),
                .y = part(op->y, first, rows, at, width),
                .d_y = part(op->d_y, first, rows, at, width),
                .scale = op->scale,
            };
            for (int i = 0; i < rows; i++)
                query_back(&h, i, p);
        }
    free(p);
}

void dn_ref_swiglu_back(struct queue *q, const struct op_swiglu_back *op)
{
    int hidden = op->d_y.cols;

    (void)q;
    for (int r = 0; r < op->x.rows; r++)
        for (int c = 0; c < hidden; c++) {
            double gate = get(op->x, r, c), value = get(op->x, r, hidden + c);
            double share = 1 / (1 + exp(-gate)), dy = get(op->d_y, r, c);
            put(op->d_x, r, c, dy * value * share * (1 + gate * (1 - share)));
            put(op->d_x, r, hidden + c, dy * gate * share);
        }
}

void dn_ref_residual(struct queue *q, const struct op_residual *op)
{
    (void)q;
    for (int r = 0; r < op->x.rows; r++)
        for (int c = 0; c < op->x.cols; c++)
            put(op->y, r, c, get(op->x, r, c));
    for (int i = 0; i < op->branch.rows; i++)
        for (int c = 0; c < op->x.cols; c++) {
            double gamma = op->gamma.data ? get(op->gamma, 0, c) : 1;
            add(op->y, op->rows ? op->rows[i] : i, c,
                op->alpha * gamma * get(op->branch, i, c));
        }
}

void dn_ref_residual_back(struct queue *q, const struct op_residual_back *op)
{
    (void)q;
    for (int i = 0; i < op->branch.rows; i++)
        for (int c = 0; c < op->branch.cols; c++) {
            double dy = op->alpha * get(op->d_y, op->rows ? op->rows[i] : i, c);
            if (op->d_gamma.data)
                add(op->d_gamma, 0, c, dy * get(op->branch, i, c));
            put(op->d_branch, i, c, dy * (op->gamma.data ? get(op->gamma, 0, c) : 1));
        }
}
