/* The list of tensors to write, and their bytes, one parameter at a time. */
#include "task/convert.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/int8.h"
#include "format/pth.h"
#include "format/safetensors.h"

enum { BLOCK = 1 << 16 };

/* ---- the list ---- */

static enum dino_dtype writable(enum dino_dtype dtype)
{
    return dtype == DINO_F16 || dtype == DINO_BF16 ? dtype : DINO_F32;
}

bool dn_convert_int8(const struct convert *c)
{
    return c->options->dtype == DINO_I8 ||
           (c->options->dtype == DINO_AUTO && dn_weights_dtype(&c->weights) == DINO_I8);
}

/* As stored, unless the caller wants one dtype for all; int8 is for matrices, and as stored for
 * the rest. */
static enum dino_dtype param_dtype(const struct convert *c, struct param_ref ref)
{
    const struct weights *w = &c->weights;
    enum dino_dtype wanted = c->options->dtype;

    if (dn_param_is_matrix(ref.param) && dn_convert_int8(c))
        return DINO_I8;
    if (wanted != DINO_AUTO && wanted != DINO_I8)
        return wanted;
    if (!dn_param_present(&w->config, ref.param))
        return writable(dn_weights_dtype(w));
    return writable(dn_weights_parts(w, ref.param, ref.block)->tensor->dtype);
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
        enum dino_dtype wanted = c->options->dtype;
        item->dtype =
            wanted == DINO_AUTO || wanted == DINO_I8 ? writable(tensor->dtype) : wanted;
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

static bool add_param(struct convert *c, const char *prefix, enum naming naming,
                      struct param_ref ref, struct dino_error *err)
{
    struct convert_item *item = add_item(c, err);
    char name[128];

    if (!item)
        return false;
    dn_param_name(naming, ref, name);
    snprintf(item->name, sizeof item->name, "%s%s", prefix, name);
    item->ref = ref;
    item->dtype = param_dtype(c, ref);
    item->dims = dn_param_shape(&c->config, ref.param, item->shape);
    item->shape[0] /= ref.parts;
    if (item->dtype != DINO_I8)
        return true;

    struct convert_item *scale = add_item(c, err);
    if (!scale)
        return false;
    item = scale - 1; /* the list may have moved */
    *scale = (struct convert_item){.kind = CONVERT_SCALE, .ref = ref, .dims = 1};
    scale->shape[0] = item->shape[0];
    snprintf(scale->name, sizeof scale->name, "%s%s_scale", prefix, name);
    return true;
}

bool dn_convert_list_backbone(struct convert *c, struct dino_error *err)
{
    enum naming naming = c->hf ? NAMING_HF : NAMING_OFFICIAL;
    bool classifier = c->hf && c->head_weight;
    const char *prefix = !classifier           ? ""
                         : c->config.registers ? "dinov2_with_registers."
                                               : "dinov2.";
    struct param_ref ref = dn_param_first();

    c->count = 0;
    do {
        ref.parts = dn_param_parts(naming, ref.param);
        for (ref.part = 0; ref.part < ref.parts; ref.part++)
            if (!add_param(c, prefix, naming, ref, err))
                return false;
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

static bool held(const struct convert *c, struct param_ref ref, enum convert_held what)
{
    return c->holding == what && c->held.param == ref.param && c->held.block == ref.block;
}

/* The whole parameter into c->values; what the source lacks is neutral: scale 1, else 0. */
static bool hold(struct convert *c, struct param_ref ref, struct dino_error *err)
{
    size_t count = dn_param_elements(&c->config, ref.param);

    if (held(c, ref, HELD_VALUES))
        return true;
    c->holding = HELD_NONE;
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
    c->holding = HELD_VALUES;
    return true;
}

/* The whole matrix as c->bytes and c->scales: as stored, or rounded as the device would. */
static bool hold_int8(struct convert *c, const struct convert_item *item,
                      struct dino_error *err)
{
    struct param_ref ref = item->ref;
    size_t count = dn_param_elements(&c->config, ref.param);
    int64_t shape[4], bad = c->bad_values;

    if (held(c, ref, HELD_BYTES))
        return true;
    dn_param_shape(&c->config, ref.param, shape);
    size_t outputs = (size_t)shape[0], width = count / outputs;
    if (!dn_grow(&c->bytes, &c->byte_room, count, 1, "an int8 matrix", err) ||
        !dn_grow(&c->scales, &c->scale_room, outputs, sizeof *c->scales, "scales", err))
        return false;
    if (dn_weights_int8(&c->weights, ref.param, ref.block)) {
        const int8_t *from =
            dn_weights_read_int8(&c->weights, ref.param, ref.block, c->bytes, c->scales);
        memmove(c->bytes, from, count);
    } else {
        if (!hold(c, ref, err))
            return false;
        if (c->bad_values > bad)
            return dn_fail(err, DINO_EUNSUPPORTED,
                           "%s holds NaN or infinity, which int8 cannot: choose bf16 or f32",
                           item->name);
        for (size_t r = 0; r < outputs; r++)
            dn_int8_row(c->bytes + r * width, &c->scales[r], c->values + r * width, width);
    }
    c->held = ref;
    c->holding = HELD_BYTES;
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

/* A matrix as int8, or the scales of one. */
static bool write_int8(struct convert *c, const struct convert_item *item,
                       const struct sink *sink, struct dino_error *err)
{
    size_t count = item_elements(item), first = (size_t)item->ref.part * count;

    if (!hold_int8(c, item, err))
        return false;
    return item->kind == CONVERT_SCALE
               ? put(sink, c->scales + first, count * sizeof *c->scales, err)
               : put(sink, c->bytes + first, count, err);
}

static bool write_floats(struct convert *c, const struct convert_item *item,
                         const struct sink *sink, struct dino_error *err)
{
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
    return ok;
}

static bool write_item(struct convert *c, size_t index, const struct sink *sink,
                       struct dino_error *err)
{
    const struct convert_item *item = &c->items[index];
    bool int8 = item->kind == CONVERT_SCALE || item->dtype == DINO_I8;

    if (!(int8 ? write_int8 : write_floats)(c, item, sink, err))
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
    if (dn_convert_int8(c))
        dn_safetensors_note(&writer, "int8", "NAME = int8 * NAME_scale, a scale an output");
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
    c->holding = HELD_NONE;
    return dn_ends_with(path, ".safetensors") ? write_safetensors(c, path, err)
                                              : write_pth(c, path, err);
}
