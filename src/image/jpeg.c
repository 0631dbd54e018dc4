/*
 * JPEG through libjpeg-turbo: accurate integer DCT and fancy upsampling, which is what Pillow
 * uses. The source manager suspends at the end of the bytes, as Pillow's does, so the same
 * truncated files are errors; libjpeg's warnings about damaged data are no errors there either.
 */
#include "image/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/alloc.h"

enum {
    ROWS_AT_ONCE = 16,
    MOST_SCANS = 500,      /* ordinary progressive files have about ten */
    PIXELS_PER_BYTE = 512, /* 64 pixels of a block cost at least one bit */
};

struct jpeg_reader {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char message[JMSG_LENGTH_MAX];
    size_t file_size;
    uint8_t *ink; /* one row of CMYK */
    const char *name;
    const struct dino_decode_options *options;
    struct dino_error *err;
};

static void leave(j_common_ptr info)
{
    struct jpeg_reader *r = info->client_data;
    info->err->format_message(info, r->message);
    longjmp(r->escape, 1);
}

static void ignore(j_common_ptr info)
{
    (void)info;
}

static void ignore_level(j_common_ptr info, int level)
{
    (void)info;
    (void)level;
}

/* A crafted file can repeat scans that each cost a pass over the whole picture. */
static void count_scans(j_common_ptr info)
{
    struct jpeg_reader *r = info->client_data;
    if (r->info.input_scan_number > MOST_SCANS) {
        snprintf(r->message, sizeof r->message, "more than %d scans", MOST_SCANS);
        longjmp(r->escape, 1);
    }
}

static void begin_source(j_decompress_ptr info)
{
    (void)info;
}

static boolean suspend(j_decompress_ptr info)
{
    (void)info;
    return FALSE;
}

static void skip(j_decompress_ptr info, long count)
{
    struct jpeg_source_mgr *source = info->src;
    size_t step = count > 0 ? (size_t)count : 0;

    if (step > source->bytes_in_buffer)
        step = source->bytes_in_buffer; /* the next read then suspends */
    source->next_input_byte += step;
    source->bytes_in_buffer -= step;
}

/* Pillow takes every four-channel file as Adobe's, whose inks are stored inverted:
 * n = 255 - K; R = n - C n / 255, rounded. */
static void ink_to_rgb(uint8_t *rgb, const uint8_t *ink, size_t count)
{
    for (size_t i = 0; i < count; i++, rgb += 3, ink += 4) {
        unsigned n = ink[3];
        for (int c = 0; c < 3; c++) {
            unsigned t = (255U - ink[c]) * n + 128;
            rgb[c] = (uint8_t)(n - ((t + (t >> 8)) >> 8));
        }
    }
}

/* libjpeg's three-state answers: false means the bytes ran out. */
static bool truncated(struct jpeg_reader *r)
{
    if (r->info.output_scanline > 0)
        return dn_fail(r->err, DINO_EFORMAT, "%s: JPEG ends too early, after %u of %u rows",
                       r->name, r->info.output_scanline, r->info.output_height);
    return dn_fail(r->err, DINO_EFORMAT, "%s: JPEG of %zu bytes ends too early", r->name,
                   r->file_size);
}

static bool read_header(struct jpeg_reader *r)
{
    struct jpeg_decompress_struct *info = &r->info;

    if (jpeg_read_header(info, TRUE) == JPEG_SUSPENDED)
        return truncated(r);
    if (!dn_image_check_size(info->image_width, info->image_height, r->name, r->options,
                             r->err))
        return false;
    if (info->num_components != 1 && info->num_components != 3 && info->num_components != 4)
        return dn_fail(r->err, DINO_EUNSUPPORTED, "%s: JPEG of %d components, wanted 1, 3 or 4",
                       r->name, info->num_components);
    uint64_t pixels = (uint64_t)info->image_width * info->image_height;
    if (!info->arith_code && pixels / PIXELS_PER_BYTE > r->file_size)
        return dn_fail(r->err, DINO_EFORMAT,
                       "%s: JPEG of %zu bytes ends too early for %ux%u pixels", r->name,
                       r->file_size, info->image_width, info->image_height);
    info->out_color_space = info->num_components == 4 ? JCS_CMYK : JCS_RGB;
    info->dct_method = JDCT_ISLOW;
    info->do_fancy_upsampling = TRUE;
    return true;
}

static bool read_rows(struct jpeg_reader *r, struct dino_image *image)
{
    struct jpeg_decompress_struct *info = &r->info;
    size_t row = (size_t)info->output_width * 3;

    while (info->output_scanline < info->output_height) {
        JSAMPROW rows[ROWS_AT_ONCE];
        uint8_t *to = image->pixels + row * info->output_scanline;
        JDIMENSION left = info->output_height - info->output_scanline;
        JDIMENSION count = r->ink ? 1 : left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;

        for (JDIMENSION i = 0; i < count; i++)
            rows[i] = r->ink ? r->ink : to + row * i;
        if (jpeg_read_scanlines(info, rows, count) == 0)
            return truncated(r);
        if (r->ink)
            ink_to_rgb(to, r->ink, info->output_width);
    }
    return true;
}

static bool read_picture(struct jpeg_reader *r, struct dino_image *image)
{
    if (!read_header(r) ||
        !dino_image_alloc(image, (int)r->info.image_width, (int)r->info.image_height, r->err))
        return false;
    if (r->info.num_components == 4) {
        r->ink = dn_calloc(r->info.image_width, 4, "a row of CMYK", r->err);
        if (!r->ink)
            return false;
    }
    if (!jpeg_start_decompress(&r->info))
        return truncated(r);
    return read_rows(r, image);
}

static void set_up(struct jpeg_reader *r, struct span file)
{
    r->info.err = jpeg_std_error(&r->errors);
    r->info.client_data = r;
    r->errors.error_exit = leave;
    r->errors.output_message = ignore;
    r->errors.emit_message = ignore_level;
    r->source = (struct jpeg_source_mgr){
        .next_input_byte = file.data,
        .bytes_in_buffer = file.size,
        .init_source = begin_source,
        .fill_input_buffer = suspend,
        .skip_input_data = skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = begin_source,
    };
    r->progress.progress_monitor = count_scans;
    r->file_size = file.size;
}

/* Everything that libjpeg may jump out of; false with an empty message: err is filled. */
static bool guarded(struct jpeg_reader *r, struct dino_image *image)
{
    if (setjmp(r->escape) != 0)
        return false;
    jpeg_create_decompress(&r->info); /* keeps err and client_data */
    r->info.src = &r->source;
    r->info.progress = &r->progress;
    return read_picture(r, image);
}

bool dn_jpeg_decode(struct dino_image *image, struct span file, const char *name,
                    const struct dino_decode_options *options, struct dino_error *err)
{
    struct jpeg_reader r = {.name = name, .options = options, .err = err};
    struct dino_image out = {0};

    set_up(&r, file);
    bool ok = guarded(&r, &out);
    if (!ok && r.message[0])
        dn_fail(err, DINO_EFORMAT, "%s: JPEG: %s", name, r.message);
    jpeg_destroy_decompress(&r.info);
    free(r.ink);
    if (ok)
        *image = out;
    else
        dino_image_release(&out);
    return ok;
}
