#include "base/span.h"

#include <string.h>

static bool take_little(struct span *s, size_t size, uint64_t *value, struct dino_error *err)
{
    if (s->size < size)
        return dn_fail(err, DINO_EFORMAT, "wanted %zu bytes, %zu left", size, s->size);
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++)
        v |= (uint64_t)s->data[i] << (8 * i);
    s->data += size;
    s->size -= size;
    *value = v;
    return true;
}

bool dn_span_u8(struct span *s, uint8_t *value, struct dino_error *err)
{
    uint64_t v = 0;

    if (!take_little(s, 1, &v, err))
        return false;
    *value = (uint8_t)v;
    return true;
}

bool dn_span_u16(struct span *s, uint16_t *value, struct dino_error *err)
{
    uint64_t v = 0;

    if (!take_little(s, 2, &v, err))
        return false;
    *value = (uint16_t)v;
    return true;
}

bool dn_span_u32(struct span *s, uint32_t *value, struct dino_error *err)
{
    uint64_t v = 0;

    if (!take_little(s, 4, &v, err))
        return false;
    *value = (uint32_t)v;
    return true;
}

bool dn_span_u64(struct span *s, uint64_t *value, struct dino_error *err)
{
    return take_little(s, 8, value, err);
}

bool dn_span_take(struct span *s, size_t size, struct span *taken, struct dino_error *err)
{
    if (s->size < size)
        return dn_fail(err, DINO_EFORMAT, "wanted %zu bytes, %zu left", size, s->size);
    *taken = (struct span){s->data, size};
    s->data += size;
    s->size -= size;
    return true;
}

bool dn_span_until(struct span *s, uint8_t end, struct span *taken, struct dino_error *err)
{
    const uint8_t *stop = s->size ? memchr(s->data, end, s->size) : NULL;

    if (!stop)
        return dn_fail(err, DINO_EFORMAT, "no byte 0x%02x in the %zu left", end, s->size);
    *taken = (struct span){s->data, (size_t)(stop - s->data)};
    s->size -= taken->size + 1;
    s->data = stop + 1;
    return true;
}

bool dn_span_starts(struct span s, const char *prefix)
{
    size_t size = strlen(prefix);
    return s.size >= size && memcmp(s.data, prefix, size) == 0;
}

bool dn_span_equals(struct span s, const char *text)
{
    return s.size == strlen(text) && dn_span_starts(s, text);
}
