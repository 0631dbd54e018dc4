/*
 * The operations as plain loops: what they mean, written to be read. Everything is computed
 * in f64 and rounded once, to the dtype of the matrix it is stored in. Slow, and meant to be.
 */
#include "compute/ref/ref_ops.h"

#include "base/alloc.h"
#include "compute/ref/ref_mat.h"

/* The element of a matrix that has `row` rows, or one row that stands for all of them. */
static double get_shared(struct mat m, int row, int col)
{
    return get(m, m.rows == 1 ? 0 : row, col);
}

static double *scratch(struct queue *q, size_t count)
{
    return dn_calloc(count, sizeof(double), "a row of the reference device", &q->error);
}

/* Output c for row r of x, before anything follows. */
static double product(const struct op_linear *op, int r, int c)
{
    const struct ref_weight *w = (const struct ref_weight *)op->w;
    const double *column = w->values + (size_t)c * (size_t)w->base.cols;
    double sum = 0;

    for (int k = 0; k < op->x.cols; k++)
        sum += get(op->x, r, k) * column[k];
    return sum + w->bias[c];
}

static double silu(double v)
{
    return v / (1 + exp(-v));
}

void dn_ref_linear(struct queue *q, const struct op_linear *op)
{
    (void)q;
    for (int r = 0; r < op->y.rows; r++)
        for (int c = 0; c < op->y.cols; c++) {
            double sum = product(op, r, c);

            if (op->act == OP_GELU)
                sum = gelu(sum);
            if (op->act == OP_SWIGLU)
                sum = silu(sum) * product(op, r, op->y.cols + c);
            if (op->scale)
                sum *= op->scale[c];
            if (op->residual.data)
                sum += get_shared(op->residual, r, c);
            put(op->y, r, c, sum);
        }
}

/* p [tokens] = softmax(scale * q_row . k^T) for the query in `row` of one sequence and head.
 * q and k are that head's columns. */
static void probabilities(double *p, struct mat query, struct mat key, int row, double scale)
{
    double top = -INFINITY, sum = 0;

    for (int t = 0; t < key.rows; t++) {
        double score = 0;
        for (int c = 0; c < query.cols; c++)
            score += get(query, row, c) * get(key, t, c);
        p[t] = scale * score;
        top = fmax(top, p[t]);
    }
    for (int t = 0; t < key.rows; t++)
        sum += p[t] = exp(p[t] - top);
    for (int t = 0; t < key.rows; t++)
        p[t] /= sum;
}

/* The columns of one head: part 0 is q, 1 is k, 2 is v. */
static struct mat head_of(struct mat qkv, int heads, int part, int head)
{
    int dim = qkv.cols / 3, width = dim / heads;

    return dn_mat_cols(qkv, part * dim + head * width, width);
}

static void attend_head(struct mat y, struct mat qkv, int heads, int head, double scale,
                        double *p)
{
    struct mat query = head_of(qkv, heads, 0, head);
    struct mat key = head_of(qkv, heads, 1, head);
    struct mat value = head_of(qkv, heads, 2, head);

    for (int r = 0; r < y.rows; r++) {
        probabilities(p, query, key, r, scale);
        for (int c = 0; c < value.cols; c++) {
            double sum = 0;
            for (int t = 0; t < value.rows; t++)
                sum += p[t] * get(value, t, c);
            put(y, r, head * value.cols + c, sum);
        }
    }
}

void dn_ref_attend(struct queue *q, const struct op_attend *op)
{
    double *p = scratch(q, (size_t)op->y.rows);

    for (int s = 0; p && s < op->sequences; s++) {
        int first = op->starts[s], tokens = op->starts[s + 1] - first;
        for (int head = 0; head < op->heads; head++)
            attend_head(dn_mat_rows(op->y, first, tokens), dn_mat_rows(op->qkv, first, tokens),
                        op->heads, head, op->scale, p);
    }
    free(p);
}

void dn_ref_attention_map(struct queue *q, const struct op_attention_map *op)
{
    int tokens = op->qkv.rows;
    double *p = scratch(q, (size_t)tokens);

    for (int head = 0; p && head < op->heads; head++)
        for (int r = 0; r < tokens; r++) {
            probabilities(p, head_of(op->qkv, op->heads, 0, head),
                          head_of(op->qkv, op->heads, 1, head), r, op->scale);
            for (int t = 0; t < tokens; t++)
                put(op->y, head * tokens + r, t, p[t]);
        }
    free(p);
}

void dn_ref_layernorm(struct queue *q, const struct op_layernorm *op)
{
    int cols = op->x.cols;

    (void)q;
    for (int r = 0; r < op->x.rows; r++) {
        double mean = 0, var = 0;
        for (int c = 0; c < cols; c++)
            mean += get(op->x, r, c);
        mean /= cols;
        for (int c = 0; c < cols; c++) {
            double d = get(op->x, r, c) - mean;
            var += d * d;
        }
        var /= cols;

        for (int c = 0; c < cols; c++) {
            double normal = (get(op->x, r, c) - mean) / sqrt(var + op->eps);
            put(op->y, r, c, normal * op->weight[c] + op->bias[c]);
        }
    }
}

void dn_ref_swiglu(struct queue *q, const struct op_swiglu *op)
{
    int hidden = op->y.cols;

    (void)q;
    for (int r = 0; r < op->y.rows; r++)
        for (int c = 0; c < hidden; c++)
            put(op->y, r, c, silu(get(op->x, r, c)) * get(op->x, r, hidden + c));
}

void dn_ref_gelu(struct queue *q, const struct op_gelu *op)
{
    (void)q;
    for (int r = 0; r < op->y.rows; r++)
        for (int c = 0; c < op->y.cols; c++)
            put(op->y, r, c, gelu(get(op->x, r, c)));
}

void dn_ref_put_rows(struct queue *q, const struct op_put_rows *op)
{
    (void)q;
    for (int i = 0; i < op->count; i++)
        for (int c = 0; c < op->y.cols; c++) {
            double value = op->from ? get(op->x, op->from[i], c) : get_shared(op->x, i, c);
            if (op->add.data)
                value += get_shared(op->add, i, c);
            put(op->y, op->to ? op->to[i] : i, c, value);
        }
}

void dn_ref_copy(struct queue *q, const struct op_copy *op)
{
    (void)q;
    for (int r = 0; r < op->y.rows; r++)
        for (int c = 0; c < op->y.cols; c++)
            put(op->y, r, c, get(op->x, r, c));
}

void dn_ref_mean_rows(struct queue *q, const struct op_mean_rows *op)
{
    (void)q;
    for (int s = 0; s < op->sequences; s++) {
        int first = op->starts[s] + op->skip, last = op->starts[s + 1];
        for (int c = 0; c < op->y.cols; c++) {
            double sum = 0;
            for (int r = first; r < last; r++)
                sum += get(op->x, r, c);
            put(op->y, s, c, sum / (last - first));
        }
    }
}

/* A pixel as the network sees it: the one op whose f32 roundings are part of the contract. */
static float pixel(const struct op_picture *p, int channel, int row, int col)
{
    size_t at = (size_t)row * (size_t)p->width + (size_t)col;

    if (p->planes)
        return p->planes[(size_t)channel * (size_t)p->height * (size_t)p->width + at];
    return ((float)p->pixels[at * 3 + (size_t)channel] / 255.0F - p->mean[channel]) /
           p->std[channel];
}

void dn_ref_patchify(struct queue *q, const struct op_patchify *op)
{
    int patch = op->patch, first = 0;

    (void)q;
    for (int i = 0; i < op->count; i++) {
        const struct op_picture *p = &op->pictures[i];
        int grid_rows = p->height / patch, grid_cols = p->width / patch;
        for (int r = 0; r < grid_rows * grid_cols; r++)
            for (int c = 0; c < op->y.cols; c++) {
                int channel = c / (patch * patch), inner = c % (patch * patch);
                int row = r / grid_cols * patch + inner / patch;
                int col = r % grid_cols * patch + inner % patch;
                put(op->y, first + r, c, pixel(p, channel, row, col));
            }
        first += grid_rows * grid_cols;
    }
}

void dn_ref_place_tokens(struct queue *q, const struct op_place_tokens *op)
{
    int front = 1 + op->register_count, from = 0;

    (void)q;
    for (int i = 0; i < op->count; i++) {
        int first = op->starts[i], patches = op->starts[i + 1] - first - front;
        for (int c = 0; c < op->y.cols; c++)
            put(op->y, first, c, op->cls[c]);
        for (int r = 0; r < op->register_count; r++)
            for (int c = 0; c < op->y.cols; c++)
                put(op->y, first + 1 + r, c, op->registers[r * op->y.cols + c]);
        for (int r = 0; r < patches; r++)
            for (int c = 0; c < op->y.cols; c++)
                put(op->y, first + front + r, c,
                    get(op->x, from + r, c) + op->positions[i][r * op->y.cols + c]);
        from += patches;
    }
}
