/* Builds small zips and torch.save pickles in memory, honest or lying, for the tests. */
#ifndef MAKE_ZIP_H
#define MAKE_ZIP_H

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "base/str.h"

struct zip_part {
    const char *name;
    const void *data;
    size_t size;
    /* lies; 0 means the truth */
    uint32_t offset, bytes;
    uint16_t method, flags;
    bool bad_crc;
};

static inline void put_little(struct str *s, uint64_t value, int size)
{
    uint8_t bytes[16] = {0};
    for (int i = 0; i < size && i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    dn_str_add_bytes(s, bytes, (size_t)size);
}

/* Version to the sizes: what local header and directory entry have in common. */
static inline void put_common(struct str *s, const struct zip_part *part)
{
    uint32_t crc = (uint32_t)crc32(0, part->data, (uInt)part->size) ^ part->bad_crc;
    uint32_t size = part->bytes ? part->bytes : (uint32_t)part->size;

    put_little(s, 20, 2);
    put_little(s, part->flags, 2);
    put_little(s, part->method, 2);
    put_little(s, 0, 4);
    put_little(s, crc, 4);
    put_little(s, size, 4);
    put_little(s, size, 4);
    put_little(s, strlen(part->name), 2);
}

/* The zip's bytes; with zip64 the end record and the entries point to 64-bit fields. */
static inline struct str make_zip(const struct zip_part *parts, size_t count, bool zip64)
{
    struct str s = {0};
    size_t offsets[16] = {0};

    for (size_t i = 0; i < count; i++) {
        offsets[i] = parts[i].offset ? parts[i].offset : s.size;
        dn_str_add(&s, "PK\x03\x04");
        put_common(&s, &parts[i]);
        put_little(&s, 0, 2);
        dn_str_add(&s, parts[i].name);
        dn_str_add_bytes(&s, parts[i].data, parts[i].size);
    }
    size_t start = s.size;
    for (size_t i = 0; i < count; i++) {
        dn_str_add(&s, "PK\x01\x02");
        put_little(&s, 45, 2);
        put_common(&s, &parts[i]);
        put_little(&s, zip64 ? 12 : 0, 2);
        put_little(&s, 0, 10); /* comment, disk, attributes */
        put_little(&s, zip64 ? UINT32_MAX : offsets[i], 4);
        dn_str_add(&s, parts[i].name);
        if (zip64) {
            put_little(&s, 1, 2);
            put_little(&s, 8, 2);
            put_little(&s, offsets[i], 8);
        }
    }
    size_t size = s.size - start, end64 = s.size;
    if (zip64) {
        dn_str_add(&s, "PK\x06\x06");
        put_little(&s, 44, 8);
        put_little(&s, 45, 2);
        put_little(&s, 45, 2);
        put_little(&s, 0, 8);
        put_little(&s, count, 8);
        put_little(&s, count, 8);
        put_little(&s, size, 8);
        put_little(&s, start, 8);
        dn_str_add(&s, "PK\x06\x07");
        put_little(&s, 0, 4);
        put_little(&s, end64, 8);
        put_little(&s, 1, 4);
    }
    dn_str_add(&s, "PK\x05\x06");
    put_little(&s, 0, 4);
    put_little(&s, zip64 ? UINT16_MAX : count, 2);
    put_little(&s, zip64 ? UINT16_MAX : count, 2);
    put_little(&s, zip64 ? UINT32_MAX : size, 4);
    put_little(&s, zip64 ? UINT32_MAX : start, 4);
    put_little(&s, 0, 2);
    return s;
}

/* A copy of exactly the right size, so that a byte too many is noticed. */
static inline struct span exact(const struct str *s)
{
    uint8_t *copy = malloc(s->size);
    memcpy(copy, s->text, s->size);
    return (struct span){copy, s->size};
}

#endif
