#include "train/made_heads.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct head_config dn_made_head(int dim, int prototypes)
{
    return (struct head_config){
        .in = dim, .layers = 1, .hidden = 1, .bottleneck = dim, .prototypes = prototypes};
}

static float *place(const struct params_table *t, enum net_module module, enum head_param param,
                    float *values)
{
    return dn_params_head(t, values, DINO_F32, module, param, 0).data;
}

/* Mean and deviation of column d; a dimension that never moves counts as 1. */
static void spread_of(const float *rows, int count, int dim, int d, double *mean, double *dev)
{
    double sum = 0, square = 0;

    for (int r = 0; r < count; r++)
        sum += (double)rows[(size_t)r * (size_t)dim + (size_t)d];
    *mean = sum / count;
    for (int r = 0; r < count; r++) {
        double rest = (double)rows[(size_t)r * (size_t)dim + (size_t)d] - *mean;
        square += rest * rest;
    }
    *dev = square > 0 ? sqrt(square / count) : 1;
}

void dn_made_head_fill(const struct params_table *t, enum net_module module, const float *rows,
                       int count, float *values)
{
    const struct head_config *c =
        module == MODULE_DINO_HEAD ? &t->config.dino : &t->config.ibot;
    float *weight = place(t, module, HEAD_WEIGHT, values);
    float *bias = place(t, module, HEAD_BIAS, values);
    float *g = place(t, module, HEAD_G, values), *v = place(t, module, HEAD_V, values);
    size_t dim = (size_t)c->in;

    assert(c->layers == 1 && c->bottleneck == c->in && count >= c->prototypes);
    memset(weight, 0, dim * dim * sizeof *weight);
    for (size_t d = 0; d < dim; d++) {
        double mean, dev;
        spread_of(rows, count, c->in, (int)d, &mean, &dev);
        weight[d * dim + d] = (float)(1 / dev);
        bias[d] = (float)(-mean / dev);
    }
    for (int k = 0; k < c->prototypes; k++) { /* their length does not count: g is 1 */
        const float *row = rows + (size_t)((int64_t)k * count / c->prototypes) * dim;
        g[k] = 1;
        for (size_t d = 0; d < dim; d++)
            v[(size_t)k * dim + d] = row[d] * weight[d * dim + d] + bias[d];
    }
}
