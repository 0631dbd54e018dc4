/* Pictures from files and memory: which decoder, how large, which way up. */
#include "image/image.h"

#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/str.h"

enum { MOST_PIXELS = 500000000 };
#define MOST_BYTES ((size_t)1 << 31) /* of a picture file */

enum image_kind dn_image_kind(struct span file)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

    if (file.size >= 3 && memcmp(file.data, "\xff\xd8\xff", 3) == 0)
        return IMAGE_JPEG;
    if (file.size >= sizeof png && memcmp(file.data, png, sizeof png) == 0)
        return IMAGE_PNG;
    if (file.size >= 12 && memcmp(file.data, "RIFF", 4) == 0 &&
        memcmp(file.data + 8, "WEBP", 4) == 0)
        return IMAGE_WEBP;
    return IMAGE_UNKNOWN;
}

bool dn_image_is(struct span file)
{
    return dn_image_kind(file) != IMAGE_UNKNOWN;
}

bool dn_image_named(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *dot = strrchr(dn_path_base(name), '.');

    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

bool dn_image_check_size(int64_t width, int64_t height, const char *name,
                         const struct dino_decode_options *options, struct dino_error *err)
{
    int64_t most = options->max_pixels > 0 ? options->max_pixels : MOST_PIXELS;

    if (width <= 0 || height <= 0)
        return dn_fail(err, DINO_EFORMAT, "%s: %lldx%lld pixels, wanted at least 1x1", name,
                       (long long)width, (long long)height);
    if (width > most / height)
        return dn_fail(err, DINO_EUNSUPPORTED, "%s: %lldx%lld pixels, wanted at most %lld",
                       name, (long long)width, (long long)height, (long long)most);
    return true;
}

/* Say what was found in place of a picture: the beginning, where it is text. */
static bool fail_kind(struct span file, const char *name, struct dino_error *err)
{
    char start[9] = "";
    size_t size = 0;

    if (file.size == 0)
        return dn_fail(err, DINO_EFORMAT, "%s: is empty, wanted a picture", name);
    while (size < file.size && size < sizeof start - 1 && file.data[size] >= ' ' &&
           file.data[size] < 0x7f) {
        start[size] = (char)file.data[size];
        size++;
    }
    if (size >= 3)
        return dn_fail(err, DINO_EFORMAT, "%s: begins with \"%s\", wanted JPEG, PNG or WebP",
                       name, start);
    return dn_fail(err, DINO_EFORMAT, "%s: begins with byte 0x%02x, wanted JPEG, PNG or WebP",
                   name, file.data[0]);
}

/* The caller's options, of whatever version, with the rest zero. */
static struct dino_decode_options filled(const struct dino_decode_options *given)
{
    struct dino_decode_options options = {0};

    if (given)
        memcpy(&options, given,
               given->size && given->size < sizeof options ? given->size : sizeof options);
    return options;
}

bool dino_image_decode(struct dino_image *image, const void *bytes, size_t size,
                       const char *name, const struct dino_decode_options *given,
                       struct dino_error *err)
{
    struct dino_decode_options options = filled(given);
    struct span file = {bytes, size};
    struct dino_image out = {0};
    bool ok = false;

    name = name ? name : "picture";
    switch (dn_image_kind(file)) {
    case IMAGE_JPEG:
        ok = dn_jpeg_decode(&out, file, name, &options, err);
        break;
    case IMAGE_PNG:
        ok = dn_png_decode(&out, file, name, &options, err);
        break;
    case IMAGE_WEBP:
        ok = dn_webp_decode(&out, file, name, &options, err);
        break;
    case IMAGE_UNKNOWN:
        return fail_kind(file, name, err);
    }
    if (ok && options.exif)
        ok = dn_image_orient(&out, dn_image_orientation(file), err);
    if (ok)
        *image = out;
    else
        dino_image_release(&out);
    return ok;
}

bool dino_image_read(struct dino_image *image, const char *path,
                     const struct dino_decode_options *options, struct dino_error *err)
{
    uint8_t *data = NULL;
    size_t size = 0;

    if (!dn_read_all(path, MOST_BYTES, &data, &size, err))
        return false;
    bool ok = dino_image_decode(image, data, size, path, options, err);
    free(data);
    return ok;
}
