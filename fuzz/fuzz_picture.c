/*
 * Any bytes as a picture. The first byte chooses the options; checksums of PNG chunks are made
 * right first, or nothing behind them would ever be reached.
 */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "image/image.h"
#include "task/view.h"

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void mend_checksums(uint8_t *data, size_t size)
{
    for (size_t at = 8; size - at >= 12 && at <= size;) {
        size_t length = get32(data + at);
        if (length > size - at - 12)
            return;
        uint8_t *end = data + at + 8 + length;
        uint32_t sum = (uint32_t)crc32(0, data + at + 4, (uInt)length + 4);
        for (int i = 0; i < 4; i++)
            end[i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + length;
    }
}

/* Pictures that were read must survive a view and come back. */
static void look(struct dino_image *image, uint8_t choice)
{
    static const char *const names[4] = {"classify", "pca", "hf", "native"};
    struct dino_view view;
    struct dino_image seen = {0};

    if (!dino_view_named(&view, names[choice >> 3 & 3], 1 + choice / 2, NULL, NULL))
        abort();
    if (dn_view_take(&view, image, &seen, NULL) && (!seen.pixels || seen.width % 14 != 0))
        abort();
    dino_image_release(&seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dino_image image = {0};
    struct dino_error err = {0};

    if (size == 0)
        return 0;
    struct dino_decode_options options = {
        .exif = data[0] & 1,
        .white = data[0] & 2,
        .gray16_high = data[0] & 4,
        .max_pixels = 1 << 16,
    };
    uint8_t *file = malloc(size > 1 ? size - 1 : 1); /* reads behind it are seen */
    if (!file)
        return 0;
    memcpy(file, data + 1, size - 1);
    struct span span = {file, size - 1};
    if (dn_image_kind(span) == IMAGE_PNG)
        mend_checksums(file, size - 1);
    if (dino_image_decode(&image, file, size - 1, "fuzz", &options, &err))
        look(&image, data[0]);
    else if (image.pixels || err.code == DINO_OK || !err.message[0])
        abort();
    dino_image_release(&image);
    free(file);
    return 0;
}
