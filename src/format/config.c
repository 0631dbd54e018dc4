/*
 * config.json, preprocessor_config.json and the index of shards. Fields that are absent get
 * the defaults of the transformers classes where those matter; unknown fields are ignored;
 * known fields of a wrong type are refused by name.
 */
#include "format/config.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "format/json.h"

enum { LARGEST_SIZE = 1 << 24, MOST_LABELS = 1 << 20 };

/* What is being read, so that messages can name it. */
struct fields {
    const json_t *object;
    const char *name;
    struct dino_error *err;
};

static bool bad_field(const struct fields *f, const char *key, const char *wanted)
{
    return dn_fail(f->err, DINO_EFORMAT, "%s: '%s' is not %s", f->name, key, wanted);
}

/* The value of a key; NULL if it is absent or null, which mean the same. */
static json_t *field(const struct fields *f, const char *key)
{
    json_t *value = json_object_get(f->object, key);
    return json_is_null(value) ? NULL : value;
}

static bool size_of(const json_t *value, int *size)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > LARGEST_SIZE)
        return false;
    *size = (int)json_integer_value(value);
    return true;
}

static bool get_size(const struct fields *f, const char *key, int *size)
{
    const json_t *value = field(f, key);
    return !value || size_of(value, size) || bad_field(f, key, "a sensible whole number");
}

/* N or [height, width]. */
static bool get_pair(const struct fields *f, const char *key, int *height, int *width)
{
    const json_t *value = field(f, key);

    if (!value)
        return true;
    if (size_of(value, height)) {
        *width = *height;
        return true;
    }
    return (json_is_array(value) && json_array_size(value) == 2 &&
            size_of(json_array_get(value, 0), height) &&
            size_of(json_array_get(value, 1), width)) ||
           bad_field(f, key, "a sensible whole number or a pair of them");
}

static bool get_number(const struct fields *f, const char *key, double *number)
{
    const json_t *value = field(f, key);

    if (!value)
        return true;
    if (!json_is_number(value))
        return bad_field(f, key, "a number");
    *number = json_number_value(value);
    return true;
}

static bool get_bool(const struct fields *f, const char *key, bool *truth)
{
    const json_t *value = field(f, key);

    if (!value)
        return true;
    if (!json_is_boolean(value))
        return bad_field(f, key, "true or false");
    *truth = json_is_true(value);
    return true;
}

/* Text that does not fit is refused: it could only be mistaken for another. */
static bool get_text(const struct fields *f, const char *key, char *text, size_t room)
{
    const json_t *value = field(f, key);

    if (!value)
        return true;
    if (!json_is_string(value) || json_string_length(value) >= room)
        return bad_field(f, key, "a short text");
    memcpy(text, json_string_value(value), json_string_length(value) + 1);
    return true;
}

/* id2label: {"0": "tench", ...} */
static bool get_labels(const struct fields *f, struct hf_config *config)
{
    json_t *labels = field(f, "id2label"), *value;
    const char *key;
    int64_t id;

    if (!labels)
        return true;
    if (!json_is_object(labels))
        return bad_field(f, "id2label", "an object");
    json_object_foreach(labels, key, value)
    {
        if (!dn_parse_int(key, 0, MOST_LABELS - 1, &id) || !json_is_string(value))
            return bad_field(f, "id2label", "an object of numbered names");
        if (id >= config->label_count)
            config->label_count = (int)id + 1;
    }
    config->labels =
        dn_calloc((size_t)config->label_count, sizeof *config->labels, "class names", f->err);
    if (!config->labels)
        return false;
    json_object_foreach(labels, key, value)
    {
        dn_parse_int(key, 0, MOST_LABELS - 1, &id);
        if (config->labels[id])
            return bad_field(f, "id2label", "free of duplicates");
        config->labels[id] = dn_strdup(json_string_value(value), f->err);
        if (!config->labels[id])
            return false;
    }
    return true;
}

static bool get_classifier(const struct fields *f, bool *classifier)
{
    json_t *names = field(f, "architectures"), *value;
    size_t i;

    if (names && !json_is_array(names))
        return bad_field(f, "architectures", "a list");
    json_array_foreach(names, i,
                       value) if (json_is_string(value) &&
                                  dn_ends_with(json_string_value(value),
                                               "ForImageClassification")) *classifier = true;
    return true;
}

static bool read_config(const struct fields *f, struct hf_config *c)
{
    int patch_width = c->patch;

    if (!get_text(f, "model_type", c->model_type, sizeof c->model_type) ||
        !get_classifier(f, &c->classifier) || !get_size(f, "hidden_size", &c->hidden_size) ||
        !get_size(f, "num_hidden_layers", &c->layers) ||
        !get_size(f, "num_attention_heads", &c->heads) ||
        !get_pair(f, "image_size", &c->image_height, &c->image_width) ||
        !get_pair(f, "patch_size", &c->patch, &patch_width) ||
        !get_size(f, "num_channels", &c->channels) ||
        !get_size(f, "num_register_tokens", &c->registers) ||
        !get_size(f, "intermediate_size", &c->intermediate_size) ||
        !get_number(f, "mlp_ratio", &c->mlp_ratio) ||
        !get_number(f, "layer_norm_eps", &c->norm_eps) ||
        !get_bool(f, "use_swiglu_ffn", &c->swiglu) || !get_bool(f, "qkv_bias", &c->qkv_bias) ||
        !get_text(f, "hidden_act", c->activation, sizeof c->activation) || !get_labels(f, c))
        return false;
    if (c->norm_eps < 0)
        return dn_fail(f->err, DINO_EFORMAT, "%s: 'layer_norm_eps' is %g, wanted 0 or more",
                       f->name, c->norm_eps);
    if (patch_width != c->patch)
        return dn_fail(f->err, DINO_EUNSUPPORTED, "%s: patches of %d x %d, wanted square ones",
                       f->name, c->patch, patch_width);
    c->registers_class = strcmp(c->model_type, "dinov2_with_registers") == 0;
    if (c->registers_class && !field(f, "num_register_tokens"))
        c->registers = 4;
    if (!c->registers_class)
        c->registers = 0; /* the other class does not know the field */
    return true;
}

bool dn_hf_config_parse(struct hf_config *config, const char *json, const char *name,
                        struct dino_error *err)
{
    struct span text = {(const uint8_t *)json, strlen(json)};
    json_t *root = dn_json_object(text, name, err);

    *config = (struct hf_config){.norm_eps = 1e-6, .qkv_bias = true, .activation = "gelu"};
    if (!root)
        return false;
    bool ok = read_config(&(struct fields){root, name, err}, config);
    if (!ok)
        dn_hf_config_release(config);
    json_decref(root);
    return ok;
}

void dn_hf_config_release(struct hf_config *config)
{
    for (int i = 0; i < config->label_count && config->labels; i++)
        free(config->labels[i]);
    free(config->labels);
    *config = (struct hf_config){0};
}

/* size: N or {"shortest_edge": N}, or {"height": H, "width": W}. */
static bool get_resize(const struct fields *f, struct hf_preprocessor *p)
{
    const json_t *value = field(f, "size");
    const struct fields inside = {value, f->name, f->err};

    if (!value || size_of(value, &p->shortest_edge))
        return true;
    if (!json_is_object(value))
        return bad_field(f, "size", "a sensible whole number or an object");
    p->shortest_edge = 0;
    if (field(&inside, "longest_edge"))
        return dn_fail(f->err, DINO_EUNSUPPORTED, "%s: 'size' asks for a longest_edge",
                       f->name);
    if (!get_size(&inside, "shortest_edge", &p->shortest_edge) ||
        !get_size(&inside, "height", &p->size_height) ||
        !get_size(&inside, "width", &p->size_width))
        return false;
    bool exact = p->size_height > 0 && p->size_width > 0;
    bool none = p->size_height == 0 && p->size_width == 0;
    if (p->shortest_edge > 0 ? none : exact)
        return true;
    return bad_field(f, "size", "one of shortest_edge or height and width");
}

/* crop_size: N or {"height": H, "width": W}. */
static bool get_crop(const struct fields *f, struct hf_preprocessor *p)
{
    const json_t *value = field(f, "crop_size");
    const struct fields inside = {value, f->name, f->err};

    if (!json_is_object(value))
        return get_pair(f, "crop_size", &p->crop_height, &p->crop_width);
    p->crop_height = p->crop_width = 0;
    return (get_size(&inside, "height", &p->crop_height) &&
            get_size(&inside, "width", &p->crop_width) && p->crop_height > 0 &&
            p->crop_width > 0) ||
           bad_field(f, "crop_size", "a height and a width");
}

/* A number for each channel, or one for all. */
static bool get_channels(const struct fields *f, const char *key, float channels[3])
{
    const json_t *value = field(f, key);

    for (size_t i = 0; i < 3 && value; i++) {
        const json_t *v = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_number(v) || (json_is_array(value) && json_array_size(value) != 3))
            return bad_field(f, key, "a number or three");
        channels[i] = (float)json_number_value(v);
        if (!isfinite(channels[i]))
            return bad_field(f, key, "a number or three");
    }
    return true;
}

static bool read_preprocessor(const struct fields *f, struct hf_preprocessor *p)
{
    if (!get_bool(f, "do_resize", &p->resize) ||
        !get_bool(f, "do_center_crop", &p->center_crop) ||
        !get_bool(f, "do_rescale", &p->rescale) ||
        !get_bool(f, "do_normalize", &p->normalize) || !get_resize(f, p) || !get_crop(f, p) ||
        !get_size(f, "resample", &p->resample) ||
        !get_number(f, "rescale_factor", &p->rescale_factor) ||
        !get_channels(f, "image_mean", p->mean) || !get_channels(f, "image_std", p->std))
        return false;
    for (int i = 0; i < 3 && p->normalize; i++)
        if (!(p->std[i] > 0))
            return bad_field(f, "image_std", "greater than zero");
    return true;
}

bool dn_hf_preprocessor_parse(struct hf_preprocessor *p, const char *json, const char *name,
                              struct dino_error *err)
{
    struct span text = {(const uint8_t *)json, strlen(json)};
    json_t *root = dn_json_object(text, name, err);
    /* as transformers' BitImageProcessor, whose default mean and std are CLIP's */
    struct hf_preprocessor found = {
        .resize = true,
        .center_crop = true,
        .rescale = true,
        .normalize = true,
        .shortest_edge = 224,
        .crop_height = 224,
        .crop_width = 224,
        .resample = 3,
        .rescale_factor = 1.0 / 255,
        .mean = {0.48145466F, 0.4578275F, 0.40821073F},
        .std = {0.26862954F, 0.26130258F, 0.27577711F},
    };

    if (!root)
        return false;
    bool ok = read_preprocessor(&(struct fields){root, name, err}, &found);
    if (ok)
        *p = found;
    json_decref(root);
    return ok;
}

static int by_text(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

/* The names in weight_map, with duplicates, borrowed from it. */
static const char **collect_shards(json_t *map, const char *name, struct dino_error *err)
{
    const char **files = dn_calloc(json_object_size(map), sizeof *files, "shard names", err);
    const char *tensor;
    json_t *value;
    size_t count = 0;

    json_object_foreach(map, tensor, value)
    {
        const char *file = json_string_value(value);
        if (files && (!file || !*file || strchr(file, '/') || strstr(file, ".."))) {
            dn_fail(err, DINO_EFORMAT, "%s: tensor '%s' lies in '%s', wanted a file name", name,
                    tensor, file ? file : "(no text)");
            free(files);
            files = NULL;
        }
        if (files)
            files[count++] = file;
    }
    return files;
}

bool dn_hf_index_parse(const char *json, const char *name, char ***files, size_t *count,
                       struct dino_error *err)
{
    struct span text = {(const uint8_t *)json, strlen(json)};
    json_t *root = dn_json_object(text, name, err);
    json_t *map = json_object_get(root, "weight_map");
    size_t all = json_object_size(map), kept = 0;
    const char **names = NULL;
    char **copies = NULL;
    bool ok = false;

    if (!root)
        return false;
    if (!all) {
        dn_fail(err, DINO_EFORMAT, "%s: no 'weight_map' with tensors", name);
        goto done;
    }
    names = collect_shards(map, name, err);
    copies = names ? dn_calloc(all, sizeof *copies, "shard names", err) : NULL;
    if (!copies)
        goto done;
    qsort(names, all, sizeof *names, by_text);
    ok = true;
    for (size_t i = 0; i < all && ok; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            ok = (copies[kept] = dn_strdup(names[i], err)) != NULL && ++kept;
    *files = ok ? copies : NULL;
    *count = ok ? kept : 0;
done:
    for (size_t i = 0; i < kept && !ok; i++)
        free(copies[i]);
    if (!ok)
        free(copies);
    free(names);
    json_decref(root);
    return ok;
}
