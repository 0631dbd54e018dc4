/* PCA pictures: colours of patches painted over the picture's size, and the contact sheet. */
#ifndef CLI_PCA_SHEET_H
#define CLI_PCA_SHEET_H

#include "dino.h"

/* rgb [rows, cols, 3] in 0..1 as a picture of that size: each patch a rectangle, or smooth
 * (bilinear between patch centres). */
bool dn_paint(struct dino_image *to, int width, int height, const float *rgb, int rows,
              int cols, bool smooth, struct dino_error *err);

/* The two side by side with a white gap; the heights are equal. */
bool dn_paint_pair(struct dino_image *to, const struct dino_image *left,
                   const struct dino_image *right, struct dino_error *err);

/* `count` pictures below each other on white. Each is released when it has been copied. */
bool dn_paint_sheet(struct dino_image *to, struct dino_image *pictures, int count,
                    struct dino_error *err);

#endif
