/*
 * Colour operations on 8-bit RGB, in place, equal byte for byte to torchvision's on Pillow
 * images (adjust_brightness and its family, rgb_to_grayscale, solarize).
 */
#ifndef IMAGE_COLOUR_H
#define IMAGE_COLOUR_H

#include "base/error.h"

/* Factor 1 changes nothing, 0 gives black, the mean gray, or gray; more than 1 goes beyond. */
void dn_colour_brightness(struct dino_image *image, float factor);
void dn_colour_contrast(struct dino_image *image, float factor);
void dn_colour_saturation(struct dino_image *image, float factor);

/* Turns the hue by `turn` of the circle, -0.5 to 0.5, in steps of 1/255. Even a turn of 0 goes
 * through 8-bit HSV and back, and so loses a little. */
void dn_colour_hue(struct dino_image *image, double turn);

/* Luma in all three channels. */
void dn_colour_gray(struct dino_image *image);

/* Values of `threshold` and above become 255 - value. */
void dn_colour_solarize(struct dino_image *image, int threshold);

#endif
