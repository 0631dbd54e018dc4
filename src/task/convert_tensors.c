/* The list of tensors to write, and their bytes, one parameter at a time. */
#include "task/convert.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "format/pth.h"
#include "format/safetensors.h"

enum { BLOCK = 1 << 16 };

/* ---- the list ---- */

static enum dino_dtype writable(enum dino_dtype dtype)
{
    return dtype == DINO_F16 || dtype == DINO_BF16 ? dtype : DINO_F32;
}

/* As stored, unless the caller wants one dtype for all. */
static enum dino_dtype param_dtype(const struct convert *c, struct param_ref ref)
{
    const struct weights *w = &c->weights;

    if (c->options->dtype != DINO_AUTO)
        return c->options->dtype;
    if (!dn_param_present(&w->config, ref.param))
        return writable(dn_weights_dtype(w));
    size_t slot = (size_t)(ref.block < 0 ? 0 : ref.block) * PARAM_COUNT + ref.param;
    return writable(w->found[slot * 3]->dtype);
}

static struct convert_item *add_item(struct convert *c, struct dino_error *err)
{
    if (!dn_grow(&c->items, &c->room, c->count + 1, sizeof *c->items, "a list of tensors", err))
        return NULL;
    struct convert_item *item = &c->items[c->count++];
    memset(item, 0, sizeof *item);
    return item;
}

static bool add_head(struct convert *c, const char *prefix, struct dino_error *err)
{
    static const char *const names[] = {"weight", "bias"};

    for (int i = 0; i < 2; i++) {
        const struct dino_tensor *tensor = i ? c->head_bias : c->head_weight;
        struct convert_item *item = add_item(c, err);
        if (!item)
            return false;
        snprintf(item->name, sizeof item->name, "%s%s", prefix, names[i]);
        item->kind = i ? CONVERT_HEAD_BIAS : CONVERT_HEAD_WEIGHT;
        item->dtype =
            c->options->dtype == DINO_AUTO ? writable(tensor->dtype) : c->options->dtype;
        item->dims = tensor->dims;
        memcpy(item->shape, tensor->shape, (size_t)tensor->dims * sizeof *tensor->shape);
    }
    return true;
}

bool dn_convert_list_head(struct convert *c, struct dino_error *err)
{
    c->count = 0;
    return add_head(c, "", err);
}

bool dn_convert_list_backbone(struct convert *c, struct dino_error *err)
{
    enum naming naming = c->hf ? NAMING_HF : NAMING_OFFICIAL;
    bool classifier = c->hf && c->head_weight;
    const char *prefix = !classifier           ? ""
                         : c->config.registers ? "dinov2_with_registers."
                                               : "dinov2.";
    struct param_ref ref = dn_param_first();
    char name[128];

    c->count = 0;
    do {
        ref.parts = dn_param_parts(naming, ref.param);
        for (ref.part = 0; ref.part < ref.parts; ref.part++) {
            struct convert_item *item = add_item(c, err);
            if (!item)
                return false;
            dn_param_name(naming, ref, name);
            snprintf(item->name, sizeof item->name, "%s%s", prefix, name);
            item->ref = ref;
            item->dtype = param_dtype(c, ref);
            item->dims = dn_param_shape(&c->config, ref.param, item->shape);
            item->shape[0] /= ref.parts;
        }
        ref.part = 0;
    } while (dn_param_next(&c->config, &ref));
    return !classifier || add_head(c, "classifier.", err);
}

/* ---- the bytes ---- */

/* Where bytes go: one of the two writers. */
struct sink {
    struct output *out;
    struct safetensors_writer *safetensors;
};

static bool put(const struct sink *sink, const void *data, size_t size, struct dino_error *err)
{
    return sink->out ? dn_output_write(sink->out, data, size, err)
                     : dn_safetensors_write(sink->safetensors, data, size, err);
}

/* The whole parameter into c->values; what the source lacks is neutral: scale 1, else 0. */
static bool hold(struct convert *c, struct param_ref ref, struct dino_error *err)
{
    size_t count = dn_param_elements(&c->config, ref.param);

    if (c->holding && c->held.param == ref.param && c->held.block == ref.block)
        return true;
    c->holding = false;
    if (!dn_grow(&c->values, &c->value_room, count, sizeof *c->values, "a parameter", err))
        return false;
    if (dn_param_present(&c->weights.config, ref.param)) {
        dn_weights_read(&c->weights, ref.param, ref.block, c->values, &c->bad_values);
        dn_weights_drop(&c->weights, ref.param, ref.block);
    } else {
        bool scale = ref.param == PARAM_LS1 || ref.param == PARAM_LS2;
        for (size_t i = 0; i < count; i++)
            c->values[i] = scale ? 1 : 0;
    }
    c->held = ref;
    c->holding = true;
    return true;
}

static size_t item_elements(const struct convert_item *item)
{
    size_t count = 1;
    for (int i = 0; i < item->dims; i++)
        count *= (size_t)item->shape[i];
    return count;
}

/* Narrowing may round, but it may not turn a number into infinity. */
static bool narrow(const struct convert_item *item, const float *from, size_t count,
                   uint8_t *to, struct dino_error *err)
{
    dn_from_f32(to, item->dtype, from, count);
    for (size_t i = 0; item->dtype == DINO_F16 && i < count; i++) {
        uint16_t half;
        memcpy(&half, to + 2 * i, sizeof half);
        if ((half & 0x7fff) == 0x7c00 && isfinite(from[i]))
            return dn_fail(err, DINO_EUNSUPPORTED,
                           "%s holds %g, more than f16 can: choose bf16 or f32", item->name,
                           (double)from[i]);
    }
    return true;
}

static bool write_item(struct convert *c, size_t index, const struct sink *sink,
                       struct dino_error *err)
{
    const struct convert_item *item = &c->items[index];
    size_t count = item_elements(item), width = dino_dtype_size(item->dtype);
    float *block = dn_calloc(BLOCK, sizeof *block, "a block of weights", err);
    uint8_t *bytes = dn_calloc(BLOCK, sizeof(float), "a block of weights", err);
    bool ok = block && bytes && (item->kind != CONVERT_PARAM || hold(c, item->ref, err));

    for (size_t first = 0; ok && first < count; first += BLOCK) {
        size_t n = count - first < BLOCK ? count - first : BLOCK;
        const float *from = block;
        if (item->kind == CONVERT_PARAM)
            from = c->values + (size_t)item->ref.part * count + first;
        else
            c->bad_values += (int64_t)dn_tensor_read(
                item->kind == CONVERT_HEAD_BIAS ? c->head_bias : c->head_weight, first, n,
                block);
        ok = narrow(item, from, n, bytes, err) && put(sink, bytes, n * width, err);
    }
    free(bytes);
    free(block);
    if (!ok)
        return false;
    struct dino_progress progress = {
        .stage = "convert", .done = (int64_t)++c->done, .total = (int64_t)c->total};
    if (c->options->progress && !c->options->progress(c->options->context, &progress))
        return dn_fail(err, DINO_ECANCELLED, "stopped after %zu of %zu tensors", c->done,
                       c->total);
    return true;
}

static bool fill_pth(void *context, size_t index, struct output *out, struct dino_error *err)
{
    return write_item(context, index, &(struct sink){.out = out}, err);
}

static bool write_pth(struct convert *c, const char *path, struct dino_error *err)
{
    struct pth_tensor *list = dn_calloc(c->count, sizeof *list, "a list of tensors", err);

    if (!list)
        return false;
    for (size_t i = 0; i < c->count; i++) {
        list[i] = (struct pth_tensor){
            .name = c->items[i].name, .dtype = c->items[i].dtype, .dims = c->items[i].dims};
        memcpy(list[i].shape, c->items[i].shape, sizeof c->items[i].shape);
    }
    bool ok = dn_pth_write(path, list, c->count, fill_pth, c, err);
    free(list);
    return ok;
}

static bool write_safetensors(struct convert *c, const char *path, struct dino_error *err)
{
    struct safetensors_writer writer;
    struct sink sink = {.safetensors = &writer};
    bool ok = true;

    if (!dn_safetensors_create(&writer, path, err))
        return false;
    for (size_t i = 0; ok && i < c->count; i++)
        ok = dn_safetensors_declare(&writer, c->items[i].name, c->items[i].dtype,
                                    c->items[i].shape, c->items[i].dims, err);
    for (size_t i = 0; ok && i < c->count; i++)
        ok = write_item(c, i, &sink, err);
    ok = ok && dn_safetensors_commit(&writer, err);
    dn_safetensors_release(&writer);
    return ok;
}

bool dn_convert_write(struct convert *c, const char *path, struct dino_error *err)
{
    c->holding = false;
    return dn_ends_with(path, ".safetensors") ? write_safetensors(c, path, err)
                                              : write_pth(c, path, err);
}
