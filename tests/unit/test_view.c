/* Views: which size, which offset, which filter; and nothing copied without need. */
#include "testing.h"

#include <string.h>

#include "image/image.h"
#include "task/view.h"

/* Red is x, green is y, modulo 256; blue is 9, so that padding (0) can be told. */
static struct dino_image drawn(int width, int height)
{
    struct dino_image image = {0};
    struct dino_error err = {0};

    CHECK_OK(dino_image_alloc(&image, width, height, &err), err);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            memcpy(image.pixels + (y * width + x) * 3, (uint8_t[]){(uint8_t)x, (uint8_t)y, 9},
                   3);
    return image;
}

static struct dino_view named(const char *name, int size)
{
    struct dino_view view = {0};
    struct dino_error err = {0};
    CHECK_OK(dino_view_named(&view, name, size, NULL, &err), err);
    return view;
}

/* Apply the view; the size must be this. */
static struct dino_image seen(const struct dino_view *view, int width, int height,
                              int want_width, int want_height)
{
    struct dino_image from = drawn(width, height), to = {0};
    struct dino_error err = {0};

    CHECK_OK(dino_view_apply(view, &from, &to, &err), err);
    assert_int_equal(to.width, want_width);
    assert_int_equal(to.height, want_height);
    dino_image_release(&from);
    return to;
}

/* Which pixel of the drawn picture is at (x, y)? */
static void check_at(const struct dino_image *image, int x, int y, int red, int green)
{
    const uint8_t *p = image->pixels + (y * image->width + x) * 3;
    assert_int_equal(p[0], red);
    assert_int_equal(p[1], green);
    assert_int_equal(p[2], 9);
}

static void check_black(const struct dino_image *image, int x, int y)
{
    const uint8_t *p = image->pixels + (y * image->width + x) * 3;
    CHECK(p[0] == 0 && p[1] == 0 && p[2] == 0);
}

TEST(the_named_views_have_the_official_sizes)
{
    struct dino_view view = named("classify", 0);
    CHECK(view.resize == 256 && view.crop_width == 224 && view.crop_height == 224);
    CHECK(view.rounding == DINO_ROUND_HALF_EVEN && view.filter == DINO_BICUBIC);
    CHECK(view.patch == 14 && view.mean[0] == 0.485F && view.std[2] == 0.225F);
    assert_string_equal(view.name, "classify");

    view = named("classify", 518);
    CHECK(view.resize == 592 && view.crop_width == 518 && view.crop_height == 518);
    view = named("pca", 0);
    CHECK(view.resize == 560 && view.crop_width == 560);
    view = named("pca", 224);
    CHECK(view.resize == 224 && view.crop_width == 224);
    view = named("hf", 0);
    CHECK(view.resize == 256 && view.crop_width == 224 && view.rounding == DINO_ROUND_FLOOR);
    view = named("native", 0);
    CHECK(view.resize == 0 && view.crop_width == 0 && view.fit == DINO_FIT_CROP);
    view = named("native", 448);
    CHECK(view.resize == 448 && view.crop_width == 0);
}

TEST(an_unknown_view_and_a_mad_size_are_refused)
{
    struct dino_view view = {.patch = 99};
    struct dino_error err = {0};

    CHECK(!dino_view_named(&view, "sideways", 0, NULL, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "\"sideways\", wanted classify, pca"));
    CHECK(!dino_view_named(&view, "pca", -1, NULL, &err));
    CHECK(!dino_view_named(&view, "pca", 2000000, NULL, &err));
    assert_int_equal(view.patch, 99); /* untouched */
}

/* Crops of the picture itself, so that offsets can be read off its colours. */
static struct dino_view crop_only(int width, int height, enum dino_rounding rounding)
{
    return (struct dino_view){.crop_width = width, .crop_height = height, .rounding = rounding};
}

TEST(odd_offsets_round_to_even_as_torchvision_and_down_as_hugging_face)
{
    static const int sizes[][3] = {
        /* size, half to even, down, for a crop of 10 */
        {10, 0, 0}, {11, 0, 0}, {12, 1, 1}, {13, 2, 1}, {15, 2, 2}, {17, 4, 3}, {19, 4, 4},
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int mode = 0; mode < 2; mode++) {
            struct dino_view view = crop_only(10, 10, (enum dino_rounding)mode);
            struct dino_image to = seen(&view, sizes[i][0], 14, 10, 10);
            check_at(&to, 0, 0, sizes[i][1 + mode], 2);
            dino_image_release(&to);
        }
}

TEST(a_picture_smaller_than_the_crop_is_padded_with_black)
{
    struct dino_view view = crop_only(10, 10, DINO_ROUND_HALF_EVEN);
    struct dino_image to = seen(&view, 7, 20, 10, 10);

    check_black(&to, 0, 4);
    check_at(&to, 1, 0, 0, 5); /* floor(3 / 2) before, the rest behind */
    check_at(&to, 7, 9, 6, 14);
    check_black(&to, 8, 0);
    check_black(&to, 9, 9);
    dino_image_release(&to);

    view.rounding = DINO_ROUND_FLOOR; /* Hugging Face puts the larger half before */
    to = seen(&view, 7, 20, 10, 10);
    check_black(&to, 1, 0);
    check_at(&to, 2, 0, 0, 5);
    check_black(&to, 9, 0);
    dino_image_release(&to);
}

TEST(a_resized_picture_smaller_than_the_crop_is_padded_too)
{
    struct dino_view view = {.resize = 20, .crop_width = 30, .crop_height = 30};
    struct dino_image to = seen(&view, 40, 80, 30, 30); /* 20 x 40 in between */

    check_black(&to, 4, 15);
    CHECK(to.pixels[(15 * 30 + 5) * 3 + 2] == 9);
    CHECK(to.pixels[(15 * 30 + 24) * 3 + 2] == 9);
    check_black(&to, 25, 15);
    dino_image_release(&to);
}

TEST(the_short_side_is_exact_and_the_long_one_truncated)
{
    static const int sizes[][4] = {
        {500, 375, 341, 256}, {375, 500, 256, 341}, {500, 373, 343, 256}, {243, 240, 259, 256},
        {256, 300, 256, 300}, {1, 3, 256, 768},     {300, 299, 256, 256},
    };
    struct dino_view view = {.resize = 256};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct dino_image to = seen(&view, sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
        dino_image_release(&to);
    }
}

TEST(native_cuts_to_whole_patches_around_the_middle)
{
    struct dino_view view = named("native", 0);
    struct dino_image to = seen(&view, 100, 43, 98, 42);

    check_at(&to, 0, 0, 1, 0);
    check_at(&to, 97, 41, 98, 41);
    dino_image_release(&to);
}

TEST(native_pads_what_is_smaller_than_a_patch)
{
    struct dino_view view = named("native", 0);
    struct dino_image to = seen(&view, 5, 28, 14, 28);

    check_black(&to, 3, 0);
    check_at(&to, 4, 0, 0, 0);
    check_at(&to, 8, 27, 4, 27);
    check_black(&to, 9, 0);
    dino_image_release(&to);
}

TEST(padding_to_whole_patches_keeps_every_pixel)
{
    struct dino_view view = named("native", 0);
    view.fit = DINO_FIT_PAD;
    struct dino_image to = seen(&view, 75, 56, 84, 56); /* as depth's centre padding */

    check_black(&to, 3, 0);
    check_at(&to, 4, 0, 0, 0);
    check_at(&to, 78, 55, 74, 55);
    check_black(&to, 79, 0);
    dino_image_release(&to);
}

TEST(a_crop_that_is_no_multiple_of_the_patch_is_mended_too)
{
    struct dino_view view = named("classify", 100);
    struct dino_image to = seen(&view, 300, 200, 98, 98);

    dino_image_release(&to);
    view.patch = 0;
    to = seen(&view, 300, 200, 100, 100);
    dino_image_release(&to);
}

TEST(an_exact_size_ignores_the_aspect)
{
    struct dino_view view = {.resize_width = 30, .resize_height = 20};
    struct dino_image to = seen(&view, 100, 300, 30, 20);
    dino_image_release(&to);
}

TEST(a_view_that_changes_nothing_hands_the_pixels_on)
{
    struct dino_view view = named("native", 0);
    struct dino_image from = drawn(28, 14), to = {0};
    struct dino_error err = {0};
    const uint8_t *pixels = from.pixels;

    CHECK_OK(dn_view_take(&view, &from, &to, &err), err);
    CHECK(to.pixels == pixels && from.pixels == NULL);
    dino_image_release(&to);

    from = drawn(29, 14);
    CHECK_OK(dn_view_take(&view, &from, &to, &err), err);
    CHECK(to.width == 28 && from.pixels == NULL);
    dino_image_release(&to);
}

TEST(a_view_may_read_and_write_the_same_image)
{
    struct dino_view view = {.crop_width = 4, .crop_height = 4};
    struct dino_image image = drawn(6, 6), before = image;
    struct dino_error err = {0};

    CHECK_OK(dino_view_apply(&view, &image, &image, &err), err);
    check_at(&image, 0, 0, 1, 1);
    dino_image_release(&image);
    dino_image_release(&before);
}

TEST(a_preprocessor_becomes_a_view)
{
    struct hf_preprocessor p = {.resize = true,
                                .center_crop = true,
                                .rescale = true,
                                .normalize = true,
                                .shortest_edge = 288,
                                .crop_height = 252,
                                .crop_width = 266,
                                .resample = 2,
                                .rescale_factor = 1 / 255.0,
                                .mean = {0.5F, 0.4F, 0.3F},
                                .std = {0.25F, 0.5F, 0.125F}};
    struct dino_view view = named("hf", 0);
    struct dino_error err = {0};

    CHECK_OK(dn_view_from_preprocessor(&view, &p, 0, &err), err);
    CHECK(view.resize == 288 && view.crop_width == 266 && view.crop_height == 252);
    CHECK(view.filter == DINO_BILINEAR && view.rounding == DINO_ROUND_FLOOR);
    CHECK(view.mean[1] == 0.4F && view.std[2] == 0.125F && view.patch == 0);
    CHECK_OK(dn_view_from_preprocessor(&view, &p, 504, &err), err);
    CHECK(view.resize == 576 && view.crop_width == 504 && view.crop_height == 504);

    p.rescale_factor = 2 / 255.0; /* (2 v - mean) / std */
    CHECK_OK(dn_view_from_preprocessor(&view, &p, 0, &err), err);
    CHECK(view.mean[0] == 0.25F && view.std[0] == 0.125F);
    p.rescale = p.normalize = false; /* the bytes as they are: v / 255 / (1 / 255) */
    CHECK_OK(dn_view_from_preprocessor(&view, &p, 0, &err), err);
    CHECK(view.mean[0] == 0 && view.std[0] == (float)(1 / 255.0));

    p.shortest_edge = 0;
    p.size_width = 336;
    p.size_height = 224;
    p.center_crop = false;
    CHECK_OK(dn_view_from_preprocessor(&view, &p, 0, &err), err);
    CHECK(view.resize == 0 && view.resize_width == 336 && view.resize_height == 224);
    CHECK(view.crop_width == 0);
}

TEST(a_preprocessor_that_cannot_be_followed_is_refused)
{
    struct hf_preprocessor p = {.resize = true,
                                .shortest_edge = 256,
                                .resample = 1,
                                .normalize = true,
                                .rescale = true,
                                .rescale_factor = 1 / 255.0,
                                .std = {1, 1, 0}};
    struct dino_view view = named("hf", 0);
    struct dino_error err = {0};

    CHECK(!dn_view_from_preprocessor(&view, &p, 0, &err));
    CHECK(err.code == DINO_EUNSUPPORTED && strstr(err.message, "resample 1"));
    p.resample = 3;
    CHECK(!dn_view_from_preprocessor(&view, &p, 0, &err));
    CHECK(err.code == DINO_EFORMAT && strstr(err.message, "std 0 of channel 2"));
    p.rescale_factor = 0;
    CHECK(!dn_view_from_preprocessor(&view, &p, 0, &err));
    CHECK(err.code == DINO_EFORMAT && strstr(err.message, "rescale_factor 0"));
    CHECK(view.resize == 256 && view.crop_width == 224); /* untouched */
}

TEST(a_picture_without_pixels_and_a_view_too_large_are_refused)
{
    struct dino_view view = {.resize = 1000};
    struct dino_image none = {0}, strip = {0}, to = {0};
    struct dino_error err = {0};

    CHECK(!dino_view_apply(&view, &none, &to, &err));
    CHECK(err.code == DINO_EARG && to.pixels == NULL);
    strip = drawn(60000, 1);
    CHECK(!dino_view_apply(&view, &strip, &to, &err));
    CHECK(strstr(err.message, "60000000x1000 pixels, wanted at most"));
    view.resize = 4; /* few pixels, but longer than any model takes */
    CHECK(!dino_view_apply(&view, &strip, &to, &err));
    CHECK(err.code == DINO_EUNSUPPORTED && to.pixels == NULL);
    CHECK(strstr(err.message, "60000 x 1 pixels make a view of 240000 x 4, wanted at most"));
    view.resize = 2;
    CHECK_OK(dino_view_apply(&view, &strip, &to, &err), err);
    dino_image_release(&to);
    dino_image_release(&strip);
}
