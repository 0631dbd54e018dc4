/*
 * Reading .safetensors: 8 bytes of header length, a JSON header, the data. As strict as the
 * format's own library: every byte of data belongs to exactly one tensor. Writing is in
 * safetensors_write.c.
 */
#include "format/safetensors.h"

#include <string.h>

#include "base/alloc.h"
#include "format/json.h"
#include "format/tensors.h"

enum { LONGEST_HEADER = 100 * 1000 * 1000 }; /* the format's own bound */

static const char *const dtype_names[DINO_DTYPE_COUNT] = {
    [DINO_F32] = "F32", [DINO_F64] = "F64",   [DINO_F16] = "F16", [DINO_BF16] = "BF16",
    [DINO_I8] = "I8",   [DINO_U8] = "U8",     [DINO_I16] = "I16", [DINO_I32] = "I32",
    [DINO_I64] = "I64", [DINO_BOOL] = "BOOL",
};

const char *dn_safetensors_dtype(enum dino_dtype dtype)
{
    return (unsigned)dtype < DINO_DTYPE_COUNT ? dtype_names[dtype] : NULL;
}

/* A whole number that is not negative. */
static bool whole(const json_t *value, int64_t *number)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *number = json_integer_value(value);
    return true;
}

static bool read_dtype(const json_t *entry, enum dino_dtype *dtype, const char **text)
{
    *text = json_string_value(json_object_get(entry, "dtype"));
    for (int i = 0; *text && i < DINO_DTYPE_COUNT; i++)
        if (strcmp(*text, dtype_names[i]) == 0) {
            *dtype = (enum dino_dtype)i;
            return true;
        }
    return false;
}

static bool read_shape(const json_t *entry, struct dino_tensor *tensor)
{
    const json_t *shape = json_object_get(entry, "shape");

    if (!json_is_array(shape) || json_array_size(shape) > DINO_MAX_DIMS)
        return false;
    tensor->dims = (int)json_array_size(shape);
    for (int i = 0; i < tensor->dims; i++)
        if (!whole(json_array_get(shape, (size_t)i), &tensor->shape[i]))
            return false;
    return true;
}

/* One entry of the header into tensor; the message leaves out the file's name. */
static bool read_entry(const char *name, const json_t *entry, struct span data,
                       struct dino_tensor *tensor, struct dino_error *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    int64_t begin, end, elements;
    const char *dtype;

    *tensor = (struct dino_tensor){.name = name};
    if (!read_dtype(entry, &tensor->dtype, &dtype))
        return dn_fail(err, dtype ? DINO_EUNSUPPORTED : DINO_EFORMAT,
                       "tensor '%s' has dtype %s, wanted F32, F16, BF16, F64, an integer or "
                       "BOOL",
                       name, dtype ? dtype : "missing");
    if (!read_shape(entry, tensor))
        return dn_fail(err, DINO_EFORMAT,
                       "tensor '%s' has a bad shape, wanted at most %d sizes, none negative",
                       name, DINO_MAX_DIMS);
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !whole(json_array_get(offsets, 0), &begin) || !whole(json_array_get(offsets, 1), &end))
        return dn_fail(err, DINO_EFORMAT,
                       "tensor '%s' has bad data_offsets, wanted two numbers, none negative",
                       name);
    if (begin > end || (uint64_t)end > data.size)
        return dn_fail(err, DINO_EFORMAT,
                       "tensor '%s' lies at [%lld, %lld), outside the %zu bytes of data", name,
                       (long long)begin, (long long)end, data.size);
    size_t size = dino_dtype_size(tensor->dtype);
    if (!dn_shape_elements(tensor->shape, tensor->dims, tensor->dtype, &elements) ||
        (size_t)elements * size != (size_t)(end - begin))
        return dn_fail(err, DINO_EFORMAT,
                       "tensor '%s' has %lld bytes, which does not fit its shape and dtype",
                       name, (long long)(end - begin));
    dn_tensor_pack_strides(tensor);
    tensor->data = data.data + begin;
    tensor->bytes = (size_t)(end - begin);
    return true;
}

static bool read_notes(struct tensors *t, json_t *notes, struct dino_error *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(notes))
        return dn_fail(err, DINO_EFORMAT, "__metadata__ is no object");
    json_object_foreach(notes, key, value)
    {
        if (!json_is_string(value))
            return dn_fail(err, DINO_EFORMAT, "__metadata__ '%s' is no string", key);
        if (!dn_tensors_add_note(t, key, json_string_value(value), err))
            return false;
    }
    return true;
}

static int by_position(const void *left, const void *right)
{
    const struct dino_tensor *const *a = left, *const *b = right;
    uintptr_t x = (uintptr_t)(*a)->data, y = (uintptr_t)(*b)->data;

    if (x != y)
        return x < y ? -1 : 1;
    return (*a)->bytes < (*b)->bytes ? -1 : (*a)->bytes > (*b)->bytes;
}

/* The tensors from `first` on must cover the data without holes or overlaps. */
static bool check_cover(const struct tensors *t, size_t first, struct span data,
                        struct dino_error *err)
{
    const struct dino_tensor *before = NULL;
    size_t count = t->count - first, position = 0;
    const struct dino_tensor **order = dn_calloc(count, sizeof *order, "tensors", err);
    bool ok = order != NULL;

    for (size_t i = 0; i < count && ok; i++)
        order[i] = &t->items[first + i];
    if (ok)
        qsort(order, count, sizeof *order, by_position);
    for (size_t i = 0; i < count && ok; i++) {
        size_t begin = (size_t)((const uint8_t *)order[i]->data - data.data);
        if (begin < position)
            ok = dn_fail(err, DINO_EFORMAT, "tensors '%s' and '%s' overlap", before->name,
                         order[i]->name);
        else if (begin > position)
            ok = dn_fail(err, DINO_EFORMAT, "%zu bytes before tensor '%s' belong to none",
                         begin - position, order[i]->name);
        position = begin + order[i]->bytes;
        before = order[i];
    }
    if (ok && position != data.size)
        ok = dn_fail(err, DINO_EFORMAT, "%zu bytes of data, %zu by the header", data.size,
                     position);
    free(order);
    return ok;
}

static bool read_header(struct tensors *t, json_t *header, struct span data,
                        struct dino_error *err)
{
    size_t first = t->count;
    const char *name;
    json_t *entry;

    json_object_foreach(header, name, entry)
    {
        struct dino_tensor tensor;
        if (strcmp(name, "__metadata__") == 0) {
            if (!read_notes(t, entry, err))
                return false;
            continue;
        }
        if (!read_entry(name, entry, data, &tensor, err) || !dn_tensors_add(t, &tensor, err))
            return false;
    }
    return check_cover(t, first, data, err);
}

bool dn_safetensors_read(struct tensors *t, size_t map, const char *name,
                         struct dino_error *err)
{
    struct span rest = t->maps[map].bytes, text;
    uint64_t length;

    if (!dn_span_u64(&rest, &length, err))
        return dn_fail_prefix(err, name);
    if (length > LONGEST_HEADER || length > rest.size)
        return dn_fail(err, DINO_EFORMAT,
                       "%s: safetensors header of %llu bytes, %zu bytes follow and at most %d "
                       "are sensible",
                       name, (unsigned long long)length, rest.size, LONGEST_HEADER);
    dn_span_take(&rest, (size_t)length, &text, NULL);
    json_t *header = dn_json_object(text, name, err);
    if (!header)
        return false;
    bool ok = read_header(t, header, rest, err);
    if (!ok)
        dn_fail_prefix(err, name);
    json_decref(header);
    return ok;
}
