/* Pixels: decode, encode, resample, crop. 8-bit RGB in and out, equal to Pillow bit for bit. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/error.h"
#include "base/span.h"

/* decode.c dispatches by content. All fill image on success only. */
bool dn_jpeg_decode(struct dino_image *image, struct span file, const char *name,
                    const struct dino_decode_options *options, struct dino_error *err);
bool dn_png_decode(struct dino_image *image, struct span file, const char *name,
                   const struct dino_decode_options *options, struct dino_error *err);
bool dn_webp_decode(struct dino_image *image, struct span file, const char *name,
                    const struct dino_decode_options *options, struct dino_error *err);

/* Does this look like a picture by content (magic bytes)? */
bool dn_image_is(struct span file);

/* Refuse sizes over the limit before anything is allocated. */
bool dn_image_check_size(int64_t width, int64_t height, const char *name,
                         const struct dino_decode_options *options, struct dino_error *err);

/* EXIF orientation 1..8 from a TIFF block ("II*\0..." or "MM\0*..."); 1 where absent or broken.
 */
int dn_exif_orientation(struct span tiff);
/* Turn in place to orientation 1. */
bool dn_image_orient(struct dino_image *image, int orientation, struct dino_error *err);

/* Pillow's fixed-point resize (reducing_gap None), both passes, pass order as Pillow 13. */
bool dn_image_resize(const struct dino_image *from, struct dino_image *to, int width,
                     int height, enum dino_filter filter, struct dino_error *err);

/* Copy the box [left, left + width) x [top, top + height); parts outside are black. */
bool dn_image_crop(const struct dino_image *from, struct dino_image *to, int left, int top,
                   int width, int height, struct dino_error *err);

#endif
