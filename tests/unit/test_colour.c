/* Colour operations against Pillow's own formulas, written as it writes them, pixel by pixel.
 */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "image/augment_ops.h"
#include "image/blur.h"
#include "image/colour.h"

/* Pillow's rgb2hsv. */
static void slow_hsv(const uint8_t *rgb, uint8_t *hsv)
{
    uint8_t r = rgb[0], g = rgb[1], b = rgb[2];
    uint8_t high = r > g ? r : g, low = r < g ? r : g;
    high = high > b ? high : b;
    low = low < b ? low : b;
    hsv[0] = hsv[1] = 0;
    hsv[2] = high;
    if (high == low)
        return;
    float range = (float)(high - low), s = range / (float)high;
    float rc = (float)(high - r) / range, gc = (float)(high - g) / range;
    float bc = (float)(high - b) / range, h;
    if (r == high)
        h = bc - gc;
    else if (g == high)
        h = (float)(2.0 + (double)rc - (double)bc);
    else
        h = (float)(4.0 + (double)gc - (double)rc);
    h = (float)fmod((double)h / 6.0 + 1.0, 1.0);
    hsv[0] = (uint8_t)((double)h * 255.0);
    hsv[1] = (uint8_t)((double)s * 255.0);
}

/* Pillow's hsv2rgb. */
static void slow_rgb(const uint8_t *hsv, uint8_t *rgb)
{
    double v = hsv[2];
    if (hsv[1] == 0) {
        memset(rgb, hsv[2], 3);
        return;
    }
    int i = (int)floor((double)(float)hsv[0] * 6.0 / 255.0);
    float f = (float)((double)(float)hsv[0] * 6.0 / 255.0 - (double)i);
    float fs = (float)((double)(float)hsv[1] / 255.0);
    uint8_t p = (uint8_t)round(v * (1.0 - (double)fs));
    uint8_t q = (uint8_t)round(v * (1.0 - (double)(fs * f)));
    uint8_t t = (uint8_t)round(v * (1.0 - (double)fs * (1.0 - (double)f)));
    const uint8_t sixths[6][3] = {{hsv[2], t, p}, {q, hsv[2], p}, {p, hsv[2], t},
                                  {p, q, hsv[2]}, {t, p, hsv[2]}, {hsv[2], p, q}};
    memcpy(rgb, sixths[i % 6], 3);
}

/* A picture of every 3rd colour would be large: planes of one channel, all of the others. */
TEST(hue_of_whole_planes_of_colours_equals_pillows)
{
    static const double turns[] = {0.1, -0.1, 0.5, -0.5, 0.0, 0.004, -0.037};
    struct dino_image image = {0};
    struct dino_error err = {0};

    CHECK_OK(dino_image_alloc(&image, 256, 256, &err), err);
    for (int plane = 0; plane < 256; plane += plane < 8 || plane > 247 ? 1 : 5) {
        double turn = turns[plane % 7];
        int fixed = plane % 3;
        uint8_t *p = image.pixels;
        for (int i = 0; i < 65536; i++, p += 3) {
            p[fixed] = (uint8_t)plane;
            p[(fixed + 1) % 3] = (uint8_t)(i & 255);
            p[(fixed + 2) % 3] = (uint8_t)(i >> 8);
        }
        dn_colour_hue(&image, turn);
        p = image.pixels;
        for (int i = 0; i < 65536; i++, p += 3) {
            uint8_t rgb[3], hsv[3];
            rgb[fixed] = (uint8_t)plane;
            rgb[(fixed + 1) % 3] = (uint8_t)(i & 255);
            rgb[(fixed + 2) % 3] = (uint8_t)(i >> 8);
            slow_hsv(rgb, hsv);
            uint8_t before[3] = {rgb[0], rgb[1], rgb[2]};
            hsv[0] = (uint8_t)(hsv[0] + (int)(turn * 255));
            slow_rgb(hsv, rgb);
            if (memcmp(rgb, p, 3) != 0)
                fail_msg("(%d, %d, %d) turned by %g is (%d, %d, %d), wanted (%d, %d, %d)",
                         before[0], before[1], before[2], turn, p[0], p[1], p[2], rgb[0],
                         rgb[1], rgb[2]);
        }
    }
    dino_image_release(&image);
}

static void fill_noise(struct dino_image *image, int width, int height, uint64_t seed)
{
    struct dino_error err = {0};

    CHECK_OK(dino_image_alloc(image, width, height, &err), err);
    for (size_t i = 0; i < (size_t)width * (size_t)height * 3; i++)
        image->pixels[i] = (uint8_t)dn_random_u64(seed, 0, i);
}

static int slow_luma(const uint8_t *p)
{
    return (19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 32768) >> 16;
}

static uint8_t slow_blend(int base, int value, float factor)
{
    float v = (float)base + factor * (float)(value - base);
    return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
}

/* Widths that fill no block of sixteen, and factors on both sides of 1. */
TEST(blending_equals_pillows_for_every_width)
{
    for (int width = 1; width < 40; width++) {
        struct dino_image image = {0};
        uint8_t *was = malloc((size_t)width * 9);
        float factor = 0.6F + 0.021F * (float)width;
        long sum = 0;

        fill_noise(&image, width, 3, (uint64_t)width);
        memcpy(was, image.pixels, (size_t)width * 9);
        dn_colour_saturation(&image, factor);
        for (int i = 0; i < width * 9; i++)
            CHECK(image.pixels[i] == slow_blend(slow_luma(was + i / 3 * 3), was[i], factor));

        memcpy(image.pixels, was, (size_t)width * 9);
        dn_colour_contrast(&image, factor);
        for (int i = 0; i < width * 3; i++)
            sum += slow_luma(was + i * 3);
        int mean = (int)((double)sum / (width * 3) + 0.5);
        for (int i = 0; i < width * 9; i++)
            CHECK(image.pixels[i] == slow_blend(mean, was[i], factor));

        memcpy(image.pixels, was, (size_t)width * 9);
        dn_colour_brightness(&image, factor);
        for (int i = 0; i < width * 9; i++)
            CHECK(image.pixels[i] == slow_blend(0, was[i], factor));
        free(was);
        dino_image_release(&image);
    }
}

TEST(gray_of_every_corner_of_the_cube_is_its_luma)
{
    struct dino_image image = {0};

    fill_noise(&image, 77, 31, 5);
    struct dino_image gray = {0};
    fill_noise(&gray, 77, 31, 5);
    memset(image.pixels, 255, 3);
    memset(gray.pixels, 255, 3);
    dn_colour_gray(&gray);
    for (int i = 0; i < 77 * 31 * 3; i++)
        CHECK(gray.pixels[i] == slow_luma(image.pixels + i / 3 * 3));
    CHECK(gray.pixels[0] == 255);
    dino_image_release(&image);
    dino_image_release(&gray);
}

static int reflected(int i, int size)
{
    while (i < 0 || i >= size) {
        i = i < 0 ? -i : i;
        i = i >= size ? 2 * (size - 1) - i : i;
        if (size == 1)
            return 0;
    }
    return i;
}

/* The sum of 81 products in double; a byte may be off by one only beside a tie. */
static void check_blur(int width, int height, double sigma)
{
    struct dino_image image = {0}, was = {0};
    struct dino_error err = {0};
    double kernel[BLUR_TAPS], sum = 0;

    for (int t = 0; t < BLUR_TAPS; t++)
        sum += kernel[t] = exp(-(t - 4) * (t - 4) / (2 * sigma * sigma));
    fill_noise(&image, width, height, 9);
    fill_noise(&was, width, height, 9);
    CHECK_OK(dn_blur(&image, sigma, &err), err);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width * 3; x++) {
            double v = 0;
            for (int j = 0; j < BLUR_TAPS; j++)
                for (int i = 0; i < BLUR_TAPS; i++)
                    v += kernel[j] * kernel[i] / sum / sum *
                         was.pixels[(reflected(y + j - 4, height) * width +
                                     reflected(x / 3 + i - 4, width)) *
                                        3 +
                                    x % 3];
            if (fabs(image.pixels[y * width * 3 + x] - v) > 0.5 + 1e-4)
                fail_msg("%dx%d, sigma %g: %d at %d,%d, wanted %g", width, height, sigma,
                         image.pixels[y * width * 3 + x], x / 3, y, v);
        }
    dino_image_release(&image);
    dino_image_release(&was);
}

TEST(blur_of_every_shape_is_the_sum_of_its_products)
{
    check_blur(37, 29, 1.3);
    check_blur(16, 9, 2.0);
    check_blur(5, 40, 0.4);
    check_blur(40, 5, 0.9);
    for (int size = 1; size < 10; size++) {
        check_blur(size, 3, 2.0);
        check_blur(3, size, 1.1);
    }
}

TEST(a_blur_of_next_to_nothing_changes_nothing)
{
    struct dino_image image = {0}, was = {0};
    struct dino_error err = {0};

    fill_noise(&image, 20, 20, 3);
    fill_noise(&was, 20, 20, 3);
    CHECK_OK(dn_blur(&image, 0.1, &err), err);
    assert_memory_equal(image.pixels, was.pixels, 1200);
    dino_image_release(&image);
    dino_image_release(&was);
}

TEST(two_flips_change_nothing_and_one_mirrors)
{
    for (int width = 1; width < 6; width++) {
        struct dino_image image = {0}, was = {0};
        fill_noise(&image, width, 4, 8);
        fill_noise(&was, width, 4, 8);
        dn_image_flip(&image);
        for (int i = 0; i < width * 4; i++)
            assert_memory_equal(image.pixels + i * 3,
                                was.pixels + (i / width * width + width - 1 - i % width) * 3,
                                3);
        dn_image_flip(&image);
        assert_memory_equal(image.pixels, was.pixels, (size_t)width * 12);
        dino_image_release(&image);
        dino_image_release(&was);
    }
}

TEST(pixels_outside_a_crop_have_no_influence)
{
    struct dino_image from = {0}, a = {0}, b = {0};
    struct dino_error err = {0};

    fill_noise(&from, 40, 30, 1);
    CHECK_OK(dn_image_resized_crop(&from, &a, 7, 5, 20, 11, 14, &err), err);
    for (int y = 0; y < 30; y++)
        for (int x = 0; x < 40; x++)
            if (x < 7 || x >= 27 || y < 5 || y >= 16)
                memset(from.pixels + (y * 40 + x) * 3, 255, 3);
    CHECK_OK(dn_image_resized_crop(&from, &b, 7, 5, 20, 11, 14, &err), err);
    assert_memory_equal(a.pixels, b.pixels, 14 * 14 * 3);
    dino_image_release(&b);
    CHECK(!dn_image_resized_crop(&from, &b, 21, 0, 20, 11, 14, &err));
    CHECK(err.code == DINO_EARG);
    CHECK(!dn_image_resized_crop(&from, &b, 0, 0, 0, 11, 14, &err));
    dino_image_release(&from);
    dino_image_release(&a);
}
