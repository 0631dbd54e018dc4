/*
 * PNG through libpng, to RGB as Pillow makes it: palettes looked up, gray replicated, the high
 * byte of 16-bit colours, alpha dropped; 16-bit gray is the odd one, clipped at 255. Other
 * chunks (profiles, texts, gamma) change nothing and are not even unpacked.
 */
#include "image/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "base/alloc.h"

enum { MOST_DEFLATE = 1032 }; /* bytes out of one byte of deflate, at the very best */

struct png_reader {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    char message[120];
    struct span left; /* of the file */
    size_t file_size;
    uint8_t *wide; /* whole picture in the form that libpng gives, where that is not RGB */
    png_uint_32 width, height;
    const char *name;
    const struct dino_decode_options *options;
    struct dino_error *err;
};

static void leave(png_structp png, png_const_charp message)
{
    struct png_reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", message);
    longjmp(r->escape, 1);
}

static void ignore(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void take(png_structp png, png_bytep to, size_t size)
{
    struct png_reader *r = png_get_io_ptr(png);

    if (size > r->left.size)
        png_error(png, "ends too early");
    memcpy(to, r->left.data, size);
    r->left.data += size;
    r->left.size -= size;
}

/* Size, and whether the file is long enough for that many pixels at all. */
static bool read_header(struct png_reader *r)
{
    png_read_info(r->png, r->info);
    r->width = png_get_image_width(r->png, r->info);
    r->height = png_get_image_height(r->png, r->info);
    if (!dn_image_check_size(r->width, r->height, r->name, r->options, r->err))
        return false;
    size_t row = png_get_rowbytes(r->png, r->info);
    if (row / MOST_DEFLATE > r->file_size / r->height)
        return dn_fail(r->err, DINO_EFORMAT,
                       "%s: PNG of %zu bytes ends too early for %ux%u pixels", r->name,
                       r->file_size, r->width, r->height);
    return true;
}

/* All passes, row by row, into `to` with `row` bytes a row. */
static void read_rows(struct png_reader *r, uint8_t *to, size_t row, int passes)
{
    for (int pass = 0; pass < passes; pass++)
        for (png_uint_32 y = 0; y < r->height; y++)
            png_read_row(r->png, to + row * y, NULL);
    /* what follows the last row (checksums, comments) does not matter any more */
}

static bool read_wide(struct png_reader *r, size_t pixel, int passes)
{
    size_t bytes;

    if (!dn_size_mul((size_t)r->width * r->height, pixel, &bytes))
        return dn_fail_memory(r->err, SIZE_MAX, "a picture");
    r->wide = dn_calloc(bytes, 1, "a picture", r->err);
    if (!r->wide)
        return false;
    read_rows(r, r->wide, r->width * pixel, passes);
    return true;
}

/* 16-bit gray as Pillow's convert("RGB") reads it: whatever is above 255 is white. */
static bool read_gray16(struct png_reader *r, struct dino_image *image)
{
    png_color_16p key = NULL;
    int passes = png_set_interlace_handling(r->png);

    if (r->options->white && png_get_valid(r->png, r->info, PNG_INFO_tRNS))
        png_get_tRNS(r->png, r->info, NULL, NULL, &key);
    png_read_update_info(r->png, r->info);
    if (!read_wide(r, 2, passes))
        return false;
    size_t count = (size_t)r->width * r->height;
    for (size_t i = 0; i < count; i++) {
        unsigned value = (unsigned)r->wide[2 * i] << 8 | r->wide[2 * i + 1];
        bool clear = key && value == key->gray;
        memset(image->pixels + 3 * i, clear || value > 255 ? 255 : (int)value, 3);
    }
    return true;
}

static bool read_over_white(struct png_reader *r, struct dino_image *image)
{
    int passes = png_set_interlace_handling(r->png);

    png_set_tRNS_to_alpha(r->png);
    png_read_update_info(r->png, r->info);
    if (!read_wide(r, 4, passes))
        return false;
    dn_image_over_white(image->pixels, r->wide, (size_t)r->width * r->height);
    return true;
}

static bool read_picture(struct png_reader *r, struct dino_image *image)
{
    if (!read_header(r) || !dino_image_alloc(image, (int)r->width, (int)r->height, r->err))
        return false;
    int colour = png_get_color_type(r->png, r->info);
    int depth = png_get_bit_depth(r->png, r->info);
    bool alpha = colour & PNG_COLOR_MASK_ALPHA;
    bool keyed = png_get_valid(r->png, r->info, PNG_INFO_tRNS);

    if (colour == PNG_COLOR_TYPE_GRAY && depth == 16 && !r->options->gray16_high)
        return read_gray16(r, image);
    png_set_strip_16(r->png);
    if (colour == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(r->png);
    if (colour == PNG_COLOR_TYPE_GRAY && depth < 8)
        png_set_expand_gray_1_2_4_to_8(r->png);
    png_set_gray_to_rgb(r->png);
    if (r->options->white && (alpha || keyed))
        return read_over_white(r, image);
    png_set_strip_alpha(r->png);
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    read_rows(r, image->pixels, (size_t)r->width * 3, passes);
    return true;
}

/* Everything that libpng may jump out of; false with an empty message: err is filled. */
static bool guarded(struct png_reader *r, struct dino_image *image)
{
    if (setjmp(r->escape) != 0)
        return false;
    png_set_read_fn(r->png, r, take);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    return read_picture(r, image);
}

bool dn_png_decode(struct dino_image *image, struct span file, const char *name,
                   const struct dino_decode_options *options, struct dino_error *err)
{
    struct png_reader r = {
        .left = file, .file_size = file.size, .name = name, .options = options, .err = err};
    struct dino_image out = {0};
    bool ok = false;

    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, leave, ignore);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    if (r.info)
        ok = guarded(&r, &out);
    else
        dn_fail_memory(err, sizeof r, "a PNG reader");
    if (!ok && r.message[0])
        dn_fail(err, DINO_EFORMAT, "%s: PNG: %s", name, r.message);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    free(r.wide);
    if (ok)
        *image = out;
    else
        dino_image_release(&out);
    return ok;
}
