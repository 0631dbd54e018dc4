/* WebP through libwebp: lossy and lossless; of an animation the first picture, as Pillow. */
#include "image/image.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "base/alloc.h"

static const char *status_text(VP8StatusCode status)
{
    switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return "ends too early";
    case VP8_STATUS_OUT_OF_MEMORY:
        return "no memory to decode it";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "uses a feature that libwebp does not know";
    default:
        return "is damaged";
    }
}

static bool fail_status(VP8StatusCode status, const char *name, struct dino_error *err)
{
    enum dino_code code = status == VP8_STATUS_OUT_OF_MEMORY ? DINO_ENOMEM : DINO_EFORMAT;
    return dn_fail(err, code, "%s: WebP %s", name, status_text(status));
}

/* The whole picture into pixels of 3 or 4 bytes. */
static bool decode_still(struct span file, uint8_t *pixels, int width, int height, int pixel,
                         const char *name, struct dino_error *err)
{
    WebPDecoderConfig config;

    if (!WebPInitDecoderConfig(&config))
        return dn_fail(err, DINO_EUNSUPPORTED, "%s: libwebp of another version", name);
    config.output.colorspace = pixel == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels;
    config.output.u.RGBA.stride = width * pixel;
    config.output.u.RGBA.size = (size_t)width * (size_t)height * (size_t)pixel;
    VP8StatusCode status = WebPDecode(file.data, file.size, &config);
    WebPFreeDecBuffer(&config.output);
    return status == VP8_STATUS_OK || fail_status(status, name, err);
}

/* The first picture of an animation as RGBA on its canvas. */
static bool decode_first(struct span file, uint8_t *rgba, size_t bytes, const char *name,
                         struct dino_error *err)
{
    WebPAnimDecoderOptions options;
    WebPData data = {file.data, file.size};
    uint8_t *canvas = NULL;
    int timestamp;

    if (!WebPAnimDecoderOptionsInit(&options))
        return dn_fail(err, DINO_EUNSUPPORTED, "%s: libwebpdemux of another version", name);
    options.color_mode = MODE_RGBA;
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &options);
    if (!decoder)
        return dn_fail(err, DINO_EFORMAT, "%s: WebP animation is damaged or ends too early",
                       name);
    bool ok = WebPAnimDecoderGetNext(decoder, &canvas, &timestamp);
    if (ok)
        memcpy(rgba, canvas, bytes);
    else
        dn_fail(err, DINO_EFORMAT, "%s: WebP animation: its first picture is damaged", name);
    WebPAnimDecoderDelete(decoder);
    return ok;
}

static void drop_alpha(uint8_t *rgb, const uint8_t *rgba, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memcpy(rgb + 3 * i, rgba + 4 * i, 3);
}

bool dn_webp_decode(struct dino_image *image, struct span file, const char *name,
                    const struct dino_decode_options *options, struct dino_error *err)
{
    WebPBitstreamFeatures is;
    struct dino_image out = {0};
    uint8_t *rgba = NULL;
    bool ok = false;

    VP8StatusCode status = WebPGetFeatures(file.data, file.size, &is);
    if (status != VP8_STATUS_OK)
        return fail_status(status, name, err);
    if (!dn_image_check_size(is.width, is.height, name, options, err) ||
        !dino_image_alloc(&out, is.width, is.height, err))
        return false;
    if (!is.has_animation && !(is.has_alpha && options->white)) {
        ok = decode_still(file, out.pixels, is.width, is.height, 3, name, err);
        goto done;
    }
    size_t count = (size_t)is.width * (size_t)is.height;
    rgba = dn_calloc(count, 4, "a picture with alpha", err);
    if (!rgba)
        goto done;
    ok = is.has_animation ? decode_first(file, rgba, count * 4, name, err)
                          : decode_still(file, rgba, is.width, is.height, 4, name, err);
    if (ok && options->white)
        dn_image_over_white(out.pixels, rgba, count);
    else if (ok)
        drop_alpha(out.pixels, rgba, count);
done:
    free(rgba);
    if (ok)
        *image = out;
    else
        dino_image_release(&out);
    return ok;
}
