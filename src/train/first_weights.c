/* As init_weights_vit_timm of vision_transformer.py, DINOHead._init_weights, and PyTorch's own
 * defaults where those leave a layer alone: the patch product and the prototypes. */
#include "train/first_weights.h"

#include <math.h>
#include <string.h>

#include "base/str.h"
#include "train/draws.h"

static void normal(float *to, size_t count, double std, struct draws draws)
{
    const double pi = 3.14159265358979323846;

    for (size_t i = 0; i < count; i++) {
        double r = sqrt(-2 * log(dn_draw_between(&draws, 1, 0))); /* (0, 1] */
        to[i] = (float)(std * r * cos(2 * pi * dn_draw_between(&draws, 0, 1)));
    }
}

static void uniform(float *to, size_t count, double limit, struct draws draws)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (float)dn_draw_between(&draws, -limit, limit);
}

static void constant(float *to, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        to[i] = value;
}

/* Linear weights and positions: normal, 0.02; the official truncation at +-2 lies a hundred
 * deviations away. Biases and the mask token stay zero. */
static void first_of_backbone(const struct params_table *table, const struct param_slice *p,
                              double layer_scale, struct draws draws, float *to)
{
    const struct vit_config *c = &table->config.backbone;
    double limit = 1 / sqrt((double)c->channels * c->patch * c->patch);

    switch (p->ref.param) {
    case PARAM_CLS_TOKEN:
    case PARAM_REGISTER_TOKENS:
        normal(to, p->count, 1e-6, draws);
        break;
    case PARAM_PATCH_WEIGHT:
    case PARAM_PATCH_BIAS:
        uniform(to, p->count, limit, draws);
        break;
    case PARAM_POS_EMBED:
    case PARAM_QKV_WEIGHT:
    case PARAM_PROJ_WEIGHT:
    case PARAM_FC1_WEIGHT:
    case PARAM_FC2_WEIGHT:
    case PARAM_W12_WEIGHT:
    case PARAM_W3_WEIGHT:
        normal(to, p->count, 0.02, draws);
        break;
    case PARAM_NORM1_WEIGHT:
    case PARAM_NORM2_WEIGHT:
    case PARAM_NORM_WEIGHT:
        constant(to, p->count, 1);
        break;
    case PARAM_LS1:
    case PARAM_LS2:
        constant(to, p->count, (float)layer_scale);
        break;
    default:
        break;
    }
}

static void first_of_head(const struct param_slice *p, struct draws draws, float *to)
{
    if (dn_ends_with(p->name, "weight_g"))
        constant(to, p->count, 1);
    else if (dn_ends_with(p->name, "weight_v"))
        uniform(to, p->count, 1 / sqrt((double)p->shape[1]), draws);
    else if (dn_ends_with(p->name, "weight"))
        normal(to, p->count, 0.02, draws);
}

void dn_first_weights(const struct params_table *table, double layer_scale, uint64_t seed,
                      float *values)
{
    memset(values, 0, table->elements * sizeof *values);
    for (int i = 0; i < table->count; i++) {
        const struct param_slice *p = &table->items[i];
        struct draws draws = dn_draws(seed, DRAW_FIRST_WEIGHTS, (uint64_t)i, 0);
        if (p->module == MODULE_BACKBONE)
            first_of_backbone(table, p, layer_scale, draws, values + p->first);
        else
            first_of_head(p, draws, values + p->first);
    }
}
