/*
 * Which way up: the EXIF orientation of JPEG, PNG and WebP files. Broken or missing EXIF
 * never spoils a picture: its orientation is 1.
 */
#include "image/image.h"

#include <string.h>

struct tiff {
    struct span bytes;
    bool big; /* big-endian */
};

static uint32_t number(const struct tiff *t, size_t at, int bytes)
{
    uint32_t value = 0;

    if (at > t->bytes.size || t->bytes.size - at < (size_t)bytes)
        return 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | t->bytes.data[at + (size_t)(t->big ? i : bytes - 1 - i)];
    return value;
}

int dn_exif_orientation(struct span bytes)
{
    enum { ORIENTATION = 0x0112, SHORT = 3, LONG = 4, ENTRY = 12 };
    struct tiff t = {bytes, bytes.size > 0 && bytes.data[0] == 'M'};

    if (bytes.size < 8 ||
        (memcmp(bytes.data, "II*\0", 4) != 0 && memcmp(bytes.data, "MM\0*", 4) != 0))
        return 1;
    size_t directory = number(&t, 4, 4);
    uint32_t entries = number(&t, directory, 2);
    for (uint32_t i = 0; i < entries; i++) {
        size_t entry = directory + 2 + (size_t)i * ENTRY;
        if (entry + ENTRY > bytes.size)
            return 1;
        if (number(&t, entry, 2) != ORIENTATION)
            continue;
        uint32_t type = number(&t, entry + 2, 2);
        uint32_t value = type == SHORT  ? number(&t, entry + 8, 2)
                         : type == LONG ? number(&t, entry + 8, 4)
                                        : 1;
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* The prefix that JPEG demands; PNG and WebP writers put it there too at times. */
static int after_prefix(struct span exif)
{
    if (exif.size >= 6 && memcmp(exif.data, "Exif\0\0", 6) == 0)
        return dn_exif_orientation((struct span){exif.data + 6, exif.size - 6});
    return dn_exif_orientation(exif);
}

/* Walk the markers up to the first scan. */
static int jpeg_orientation(struct span file)
{
    enum { APP1 = 0xe1, START_OF_SCAN = 0xda, END = 0xd9 };
    size_t at = 2;

    while (at + 4 <= file.size && file.data[at] == 0xff) {
        uint8_t marker = file.data[at + 1];
        if (marker == 0xff) { /* fill byte */
            at++;
            continue;
        }
        if (marker == START_OF_SCAN || marker == END)
            return 1;
        size_t size = (size_t)file.data[at + 2] << 8 | file.data[at + 3];
        if (size < 2 || size > file.size - at - 2)
            return 1;
        struct span body = {file.data + at + 4, size - 2};
        if (marker == APP1 && body.size >= 6 && memcmp(body.data, "Exif\0\0", 6) == 0)
            return after_prefix(body);
        at += 2 + size;
    }
    return 1;
}

/* Walk chunks of a four-letter name and a 32-bit size; return the first of this name. */
static struct span find_chunk(struct span file, size_t at, const char *name, bool png)
{
    while (at <= file.size && file.size - at >= 8) {
        const uint8_t *p = file.data + at;
        struct tiff head = {{p, 8}, png};
        size_t size = number(&head, png ? 0 : 4, 4);
        const uint8_t *title = png ? p + 4 : p;
        if (size > file.size - at - 8)
            break;
        if (memcmp(title, name, 4) == 0)
            return (struct span){p + 8, size};
        at += 8 + size + (png ? 4 : (size & 1)); /* PNG: checksum; RIFF: even sizes */
    }
    return (struct span){0};
}

int dn_image_orientation(struct span file)
{
    switch (dn_image_kind(file)) {
    case IMAGE_JPEG:
        return jpeg_orientation(file);
    case IMAGE_PNG:
        return after_prefix(find_chunk(file, 8, "eXIf", true));
    case IMAGE_WEBP:
        return after_prefix(find_chunk(file, 12, "EXIF", false));
    case IMAGE_UNKNOWN:
        break;
    }
    return 1;
}
