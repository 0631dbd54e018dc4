#include "train/health.h"

#include <math.h>

#include "base/alloc.h"

/* Rows of a device matrix as f64. */
static double *rows_of(const struct ssl_step *s, struct mat m, struct dino_error *err)
{
    size_t count = (size_t)m.rows * (size_t)m.cols;
    double *values = dn_calloc(count, sizeof *values, "the teacher's rows", err);

    if (!values)
        return NULL;
    s->queue->device->ops->download(s->queue, values, m.data, count * dino_dtype_size(m.dtype));
    const float *narrow = (const float *)values;
    for (size_t i = count; m.dtype == DINO_F32 && i-- > 0;) /* from the end: in place */
        values[i] = (double)narrow[i];
    return values;
}

static double entropy_of(const double *p, int count)
{
    double sum = 0;

    for (int i = 0; i < count; i++)
        if (p[i] > 0)
            sum -= p[i] * log(p[i]);
    return sum;
}

static bool measure_targets(const struct ssl_step *s, int crops, struct health *h,
                            struct dino_error *err)
{
    struct mat m = s->dino_targets;
    int prototypes = m.cols;
    double top = prototypes > 1 ? log(prototypes) : 1;

    m.rows = crops;
    double *targets = rows_of(s, m, err);
    double *mean = dn_calloc((size_t)prototypes, sizeof *mean, "a mean target", err);
    for (int r = 0; targets && mean && r < crops; r++) {
        const double *row = targets + (size_t)r * (size_t)prototypes;
        h->entropy += entropy_of(row, prototypes) / top / crops;
        for (int k = 0; k < prototypes; k++)
            mean[k] += row[k] / crops;
    }
    bool ok = targets && mean;
    if (ok)
        h->used = entropy_of(mean, prototypes) / top;
    free(mean);
    free(targets);
    return ok;
}

/* Rows to unit length, minus their mean. Returns the mean squared length of what is left. */
static double centre_rows(double *x, int rows, int dim)
{
    double rest = 0;

    for (int r = 0; r < rows; r++) {
        double *row = x + (size_t)r * (size_t)dim, square = 0;
        for (int d = 0; d < dim; d++)
            square += row[d] * row[d];
        double scale = 1 / fmax(sqrt(square), 1e-12);
        for (int d = 0; d < dim; d++)
            row[d] *= scale;
    }
    for (int d = 0; d < dim; d++) {
        double mean = 0;
        for (int r = 0; r < rows; r++)
            mean += x[(size_t)r * (size_t)dim + (size_t)d] / rows;
        for (int r = 0; r < rows; r++) {
            double *at = &x[(size_t)r * (size_t)dim + (size_t)d];
            *at -= mean;
            rest += *at * *at / rows;
        }
    }
    return rest;
}

/* (tr C)^2 / |C|^2 of the rows' covariance C, from their products with each other: the number
 * of dimensions if all were used alike. */
static double rank_of(const double *x, int rows, int dim)
{
    double trace = 0, squares = 0;

    for (int a = 0; a < rows; a++)
        for (int b = 0; b <= a; b++) {
            double dot = 0;
            for (int d = 0; d < dim; d++)
                dot += x[(size_t)a * (size_t)dim + (size_t)d] *
                       x[(size_t)b * (size_t)dim + (size_t)d];
            squares += (a == b ? 1 : 2) * dot * dot;
            trace += a == b ? dot : 0;
        }
    return squares > 0 ? trace * trace / squares : 0;
}

bool dn_health_measure(const struct ssl_step *s, struct health *h, struct dino_error *err)
{
    enum { MOST_CROPS_SEEN = 256 };
    struct mat m = s->config.frozen.table ? s->class_rows : s->teacher_rows;
    int crops = 2 * s->config.images < MOST_CROPS_SEEN ? 2 * s->config.images : MOST_CROPS_SEEN;

    *h = (struct health){.crops = crops};
    m.rows = crops;
    double *x = rows_of(s, m, err);
    if (!x)
        return false;
    h->spread = sqrt(centre_rows(x, crops, m.cols));
    h->rank = rank_of(x, crops, m.cols);
    free(x);
    return measure_targets(s, crops, h, err);
}

/* The limits lie far below what any learning run shows, random weights included once they have
 * warmed up: what falls under them does not come back. */
const char *dn_health_sign(const struct health *h)
{
    enum { FEW_CROPS = 8 };

    if (!(h->entropy >= 0) || !(h->spread >= 0) || !(h->rank >= 0))
        return "the teacher's targets or features are no numbers; lower optim.base_lr or "
               "optim.clip_grad";
    if (h->crops < FEW_CROPS)
        return NULL;
    if (h->spread < 1e-4)
        return "all pictures have the same class token (spread below 0.0001); lower "
               "optim.base_lr, raise teacher.momentum_teacher or the batch";
    if (h->entropy > 0.9999)
        return "the teacher's targets are uniform (entropy above 99.99 %); lower "
               "teacher.teacher_temp and teacher.warmup_teacher_temp";
    if (h->used < 0.01)
        return "the teacher uses one prototype for all pictures; take "
               "train.centering=sinkhorn_knopp, or raise teacher.teacher_temp";
    return NULL;
}
