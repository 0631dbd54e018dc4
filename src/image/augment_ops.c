/* Mirroring, and the resized crop of torchvision. */
#include "image/augment_ops.h"

#include "image/image.h"

void dn_image_flip(struct dino_image *image)
{
    uint8_t *row = image->pixels;

    for (int y = 0; y < image->height; y++, row += 3 * (size_t)image->width) {
        uint8_t *left = row, *right = row + 3 * (size_t)(image->width - 1);
        for (; left < right; left += 3, right -= 3)
            for (int c = 0; c < 3; c++) {
                uint8_t value = left[c];
                left[c] = right[c];
                right[c] = value;
            }
    }
}

bool dn_image_resized_crop(const struct dino_image *from, struct dino_image *to, int left,
                           int top, int width, int height, int size, struct dino_error *err)
{
    struct dino_image part = {0};

    if (left < 0 || top < 0 || width < 1 || height < 1 || left > from->width - width ||
        top > from->height - height)
        return dn_fail(err, DINO_EARG, "a crop of %dx%d at %d,%d of a picture of %dx%d", width,
                       height, left, top, from->width, from->height);
    if (!dn_image_crop(from, &part, left, top, width, height, err))
        return false;
    bool ok = dn_image_resize(&part, to, size, size, DINO_BICUBIC, err);
    dino_image_release(&part);
    return ok;
}
