/* dino_model: a checkpoint or an architecture, opened on a device. */
#include "model/model.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

static bool options_ok(const struct dino_model_options *options, struct dino_error *err)
{
    if (options->size && options->size != sizeof *options)
        return dn_fail(err, DINO_EARG, "dino_model_options of %zu bytes, this library has %zu",
                       options->size, sizeof *options);
    if (options->threads < 0 || options->heads < 0 || options->heads > 1 << 16)
        return dn_fail(err, DINO_EARG, "%d threads, %d heads: wanted 0 or more",
                       options->threads, options->heads);
    if ((unsigned)options->positions > DINO_POSITIONS_SIZE)
        return dn_fail(err, DINO_EARG, "no position convention %d", (int)options->positions);
    return true;
}

static bool read_preprocessor(struct dino_model *model, const struct tensors *tensors,
                              struct dino_error *err)
{
    if (!tensors->preprocessor)
        return true;
    model->has_preprocessor = dn_hf_preprocessor_parse(
        &model->preprocessor, tensors->preprocessor, "preprocessor_config.json", err);
    return model->has_preprocessor || dn_fail_prefix(err, tensors->path);
}

/* Pack a classifier: its weights are few, so they pass through host memory. */
static bool pack_head(struct dino_model *model, const struct dino_tensor *weight,
                      const struct dino_tensor *bias, const char *name, struct dino_error *err)
{
    struct linear_head *head = &model->head;
    size_t rows, cols, count;
    float *values = NULL, *offsets = NULL;

    if (!dn_weights_head_layers(&model->vit.config, weight, bias, name, &head->layers, err))
        return false;
    rows = (size_t)weight->shape[0];
    cols = (size_t)weight->shape[1];
    if (!dn_size_mul(rows, cols, &count))
        return dn_fail_memory(err, SIZE_MAX, "a linear head");
    values = dn_calloc(count, sizeof *values, "a linear head", err);
    offsets = dn_calloc(rows, sizeof *offsets, "a linear head", err);
    if (values && offsets) {
        model->vit.bad_values += (int64_t)dn_tensor_read(weight, 0, count, values);
        model->vit.bad_values += (int64_t)dn_tensor_read(bias, 0, rows, offsets);
        struct mat host = dn_mat(values, (int)rows, (int)cols, DINO_F32);
        head->classes = (int)rows;
        head->weight = model->device->ops->pack(model->device, host, offsets, err);
    }
    free(offsets);
    free(values);
    return head->weight != NULL;
}

static bool open_head(struct dino_model *model, const char *path, struct dino_error *err)
{
    const struct dino_tensor *weight, *bias;
    struct tensors tensors;

    if (!dn_tensors_open(&tensors, path, err))
        return false;
    bool ok = dn_weights_find_head(&tensors, &weight, &bias, err) &&
              pack_head(model, weight, bias, path, err);
    dn_tensors_release(&tensors);
    return ok;
}

static void fill_info(struct dino_model *model, const struct weights *weights)
{
    struct dino_model_info *info = &model->info;

    *info = dn_weights_info(weights);
    info->source = model->source;
    info->dtype = model->device->dtype;
    info->device = model->device->name;
    info->threads = model->device->threads;
    info->head_layers = model->head.layers;
    info->classes = model->head.classes;
    info->labelled = model->head.classes > 0 && model->label_count > 0;
    info->packed_bytes = model->vit.packed_bytes;
    info->bad_values = model->vit.bad_values;
}

/* Where the arithmetic is free to choose, int8 weights are multiplied as int8, if the device
 * can. */
static struct device *open_device(const struct dino_model_options *options,
                                  const struct weights *weights, struct dino_error *err)
{
    bool bytes = options->dtype == DINO_AUTO && dn_weights_dtype(weights) == DINO_I8;
    struct device *device =
        bytes ? dn_device_open(options->device, DINO_I8, options->threads, NULL) : NULL;

    return device ? device
                  : dn_device_open(options->device, options->dtype, options->threads, err);
}

/* Pack what `weights` says; takes over its labels. */
static bool build(struct dino_model *model, struct weights *weights,
                  const struct dino_model_options *options, struct dino_error *err)
{
    if (options->positions != DINO_POSITIONS_AUTO)
        weights->config.positions = options->positions;
    model->device = open_device(options, weights, err);
    if (!model->device || !dn_vit_pack(&model->vit, model->device, weights, err))
        return false;

    if (options->head) {
        if (!open_head(model, options->head, err))
            return false;
    } else if (weights->head_weight && !pack_head(model, weights->head_weight,
                                                  weights->head_bias, model->source, err)) {
        return false;
    }
    model->labels = weights->labels;
    model->label_count = weights->label_count;
    weights->labels = NULL;
    weights->label_count = 0;
    if (options->labels) {
        for (int i = 0; i < model->label_count; i++)
            free(model->labels[i]);
        free(model->labels);
        model->labels = NULL;
        model->label_count = 0;
        if (!dn_labels_read(options->labels, &model->labels, &model->label_count, err))
            return false;
        if (model->head.classes && model->label_count != model->head.classes)
            return dn_fail(err, DINO_EFORMAT, "%s: %d labels, the head has %d classes",
                           options->labels, model->label_count, model->head.classes);
    }
    fill_info(model, weights);
    return true;
}

static struct dino_model *model_new(const char *source, struct dino_error *err)
{
    struct dino_model *model = dn_calloc(1, sizeof *model, "a model", err);

    if (model)
        model->source = dn_strdup(source, err);
    if (model && !model->source) {
        free(model);
        return NULL;
    }
    return model;
}

struct dino_model *dino_model_open(const char *path, const struct dino_model_options *options,
                                   struct dino_error *err)
{
    static const struct dino_model_options defaults;
    struct tensors tensors = {0};
    struct weights weights = {0};
    bool ok = false;

    options = options ? options : &defaults;
    if (!options_ok(options, err) || !dn_tensors_open(&tensors, path, err))
        return NULL;
    struct dino_model *model = model_new(path, err);
    if (!model)
        goto done;
    if (!dn_weights_find(&weights, &tensors, options->heads, err) ||
        !read_preprocessor(model, &tensors, err))
        goto done;
    model->drop_remainder = weights.naming == NAMING_HF || weights.naming == NAMING_HF5;
    ok = build(model, &weights, options, err);
done:
    dn_weights_release(&weights);
    dn_tensors_release(&tensors);
    if (ok)
        return model;
    dino_model_free(model);
    return NULL;
}

struct dino_model *dino_model_formula(const char *arch,
                                      const struct dino_model_options *options,
                                      struct dino_error *err)
{
    static const struct dino_model_options defaults;
    struct vit_config config;
    struct weights weights;

    options = options ? options : &defaults;
    if (!options_ok(options, err) || !dn_vit_config_named(&config, arch, err))
        return NULL;
    struct dino_model *model = model_new("formula", err);
    if (!model)
        return NULL;
    dn_weights_formula(&weights, &config, options->seed);
    if (build(model, &weights, options, err))
        return model;
    dino_model_free(model);
    return NULL;
}

void dino_model_free(struct dino_model *model)
{
    if (!model)
        return;
    if (model->head.weight)
        model->device->ops->weight_free(model->device, model->head.weight);
    if (model->vit.device)
        dn_vit_release(&model->vit);
    dn_device_close(model->device);
    for (int i = 0; i < model->label_count; i++)
        free(model->labels[i]);
    free(model->labels);
    free(model->source);
    free(model);
}

const struct dino_model_info *dino_model_info(const struct dino_model *model)
{
    return &model->info;
}

const char *dino_model_label(const struct dino_model *model, int index)
{
    return index >= 0 && index < model->label_count ? model->labels[index] : NULL;
}

const struct hf_preprocessor *dn_model_preprocessor(const struct dino_model *model)
{
    return model->has_preprocessor ? &model->preprocessor : NULL;
}
