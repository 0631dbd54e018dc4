/* Pixels: decode, encode, resample, crop. 8-bit RGB in and out, equal to Pillow bit for bit. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/error.h"
#include "base/span.h"

/* decode.c dispatches by content. All fill image on success only; none of them turns. */
bool dn_jpeg_decode(struct dino_image *image, struct span file, const char *name,
                    const struct dino_decode_options *options, struct dino_error *err);
bool dn_png_decode(struct dino_image *image, struct span file, const char *name,
                   const struct dino_decode_options *options, struct dino_error *err);
bool dn_webp_decode(struct dino_image *image, struct span file, const char *name,
                    const struct dino_decode_options *options, struct dino_error *err);

/* What a file looks like by its first bytes. */
enum image_kind { IMAGE_UNKNOWN = 0, IMAGE_JPEG, IMAGE_PNG, IMAGE_WEBP };
enum image_kind dn_image_kind(struct span file);

/* Does this look like a picture by content (magic bytes)? */
bool dn_image_is(struct span file);
/* Does this look like a picture by name: .jpg .jpeg .png .webp, any case? */
bool dn_image_named(const char *name);

/* Refuse sizes over the limit before anything is allocated. */
bool dn_image_check_size(int64_t width, int64_t height, const char *name,
                         const struct dino_decode_options *options, struct dino_error *err);

/* EXIF orientation 1..8 from a TIFF block ("II*\0..." or "MM\0*..."); 1 where absent or broken.
 */
int dn_exif_orientation(struct span tiff);
/* The same, of a whole JPEG, PNG or WebP file. */
int dn_image_orientation(struct span file);
/* Turn in place to orientation 1. */
bool dn_image_orient(struct dino_image *image, int orientation, struct dino_error *err);

/* rgb [count, 3] = rgba [count, 4] laid over white, in Pillow's fixed point. */
void dn_image_over_white(uint8_t *rgb, const uint8_t *rgba, size_t count);

/* Part of a resized picture: the box [left, left + width) x [top, top + height) of `from`
 * resized to full_width x full_height. The box lies inside. Only what it needs is computed,
 * and every pixel is what resizing everything would give. */
struct resize_box {
    int64_t full_width, full_height;
    int64_t left, top;
    int width, height;
    enum dino_filter filter;
};
bool dn_image_resize_box(const struct dino_image *from, struct dino_image *to,
                         const struct resize_box *box, struct dino_error *err);

/* Pillow's fixed-point resize (reducing_gap None), both passes, pass order as Pillow 13. */
bool dn_image_resize(const struct dino_image *from, struct dino_image *to, int width,
                     int height, enum dino_filter filter, struct dino_error *err);

/* Copy the box [left, left + width) x [top, top + height); parts outside are black. */
bool dn_image_crop(const struct dino_image *from, struct dino_image *to, int64_t left,
                   int64_t top, int width, int height, struct dino_error *err);

/* The index-th picture library and its version; false behind the last. */
bool dn_image_codec(int index, char key[64], char value[256]);

#endif
