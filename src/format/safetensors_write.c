/* Writing .safetensors, one pass: the declared header, then the data as it comes. */
#include <string.h>

#include "format/safetensors.h"
#include "format/tensors.h"

bool dn_safetensors_create(struct safetensors_writer *w, const char *path,
                           struct dino_error *err)
{
    *w = (struct safetensors_writer){0};
    if (!dn_output_open(&w->out, path, err))
        return false;
    dn_str_add(&w->header, "{\"__metadata__\":{\"format\":\"pt\"");
    w->noting = true;
    return true;
}

bool dn_safetensors_note(struct safetensors_writer *w, const char *key, const char *value)
{
    if (!w->noting)
        return false;
    dn_str_add(&w->header, ",");
    dn_str_add_json(&w->header, key);
    dn_str_add(&w->header, ":");
    dn_str_add_json(&w->header, value);
    return !w->header.failed;
}

static void end_notes(struct safetensors_writer *w)
{
    if (w->noting)
        dn_str_add(&w->header, "}");
    w->noting = false;
}

bool dn_safetensors_declare(struct safetensors_writer *w, const char *name,
                            enum dino_dtype dtype, const int64_t *shape, int dims,
                            struct dino_error *err)
{
    const char *type = dn_safetensors_dtype(dtype);
    int64_t elements;
    uint64_t end;

    if (w->begun)
        return dn_fail(err, DINO_EARG, "%s: tensor '%s' declared after the data began",
                       w->out.path, name);
    if (!type || dims < 0 || dims > DINO_MAX_DIMS ||
        !dn_shape_elements(shape, dims, dtype, &elements) ||
        __builtin_add_overflow(w->offset, (uint64_t)elements * dino_dtype_size(dtype), &end))
        return dn_fail(err, DINO_EARG, "%s: tensor '%s' has an impossible shape or dtype",
                       w->out.path, name);
    end_notes(w);
    dn_str_add(&w->header, ",");
    dn_str_add_json(&w->header, name);
    dn_str_addf(&w->header, ":{\"dtype\":\"%s\",\"shape\":[", type);
    for (int i = 0; i < dims; i++)
        dn_str_addf(&w->header, "%s%lld", i ? "," : "", (long long)shape[i]);
    dn_str_addf(&w->header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)w->offset,
                (unsigned long long)end);
    w->offset = end;
    if (w->header.failed)
        return dn_fail_memory(err, w->header.size, "a safetensors header");
    return true;
}

/* The header, padded with blanks so that the data begin at a multiple of 8. */
static bool begin(struct safetensors_writer *w, struct dino_error *err)
{
    uint8_t length[8];

    end_notes(w);
    dn_str_add(&w->header, "}");
    while (w->header.size % 8 && !w->header.failed)
        dn_str_add(&w->header, " ");
    if (w->header.failed)
        return dn_fail_memory(err, w->header.size, "a safetensors header");
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)w->header.size >> (8 * i));
    w->begun = true;
    return dn_output_write(&w->out, length, sizeof length, err) &&
           dn_output_write(&w->out, w->header.text, w->header.size, err);
}

bool dn_safetensors_write(struct safetensors_writer *w, const void *data, size_t size,
                          struct dino_error *err)
{
    if (!w->begun && !begin(w, err))
        return false;
    if (size > w->offset - w->written)
        return dn_fail(err, DINO_EARG, "%s: more than the %llu declared bytes", w->out.path,
                       (unsigned long long)w->offset);
    w->written += size;
    return dn_output_write(&w->out, data, size, err);
}

bool dn_safetensors_commit(struct safetensors_writer *w, struct dino_error *err)
{
    bool ok = w->begun || begin(w, err);

    if (ok && w->written != w->offset)
        ok = dn_fail(err, DINO_EARG, "%s: %llu bytes written, %llu declared", w->out.path,
                     (unsigned long long)w->written, (unsigned long long)w->offset);
    ok = ok && dn_output_commit(&w->out, err);
    dn_safetensors_release(w);
    return ok;
}

void dn_safetensors_release(struct safetensors_writer *w)
{
    dn_output_release(&w->out);
    dn_str_release(&w->header);
    *w = (struct safetensors_writer){0};
}
