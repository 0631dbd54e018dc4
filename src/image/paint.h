/* Lines and letters on pictures, smooth at their edges: what is covered is gathered first and
 * coloured once, so that strokes which meet do not show where. */
#ifndef IMAGE_PAINT_H
#define IMAGE_PAINT_H

#include "image/image.h"

struct point {
    double x, y; /* pixels; the centre of the first one lies at 0.5, 0.5 */
};

struct paint {
    struct dino_image image;
    uint8_t *mask;                /* [height, width] 255: covered */
    int left, top, right, bottom; /* of what is covered, right and bottom excluded */
};

/* A picture of one colour. */
bool dn_paint_init(struct paint *paint, int width, int height, const uint8_t rgb[3],
                   struct dino_error *err);
void dn_paint_release(struct paint *paint);

/* Cover a line through the points, round at joints and ends; a single point is a dot. */
void dn_paint_cover(struct paint *paint, const struct point *points, int count,
                    double thickness);
/* Cover what lies between two lines with the same ascending x. */
void dn_paint_cover_band(struct paint *paint, const struct point *low, const struct point *high,
                         int count);
/* Cover a line of text from its left end and baseline on; `size` as of fonts, in pixels.
 * Characters outside ASCII show as a box. */
void dn_paint_cover_text(struct paint *paint, double x, double y, const char *text, double size,
                         double thickness);
/* The width of that line. */
double dn_paint_text_width(const char *text, double size);

/* Colour what is covered and uncover it. */
void dn_paint_fill(struct paint *paint, const uint8_t rgb[3], double opacity);

#endif
