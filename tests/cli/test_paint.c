/* The parts of pca and bench that compute something: painting, names, counting. */
#include <string.h>

#include "testing.h"

#include "../../cli/bench_flops.c"
#include "../../cli/pca_sheet.c"
#include "../../cli/unique_names.c"

static struct dino_error err;

/* Two rows and three columns of colours that can be told apart. */
static const float colours[18] = {0, 0, 0, 0.2F, 0, 0, 0.4F, 0, 0,
                                  0, 1, 0, 0.2F, 1, 0, 0.4F, 1, 2};

static const uint8_t *pixel(const struct dino_image *image, int x, int y)
{
    return image->pixels + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
}

TEST(each_patch_becomes_a_rectangle_of_its_colour)
{
    struct dino_image image = {0};

    CHECK_OK(dn_paint(&image, 12, 10, colours, 2, 3, false, &err), err);
    for (int y = 0; y < 10; y++)
        for (int x = 0; x < 12; x++) {
            const uint8_t *p = pixel(&image, x, y);
            CHECK(p[0] == 51 * (x / 4) && p[1] == (y < 5 ? 0 : 255));
            CHECK(p[2] == (y >= 5 && x >= 8 ? 255 : 0)); /* 2.0 is clamped */
        }
    dino_image_release(&image);
}

TEST(smooth_keeps_centres_and_blends_evenly_between_them)
{
    struct dino_image image = {0};

    CHECK_OK(dn_paint(&image, 15, 10, colours, 2, 3, true, &err), err);
    CHECK(pixel(&image, 2, 0)[0] == 0 && pixel(&image, 7, 0)[0] == 51);
    CHECK(pixel(&image, 12, 0)[0] == 102 && pixel(&image, 14, 9)[0] == 102);
    CHECK(pixel(&image, 0, 0)[1] == 0 && pixel(&image, 0, 9)[1] == 255);
    CHECK(pixel(&image, 4, 0)[0] == 20);  /* two fifths of the way */
    CHECK(pixel(&image, 0, 5)[1] == 153); /* three fifths */
    dino_image_release(&image);
}

TEST(a_single_patch_fills_the_picture_smoothly_too)
{
    static const float one[3] = {0.2F, 0.4F, 0.6F};
    struct dino_image image = {0};

    CHECK_OK(dn_paint(&image, 3, 3, one, 1, 1, true, &err), err);
    for (int i = 0; i < 9; i++)
        CHECK(memcmp(image.pixels + 3 * i, "\x33\x66\x99", 3) == 0);
    dino_image_release(&image);
}

static void fill(struct dino_image *image, int width, int height, uint8_t value)
{
    CHECK_OK(dino_image_alloc(image, width, height, &err), err);
    memset(image->pixels, value, (size_t)(3 * width * height));
}

TEST(a_sheet_puts_pairs_below_each_other_on_white)
{
    struct dino_image left = {0}, right = {0}, pairs[2] = {0}, sheet = {0};

    fill(&left, 4, 3, 1);
    fill(&right, 4, 3, 2);
    CHECK_OK(dn_paint_pair(&pairs[0], &left, &right, &err), err);
    CHECK(pairs[0].width == 16 && pairs[0].height == 3);
    fill(&pairs[1], 2, 5, 3);
    CHECK_OK(dn_paint_sheet(&sheet, pairs, 2, &err), err);
    CHECK(sheet.width == 16 && sheet.height == 16);
    CHECK(!pairs[0].pixels && !pairs[1].pixels);
    CHECK(*pixel(&sheet, 3, 2) == 1 && *pixel(&sheet, 4, 2) == 255);
    CHECK(*pixel(&sheet, 11, 0) == 255 && *pixel(&sheet, 12, 0) == 2);
    CHECK(*pixel(&sheet, 0, 10) == 255 && *pixel(&sheet, 1, 11) == 3);
    CHECK(*pixel(&sheet, 2, 11) == 255);
    dino_image_release(&left);
    dino_image_release(&right);
    dino_image_release(&sheet);
}

TEST(equal_stems_get_numbers_and_no_two_names_are_equal)
{
    struct unique_names names = {0};
    char name[32];

    assert_string_equal(dn_unique_name(&names, "a/cat.jpg", &err), "cat.png");
    assert_string_equal(dn_unique_name(&names, "b/cat.png", &err), "cat-2.png");
    assert_string_equal(dn_unique_name(&names, "cat-2.webp", &err), "cat-2-2.png");
    assert_string_equal(dn_unique_name(&names, "cat", &err), "cat-3.png");
    assert_string_equal(dn_unique_name(&names, ".jpg", &err), ".jpg.png");
    assert_string_equal(dn_unique_name(&names, "t.tar:k.e.y.jpg", &err), "t.tar:k.e.y.png");
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "%d.jpg", i);
        CHECK(dn_unique_name(&names, name, &err));
    }
    CHECK(names.count == 506);
    dn_unique_release(&names);
}

TEST(the_arithmetic_of_the_official_sizes_is_counted)
{
    struct dino_model_info small = {
        .dim = 384, .depth = 12, .heads = 6, .hidden = 1536, .patch = 14, .channels = 3};
    struct dino_model_info giant = {.dim = 1536,
                                    .depth = 40,
                                    .heads = 24,
                                    .hidden = 4096,
                                    .patch = 14,
                                    .channels = 3,
                                    .ffn = DINO_FFN_SWIGLU};

    /* 257 tokens: 2*256*384*588 + 12 * (24*257*384*384 + 4*257*257*384) */
    CHECK(dn_picture_flops(&small, 224, 224) == 12247123968.0);
    /* 2*256*1536*588 + 40 * (257*1536*(8*1536 + 6*4096) + 4*257*257*1536) */
    CHECK(dn_picture_flops(&giant, 224, 224) == 598780133376.0);
}
