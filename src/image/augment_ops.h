/* What augmentation does to the shape of a picture; its colours are in colour.h and blur.h. */
#ifndef IMAGE_AUGMENT_OPS_H
#define IMAGE_AUGMENT_OPS_H

#include "base/error.h"

/* Left becomes right, in place. */
void dn_image_flip(struct dino_image *image);

/* The box [left, left + width) x [top, top + height), which lies inside, cut out first and then
 * resized (bicubic) to size x size: pixels outside the box have no influence. */
bool dn_image_resized_crop(const struct dino_image *from, struct dino_image *to, int left,
                           int top, int width, int height, int size, struct dino_error *err);

#endif
