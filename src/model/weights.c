#include "model/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

/* ---- which names: the prefix before "cls_token", and the naming behind it ---- */

/* A file may hold several networks: the teacher is the one people mean. */
static int preference(const char *prefix)
{
    if (strstr(prefix, "teacher"))
        return 3;
    if (strstr(prefix, "student"))
        return 0;
    return *prefix ? 1 : 2;
}

static bool find_prefix(struct weights *w, struct dino_error *err)
{
    static const char token[] = "cls_token", folder[] = "embeddings.";
    int best = -1;

    for (size_t i = 0; i < w->tensors->count; i++) {
        const char *name = w->tensors->items[i].name;
        char prefix[sizeof w->prefix];
        if (!dn_ends_with(name, token))
            continue;
        size_t size = strlen(name) - strlen(token);
        bool hf = size >= strlen(folder) &&
                  strncmp(name + size - strlen(folder), folder, strlen(folder)) == 0;
        size -= hf ? strlen(folder) : 0;
        if (size >= sizeof prefix || (size && name[size - 1] != '.'))
            continue;
        snprintf(prefix, sizeof prefix, "%.*s", (int)size, name);
        if (preference(prefix) > best) {
            best = preference(prefix);
            memcpy(w->prefix, prefix, sizeof prefix);
            w->naming = hf ? NAMING_HF : NAMING_OFFICIAL;
        }
    }
    return best >= 0 || dn_fail(err, DINO_EFORMAT,
                                "%s: no DINOv2 backbone: none of its %zu tensors is a "
                                "cls_token",
                                w->tensors->path, w->tensors->count);
}

static const struct dino_tensor *find(const struct weights *w, const char *name)
{
    char whole[sizeof w->prefix + 160];
    snprintf(whole, sizeof whole, "%s%s", w->prefix, name);
    return dn_tensors_find(w->tensors, whole);
}

static void choose_naming(struct weights *w)
{
    if (w->naming == NAMING_HF) {
        if (find(w, "encoder.layer.0.attention.q_proj.weight"))
            w->naming = NAMING_HF5;
        w->kind = "hugging face";
        return;
    }
    /* timm drops the mask token, which official files always hold */
    if (find(w, "reg_token") || !find(w, "mask_token")) {
        w->naming = NAMING_TIMM;
        w->kind = "timm";
        return;
    }
    w->kind = w->tensors->kind == TENSORS_SAFETENSORS ? "official safetensors" : "official pth";
}

/* ---- the shape of the network, from the shapes of its tensors ---- */

static bool want_dims(const struct weights *w, const char *name, int dims,
                      const struct dino_tensor **tensor, struct dino_error *err)
{
    *tensor = find(w, name);
    if (!*tensor)
        return dn_fail(err, DINO_EFORMAT, "%s: tensor %s%s is missing", w->tensors->path,
                       w->prefix, name);
    bool fits = (*tensor)->dims == dims;
    for (int i = 0; i < (*tensor)->dims; i++)
        fits = fits && (*tensor)->shape[i] > 0 && (*tensor)->shape[i] < 1 << 24;
    if (fits)
        return true;
    char shape[128];
    dn_tensor_shape_text(*tensor, shape);
    return dn_fail(err, DINO_EFORMAT, "%s: tensor %s has shape %s, wanted %d dimensions",
                   w->tensors->path, (*tensor)->name, shape, dims);
}

static int blocks_of(const struct weights *w)
{
    size_t prefix = strlen(w->prefix);
    int depth = 0;

    for (size_t i = 0; i < w->tensors->count; i++) {
        const char *name = w->tensors->items[i].name;
        struct param_ref ref;
        if (strncmp(name, w->prefix, prefix) == 0 &&
            dn_param_parse(w->naming, name + prefix, &ref) && ref.block + 1 > depth)
            depth = ref.block + 1;
    }
    return depth;
}

static const struct dino_tensor *find_param(const struct weights *w, enum param param)
{
    char name[128];
    struct param_ref ref = {param, dn_param_per_block(param) ? 0 : -1, 0, 1};

    dn_param_name(w->naming, ref, name);
    const struct dino_tensor *tensor = find(w, name);
    if (!tensor && w->naming == NAMING_OFFICIAL && ref.block == 0) {
        char chunked[160]; /* block chunks: "blocks.0.0." */
        snprintf(chunked, sizeof chunked, "blocks.0.%s", name + strlen("blocks."));
        tensor = find(w, chunked);
    }
    return tensor;
}

/* The FFN kind and its hidden width. timm calls both kinds fc1 and fc2: SwiGLU's fc1 is twice
 * as high as fc2 is wide. */
static void read_ffn(const struct weights *w, struct vit_config *c)
{
    const struct dino_tensor *in = find_param(w, PARAM_FC1_WEIGHT);
    const struct dino_tensor *out = find_param(w, PARAM_FC2_WEIGHT);
    const struct dino_tensor *gated = find_param(w, PARAM_W3_WEIGHT);

    c->ffn = DINO_FFN_IDENTITY;
    c->hidden = c->dim;
    if (in && in->dims == 2 && out && out->dims == 2) {
        bool twice = in->shape[0] == 2 * out->shape[1];
        c->ffn = w->naming == NAMING_TIMM && twice ? DINO_FFN_SWIGLU : DINO_FFN_MLP;
        c->hidden = (int)out->shape[1];
    } else if (gated && gated->dims == 2) {
        c->ffn = DINO_FFN_SWIGLU;
        c->hidden = (int)gated->shape[1];
    }
    bool gated_names = c->ffn == DINO_FFN_SWIGLU && w->naming != NAMING_TIMM;
    c->ffn_bias = find_param(w, gated_names ? PARAM_W12_BIAS : PARAM_FC1_BIAS) ||
                  find_param(w, gated_names ? PARAM_W3_BIAS : PARAM_FC2_BIAS);
}

/* The stored grid is square: 1 + M * M entries, or M * M where timm folded the class's. */
static bool read_grid(struct weights *w, int64_t entries, struct dino_error *err)
{
    struct vit_config *c = &w->config;
    int64_t with_class = (int64_t)floor(sqrt((double)(entries - 1)) + 0.5);
    int64_t without = (int64_t)floor(sqrt((double)entries) + 0.5);

    w->folded_class_position = false;
    if (c->grid_rows > 0 && 1 + (int64_t)c->grid_rows * c->grid_cols == entries)
        return true; /* as config.json says */
    if (with_class > 0 && with_class * with_class == entries - 1) {
        c->grid_rows = c->grid_cols = (int)with_class;
    } else if (without * without == entries && w->naming == NAMING_TIMM) {
        c->grid_rows = c->grid_cols = (int)without;
        w->folded_class_position = true;
    } else {
        return dn_fail(err, DINO_EFORMAT, "%s: %lld position entries are not 1 + a square grid",
                       w->tensors->path, (long long)entries);
    }
    return true;
}

static bool read_shapes(struct weights *w, struct dino_error *err)
{
    struct vit_config *c = &w->config;
    bool hf = w->naming == NAMING_HF || w->naming == NAMING_HF5;
    const struct dino_tensor *cls, *patch, *positions;
    char name[128];

    dn_param_name(w->naming, (struct param_ref){.param = PARAM_CLS_TOKEN}, name);
    if (!want_dims(w, name, 3, &cls, err))
        return false;
    dn_param_name(w->naming, (struct param_ref){.param = PARAM_PATCH_WEIGHT}, name);
    if (!want_dims(w, name, 4, &patch, err))
        return false;
    dn_param_name(w->naming, (struct param_ref){.param = PARAM_POS_EMBED}, name);
    if (!want_dims(w, name, 3, &positions, err))
        return false;

    const struct dino_tensor *registers = find_param(w, PARAM_REGISTER_TOKENS);
    c->dim = (int)cls->shape[2];
    c->channels = (int)patch->shape[1];
    c->patch = (int)patch->shape[2];
    c->registers = registers && registers->dims == 3 ? (int)registers->shape[1] : 0;
    c->depth = blocks_of(w);
    c->mask_token = find_param(w, PARAM_MASK_TOKEN) != NULL;
    c->layer_scale = find_param(w, PARAM_LS1) != NULL;
    c->qkv_bias = find_param(w, PARAM_QKV_BIAS) != NULL;
    c->proj_bias = find_param(w, PARAM_PROJ_BIAS) != NULL;
    read_ffn(w, c);
    c->positions = c->registers || w->naming == NAMING_TIMM ? DINO_POSITIONS_ANTIALIAS
                   : hf                                     ? DINO_POSITIONS_SIZE
                                                            : DINO_POSITIONS_OFFSET;
    return read_grid(w, positions->shape[1], err);
}

static bool read_config(struct weights *w, int heads, struct dino_error *err)
{
    struct vit_config *c = &w->config;
    struct hf_config hf = {0};
    char name[300] = "config.json";

    c->norm_eps = 1e-6F;
    if (w->tensors->config) {
        snprintf(name, sizeof name, "%s: config.json", w->tensors->path);
        if (!dn_hf_config_parse(&hf, w->tensors->config, name, err))
            return false;
        c->heads = hf.heads;
        c->norm_eps = hf.norm_eps > 0 ? (float)hf.norm_eps : c->norm_eps;
        if (hf.patch > 0) {
            c->grid_rows = hf.image_height / hf.patch;
            c->grid_cols = hf.image_width / hf.patch;
        }
        w->labels = hf.labels;
        w->label_count = hf.label_count;
        hf.labels = NULL;
        hf.label_count = 0;
        bool gelu = !hf.activation[0] || strcmp(hf.activation, "gelu") == 0;
        dn_hf_config_release(&hf);
        if (!gelu)
            return dn_fail(err, DINO_EUNSUPPORTED, "%s: hidden_act '%.23s', wanted gelu", name,
                           hf.activation);
    }
    if (!read_shapes(w, err))
        return false;
    if ((hf.hidden_size > 0 && hf.hidden_size != c->dim) ||
        (hf.layers > 0 && hf.layers != c->depth))
        return dn_fail(err, DINO_EFORMAT,
                       "%s says width %d and %d layers, the tensors have %d and %d", name,
                       hf.hidden_size, hf.layers, c->dim, c->depth);
    if (heads > 0)
        c->heads = heads;
    if (c->heads <= 0 && c->dim % 64)
        return dn_fail(err, DINO_EFORMAT,
                       "%s: the file does not say how many heads a width of %d has; give the "
                       "number of heads",
                       w->tensors->path, c->dim);
    if (c->heads <= 0)
        c->heads = c->dim / 64;
    return dn_vit_config_check(c, w->tensors->path, err);
}

/* ---- every parameter must be there, with the right shape ---- */

static bool shape_is(const struct weights *w, const struct dino_tensor *tensor,
                     enum param param, int parts, struct dino_error *err)
{
    int64_t shape[4];
    int dims = dn_param_shape(&w->config, param, shape);
    char have[128];

    shape[0] /= parts;
    if (param == PARAM_POS_EMBED && w->folded_class_position)
        shape[1]--;
    bool same = tensor->dims == dims;
    for (int i = 0; same && i < dims; i++)
        same = tensor->shape[i] == shape[i];
    if (same)
        return true;
    struct dino_tensor wanted = {.dims = dims};
    memcpy(wanted.shape, shape, sizeof shape);
    char want[128];
    dn_tensor_shape_text(tensor, have);
    dn_tensor_shape_text(&wanted, want);
    return dn_fail(err, DINO_EFORMAT, "%s: tensor %s has shape %s, wanted %s", w->tensors->path,
                   tensor->name, have, want);
}

static bool real_valued(const struct weights *w, const struct dino_tensor *tensor,
                        struct dino_error *err)
{
    enum dino_dtype d = tensor->dtype;

    return d == DINO_F32 || d == DINO_F16 || d == DINO_BF16 || d == DINO_F64 ||
           dn_fail(err, DINO_EUNSUPPORTED, "%s: tensor %s is %s, wanted f32, f16, bf16 or f64",
                   w->tensors->path, tensor->name, dino_dtype_name(d));
}

/* The scales beside an int8 matrix: one an output, all of them positive. */
static bool find_scale(const struct weights *w, struct weight_part *part,
                       struct dino_error *err)
{
    char name[sizeof w->prefix + 176], shape[128];
    float value;

    snprintf(name, sizeof name, "%s_scale", part->tensor->name);
    const struct dino_tensor *scale = part->scale = dn_tensors_find(w->tensors, name);
    if (!scale)
        return dn_fail(err, DINO_EFORMAT, "%s: tensor %s is int8 and %s is missing",
                       w->tensors->path, part->tensor->name, name);
    dn_tensor_shape_text(scale, shape);
    if (scale->dtype != DINO_F32 || scale->dims != 1 ||
        scale->shape[0] != part->tensor->shape[0])
        return dn_fail(err, DINO_EFORMAT, "%s: tensor %s is %s %s, wanted f32 [%lld]",
                       w->tensors->path, name, dino_dtype_name(scale->dtype), shape,
                       (long long)part->tensor->shape[0]);
    for (int64_t i = 0; i < scale->shape[0]; i++) {
        dn_tensor_read(scale, (size_t)i, 1, &value);
        if (!(value > 0) || !isfinite(value))
            return dn_fail(err, DINO_EFORMAT,
                           "%s: tensor %s holds %g for output %lld, wanted a positive number",
                           w->tensors->path, name, (double)value, (long long)i);
    }
    return true;
}

/* timm shares names between the FFN kinds; the config tells them apart. */
static enum param swiglu_of(const struct weights *w, enum param param)
{
    if (w->naming != NAMING_TIMM || w->config.ffn != DINO_FFN_SWIGLU)
        return param;
    return param >= PARAM_FC1_WEIGHT && param <= PARAM_FC2_BIAS
               ? (enum param)(param - PARAM_FC1_WEIGHT + PARAM_W12_WEIGHT)
               : param;
}

static bool fill_slots(struct weights *w, struct dino_error *err)
{
    size_t prefix = strlen(w->prefix);

    w->found = dn_calloc((size_t)w->config.depth * PARAM_COUNT, WEIGHT_PARTS * sizeof *w->found,
                         "the list of parameters", err);
    if (!w->found)
        return false;
    for (size_t i = 0; i < w->tensors->count; i++) {
        const struct dino_tensor *tensor = &w->tensors->items[i];
        struct param_ref ref;
        if (strncmp(tensor->name, w->prefix, prefix) != 0 ||
            !dn_param_parse(w->naming, tensor->name + prefix, &ref))
            continue;
        ref.param = swiglu_of(w, ref.param);
        if (!dn_param_present(&w->config, ref.param) || ref.block >= w->config.depth)
            continue;
        struct weight_part *part = &dn_weights_parts(w, ref.param, ref.block)[ref.part];
        part->tensor = tensor;
        if (!shape_is(w, tensor, ref.param, ref.parts, err))
            return false;
        bool bytes = tensor->dtype == DINO_I8 && dn_param_is_matrix(ref.param);
        if (!(bytes ? find_scale(w, part, err) : real_valued(w, tensor, err)))
            return false;
    }
    return true;
}

static bool check_slots(const struct weights *w, struct dino_error *err)
{
    struct param_ref ref = dn_param_first();

    do {
        int parts = dn_param_parts(w->naming, ref.param);
        for (ref.part = 0; ref.part < parts; ref.part++) {
            char name[128];
            if (dn_weights_parts(w, ref.param, ref.block)[ref.part].tensor)
                continue;
            dn_param_name(w->naming, ref, name);
            return dn_fail(err, DINO_EFORMAT, "%s: tensor %s%s is missing", w->tensors->path,
                           w->prefix, name);
        }
        ref.part = 0;
    } while (dn_param_next(&w->config, &ref));
    return true;
}

bool dn_weights_find(struct weights *w, const struct tensors *tensors, int heads,
                     struct dino_error *err)
{
    *w = (struct weights){.tensors = tensors};
    if (!find_prefix(w, err))
        return false;
    choose_naming(w);
    if (!read_config(w, heads, err) || !fill_slots(w, err) || !check_slots(w, err)) {
        dn_weights_release(w);
        return false;
    }
    struct dino_error none;
    if (!dn_weights_find_head(tensors, &w->head_weight, &w->head_bias, &none))
        w->head_weight = w->head_bias = NULL;
    return true;
}

void dn_weights_formula(struct weights *w, const struct vit_config *config, uint64_t seed)
{
    *w = (struct weights){.config = *config, .kind = "formula", .seed = seed};
}

void dn_weights_release(struct weights *w)
{
    for (int i = 0; i < w->label_count; i++)
        free(w->labels[i]);
    free(w->labels);
    free(w->found);
    *w = (struct weights){0};
}

enum dino_dtype dn_weights_dtype(const struct weights *w)
{
    return w->tensors ? dn_weights_parts(w, PARAM_PATCH_WEIGHT, -1)->tensor->dtype : DINO_F32;
}

struct dino_model_info dn_weights_info(const struct weights *w)
{
    const struct vit_config *c = &w->config;

    return (struct dino_model_info){
        .kind = w->kind,
        .arch = dn_vit_config_name(c),
        .dim = c->dim,
        .depth = c->depth,
        .heads = c->heads,
        .hidden = c->hidden,
        .patch = c->patch,
        .channels = c->channels,
        .registers = c->registers,
        .grid_rows = c->grid_rows,
        .grid_cols = c->grid_cols,
        .ffn = c->ffn,
        .positions = c->positions,
        .norm_eps = c->norm_eps,
        .layer_scale = c->layer_scale,
        .mask_token = c->mask_token,
        .parameters = dn_vit_config_parameters(c),
        .stored = dn_weights_dtype(w),
        .dtype = dn_weights_dtype(w),
    };
}

/* ---- linear heads ---- */

bool dn_weights_find_head(const struct tensors *tensors, const struct dino_tensor **weight,
                          const struct dino_tensor **bias, struct dino_error *err)
{
    static const char *const prefixes[] = {"", "classifier.", "linear_head."};
    char name[32];

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        snprintf(name, sizeof name, "%sweight", prefixes[i]);
        *weight = dn_tensors_find(tensors, name);
        snprintf(name, sizeof name, "%sbias", prefixes[i]);
        *bias = dn_tensors_find(tensors, name);
        if (*weight && *bias)
            return true;
    }
    return dn_fail(err, DINO_EFORMAT,
                   "%s: no linear head: wanted tensors weight and bias, or classifier.weight "
                   "and classifier.bias",
                   tensors->path);
}

bool dn_weights_head_layers(const struct vit_config *config, const struct dino_tensor *weight,
                            const struct dino_tensor *bias, const char *name, int *layers,
                            struct dino_error *err)
{
    char shape[128];
    dn_tensor_shape_text(weight, shape);
    if (weight->dims != 2 || bias->dims != 1 || weight->shape[0] != bias->shape[0] ||
        weight->shape[0] < 1 || weight->shape[0] > 1 << 24)
        return dn_fail(
            err, DINO_EFORMAT,
            "%s: head weight has shape %s, wanted [classes, width] and as many biases", name,
            shape);
    int64_t parts = weight->shape[1] / config->dim;
    if (weight->shape[1] % config->dim || parts < 2 || parts - 1 > config->depth)
        return dn_fail(
            err, DINO_EFORMAT,
            "%s: head weight %s does not fit a backbone of width %d: wanted %d or %d "
            "columns",
            name, shape, config->dim, 2 * config->dim, 5 * config->dim);
    *layers = (int)parts - 1;
    return true;
}
