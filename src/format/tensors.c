/*
 * The list of named tensors that every reader fills, and reading numbers out of it. Which
 * bytes are a tensor is the readers' business; here they are only looked up, converted and
 * let go.
 */
#include "format/tensors.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "base/rng.h"

void dn_tensors_release(struct tensors *t)
{
    for (size_t i = 0; i < t->count; i++)
        free((void *)(uintptr_t)t->items[i].name);
    for (size_t i = 0; i < t->note_count; i++) {
        free(t->notes[i].key);
        free(t->notes[i].value);
    }
    for (size_t i = 0; i < t->map_count && !t->borrowed; i++)
        dn_map_close(&t->maps[i]);
    free(t->items);
    free(t->slots);
    free(t->notes);
    free(t->maps);
    free(t->path);
    free(t->config);
    free(t->preprocessor);
    *t = (struct tensors){0};
}

/* The slot that holds `name`, or the empty one where it belongs; there is always one empty. */
static uint32_t *slot_of(const struct tensors *t, const char *name)
{
    size_t at = dn_fnv1a64(name) & (t->slot_count - 1);

    while (t->slots[at] && strcmp(t->items[t->slots[at] - 1].name, name) != 0)
        at = (at + 1) & (t->slot_count - 1);
    return &t->slots[at];
}

/* Keep the index at most half full. */
static bool make_slots(struct tensors *t, struct dino_error *err)
{
    if (t->slot_count / 2 > t->count)
        return true;
    size_t wanted = t->slot_count ? t->slot_count * 2 : 64;
    uint32_t *slots = dn_calloc(wanted, sizeof *slots, "the index of tensors", err);
    if (!slots)
        return false;
    free(t->slots);
    t->slots = slots;
    t->slot_count = wanted;
    for (size_t i = 0; i < t->count; i++)
        *slot_of(t, t->items[i].name) = (uint32_t)i + 1;
    return true;
}

/* The mapping that holds [data, data + bytes), or NULL. */
static const struct mapping *map_of(const struct tensors *t, const void *data, size_t bytes)
{
    for (size_t i = 0; i < t->map_count; i++) {
        struct span map = t->maps[i].bytes;
        uintptr_t base = (uintptr_t)map.data, from = (uintptr_t)data;
        if (from >= base && from - base <= map.size && bytes <= map.size - (from - base))
            return &t->maps[i];
    }
    return NULL;
}

bool dn_tensors_add(struct tensors *t, const struct dino_tensor *tensor, struct dino_error *err)
{
    assert(map_of(t, tensor->data, tensor->bytes));
    if (t->count >= UINT32_MAX / 2)
        return dn_fail(err, DINO_EFORMAT, "more than %zu tensors", t->count);
    if (!make_slots(t, err) ||
        !dn_grow(&t->items, &t->room, t->count + 1, sizeof *t->items, "tensors", err))
        return false;
    uint32_t *slot = slot_of(t, tensor->name);
    if (*slot)
        return dn_fail(err, DINO_EFORMAT, "tensor '%s' is there twice", tensor->name);
    char *name = dn_strdup(tensor->name, err);
    if (!name)
        return false;
    t->items[t->count] = *tensor;
    t->items[t->count].name = name;
    *slot = (uint32_t)++t->count;
    return true;
}

const struct dino_tensor *dn_tensors_find(const struct tensors *t, const char *name)
{
    if (!t->slot_count)
        return NULL;
    uint32_t item = *slot_of(t, name);
    return item ? &t->items[item - 1] : NULL;
}

bool dn_tensors_add_note(struct tensors *t, const char *key, const char *value,
                         struct dino_error *err)
{
    if (!dn_grow(&t->notes, &t->note_room, t->note_count + 1, sizeof *t->notes, "notes", err))
        return false;
    struct tensors_note note = {dn_strdup(key, err), dn_strdup(value, err)};
    if (!note.key || !note.value) {
        free(note.key);
        free(note.value);
        return false;
    }
    t->notes[t->note_count++] = note;
    return true;
}

const char *dn_tensors_note(const struct tensors *t, const char *key)
{
    for (size_t i = 0; i < t->note_count; i++)
        if (strcmp(t->notes[i].key, key) == 0)
            return t->notes[i].value;
    return NULL;
}

bool dn_shape_elements(const int64_t *shape, int dims, enum dino_dtype dtype, int64_t *elements)
{
    int64_t count = 1, bytes; /* of the sizes that are not zero: strides need them, too */
    bool empty = false;

    for (int i = 0; i < dims; i++) {
        if (shape[i] < 0)
            return false;
        if (shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(count, shape[i], &count))
            return false;
    }
    if (__builtin_mul_overflow(count, (int64_t)dino_dtype_size(dtype), &bytes))
        return false;
    *elements = empty ? 0 : count;
    return true;
}

int64_t dn_tensor_elements(const struct dino_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->dims; i++)
        count *= tensor->shape[i];
    return count;
}

void dn_tensor_pack_strides(struct dino_tensor *tensor)
{
    int64_t stride = 1;
    for (int i = tensor->dims - 1; i >= 0; i--) {
        tensor->stride[i] = stride;
        stride *= tensor->shape[i] ? tensor->shape[i] : 1;
    }
}

bool dn_tensor_contiguous(const struct dino_tensor *tensor)
{
    int64_t stride = 1;
    for (int i = tensor->dims - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != stride)
            return dn_tensor_elements(tensor) == 0;
        stride *= tensor->shape[i];
    }
    return true;
}

void dn_tensor_shape_text(const struct dino_tensor *tensor, char text[128])
{
    size_t used = 0;

    for (int i = 0; i < tensor->dims && used < 100; i++)
        used += (size_t)snprintf(text + used, 128 - used, "%s%lld", i ? ", " : "[",
                                 (long long)tensor->shape[i]);
    snprintf(text + used, 128 - used, "%s", tensor->dims ? "]" : "[]");
}

/* `count` elements `stride` apart, gathered in pieces so that the conversion sees rows. */
static size_t read_strided(const uint8_t *from, int64_t stride, enum dino_dtype dtype,
                           size_t count, float *out)
{
    uint8_t piece[512 * 8];
    size_t bad = 0, size = dino_dtype_size(dtype);
    ptrdiff_t step = (ptrdiff_t)stride * (ptrdiff_t)size;

    for (size_t done = 0; done < count;) {
        size_t n = count - done < 512 ? count - done : 512;
        for (size_t i = 0; i < n; i++)
            memcpy(piece + i * size, from + (ptrdiff_t)(done + i) * step, size);
        bad += dn_to_f32(out + done, piece, dtype, n);
        done += n;
    }
    return bad;
}

size_t dn_tensor_read(const struct dino_tensor *tensor, size_t first, size_t count, float *out)
{
    const uint8_t *data = tensor->data;
    size_t size = dino_dtype_size(tensor->dtype), bad = 0;

    assert(first + count <= (size_t)dn_tensor_elements(tensor));
    if (dn_tensor_contiguous(tensor))
        return dn_to_f32(out, data + first * size, tensor->dtype, count);

    int last = tensor->dims - 1; /* a tensor without dimensions is contiguous */
    size_t width = (size_t)tensor->shape[last];
    while (count > 0) {
        size_t row = first / width, column = first % width;
        size_t n = count < width - column ? count : width - column;
        int64_t offset = (int64_t)column * tensor->stride[last];
        for (int i = last - 1; i >= 0; i--) {
            offset += (int64_t)(row % (size_t)tensor->shape[i]) * tensor->stride[i];
            row /= (size_t)tensor->shape[i];
        }
        bad += read_strided(data + (size_t)offset * size, tensor->stride[last], tensor->dtype,
                            n, out);
        first += n;
        count -= n;
        out += n;
    }
    return bad;
}

void dn_tensor_drop(const struct tensors *t, const struct dino_tensor *tensor)
{
    const struct mapping *map = map_of(t, tensor->data, tensor->bytes);
    if (map && !t->borrowed)
        dn_map_drop(map, tensor->data, tensor->bytes);
}
