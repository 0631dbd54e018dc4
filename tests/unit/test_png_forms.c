/* Every form of PNG there is: colour, depth, interlacing and transparency, written here by
 * hand and compared with what the rules say. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "base/rng.h"
#include "image/image.h"

enum { WIDTH = 21, HEIGHT = 18, COLOURS = 200 };

struct form {
    int colour, depth, channels;
    bool interlaced, keyed; /* with a tRNS chunk */
};

struct file {
    uint8_t bytes[8192];
    size_t size;
};

/* Sample c of pixel (x, y): any bits; of a palette, an index that it has. */
static unsigned sample(const struct form *form, int x, int y, int c)
{
    uint64_t index = (uint64_t)((y * WIDTH + x) * form->channels + c);
    unsigned value = (unsigned)dn_random_u64(1, (uint64_t)form->depth, index);
    unsigned most = form->depth < 16 ? 1U << form->depth : 65536;

    if (form->depth == 16 && form->channels == 1 && x % 2)
        most = 256; /* some that Pillow does not clip */
    value %= form->colour == 3 && most > COLOURS ? COLOURS : most;
    if (c == form->channels - 1 && form->colour >= 4) /* alpha: all or nothing */
        value = value % 3 ? most - 1 : 0;
    return value;
}

static uint8_t palette(unsigned index, int c)
{
    return (uint8_t)(index * 29 + (unsigned)c * 71 + 5);
}

static void put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void add_chunk(struct file *f, const char *name, const uint8_t *data, size_t size)
{
    uint8_t *p = f->bytes + f->size;

    put32(p, (uint32_t)size);
    memcpy(p + 4, name, 4);
    memcpy(p + 8, data, size);
    put32(p + 8 + size, (uint32_t)crc32(0, p + 4, (uInt)size + 4));
    f->size += size + 12;
}

/* One row of every dx-th pixel from x0 on, behind its filter byte. */
static size_t add_row(const struct form *form, uint8_t *to, int x0, int dx, int y)
{
    size_t bits = 8;

    to[0] = 0;
    for (int x = x0; x < WIDTH; x += dx)
        for (int c = 0; c < form->channels; c++)
            for (int b = form->depth - 1; b >= 0; b--, bits++) {
                if (bits % 8 == 0)
                    to[bits / 8] = 0;
                to[bits / 8] |= (uint8_t)((sample(form, x, y, c) >> b & 1) << (7 - bits % 8));
            }
    return (bits + 7) / 8;
}

static size_t all_rows(const struct form *form, uint8_t *to)
{
    static const int adam7[8][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                    {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}, {0, 0, 1, 1}};
    size_t size = 0;

    for (int pass = form->interlaced ? 0 : 7; pass < (form->interlaced ? 7 : 8); pass++)
        for (int y = adam7[pass][1]; y < HEIGHT; y += adam7[pass][3])
            size += add_row(form, to + size, adam7[pass][0], adam7[pass][2], y);
    return size;
}

static void write_png(const struct form *form, struct file *f)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uint8_t header[13] = {0}, extra[3 * COLOURS], rows[6000], packed[7000];
    uLongf packed_size = sizeof packed;

    memcpy(f->bytes, signature, 8);
    f->size = 8;
    put32(header, WIDTH);
    put32(header + 4, HEIGHT);
    header[8] = (uint8_t)form->depth;
    header[9] = (uint8_t)form->colour;
    header[12] = form->interlaced;
    add_chunk(f, "IHDR", header, 13);
    if (form->colour == 3) {
        size_t colours = form->depth == 8 ? COLOURS : (size_t)1 << form->depth;
        for (size_t i = 0; i < colours * 3; i++)
            extra[i] = palette((unsigned)(i / 3), (int)(i % 3));
        add_chunk(f, "PLTE", extra, colours * 3);
    }
    if (form->keyed && form->colour == 3) {
        add_chunk(f, "tRNS", (const uint8_t *)"\xff\0", 2); /* only index 1 is clear */
    } else if (form->keyed) {                               /* the colour of pixel (3, 2) is */
        for (int c = 0; c < form->channels; c++) {
            extra[2 * c] = (uint8_t)(sample(form, 3, 2, c) >> 8);
            extra[2 * c + 1] = (uint8_t)sample(form, 3, 2, c);
        }
        add_chunk(f, "tRNS", extra, 2 * (size_t)form->channels);
    }
    size_t size = all_rows(form, rows);
    CHECK(compress(packed, &packed_size, rows, size) == Z_OK);
    add_chunk(f, "IDAT", packed, packed_size);
    add_chunk(f, "IEND", packed, 0);
}

static bool is_clear(const struct form *form, int x, int y)
{
    if (form->colour >= 4)
        return sample(form, x, y, form->channels - 1) == 0;
    if (form->colour == 3)
        return form->keyed && sample(form, x, y, 0) == 1;
    bool same = form->keyed;
    for (int c = 0; c < form->channels; c++)
        same = same && sample(form, x, y, c) == sample(form, 3, 2, c);
    return same;
}

/* What Pillow's convert("RGB") gives for channel c. */
static unsigned expected(const struct form *form, int x, int y, int c)
{
    bool gray = form->colour == 0 || form->colour == 4;
    unsigned value = sample(form, x, y, gray || form->colour == 3 ? 0 : c);

    if (form->colour == 3)
        return palette(value, c);
    if (form->colour == 0 && form->depth == 16)
        return value > 255 ? 255 : value;
    if (form->depth == 16)
        return value >> 8;
    return value * 255 / ((1U << form->depth) - 1);
}

static void check_form(const struct form *form)
{
    struct file file;

    write_png(form, &file);
    for (int white = 0; white < 2; white++) {
        struct dino_image image = {0};
        struct dino_error err = {0};
        struct dino_decode_options options = {.white = white};

        CHECK_OK(dino_image_decode(&image, file.bytes, file.size, "form", &options, &err), err);
        CHECK(image.width == WIDTH && image.height == HEIGHT);
        for (int i = 0; i < WIDTH * HEIGHT * 3; i++) {
            int x = i / 3 % WIDTH, y = i / 3 / WIDTH;
            unsigned want = white && is_clear(form, x, y) ? 255 : expected(form, x, y, i % 3);
            if (image.pixels[i] != want)
                fail_msg("colour %d depth %d%s%s%s: (%d, %d) is %d, wanted %u", form->colour,
                         form->depth, form->interlaced ? " interlaced" : "",
                         form->keyed ? " keyed" : "", white ? " over white" : "", x, y,
                         image.pixels[i], want);
        }
        dino_image_release(&image);
    }
}

TEST(every_form_of_png_is_read_by_the_rules)
{
    static const int channels[7] = {1, 0, 3, 1, 2, 0, 4};
    int forms = 0;

    for (int colour = 0; colour < 7; colour++)
        for (int depth = 1; channels[colour] && depth <= 16; depth *= 2) {
            bool exists = colour == 0 || (colour == 3 && depth <= 8) || depth >= 8;
            if (!exists || (colour == 3 && depth == 16))
                continue;
            for (int way = 0; way < 4; way++) {
                struct form form = {colour, depth, channels[colour], way & 1, way & 2};
                if (form.keyed && colour >= 4)
                    continue;
                check_form(&form);
                forms++;
            }
        }
    assert_int_equal(forms, 52);
}
