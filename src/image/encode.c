/* PNG files, written beside their name and renamed. */
#include "image/image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>

#include <png.h>

#include "base/file.h"

struct png_writer {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    char message[120];
    struct output out;
    struct dino_error *err;
};

static void leave(png_structp png, png_const_charp message)
{
    struct png_writer *w = png_get_error_ptr(png);
    snprintf(w->message, sizeof w->message, "%s", message);
    longjmp(w->escape, 1);
}

static void ignore(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void put(png_structp png, png_bytep data, size_t size)
{
    struct png_writer *w = png_get_io_ptr(png);
    if (!dn_output_write(&w->out, data, size, w->err))
        longjmp(w->escape, 1);
}

static void flush(png_structp png)
{
    (void)png;
}

/* False with an empty message: err is filled. */
static bool guarded(struct png_writer *w, const struct dino_image *image)
{
    if (setjmp(w->escape) != 0)
        return false;
    png_set_write_fn(w->png, w, put, flush);
    png_set_user_limits(w->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(w->png, w->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    for (int y = 0; y < image->height; y++)
        png_write_row(w->png, image->pixels + (size_t)y * (size_t)image->width * 3);
    png_write_end(w->png, w->info);
    return true;
}

bool dino_image_write(const struct dino_image *image, const char *path, struct dino_error *err)
{
    struct png_writer w = {.err = err};
    bool ok = false;

    if (!image->pixels || image->width <= 0 || image->height <= 0)
        return dn_fail(err, DINO_EARG, "%s: a picture without pixels cannot be written", path);
    if (!dn_output_open(&w.out, path, err))
        return false;
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, leave, ignore);
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    if (w.info)
        ok = guarded(&w, image);
    else
        dn_fail_memory(err, sizeof w, "a PNG writer");
    if (!ok && w.message[0])
        dn_fail(err, DINO_EIO, "%s: PNG: %s", path, w.message);
    png_destroy_write_struct(&w.png, &w.info);
    if (ok)
        return dn_output_commit(&w.out, err);
    dn_output_release(&w.out);
    return false;
}
