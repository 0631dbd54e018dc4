/* Plain pixel work: allocating, cropping, turning, laying over white. */
#include "image/image.h"

#include <string.h>

#include "base/alloc.h"

bool dino_image_alloc(struct dino_image *image, int width, int height, struct dino_error *err)
{
    size_t bytes;

    if (width <= 0 || height <= 0)
        return dn_fail(err, DINO_EARG, "a picture of %dx%d pixels, wanted at least 1x1", width,
                       height);
    if (!dn_size_mul((size_t)width, (size_t)height, &bytes) || !dn_size_mul(bytes, 3, &bytes))
        return dn_fail_memory(err, SIZE_MAX, "a picture");
    uint8_t *pixels = dn_calloc(bytes, 1, "a picture", err);
    if (!pixels)
        return false;
    *image = (struct dino_image){.width = width, .height = height, .pixels = pixels};
    return true;
}

void dino_image_release(struct dino_image *image)
{
    if (!image)
        return;
    free(image->pixels);
    *image = (struct dino_image){0};
}

bool dn_image_crop(const struct dino_image *from, struct dino_image *to, int64_t left,
                   int64_t top, int width, int height, struct dino_error *err)
{
    struct dino_image out;

    if (!dino_image_alloc(&out, width, height, err))
        return false;
    /* The part of the box that lies inside the picture, in the picture's coordinates. */
    int64_t x0 = left > 0 ? left : 0, y0 = top > 0 ? top : 0;
    int64_t x1 = left + width < from->width ? left + width : from->width;
    int64_t y1 = top + height < from->height ? top + height : from->height;
    for (int64_t y = y0; y < y1 && x0 < x1; y++)
        memcpy(out.pixels + ((y - top) * width + (x0 - left)) * 3,
               from->pixels + (y * from->width + x0) * 3, (size_t)(x1 - x0) * 3);
    *to = out;
    return true;
}

/*
 * EXIF orientation says where the stored first row and column belong. The turned picture's
 * pixel (x, y) is stored at start + x * step_x + y * step_y, counted in pixels.
 */
bool dn_image_orient(struct dino_image *image, int orientation, struct dino_error *err)
{
    ptrdiff_t width = image->width, height = image->height;
    ptrdiff_t right = width - 1, below = (height - 1) * width;
    const struct {
        ptrdiff_t start, step_x, step_y;
    } walk[9] = {
        [2] = {right, -1, width},          /* mirrored left to right */
        [3] = {below + right, -1, -width}, /* upside down */
        [4] = {below, 1, -width},          /* mirrored top to bottom */
        [5] = {0, width, 1},               /* transposed */
        [6] = {below, -width, 1},          /* needs a quarter turn clockwise */
        [7] = {below + right, -width, -1}, /* transposed across the other diagonal */
        [8] = {right, width, -1},          /* needs a quarter turn anticlockwise */
    };
    struct dino_image out;

    if (orientation < 2 || orientation > 8)
        return true;
    bool swap = orientation >= 5;
    if (!dino_image_alloc(&out, swap ? image->height : image->width,
                          swap ? image->width : image->height, err))
        return false;
    uint8_t *to = out.pixels;
    for (ptrdiff_t y = 0; y < out.height; y++) {
        ptrdiff_t at = walk[orientation].start + y * walk[orientation].step_y;
        for (int x = 0; x < out.width; x++, to += 3, at += walk[orientation].step_x)
            memcpy(to, image->pixels + at * 3, 3);
    }
    dino_image_release(image);
    *image = out;
    return true;
}

/* As Pillow's alpha_composite over an opaque white picture: seven extra bits, rounded. */
static uint8_t blend_white(unsigned value, unsigned alpha)
{
    enum { EXTRA = 7 };
    unsigned sum = (value * alpha + 255 * (255 - alpha) + 128) << EXTRA;

    return (uint8_t)(((sum >> 8) + sum) >> 8 >> EXTRA);
}

void dn_image_over_white(uint8_t *rgb, const uint8_t *rgba, size_t count)
{
    for (size_t i = 0; i < count; i++, rgb += 3, rgba += 4) {
        for (int c = 0; c < 3; c++)
            rgb[c] = blend_white(rgba[c], rgba[3]);
    }
}
