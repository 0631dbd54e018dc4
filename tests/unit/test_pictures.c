/* WebP in its forms, which way up, and pictures written as PNG. */
#include "testing.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/sha256.h"
#include "image/image.h"

static const struct {
    const char *file;
    struct dino_decode_options options;
    int width, height;
    const char *hash; /* of what Pillow 13 makes of it */
} forms[] = {
    {"alpha.webp",
     {0},
     31,
     23,
     "af4d46171e16d81d92fe7858fa564c33f49198b945708d086447f5c39973dacb"},
    {"alpha.webp",
     {.white = true},
     31,
     23,
     "f429577a7499c71871933fe5ff2827d3dc4c101bc95d1d42cb3044df187cde8d"},
    {"gray.jpg",
     {0},
     31,
     23,
     "6f1fabb3999866c5a681c66058bf050ec76e5a7d8a2dde9448261c9c68a08be6"},
    {"lossless.webp",
     {0},
     31,
     23,
     "c3472218477411e278b8c7de2b9115a447d51fc4603f12c062d55652ee80ee1d"},
    {"lossless_alpha.webp",
     {0},
     31,
     23,
     "c3472218477411e278b8c7de2b9115a447d51fc4603f12c062d55652ee80ee1d"},
    {"lossless_alpha.webp",
     {.white = true},
     31,
     23,
     "e9d72dd1464b43d39fdeff8396dac6b214e1dd5067756a60c929ec7a24f134a1"},
    {"moving.webp",
     {0},
     31,
     23,
     "935bcfd6814ee8b0c3f761764b95f1f29f7a87d3434d96ddca8282a860632e22"},
    {"moving.webp",
     {.white = true},
     31,
     23,
     "6d3ff68fd08aa4baa784ec04f818428565ac1e8f8e768453ea985b48ba13182a"},
    {"turned3.webp",
     {0},
     31,
     23,
     "04fedd95d9324ee7967c06d88806c76b2ce47f0e09aa9eaf3f349e4b348f074a"},
    {"turned3.webp",
     {.exif = true},
     31,
     23,
     "b715cdbc7ddb781a3358eefc5692ea53e302936fcab0e02f5a9bcaa07968d5f4"},
    {"turned5.jpg",
     {0},
     31,
     23,
     "d8517487c9e12cd131126df581d014263931f87caeb59baa814d7f672e0d04a8"},
    {"turned5.jpg",
     {.exif = true},
     23,
     31,
     "d0ec1d4a3a57ca4e74abb06d34c6f27580775e4cd2f2e889f7d5df7982535a09"},
    {"turned6.jpg",
     {0},
     31,
     23,
     "d8517487c9e12cd131126df581d014263931f87caeb59baa814d7f672e0d04a8"},
    {"turned6.jpg",
     {.exif = true},
     23,
     31,
     "a41ddca5f6071dc1b3d77c3f27f585ea7b7e98e2432a75e52e265d7cb662b831"},
    {"turned7.jpg",
     {0},
     31,
     23,
     "d8517487c9e12cd131126df581d014263931f87caeb59baa814d7f672e0d04a8"},
    {"turned7.jpg",
     {.exif = true},
     23,
     31,
     "c48ca77d13d69934dfec3340313e8764d981b5bfc55b732eeb08940eb9f483a4"},
    {"turned8.png",
     {0},
     31,
     23,
     "c3472218477411e278b8c7de2b9115a447d51fc4603f12c062d55652ee80ee1d"},
    {"turned8.png",
     {.exif = true},
     23,
     31,
     "857ece8693c0a16212eb3bf918dfa0954818f15753bdf7f9a194bb223bcd523b"},
};

TEST(webp_and_turned_pictures_are_what_pillow_makes_of_them)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct dino_image image = {0};
        struct dino_error err = {0};
        char name[64], found[65];

        snprintf(name, sizeof name, "forms/%s", forms[i].file);
        CHECK_OK(dino_image_read(&image, testing_data(name), &forms[i].options, &err), err);
        assert_int_equal(image.width, forms[i].width);
        assert_int_equal(image.height, forms[i].height);
        dn_sha256_of(image.pixels, (size_t)image.width * (size_t)image.height * 3, found);
        if (strcmp(found, forms[i].hash) != 0)
            fail_msg("%s: %s, wanted %s", forms[i].file, found, forms[i].hash);
        dino_image_release(&image);
    }
}

/* 2 x 3 pixels, red numbered 1 to 6. */
static struct dino_image numbered(void)
{
    struct dino_image image = {0};
    struct dino_error err = {0};

    CHECK_OK(dino_image_alloc(&image, 2, 3, &err), err);
    for (int i = 0; i < 6; i++)
        image.pixels[3 * i] = (uint8_t)(i + 1);
    return image;
}

TEST(each_orientation_turns_as_exif_says)
{
    static const char *const turned[10] = {"123456", "123456", "214365", "654321", "563412",
                                           "135246", "531642", "642531", "246135", "123456"};

    for (int orientation = 0; orientation < 10; orientation++) {
        struct dino_image image = numbered();
        struct dino_error err = {0};
        char found[7] = "";

        CHECK_OK(dn_image_orient(&image, orientation, &err), err);
        bool swapped = orientation >= 5 && orientation <= 8;
        CHECK(image.width == (swapped ? 3 : 2) && image.height == (swapped ? 2 : 3));
        for (int i = 0; i < 6; i++)
            found[i] = (char)('0' + image.pixels[3 * i]);
        assert_string_equal(found, turned[orientation]);
        dino_image_release(&image);
    }
}

static int orientation_of(const char *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1); /* so that a sanitizer sees the end */
    memcpy(copy, bytes, size);
    int found = dn_exif_orientation((struct span){copy, size});
    free(copy);
    return found;
}

TEST(exif_is_read_in_both_byte_orders_and_never_beyond_its_end)
{
    static const char little[] = "II*\0\x08\0\0\0\x02\0"
                                 "\x0f\x01\x02\0\x01\0\0\0....\x12\x01\x03\0\x01\0\0\0\x06\0\0";
    static const char big[] = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0";
    char broken[sizeof little];

    assert_int_equal(orientation_of(little, sizeof little), 6);
    assert_int_equal(orientation_of(big, sizeof big), 8);
    for (size_t cut = 0; cut < sizeof little; cut++)
        assert_int_equal(orientation_of(little, cut), 1);
    memcpy(broken, little, sizeof little);
    broken[30] = 9; /* no such orientation */
    assert_int_equal(orientation_of(broken, sizeof broken), 1);
    memcpy(broken, little, sizeof little);
    memset(broken + 4, 0xff, 4); /* the directory lies far behind the end */
    assert_int_equal(orientation_of(broken, sizeof broken), 1);
    memcpy(broken, little, sizeof little);
    memset(broken + 8, 0xff, 2); /* more entries than there are bytes */
    broken[22] = 0;
    assert_int_equal(orientation_of(broken, sizeof broken), 1);
}

static struct dino_image noise(int width, int height)
{
    struct dino_image image = {0};
    struct dino_error err = {0};

    CHECK_OK(dino_image_alloc(&image, width, height, &err), err);
    for (int i = 0; i < width * height * 3; i++)
        image.pixels[i] = (uint8_t)dn_random_u64(5, 6, (uint64_t)i);
    return image;
}

TEST(what_is_written_is_read_back)
{
    static const int sizes[][2] = {{1, 1}, {37, 5}, {200, 150}, {3, 1000}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct dino_image image = noise(sizes[i][0], sizes[i][1]), back = {0};
        struct dino_error err = {0};
        char path[128];

        snprintf(path, sizeof path, "%s/out.png", testing_scratch());
        CHECK_OK(dino_image_write(&image, path, &err), err);
        CHECK_OK(dino_image_read(&back, path, NULL, &err), err);
        CHECK(back.width == image.width && back.height == image.height);
        assert_memory_equal(back.pixels, image.pixels,
                            (size_t)image.width * (size_t)image.height * 3);
        dino_image_release(&image);
        dino_image_release(&back);
    }
}

static int files_in(const char *folder)
{
    DIR *dir = opendir(folder);
    int count = 0;

    CHECK(dir != NULL);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

TEST(a_picture_that_cannot_be_written_leaves_nothing)
{
    struct dino_image image = noise(400, 400), none = {0};
    struct dino_error err = {0};
    char folder[100], path[128];

    snprintf(folder, sizeof folder, "%s/writes", testing_scratch());
    CHECK(mkdir(folder, 0700) == 0);
    snprintf(path, sizeof path, "%s/a.png", folder);
    CHECK(!dino_image_write(&none, path, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "without pixels"));
    CHECK(!dino_image_write(&image, folder, &err));
    CHECK(strstr(err.message, "is a directory"));
    CHECK(!dino_image_write(&image, "/nowhere/a.png", &err));
    CHECK(err.code == DINO_EIO && strstr(err.message, "/nowhere/a.png: No such file"));

    /* the disk is full: stood in for by a limit on the size of files */
    struct rlimit before, small;
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = before;
    small.rlim_cur = 10000;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHECK(!dino_image_write(&image, path, &err));
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(err.code == DINO_EIO && strstr(err.message, "a.png: File too large"));
    assert_int_equal(files_in(folder), 0);
    dino_image_release(&image);
}

TEST(a_picture_is_at_least_one_pixel)
{
    struct dino_image image = {.width = 7};
    struct dino_error err = {0};

    CHECK(!dino_image_alloc(&image, 0, 5, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "0x5"));
    CHECK(!dino_image_alloc(&image, 5, -1, &err));
    CHECK(image.width == 7); /* untouched */
    dino_image_release(NULL);
}
