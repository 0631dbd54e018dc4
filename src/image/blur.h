/* Gaussian blur as torchvision's GaussianBlur(9, sigma) on 8-bit RGB. */
#ifndef IMAGE_BLUR_H
#define IMAGE_BLUR_H

#include "base/error.h"

enum { BLUR_REACH = 4, BLUR_TAPS = 2 * BLUR_REACH + 1 };

/* exp(-x^2 / (2 sigma^2)) for x = -4..4, divided by its sum. */
void dn_blur_kernel(float kernel[BLUR_TAPS], double sigma);

/* In place; borders are mirrored without repeating the edge pixel, results rounded once.
 * torchvision sums all 81 products at once where this takes rows and columns in turn: a value
 * that lies on half within float rounding may differ by one. Fails only for want of memory. */
bool dn_blur(struct dino_image *image, double sigma, struct dino_error *err);

#endif
