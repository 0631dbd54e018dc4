/* Resizing: known weights, every instruction set against plain C, boxes against the whole. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu_features.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "image/resample.h"

/* Deterministic noise; every third picture is black and white, where clamping shows. */
static struct dino_image noise(int width, int height, uint64_t seed)
{
    struct dino_image image = {0};
    struct dino_error err = {0};

    CHECK_OK(dino_image_alloc(&image, width, height, &err), err);
    for (size_t i = 0; i < (size_t)width * (size_t)height * 3; i++) {
        uint8_t value = (uint8_t)dn_random_u64(seed, 1, i);
        image.pixels[i] = seed % 3 ? value : value & 1 ? 255 : 0;
    }
    return image;
}

static int chance(uint64_t seed, uint64_t index, int low, int high)
{
    return low + (int)(dn_random_f64(seed, 2, index) * (high - low + 1));
}

static void same_bytes(const struct dino_image *a, const struct dino_image *b)
{
    CHECK(a->width == b->width && a->height == b->height);
    assert_memory_equal(a->pixels, b->pixels, (size_t)a->width * (size_t)a->height * 3);
}

/* Sizes from one pixel to a few hundred, often with one axis kept or very thin. */
static struct resize_box awkward(uint64_t seed, int *width, int *height)
{
    struct resize_box box = {.filter = seed % 4 == 1 ? DINO_BILINEAR : DINO_BICUBIC};
    int most = seed % 3 == 0 ? 12 : seed % 3 == 1 ? 90 : 400;

    *width = chance(seed, 0, 1, most);
    *height = chance(seed, 1, 1, most);
    box.full_width = seed % 7 == 3 ? *width : chance(seed, 2, 1, most);
    box.full_height = seed % 7 == 5 ? *height : chance(seed, 3, 1, most);
    box.left = chance(seed, 4, 0, (int)box.full_width - 1);
    box.top = chance(seed, 5, 0, (int)box.full_height - 1);
    box.width = chance(seed, 6, 1, (int)(box.full_width - box.left));
    box.height = chance(seed, 7, 1, (int)(box.full_height - box.top));
    return box;
}

/* The picture in a block of exactly its size, so that a sanitizer sees reads behind it. */
static void compare(const struct resample_kernels *kernels)
{
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct dino_image expected = {0}, found = {0};
        struct dino_error err = {0};
        int width, height;
        struct resize_box box = awkward(seed, &width, &height);
        struct dino_image from = noise(width, height, seed);

        CHECK_OK(dn_resample_with(&dn_resample_c, &from, &expected, &box, &err), err);
        CHECK_OK(dn_resample_with(kernels, &from, &found, &box, &err), err);
        same_bytes(&expected, &found);
        dino_image_release(&from);
        dino_image_release(&expected);
        dino_image_release(&found);
    }
}

TEST(avx2_gives_the_bytes_of_plain_c)
{
    if (!DN_X86 || dn_cpu_features().detected < DN_ISA_AVX2)
        SKIP("no AVX2 here");
    if (DN_X86)
        compare(&dn_resample_avx2);
}

TEST(avx512_gives_the_bytes_of_plain_c)
{
    if (!DN_X86 || !dn_cpu_features().vnni)
        SKIP("no AVX-512 with VNNI here, or DINO_ISA forbids it");
    if (DN_X86)
        compare(&dn_resample_avx512);
}

TEST(the_processor_and_its_cap_choose_the_kernels)
{
    struct cpu_features cpu = dn_cpu_features();
    const struct resample_kernels *chosen = dn_resample_kernels();

    if (DN_X86 && cpu.vnni)
        CHECK(chosen == &dn_resample_avx512);
    else if (DN_X86 && cpu.isa >= DN_ISA_AVX2)
        CHECK(chosen == &dn_resample_avx2);
    else
        CHECK(chosen == &dn_resample_c);
}

TEST(a_box_is_a_part_of_the_whole_resized_picture)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct dino_image whole = {0}, part = {0}, cut = {0};
        struct dino_error err = {0};
        int width, height;
        struct resize_box box = awkward(seed, &width, &height);
        struct dino_image from = noise(width, height, seed);

        CHECK_OK(dn_image_resize(&from, &whole, (int)box.full_width, (int)box.full_height,
                                 box.filter, &err),
                 err);
        CHECK_OK(dn_image_crop(&whole, &cut, box.left, box.top, box.width, box.height, &err),
                 err);
        CHECK_OK(dn_image_resize_box(&from, &part, &box, &err), err);
        same_bytes(&cut, &part);
        dino_image_release(&from);
        dino_image_release(&whole);
        dino_image_release(&part);
        dino_image_release(&cut);
    }
}

/* A ramp without chance in it: x, y and their product in red, green, blue. */
static struct dino_image ramp(int width, int height)
{
    struct dino_image image = {0};
    struct dino_error err = {0};

    CHECK_OK(dino_image_alloc(&image, width, height, &err), err);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = image.pixels + (y * width + x) * 3;
            p[0] = (uint8_t)(x * 37);
            p[1] = (uint8_t)(y * 91);
            p[2] = (uint8_t)(x * y);
        }
    return image;
}

TEST(pillow_13_gives_these_bytes)
{
    static const struct {
        int width, height, to_width, to_height;
        enum dino_filter filter;
        const char *hash;
    } cases[] = {
        {500, 375, 341, 256, DINO_BICUBIC,
         "01fe4f9485c74e8525b06f177866eeccd2f700a048b367f916cee949337a104b"},
        {200, 500, 102, 256, DINO_BICUBIC,
         "5e1f20bbb74a7cce17a2e4ab4fbcf4ed6cb39887523a3251ba2a9dd6923f7b16"},
        {90, 400, 45, 31, DINO_BICUBIC,
         "6e6726d491c6a7b97d8a7776f175d9331e7443f90bd99c3237638c71f169814a"},
        {64, 48, 256, 200, DINO_BICUBIC,
         "7db7b656e1469875bd67f236f7faf37fa7f9c417a1e5bb04911f75b760f2446e"},
        {500, 20, 100, 256, DINO_BILINEAR,
         "f3718c32486664fb4569cc0468bbed46e255d2f824833a29131e729cc96d37f0"},
        {3, 2, 31, 17, DINO_BICUBIC,
         "0d24c4728b3f2211480de27c5a5736ac2c9f4cc7e411521cf884be78091f71a5"},
        {1, 1, 5, 4, DINO_BICUBIC,
         "5dcc1b5872dd9ff1c234501f1fefda01f664164e1583c3e1bb3dbea47588ab31"},
        {97, 101, 97, 50, DINO_BILINEAR,
         "3a06d05a66c3ebdbc5e77a28f51e716720803c61d965341abd7c4dd3e5d40eac"},
        {97, 101, 13, 101, DINO_BICUBIC,
         "b1401220d3eaf3c7e9cdab4368f07c999bcf40ae1ed7f8c8a563666dea4f53c2"},
        {60, 600, 59, 40, DINO_BICUBIC,
         "993b72d4330edb5b02c72eb0abb7702b2dbef1a41c638517f4d0d99f41251a7e"},
        {100, 300, 90, 280, DINO_BICUBIC,
         "df7019480da00a94fbb8950792c8952e352f9dc62acbf8006ad3105d22599253"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dino_image from = ramp(cases[i].width, cases[i].height), to = {0};
        struct dino_error err = {0};
        char found[65];

        CHECK_OK(dn_image_resize(&from, &to, cases[i].to_width, cases[i].to_height,
                                 cases[i].filter, &err),
                 err);
        dn_sha256_of(to.pixels, (size_t)to.width * (size_t)to.height * 3, found);
        assert_string_equal(found, cases[i].hash);
        dino_image_release(&from);
        dino_image_release(&to);
    }
}

TEST(one_long_row_of_pixels_is_resized_in_little_memory)
{
    struct dino_image from = ramp(60000, 1), to = {0};
    struct dino_error err = {0};
    struct resize_box box = {.full_width = 60000LL * 256,
                             .full_height = 256,
                             .left = 60000LL * 128 - 112,
                             .top = 16,
                             .width = 224,
                             .height = 224};

    CHECK_OK(dn_image_resize_box(&from, &to, &box, &err), err);
    CHECK(to.width == 224 && to.height == 224);
    assert_memory_equal(to.pixels, to.pixels + 224 * 3, 224 * 3); /* all rows are alike */
    dino_image_release(&from);
    dino_image_release(&to);
}

TEST(resizing_to_nothing_is_refused)
{
    struct dino_image from = ramp(4, 4), to = {0};
    struct dino_error err = {0};

    CHECK(!dn_image_resize(&from, &to, 0, 5, DINO_BICUBIC, &err));
    CHECK(err.code == DINO_EARG && to.pixels == NULL);
    dino_image_release(&from);
}
