/*
 * The zip directory, read where it lies: end record, zip64 end record, entries, local headers.
 * Not minizip's unzip: the one of Debian 12 does not see zip64 sizes and offsets where a long
 * has 64 bits, and files above 4 GiB are the point here.
 */
#include "format/zip_directory.h"

#include <string.h>

#include "base/alloc.h"

enum {
    END_SIZE = 22,
    LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    ENTRY_SIZE = 46,
    LOCAL_SIZE = 30,
    LONGEST_NAME = 1000,
    LONGEST_COMMENT = UINT16_MAX,
};

static uint64_t little(const uint8_t *p, int size)
{
    uint64_t n = 0;
    for (int i = 0; i < size; i++)
        n |= (uint64_t)p[i] << (8 * i);
    return n;
}

/* `size` bytes at `offset` of the file if they are there and begin with `mark`, else NULL. */
static const uint8_t *record_at(struct span file, uint64_t offset, size_t size,
                                const char mark[5])
{
    if (offset > file.size || size > file.size - offset ||
        memcmp(file.data + offset, mark, 4) != 0)
        return NULL;
    return file.data + offset;
}

/* ------------------------------------------------------------ where the directory is */

/* The end record ends the file, but for a comment of its own length. */
static const uint8_t *find_end(struct span file)
{
    for (size_t comment = 0; comment <= LONGEST_COMMENT && comment + END_SIZE <= file.size;
         comment++) {
        const uint8_t *end =
            record_at(file, file.size - END_SIZE - comment, END_SIZE, "PK\x05\x06");
        if (end && little(end + 20, 2) == comment)
            return end;
    }
    return NULL;
}

struct place {
    uint64_t count, size, offset;
};

/* The same fields in 64 bits: a locator before the end record says where. */
static bool read_end64(struct span file, uint64_t end, struct place *place)
{
    const uint8_t *locator =
        end < LOCATOR_SIZE ? NULL
                           : record_at(file, end - LOCATOR_SIZE, LOCATOR_SIZE, "PK\x06\x07");
    const uint8_t *end64 =
        locator ? record_at(file, little(locator + 8, 8), END64_SIZE, "PK\x06\x06") : NULL;

    if (!end64)
        return false;
    *place =
        (struct place){little(end64 + 32, 8), little(end64 + 40, 8), little(end64 + 48, 8)};
    return true;
}

static bool find_directory(struct span file, struct place *place, struct dino_error *err)
{
    const uint8_t *end = find_end(file);

    if (!end)
        return dn_fail(err, DINO_EFORMAT,
                       "begins as a zip, but has no zip directory at its end: cut short?");
    *place = (struct place){little(end + 10, 2), little(end + 12, 4), little(end + 16, 4)};
    uint64_t limit = (uint64_t)(end - file.data);
    if ((place->count == UINT16_MAX || place->size == UINT32_MAX ||
         place->offset == UINT32_MAX) &&
        !read_end64(file, limit, place))
        return dn_fail(err, DINO_EFORMAT, "the zip directory has no zip64 end record");
    if (place->offset > limit || place->size > limit - place->offset ||
        place->count > place->size / ENTRY_SIZE)
        return dn_fail(err, DINO_EFORMAT,
                       "zip directory of %llu members in %llu bytes at %llu does not fit the "
                       "%zu bytes of the file",
                       (unsigned long long)place->count, (unsigned long long)place->size,
                       (unsigned long long)place->offset, file.size);
    return true;
}

/* ------------------------------------------------------------ members */

/* An entry of the directory, sizes widened. */
struct entry {
    unsigned flags, method;
    uint32_t crc;
    uint64_t packed, size, offset;
    struct span name;
};

static bool damaged(struct dino_error *err)
{
    return dn_fail(err, DINO_EFORMAT, "the zip directory is damaged");
}

/* The zip64 extra field holds those of the three that are saturated, in this order. */
static bool widen(struct entry *entry, struct span extra)
{
    uint64_t *const fields[3] = {&entry->size, &entry->packed, &entry->offset};

    while (extra.size >= 4) {
        uint64_t id = little(extra.data, 2), size = little(extra.data + 2, 2);
        struct span field;
        extra.data += 4;
        extra.size -= 4;
        if (!dn_span_take(&extra, (size_t)size, &field, NULL))
            return false;
        for (int i = 0; i < 3 && id == 1; i++)
            if (*fields[i] == UINT32_MAX && !dn_span_u64(&field, fields[i], NULL))
                return false;
        if (id == 1)
            return true;
    }
    return true;
}

/* Take an entry off the front of the directory. */
static bool take_entry(struct span *directory, struct entry *entry, struct dino_error *err)
{
    const uint8_t *p = record_at(*directory, 0, ENTRY_SIZE, "PK\x01\x02");
    struct span extra, ignored;

    if (!p)
        return damaged(err);
    *entry = (struct entry){
        .flags = (unsigned)little(p + 8, 2),
        .method = (unsigned)little(p + 10, 2),
        .crc = (uint32_t)little(p + 16, 4),
        .packed = little(p + 20, 4),
        .size = little(p + 24, 4),
        .offset = little(p + 42, 4),
    };
    if (!dn_span_take(directory, ENTRY_SIZE, &ignored, NULL) ||
        !dn_span_take(directory, little(p + 28, 2), &entry->name, NULL) ||
        !dn_span_take(directory, little(p + 30, 2), &extra, NULL) ||
        !dn_span_take(directory, little(p + 32, 2), &ignored, NULL) || !widen(entry, extra))
        return damaged(err);
    if (entry->name.size > LONGEST_NAME || memchr(entry->name.data, 0, entry->name.size))
        return dn_fail(err, DINO_EFORMAT, "the zip directory has an absurd name");
    return true;
}

/* Where the entry's data begin, by its local header, which must agree with the directory. */
static bool find_data(struct span file, const struct entry *entry, uint64_t *start)
{
    const uint8_t *p = record_at(file, entry->offset, LOCAL_SIZE, "PK\x03\x04");

    if (!p)
        return false;
    uint64_t name = little(p + 26, 2), crc = little(p + 14, 4), packed = little(p + 18, 4),
             size = little(p + 22, 4);
    *start = entry->offset + LOCAL_SIZE + name + little(p + 28, 2);
    if (name != entry->name.size || name > file.size - entry->offset - LOCAL_SIZE ||
        memcmp(p + LOCAL_SIZE, entry->name.data, (size_t)name) != 0 ||
        little(p + 8, 2) != entry->method)
        return false;
    if (little(p + 6, 2) & 8) /* sizes and CRC follow the data */
        return true;
    return crc == entry->crc && (packed == UINT32_MAX || packed == entry->packed) &&
           (size == UINT32_MAX || size == entry->size);
}

static bool add_member(struct zip_directory *zip, struct span file, uint64_t end,
                       const struct entry *entry, struct dino_error *err)
{
    int length = (int)entry->name.size;
    const char *name = (const char *)entry->name.data;
    uint64_t start;

    if (entry->flags & 1)
        return dn_fail(err, DINO_EUNSUPPORTED, "zip member '%.*s' is encrypted", length, name);
    if (entry->method != 0 || entry->packed != entry->size)
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "zip member '%.*s' is compressed; torch.save stores members as they are",
                       length, name);
    if (!find_data(file, entry, &start))
        return dn_fail(err, DINO_EFORMAT,
                       "zip member '%.*s' is not where, or not what, the directory says",
                       length, name);
    if (start > end || entry->size > end - start)
        return dn_fail(err, DINO_EFORMAT,
                       "zip member '%.*s' of %llu bytes at %llu ends behind %llu, where the "
                       "directory begins",
                       length, name, (unsigned long long)entry->size, (unsigned long long)start,
                       (unsigned long long)end);
    char *copy = dn_calloc((size_t)length + 1, 1, "a name", err);
    if (!copy)
        return false;
    memcpy(copy, name, (size_t)length);
    zip->members[zip->count++] = (struct zip_member){
        .name = copy,
        .header = entry->offset,
        .data = {file.data + start, (size_t)entry->size},
        .crc = entry->crc,
    };
    return true;
}

static bool read_members(struct zip_directory *zip, struct span file, struct place place,
                         struct dino_error *err)
{
    struct span directory = {file.data + place.offset, (size_t)place.size};
    struct entry entry;

    zip->members = dn_calloc(place.count, sizeof *zip->members, "a zip directory", err);
    if (!zip->members)
        return false;
    for (uint64_t i = 0; i < place.count; i++)
        if (!take_entry(&directory, &entry, err) ||
            !add_member(zip, file, place.offset, &entry, err))
            return false;
    return directory.size == 0 || damaged(err);
}

static int by_name(const void *left, const void *right)
{
    const struct zip_member *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static int by_header(const void *left, const void *right)
{
    const struct zip_member *a = left, *b = right;
    return a->header < b->header ? -1 : a->header > b->header;
}

/* Leaves the members sorted by name. */
static bool check_members(struct zip_directory *zip, struct span file, struct dino_error *err)
{
    struct zip_member *members = zip->members;

    qsort(members, zip->count, sizeof *members, by_header);
    for (size_t i = 1; i < zip->count; i++) {
        struct span before = members[i - 1].data;
        if (members[i].header < (uint64_t)(before.data + before.size - file.data))
            return dn_fail(err, DINO_EFORMAT, "zip members '%s' and '%s' overlap",
                           members[i - 1].name, members[i].name);
    }
    qsort(members, zip->count, sizeof *members, by_name);
    for (size_t i = 1; i < zip->count; i++)
        if (strcmp(members[i - 1].name, members[i].name) == 0)
            return dn_fail(err, DINO_EFORMAT, "zip member '%s' is there twice",
                           members[i].name);
    return true;
}

bool dn_zip_read(struct zip_directory *zip, struct span file, struct dino_error *err)
{
    struct place place = {0};

    *zip = (struct zip_directory){0};
    if (!find_directory(file, &place, err))
        return false;
    if (read_members(zip, file, place, err) && check_members(zip, file, err))
        return true;
    dn_zip_release(zip);
    return false;
}

void dn_zip_release(struct zip_directory *zip)
{
    for (size_t i = 0; i < zip->count; i++)
        free(zip->members[i].name);
    free(zip->members);
    *zip = (struct zip_directory){0};
}

const struct zip_member *dn_zip_find(const struct zip_directory *zip, const char *name)
{
    struct zip_member key = {.name = (char *)(uintptr_t)name};

    return zip->count ? bsearch(&key, zip->members, zip->count, sizeof *zip->members, by_name)
                      : NULL;
}
