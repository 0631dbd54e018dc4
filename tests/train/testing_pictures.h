/* Small drawn pictures in a folder of the test's own, some of them broken on purpose; and are
 * two files the same? */
#ifndef TESTING_PICTURES_H
#define TESTING_PICTURES_H

#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/rng.h"

/* `count` pictures FOLDER/sub/NN.png under the scratch directory, each of its own size and
 * noise; those whose bit is set in `broken` hold no picture. Returns the folder's path. */
static inline const char *draw_pictures(const char *folder, int count, unsigned broken)
{
    static char paths[8][256];
    static unsigned number;
    char *path = paths[number++ % 8], name[300];
    struct dino_error err = {0};

    snprintf(path, sizeof paths[0], "%s/%s", testing_scratch(), folder);
    mkdir(path, 0777);
    snprintf(name, sizeof name, "%s/sub", path);
    mkdir(name, 0777);
    for (int i = 0; i < count; i++) {
        struct dino_image image = {0};
        snprintf(name, sizeof name, "%s/%s%02d.png", path, i % 2 ? "sub/" : "", i);
        if (broken >> i & 1) {
            FILE *file = fopen(name, "w");
            CHECK(file && fputs("\x89PNG\r\n\x1a\nnot really", file) >= 0 && fclose(file) == 0);
            continue;
        }
        CHECK_OK(dino_image_alloc(&image, 20 + i, 40 - i, &err), err);
        for (int k = 0; k < image.width * image.height * 3; k++)
            image.pixels[k] = (uint8_t)dn_random_u64(99, (uint64_t)i, (uint64_t)k);
        CHECK_OK(dino_image_write(&image, name, &err), err);
        dino_image_release(&image);
    }
    return path;
}

/* Flat colours, half of them red and half of them blue. */
static inline const char *draw_colours(const char *folder, int count)
{
    static char path[256];
    char name[400];
    struct dino_error err = {0};

    snprintf(path, sizeof path, "%s/%s", testing_scratch(), folder);
    mkdir(path, 0777);
    for (int i = 0; i < count; i++) {
        struct dino_image image = {0};
        snprintf(name, sizeof name, "%s/%s", path, i % 2 ? "red" : "blue");
        mkdir(name, 0777);
        snprintf(name, sizeof name, "%s/%s/%02d.png", path, i % 2 ? "red" : "blue", i);
        CHECK_OK(dino_image_alloc(&image, 32, 32, &err), err);
        for (int k = 0; k < 32 * 32 * 3; k++)
            image.pixels[k] = (uint8_t)(k % 3 == (i % 2 ? 0 : 2) ? 200 + i % 32 : 20 + k % 7);
        CHECK_OK(dino_image_write(&image, name, &err), err);
        dino_image_release(&image);
    }
    return path;
}

static inline bool same_bytes(const char *a, const char *b)
{
    struct mapping x, y;
    struct dino_error err = {0};

    CHECK_OK(dn_map_open(&x, a, &err), err);
    CHECK_OK(dn_map_open(&y, b, &err), err);
    bool same =
        x.bytes.size == y.bytes.size && memcmp(x.bytes.data, y.bytes.data, x.bytes.size) == 0;
    dn_map_close(&x);
    dn_map_close(&y);
    return same;
}

#endif
