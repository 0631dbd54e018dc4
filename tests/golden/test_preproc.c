/* Every picture of the golden set, decoded and viewed, byte for byte. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/sha256.h"
#include "image/image.h"

static json_t *read_index(void)
{
    json_error_t why;
    json_t *index = json_load_file(testing_golden("preproc_index.json"), 0, &why);

    if (!index)
        fail_msg("preproc_index.json: %s", why.text);
    return index;
}

static void read_photo(struct dino_image *image, const char *file,
                       const struct dino_decode_options *options)
{
    struct dino_error err = {0};
    char name[128];

    snprintf(name, sizeof name, "photos/%s", file);
    CHECK_OK(dino_image_read(image, testing_golden(name), options, &err), err);
}

static void check_hash(const char *file, const char *key, const char *expected,
                       const struct dino_image *image)
{
    char found[65];

    dn_sha256_of(image->pixels, (size_t)image->width * (size_t)image->height * 3, found);
    if (strcmp(found, expected) != 0)
        fail_msg("%s: %s is %s, wanted %s", file, key, found, expected);
}

/* Compare with the tensor of that name, which must have the picture's shape. */
static void check_tensor(const char *file, const char *key, const struct dino_image *image)
{
    struct tensors t = {0};
    struct dino_error err = {0};
    char stem[128], name[160];

    snprintf(stem, sizeof stem, "%s", file);
    *strrchr(stem, '.') = '_';
    snprintf(name, sizeof name, "preproc_%s.safetensors", stem);
    CHECK_OK(dn_tensors_open(&t, testing_golden(name), &err), err);
    const struct dino_tensor *tensor = dn_tensors_find(&t, key);
    if (!tensor)
        fail_msg("%s: no tensor %s", name, key);
    CHECK(tensor->dims == 3 && tensor->shape[2] == 3 && tensor->dtype == DINO_U8);
    assert_int_equal(tensor->shape[0], image->height);
    assert_int_equal(tensor->shape[1], image->width);
    const uint8_t *wanted = tensor->data;
    for (size_t i = 0; i < tensor->bytes; i++)
        if (image->pixels[i] != wanted[i])
            fail_msg("%s: %s differs first at byte %zu: %d, wanted %d", file, key, i,
                     image->pixels[i], wanted[i]);
    dn_tensors_release(&t);
}

static void apply_view(const char *view_name, int size, const struct dino_image *from,
                       struct dino_image *to)
{
    struct dino_error err = {0};
    struct dino_view view;

    CHECK_OK(dino_view_named(&view, view_name, size, NULL, &err), err);
    CHECK_OK(dino_view_apply(&view, from, to, &err), err);
}

/* The result that a hash or tensor of this name stands for. */
static bool make(struct dino_image *image, const char *file, const char *key)
{
    struct dino_image photo = {0};

    if (strcmp(key, "decode") == 0) {
        read_photo(image, file, NULL);
    } else if (strcmp(key, "decode_rotated") == 0) {
        read_photo(image, file, &(struct dino_decode_options){.exif = true});
    } else if (strcmp(key, "decode_white") == 0) {
        read_photo(image, file, &(struct dino_decode_options){.white = true});
    } else if (strcmp(key, "decode_hi8") == 0) {
        read_photo(image, file, &(struct dino_decode_options){.gray16_high = true});
    } else {
        read_photo(&photo, file, NULL);
        if (strcmp(key, "crop224") == 0)
            apply_view("classify", 0, &photo, image);
        else if (strcmp(key, "crop560") == 0)
            apply_view("pca", 0, &photo, image);
        else if (strcmp(key, "hf_pil_crop224") == 0)
            apply_view("hf", 0, &photo, image);
    }
    dino_image_release(&photo);
    return image->pixels != NULL;
}

TEST(every_hash_of_the_index_is_met)
{
    json_t *index = read_index(), *entry, *value;
    const char *file, *key;
    int met = 0;

    json_object_foreach(index, file, entry)
    {
        json_object_foreach(entry, key, value)
        {
            struct dino_image image = {0};
            if (strncmp(key, "sha256_", 7) == 0 && make(&image, file, key + 7)) {
                check_hash(file, key, json_string_value(value), &image);
                met++;
            }
            dino_image_release(&image);
        }
    }
    assert_int_equal(met, 48); /* all but the four of Hugging Face's torchvision backend */
    json_decref(index);
}

TEST(every_stored_picture_is_met)
{
    static const char *const results[][2] = {
        {"exif.jpg", "decode"},
        {"exif.jpg", "decode_rotated"},
        {"exif.jpg", "crop224"},
        {"gen_exif.jpg", "decode_rotated"},
        {"gen_la.png", "decode_white"},
        {"gen_palette.png", "decode_white"},
        {"gen_rgba.png", "decode_white"},
        {"gen_gray16.png", "decode"},
        {"gen_gray16.png", "decode_hi8"},
        {"gen_cmyk.jpg", "decode"},
        {"gen_progressive.jpg", "decode"},
        {"gen_restart.jpg", "decode"},
        {"gen_lossy.webp", "decode"},
        {"gray.jpg", "decode"},
        {"sub420.jpg", "decode"},
        {"sub422.jpg", "decode"},
        {"sub444.jpg", "decode"},
        {"tall.jpg", "crop224"},
        {"large.jpg", "crop224"},
        {"large.jpg", "crop560"},
        {"sub420.jpg", "hf_pil_crop224"},
        {"sub422.jpg", "hf_pil_crop224"},
        {"sub444.jpg", "crop560"},
        {"tiny.jpg", "crop224"},
        {"wide.jpg", "crop224"},
    };

    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        struct dino_image image = {0};
        CHECK(make(&image, results[i][0], results[i][1]));
        check_tensor(results[i][0], results[i][1], &image);
        dino_image_release(&image);
    }
}

TEST(the_hf_view_is_the_classify_view_where_the_index_says_so)
{
    json_t *index = read_index(), *entry;
    const char *file;
    int equal = 0, different = 0;

    json_object_foreach(index, file, entry)
    {
        json_t *same = json_object_get(entry, "hf_pil_equals_crop224");
        if (!same)
            continue;
        struct dino_image hf = {0}, classify = {0};
        CHECK(make(&hf, file, "hf_pil_crop224"));
        CHECK(make(&classify, file, "crop224"));
        bool is = memcmp(hf.pixels, classify.pixels, 224 * 224 * 3) == 0;
        if (is != json_is_true(same))
            fail_msg("%s: the two views are %s", file, is ? "equal" : "different");
        is ? equal++ : different++;
        dino_image_release(&hf);
        dino_image_release(&classify);
    }
    CHECK(equal > 0 && different == 2);
    json_decref(index);
}

TEST(the_middle_of_the_large_photograph_is_met)
{
    struct dino_image photo = {0}, middle = {0};
    struct dino_error err = {0};

    read_photo(&photo, "large.jpg", NULL);
    CHECK_OK(dn_image_crop(&photo, &middle, photo.width / 2 - 32, photo.height / 2 - 32, 64, 64,
                           &err),
             err);
    check_tensor("large.jpg", "decode_centre64", &middle);
    dino_image_release(&photo);
    dino_image_release(&middle);
}
