/* The JSON files of a Hugging Face folder, and which networks its classes can hold. */
#include "task/convert.h"

#include <jansson.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/str.h"

/* What transformers computes from hidden_size and mlp_ratio. */
static int hidden_of(const struct vit_config *config, double ratio)
{
    int hidden = (int)(config->dim * ratio);
    return config->ffn == DINO_FFN_SWIGLU ? ((int)(hidden * 2.0 / 3) + 7) / 8 * 8 : hidden;
}

/* The ratio that gives this hidden width: a whole number where one does. */
static bool find_ratio(const struct vit_config *config, double *ratio)
{
    for (int whole = 1; whole <= 64; whole++)
        if (hidden_of(config, *ratio = whole) == config->hidden)
            return true;
    double gated = config->ffn == DINO_FFN_SWIGLU ? 1.5 : 1;
    *ratio = (config->hidden * gated + 0.25) / config->dim; /* truncation loses the quarter */
    return hidden_of(config, *ratio) == config->hidden;
}

bool dn_convert_fits_hf(const struct convert *c, struct dino_error *err)
{
    const struct vit_config *config = &c->config;
    const char *path = c->tensors.path;
    double ratio;

    if (config->ffn == DINO_FFN_IDENTITY)
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "%s: has no FFN, which Hugging Face's classes cannot express", path);
    if (!find_ratio(config, &ratio))
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "%s: no mlp_ratio gives Hugging Face's classes a hidden width of %d",
                       path, config->hidden);
    if (c->head_weight && c->head_layers != 1)
        return dn_fail(
            err, DINO_EUNSUPPORTED,
            "%s: the head takes %d class tokens, Hugging Face's classifier takes one",
            c->head_file.path ? c->head_file.path : path, c->head_layers);
    return true;
}

static json_t *size_json(int rows, int cols, int patch)
{
    return rows == cols
               ? json_integer(rows * (json_int_t)patch)
               : json_pack("[I,I]", rows * (json_int_t)patch, cols * (json_int_t)patch);
}

/* id2label and label2id of every class the head has. */
static bool add_labels(const struct convert *c, json_t *config)
{
    json_t *by_id = json_object(), *by_label = json_object();
    int classes = (int)c->head_weight->shape[0];
    bool ok = by_id && by_label;

    for (int i = 0; ok && i < classes; i++) {
        char id[16], unnamed[24];
        snprintf(id, sizeof id, "%d", i);
        snprintf(unnamed, sizeof unnamed, "LABEL_%d", i);
        const char *label = i < c->label_count && c->labels[i] ? c->labels[i] : unnamed;
        ok = json_object_set_new(by_id, id, json_string(label)) == 0 &&
             json_object_set_new(by_label, label, json_integer(i)) == 0;
    }
    ok = ok && json_object_set(config, "id2label", by_id) == 0 &&
         json_object_set(config, "label2id", by_label) == 0 &&
         json_object_set_new(config, "problem_type",
                             json_string("single_label_classification")) == 0;
    json_decref(by_id);
    json_decref(by_label);
    return ok;
}

static const char *torch_name(enum dino_dtype dtype)
{
    return dtype == DINO_F16 ? "float16" : dtype == DINO_BF16 ? "bfloat16" : "float32";
}

static enum dino_dtype main_dtype(const struct convert *c)
{
    return c->options->dtype == DINO_AUTO ? dn_weights_dtype(&c->weights) : c->options->dtype;
}

static json_t *config_json(const struct convert *c)
{
    static const char *const classes[2][2] = {
        {"Dinov2Model", "Dinov2ForImageClassification"},
        {"Dinov2WithRegistersModel", "Dinov2WithRegistersForImageClassification"},
    };
    const struct vit_config *v = &c->config;
    bool registers = v->registers > 0;
    double ratio;

    find_ratio(v, &ratio);
    json_t *mlp_ratio = ratio == (int)ratio ? json_integer((int)ratio) : json_real(ratio);
    json_t *config = json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:o, s:b, s:o, s:i, s:i, s:s, s:f, s:f, s:b, s:f, s:f, "
        "s:f, s:f, s:b, s:b, s:b, s:s}",
        "architectures", classes[registers][c->head_weight != NULL], "model_type",
        registers ? "dinov2_with_registers" : "dinov2", "hidden_size", v->dim,
        "num_hidden_layers", v->depth, "num_attention_heads", v->heads, "mlp_ratio", mlp_ratio,
        "use_swiglu_ffn", v->ffn == DINO_FFN_SWIGLU, "image_size",
        size_json(v->grid_rows, v->grid_cols, v->patch), "patch_size", v->patch, "num_channels",
        v->channels, "hidden_act", "gelu", "layer_norm_eps", dn_shortest_double(v->norm_eps),
        "layerscale_value", 1.0, "qkv_bias", v->qkv_bias, "hidden_dropout_prob", 0.0,
        "attention_probs_dropout_prob", 0.0, "drop_path_rate", 0.0, "initializer_range", 0.02,
        "use_mask_token", 1, "apply_layernorm", 1, "reshape_hidden_states", 1, "torch_dtype",
        torch_name(main_dtype(c)));
    if (config && registers &&
        json_object_set_new(config, "num_register_tokens", json_integer(v->registers)) != 0)
        goto fail;
    if (config && c->head_weight && !add_labels(c, config))
        goto fail;
    return config;
fail:
    json_decref(config);
    return NULL;
}

bool dn_convert_config_text(const struct convert *c, char **text, struct dino_error *err)
{
    json_t *config = config_json(c);

    *text = config ? json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(config);
    return *text || dn_fail(err, DINO_EFORMAT,
                            "%s: cannot write a config.json (is a class name no UTF-8?)",
                            c->tensors.path);
}

bool dn_convert_preprocessor_text(const struct convert *c, char **text, struct dino_error *err)
{
    int wanted = c->options->picture_size, crop = wanted > 0 ? wanted : 224;
    struct str out = {0};

    if (c->tensors.preprocessor && wanted == 0)
        return (*text = dn_strdup(c->tensors.preprocessor, err)) != NULL;
    dn_str_addf(&out,
                "{\n"
                "  \"crop_size\": {\"height\": %d, \"width\": %d},\n"
                "  \"do_center_crop\": true,\n"
                "  \"do_convert_rgb\": true,\n"
                "  \"do_normalize\": true,\n"
                "  \"do_rescale\": true,\n"
                "  \"do_resize\": true,\n"
                "  \"image_mean\": [0.485, 0.456, 0.406],\n"
                "  \"image_processor_type\": \"BitImageProcessor\",\n"
                "  \"image_std\": [0.229, 0.224, 0.225],\n"
                "  \"resample\": 3,\n"
                "  \"rescale_factor\": 0.00392156862745098,\n"
                "  \"size\": {\"shortest_edge\": %d}\n"
                "}\n",
                crop, crop, (crop * 8 + 3) / 7);
    *text = out.text;
    return !out.failed || dn_fail_memory(err, out.size, "preprocessor_config.json");
}
