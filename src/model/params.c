#include "model/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/str.h"

/* Extents of a shape, resolved against a config. */
enum extent { NONE = 0, ONE, DIM, DIM3, TOKENS, REGISTERS, CHANNELS, PATCH, HIDDEN, HIDDEN2 };

/* Formula weights: what a and s are. */
enum formula { NORM_WEIGHT, NORM_BIAS, LAYER_SCALE, TOKEN, BIAS, WEIGHT };

/* Names hold one %d, the block, where there is one a block; '|' separates the parts a naming
 * splits a parameter into. hf5 NULL: as hf; timm NULL: as official. */
struct param_row {
    const char *official, *hf;
    enum extent shape[4];
    enum formula formula;
    const char *hf5, *timm;
};

#define LAYER "encoder.layer.%d."
#define HF_QKV(kind)                                                                  \
    LAYER "attention.attention.query." kind "|" LAYER "attention.attention.key." kind \
          "|" LAYER "attention.attention.value." kind
#define HF5_QKV(kind)                                                           \
    LAYER "attention.q_proj." kind "|" LAYER "attention.k_proj." kind "|" LAYER \
          "attention.v_proj." kind
#define HF5_GATE_UP(kind) LAYER "mlp.gate_proj." kind "|" LAYER "mlp.up_proj." kind

/* clang-format off */
static const struct param_row table[PARAM_COUNT] = {
    [PARAM_CLS_TOKEN] = {"cls_token", "embeddings.cls_token", {ONE, ONE, DIM}, TOKEN},
    [PARAM_POS_EMBED] = {"pos_embed", "embeddings.position_embeddings",
                         {ONE, TOKENS, DIM}, TOKEN},
    [PARAM_REGISTER_TOKENS] = {"register_tokens", "embeddings.register_tokens",
                               {ONE, REGISTERS, DIM}, TOKEN, .timm = "reg_token"},
    [PARAM_MASK_TOKEN] = {"mask_token", "embeddings.mask_token", {ONE, DIM}, TOKEN},
    [PARAM_PATCH_WEIGHT] = {"patch_embed.proj.weight",
                            "embeddings.patch_embeddings.projection.weight",
                            {DIM, CHANNELS, PATCH, PATCH}, WEIGHT},
    [PARAM_PATCH_BIAS] = {"patch_embed.proj.bias",
                          "embeddings.patch_embeddings.projection.bias", {DIM}, BIAS},
    [PARAM_NORM1_WEIGHT] = {"blocks.%d.norm1.weight", LAYER "norm1.weight",
                            {DIM}, NORM_WEIGHT},
    [PARAM_NORM1_BIAS] = {"blocks.%d.norm1.bias", LAYER "norm1.bias", {DIM}, NORM_BIAS},
    [PARAM_QKV_WEIGHT] = {"blocks.%d.attn.qkv.weight", HF_QKV("weight"), {DIM3, DIM}, WEIGHT,
                          .hf5 = HF5_QKV("weight")},
    [PARAM_QKV_BIAS] = {"blocks.%d.attn.qkv.bias", HF_QKV("bias"), {DIM3}, BIAS,
                        .hf5 = HF5_QKV("bias")},
    [PARAM_PROJ_WEIGHT] = {"blocks.%d.attn.proj.weight", LAYER "attention.output.dense.weight",
                           {DIM, DIM}, WEIGHT, .hf5 = LAYER "attention.o_proj.weight"},
    [PARAM_PROJ_BIAS] = {"blocks.%d.attn.proj.bias", LAYER "attention.output.dense.bias",
                         {DIM}, BIAS, .hf5 = LAYER "attention.o_proj.bias"},
    [PARAM_LS1] = {"blocks.%d.ls1.gamma", LAYER "layer_scale1.lambda1", {DIM}, LAYER_SCALE},
    [PARAM_NORM2_WEIGHT] = {"blocks.%d.norm2.weight", LAYER "norm2.weight",
                            {DIM}, NORM_WEIGHT},
    [PARAM_NORM2_BIAS] = {"blocks.%d.norm2.bias", LAYER "norm2.bias", {DIM}, NORM_BIAS},
    [PARAM_FC1_WEIGHT] = {"blocks.%d.mlp.fc1.weight", LAYER "mlp.fc1.weight",
                          {HIDDEN, DIM}, WEIGHT},
    [PARAM_FC1_BIAS] = {"blocks.%d.mlp.fc1.bias", LAYER "mlp.fc1.bias", {HIDDEN}, BIAS},
    [PARAM_FC2_WEIGHT] = {"blocks.%d.mlp.fc2.weight", LAYER "mlp.fc2.weight",
                          {DIM, HIDDEN}, WEIGHT},
    [PARAM_FC2_BIAS] = {"blocks.%d.mlp.fc2.bias", LAYER "mlp.fc2.bias", {DIM}, BIAS},
    [PARAM_W12_WEIGHT] = {"blocks.%d.mlp.w12.weight", LAYER "mlp.weights_in.weight",
                          {HIDDEN2, DIM}, WEIGHT, .hf5 = HF5_GATE_UP("weight"),
                          .timm = "blocks.%d.mlp.fc1.weight"},
    [PARAM_W12_BIAS] = {"blocks.%d.mlp.w12.bias", LAYER "mlp.weights_in.bias",
                        {HIDDEN2}, BIAS, .hf5 = HF5_GATE_UP("bias"),
                        .timm = "blocks.%d.mlp.fc1.bias"},
    [PARAM_W3_WEIGHT] = {"blocks.%d.mlp.w3.weight", LAYER "mlp.weights_out.weight",
                         {DIM, HIDDEN}, WEIGHT, .hf5 = LAYER "mlp.down_proj.weight",
                         .timm = "blocks.%d.mlp.fc2.weight"},
    [PARAM_W3_BIAS] = {"blocks.%d.mlp.w3.bias", LAYER "mlp.weights_out.bias", {DIM}, BIAS,
                       .hf5 = LAYER "mlp.down_proj.bias", .timm = "blocks.%d.mlp.fc2.bias"},
    [PARAM_LS2] = {"blocks.%d.ls2.gamma", LAYER "layer_scale2.lambda1", {DIM}, LAYER_SCALE},
    [PARAM_NORM_WEIGHT] = {"norm.weight", "layernorm.weight", {DIM}, NORM_WEIGHT},
    [PARAM_NORM_BIAS] = {"norm.bias", "layernorm.bias", {DIM}, NORM_BIAS},
};
/* clang-format on */

bool dn_param_per_block(enum param param)
{
    return param >= PARAM_NORM1_WEIGHT && param <= PARAM_LS2;
}

bool dn_param_is_matrix(enum param param)
{
    return table[param].formula == WEIGHT;
}

bool dn_param_present(const struct vit_config *c, enum param param)
{
    switch (param) {
    case PARAM_REGISTER_TOKENS:
        return c->registers > 0;
    case PARAM_MASK_TOKEN:
        return c->mask_token;
    case PARAM_QKV_BIAS:
        return c->qkv_bias;
    case PARAM_PROJ_BIAS:
        return c->proj_bias;
    case PARAM_LS1:
    case PARAM_LS2:
        return c->layer_scale;
    case PARAM_FC1_WEIGHT:
    case PARAM_FC2_WEIGHT:
        return c->ffn == DINO_FFN_MLP;
    case PARAM_FC1_BIAS:
    case PARAM_FC2_BIAS:
        return c->ffn == DINO_FFN_MLP && c->ffn_bias;
    case PARAM_W12_WEIGHT:
    case PARAM_W3_WEIGHT:
        return c->ffn == DINO_FFN_SWIGLU;
    case PARAM_W12_BIAS:
    case PARAM_W3_BIAS:
        return c->ffn == DINO_FFN_SWIGLU && c->ffn_bias;
    default:
        return true;
    }
}

static int64_t extent_size(const struct vit_config *c, enum extent extent)
{
    switch (extent) {
    case DIM:
        return c->dim;
    case DIM3:
        return 3 * (int64_t)c->dim;
    case TOKENS:
        return 1 + (int64_t)c->grid_rows * c->grid_cols;
    case REGISTERS:
        return c->registers;
    case CHANNELS:
        return c->channels;
    case PATCH:
        return c->patch;
    case HIDDEN:
        return c->hidden;
    case HIDDEN2:
        return 2 * (int64_t)c->hidden;
    default:
        return 1;
    }
}

int dn_param_shape(const struct vit_config *config, enum param param, int64_t shape[4])
{
    int dims = 0;

    for (; dims < 4 && table[param].shape[dims] != NONE; dims++)
        shape[dims] = extent_size(config, table[param].shape[dims]);
    return dims;
}

size_t dn_param_elements(const struct vit_config *config, enum param param)
{
    int64_t shape[4];
    size_t total = 1;

    for (int i = dn_param_shape(config, param, shape) - 1; i >= 0; i--)
        total *= (size_t)shape[i]; /* bounded by dn_vit_config_check */
    return total;
}

static const char *pattern_of(enum naming naming, enum param param)
{
    const struct param_row *row = &table[param];
    const char *hf = row->hf;

    switch (naming) {
    case NAMING_HF:
        return hf;
    case NAMING_HF5:
        return row->hf5 ? row->hf5 : hf;
    case NAMING_TIMM:
        return row->timm ? row->timm : row->official;
    default:
        return row->official;
    }
}

/* The part-th of the '|'-separated patterns; returns its length. */
static size_t pattern_part(const char **pattern, int part)
{
    for (; part > 0; part--)
        *pattern = strchr(*pattern, '|') + 1;
    return strcspn(*pattern, "|");
}

int dn_param_parts(enum naming naming, enum param param)
{
    int parts = 1;

    for (const char *p = pattern_of(naming, param); (p = strchr(p, '|')) != NULL; p++)
        parts++;
    return parts;
}

void dn_param_name(enum naming naming, struct param_ref ref, char name[128])
{
    const char *pattern = pattern_of(naming, ref.param);
    size_t size = pattern_part(&pattern, ref.part);
    const char *hole = memchr(pattern, '%', size);

    if (!hole)
        snprintf(name, 128, "%.*s", (int)size, pattern);
    else
        snprintf(name, 128, "%.*s%d%.*s", (int)(hole - pattern), pattern, ref.block,
                 (int)(pattern + size - hole - 2), hole + 2);
}

/* Digits at *text as a number below 100000, and move behind them. */
static bool take_number(const char **text, int *number)
{
    const char *p = *text;
    int value = 0;

    while (*p >= '0' && *p <= '9' && p - *text < 5)
        value = value * 10 + (*p++ - '0');
    if (p == *text)
        return false;
    *text = p;
    *number = value;
    return true;
}

/* Does name equal the pattern with a number in its hole? "blocks.0.7.x" fits "blocks.%d.x": the
 * last number is the block (official files with block chunks). */
static bool fits(const char *pattern, size_t size, const char *name, bool chunks, int *block)
{
    const char *hole = memchr(pattern, '%', size);
    size_t head = hole ? (size_t)(hole - pattern) : size;

    *block = -1;
    if (strncmp(name, pattern, head) != 0)
        return false;
    name += head;
    if (!hole)
        return *name == 0;
    if (!take_number(&name, block))
        return false;
    if (chunks && name[0] == '.' && name[1] >= '0' && name[1] <= '9') {
        name++;
        take_number(&name, block);
    }
    size_t tail = size - head - 2;
    return strncmp(name, hole + 2, tail) == 0 && name[tail] == 0;
}

bool dn_param_parse(enum naming naming, const char *name, struct param_ref *ref)
{
    for (int p = 0; p < PARAM_COUNT; p++) {
        int parts = dn_param_parts(naming, (enum param)p);
        for (int part = 0; part < parts; part++) {
            const char *pattern = pattern_of(naming, (enum param)p);
            size_t size = pattern_part(&pattern, part);
            int block;
            if (!fits(pattern, size, name, naming == NAMING_OFFICIAL, &block))
                continue;
            *ref = (struct param_ref){(enum param)p, block, part, parts};
            return true;
        }
    }
    return false;
}

void dn_param_formula(const struct vit_config *config, struct param_ref ref, uint64_t seed,
                      size_t first, size_t count, float *out)
{
    static const double a[] = {[NORM_WEIGHT] = 1, [LAYER_SCALE] = 0.2, [WEIGHT] = 0};
    static const double s[] = {[NORM_WEIGHT] = 0.1, [NORM_BIAS] = 0.1, [LAYER_SCALE] = 0.1,
                               [TOKEN] = 0.5,       [BIAS] = 0.02,     [WEIGHT] = 0};
    enum formula kind = table[ref.param].formula;
    double scale = s[kind];
    char name[128];

    if (kind == WEIGHT) {
        int64_t shape[4];
        dn_param_shape(config, ref.param, shape);
        double fan_in = (double)dn_param_elements(config, ref.param) / (double)shape[0];
        scale = sqrt(3 / fan_in);
    }
    ref.part = 0; /* official names are whole */
    dn_param_name(NAMING_OFFICIAL, ref, name);
    dn_formula_fill(out, first, count, name, seed, a[kind], scale);
}

struct param_ref dn_param_first(void)
{
    return (struct param_ref){PARAM_CLS_TOKEN, -1, 0, 1};
}

bool dn_param_next(const struct vit_config *config, struct param_ref *ref)
{
    do {
        bool last_of_block = ref->param == PARAM_LS2;
        if (last_of_block && ref->block + 1 < config->depth) {
            ref->block++;
            ref->param = PARAM_NORM1_WEIGHT;
        } else {
            ref->param = (enum param)(ref->param + 1);
            ref->block = ref->param == PARAM_NORM1_WEIGHT  ? 0
                         : ref->param == PARAM_NORM_WEIGHT ? -1
                                                           : ref->block;
        }
        if (ref->param >= PARAM_COUNT)
            return false;
    } while (!dn_param_present(config, ref->param));
    return true;
}
