/* Pictures that tools/make_pictures.py drew, in every form that Pillow was asked about, and
 * files that are no pictures, or are broken ones. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/sha256.h"
#include "image/image.h"

static const struct {
    const char *file;
    struct dino_decode_options options;
    const char *hash; /* of what Pillow 13 makes of it */
} drawn[] = {
    {"gen_cmyk.jpg", {0}, "32d229afdd45c74a29a514ae4b460dcc107f67a173cd926ef1b65ea5cf0695d5"},
    {"gen_exif.jpg", {0}, "292301f7dc8dbe68b9ddeace3f1b3816b83f338b828e52dd0a25b2371b349dbc"},
    {"gen_exif.jpg",
     {.exif = true},
     "766cc56c3702178b956947cb847e42ad104a87c96ed93936c6df11118da498da"},
    {"gen_gray1.png", {0}, "5161860db374072932a12ec499a242cbc0c3870a73c151a5100ef469371f44b8"},
    {"gen_gray16.png", {0}, "2d3984db3a063ead4a14b4a246ce189b5400b0e3f71f03a2cc7129b444045193"},
    {"gen_gray16.png",
     {.gray16_high = true},
     "8bbb2ed936cbf1c4f817e2ce131143d74b6df5e5ab2cad0698a6e404e816cea1"},
    {"gen_gray8.png", {0}, "e6e58f8758f67aa8d083318f32cd9e33205609b96c31dd7e219d053a57214917"},
    {"gen_interlaced.png",
     {0},
     "38c5f790afd35885b89606d29d5139ab6e4c764cc8bc57f706b9545428552481"},
    {"gen_la.png", {0}, "e6e58f8758f67aa8d083318f32cd9e33205609b96c31dd7e219d053a57214917"},
    {"gen_la.png",
     {.white = true},
     "5b65eb48a9362b5038f8ee1a93b51873fa92df1279c90d48b62fc64ee23dc78f"},
    {"gen_lossy.webp", {0}, "8938b3f06167fb9d5749e1a84ec0b36781bb9902583acc947450b88f45aa28c1"},
    {"gen_palette.png",
     {0},
     "baf57a4ab1276c1e90ca6bef240f8c30f808e861ffd60efb8b54c79a6f4bad9f"},
    {"gen_palette.png",
     {.white = true},
     "527c6b321ccff44a001c376c20cbe1556ad0ccb3c4de7a82f51a2ff8d9049b5c"},
    {"gen_palette4.png",
     {0},
     "52f4b6247d81e2b6c99dffc3e2435b6bb10e06db78a0ffbcd4277a47593a9ee2"},
    {"gen_progressive.jpg",
     {0},
     "48d1290251fb6997d19e91c0fb64a49713c2cd503b00389edf29437b3893a0a5"},
    {"gen_restart.jpg",
     {0},
     "152e4537bac568cb125bf67e03374d50098b6fcc28343bdcd9d5c09c2599c045"},
    {"gen_rgb16.png", {0}, "38c5f790afd35885b89606d29d5139ab6e4c764cc8bc57f706b9545428552481"},
    {"gen_rgba.png", {0}, "38c5f790afd35885b89606d29d5139ab6e4c764cc8bc57f706b9545428552481"},
    {"gen_rgba.png",
     {.white = true},
     "49d3c37bae8e91de6a639ff61860ac92457b95daaf325d527c5e7df556ddaeec"},
};

enum { DRAWN = sizeof drawn / sizeof *drawn };

static const char *picture(const char *file)
{
    char name[128];
    snprintf(name, sizeof name, "pictures/%s", file);
    return testing_data(name);
}

/* Of the plain decoding. */
static const char *hash_of(const char *file)
{
    int i = 0;
    while (strcmp(drawn[i].file, file) != 0)
        i++;
    return drawn[i].hash;
}

TEST(drawn_pictures_are_what_pillow_makes_of_them)
{
    for (int i = 0; i < DRAWN; i++) {
        struct dino_image image = {0};
        struct dino_error err = {0};
        char found[65];

        CHECK_OK(dino_image_read(&image, picture(drawn[i].file), &drawn[i].options, &err), err);
        assert_int_equal(image.width, 121);
        assert_int_equal(image.height, 93);
        dn_sha256_of(image.pixels, 121 * 93 * 3, found);
        if (strcmp(found, drawn[i].hash) != 0)
            fail_msg("%s: %s, wanted %s", drawn[i].file, found, drawn[i].hash);
        dino_image_release(&image);
    }
}

TEST(a_picture_cut_off_anywhere_is_an_error_of_one_line_or_complete)
{
    for (int i = 0; i < DRAWN; i++) {
        uint8_t *data;
        size_t size, whole = 0;
        struct dino_error err = {0};
        CHECK_OK(dn_read_all(picture(drawn[i].file), 1 << 20, &data, &size, &err), err);
        for (size_t cut = 0; cut < size; cut += cut < 512 ? 32 : 256) {
            struct dino_image image = {0};
            uint8_t *copy = malloc(cut + 1); /* so that a sanitizer sees the end */
            memcpy(copy, data, cut);
            err = (struct dino_error){0};
            if (dino_image_decode(&image, copy, cut, "cut", &drawn[i].options, &err)) {
                whole = whole ? whole : cut;
            } else {
                CHECK(image.pixels == NULL);
                CHECK(err.code == DINO_EFORMAT);
                CHECK(strncmp(err.message, "cut: ", 5) == 0);
                CHECK(strchr(err.message, '\n') == NULL);
            }
            dino_image_release(&image);
            free(copy);
        }
        /* only what follows the pixels may be missing */
        CHECK(whole == 0 || whole + 300 > size);
        free(data);
    }
}

TEST(flipped_bytes_never_do_harm)
{
    for (int i = 0; i < DRAWN; i++) {
        uint8_t *data;
        size_t size;
        struct dino_error err = {0};
        struct dino_decode_options options = drawn[i].options;
        options.max_pixels = 1 << 20;
        CHECK_OK(dn_read_all(picture(drawn[i].file), 1 << 20, &data, &size, &err), err);
        for (size_t at = 0; at < size; at += 1 + size / 97) {
            struct dino_image image = {0};
            data[at] ^= 0x55;
            dino_image_decode(&image, data, size, "flipped", &options, &err);
            dino_image_release(&image);
            data[at] ^= 0x55;
        }
        free(data);
    }
}

static void refused(const void *bytes, size_t size, enum dino_code code, const char *words)
{
    struct dino_image image = {0};
    struct dino_error err = {0};

    CHECK(!dino_image_decode(&image, bytes, size, "x", NULL, &err));
    CHECK(image.pixels == NULL);
    if (err.code != code || !strstr(err.message, words))
        fail_msg("\"%s\" (code %d), wanted \"%s\" (code %d)", err.message, err.code, words,
                 code);
}

TEST(what_is_no_picture_is_named_by_what_it_begins_with)
{
    refused("", 0, DINO_EFORMAT, "x: is empty");
    refused("Hello, world.\n", 14, DINO_EFORMAT, "begins with \"Hello, w\"");
    refused("GIF89a....", 10, DINO_EFORMAT,
            "begins with \"GIF89a..\", wanted JPEG, PNG or WebP");
    refused("\x01\x02\x03", 3, DINO_EFORMAT, "begins with byte 0x01");
    refused("\xff\xd8\xff", 3, DINO_EFORMAT, "ends too early");
    refused("\x89PNG\r\n\x1a\n", 8, DINO_EFORMAT, "ends too early");
    refused("RIFF\x10\0\0\0WEBP", 12, DINO_EFORMAT, "ends too early");
}

TEST(a_missing_file_and_a_folder_are_named)
{
    struct dino_image image = {0};
    struct dino_error err = {0};

    CHECK(!dino_image_read(&image, "/nowhere/cat.jpg", NULL, &err));
    CHECK(err.code == DINO_EIO && strstr(err.message, "/nowhere/cat.jpg: No such file"));
    CHECK(!dino_image_read(&image, "/tmp", NULL, &err));
    CHECK(err.code == DINO_EIO && strstr(err.message, "/tmp: Is a directory"));
}

/* A JPEG header that claims a size, with a scan that holds nothing. */
static size_t jpeg_header(uint8_t bytes[64], unsigned width, unsigned height, uint8_t frame)
{
    static const uint8_t start[] = {0xff, 0xd8, 0xff, 0xc0, 0, 11,   8, 0,
                                    0,    0,    0,    1,    1, 0x11, 0};
    static const uint8_t scan[] = {0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x12, 0x34};

    memcpy(bytes, start, sizeof start);
    memcpy(bytes + sizeof start, scan, sizeof scan);
    bytes[3] = frame;
    bytes[7] = (uint8_t)(height >> 8);
    bytes[8] = (uint8_t)height;
    bytes[9] = (uint8_t)(width >> 8);
    bytes[10] = (uint8_t)width;
    return sizeof start + sizeof scan;
}

TEST(a_small_jpeg_that_claims_a_huge_size_is_refused_at_once)
{
    uint8_t bytes[64];

    refused(bytes, jpeg_header(bytes, 30000, 30000, 0xc0), DINO_EUNSUPPORTED,
            "x: 30000x30000 pixels, wanted at most 500000000");
    refused(bytes, jpeg_header(bytes, 30000, 9000, 0xc0), DINO_EFORMAT,
            "ends too early for 30000x9000 pixels");
    refused(bytes, jpeg_header(bytes, 20000, 20000, 0xc2), DINO_EFORMAT,
            "ends too early for 20000x20000 pixels");
    refused(bytes, jpeg_header(bytes, 0, 100, 0xc0), DINO_EFORMAT, "JPEG");
    refused(bytes, jpeg_header(bytes, 16, 16, 0xc3), DINO_EFORMAT, "JPEG: ");
}

static uint32_t crc32_of(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int b = 0; b < 8; b++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    }
    return ~crc;
}

static void put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Signature, header and the beginning of the pixels. */
static size_t png_header(uint8_t bytes[64], uint32_t width, uint32_t height, uint8_t depth,
                         uint8_t colour)
{
    static const uint8_t signature[16] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n',
                                          0,    0,   0,   13,  'I',  'H',  'D',  'R'};

    memset(bytes, 0, 64);
    memcpy(bytes, signature, sizeof signature);
    put32(bytes + 16, width);
    put32(bytes + 20, height);
    bytes[24] = depth;
    bytes[25] = colour;
    put32(bytes + 29, crc32_of(bytes + 12, 17));
    put32(bytes + 33, 8);
    memcpy(bytes + 37, "IDAT", 4);
    return 49;
}

TEST(a_small_png_that_claims_a_huge_size_is_refused_at_once)
{
    uint8_t bytes[64];

    refused(bytes, png_header(bytes, 30000, 30000, 8, 2), DINO_EUNSUPPORTED,
            "x: 30000x30000 pixels, wanted at most 500000000");
    refused(bytes, png_header(bytes, 30000, 10, 8, 2), DINO_EFORMAT,
            "ends too early for 30000x10 pixels");
    refused(bytes, png_header(bytes, 0x7fffffff, 0x7fffffff, 16, 6), DINO_EUNSUPPORTED,
            "x: 2147483647x2147483647 pixels");
    refused(bytes, png_header(bytes, 0, 5, 8, 2), DINO_EFORMAT, "PNG: ");
    refused(bytes, png_header(bytes, 5, 5, 3, 2), DINO_EFORMAT, "PNG: ");
}

TEST(max_pixels_is_obeyed_exactly)
{
    struct dino_image image = {0};
    struct dino_error err = {0};
    struct dino_decode_options options = {.max_pixels = 121 * 93};

    for (int i = 0; i < DRAWN; i++) {
        CHECK_OK(dino_image_read(&image, picture(drawn[i].file), &options, &err), err);
        dino_image_release(&image);
    }
    options.max_pixels--;
    for (int i = 0; i < DRAWN; i++) {
        CHECK(!dino_image_read(&image, picture(drawn[i].file), &options, &err));
        CHECK(err.code == DINO_EUNSUPPORTED && strstr(err.message, "121x93 pixels"));
    }
}

TEST(an_older_caller_sets_fewer_options)
{
    struct dino_image image = {0};
    struct dino_error err = {0};
    char found[65];
    struct dino_decode_options options = {
        .size = offsetof(struct dino_decode_options, white), .exif = true, .white = true};

    CHECK_OK(dino_image_read(&image, picture("gen_la.png"), &options, &err), err);
    dn_sha256_of(image.pixels, 121 * 93 * 3, found); /* white was not there yet */
    assert_string_equal(found, hash_of("gen_la.png"));
    dino_image_release(&image);
}
