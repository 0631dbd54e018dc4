/* Augmentation against torchvision on Pillow (train/augment.safetensors): single operations. */
#include "testing.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image/augment_ops.h"
#include "image/blur.h"
#include "image/colour.h"

static const char *const sources[] = {"smooth", "noisy"};

static void open_golden(struct tensors *file, json_t **settings)
{
    struct dino_error err = {0};
    json_error_t error;

    CHECK_OK(dn_tensors_open(file, testing_golden("train/augment.safetensors"), &err), err);
    *settings = json_load_file(testing_golden("train/augment.json"), 0, &error);
    CHECK(*settings);
}

static const struct dino_tensor *find(const struct tensors *file, const char *name)
{
    const struct dino_tensor *tensor = dn_tensors_find(file, name);
    if (!tensor)
        fail_msg("no tensor %s", name);
    return tensor;
}

static void load(struct dino_image *image, const struct tensors *file, const char *name)
{
    const struct dino_tensor *tensor = find(file, name);
    struct dino_error err = {0};

    CHECK_OK(dino_image_alloc(image, (int)tensor->shape[1], (int)tensor->shape[0], &err), err);
    memcpy(image->pixels, tensor->data,
           (size_t)tensor->shape[0] * (size_t)tensor->shape[1] * 3);
}

/* Releases the image. Returns how many bytes differ, none by more than `most`. */
static int compare(struct dino_image *image, const struct tensors *file, const char *name,
                   int most)
{
    const struct dino_tensor *tensor = find(file, name);
    const uint8_t *wanted = tensor->data;
    int off = 0;

    CHECK(tensor->shape[0] == image->height && tensor->shape[1] == image->width);
    for (int i = 0; i < image->width * image->height * 3; i++) {
        int by = abs(image->pixels[i] - wanted[i]);
        if (by > most)
            fail_msg("%s: byte %d is %d, wanted %d", name, i, image->pixels[i], wanted[i]);
        off += by != 0;
    }
    dino_image_release(image);
    return off;
}

static void apply(struct dino_image *image, const char *operation, double factor)
{
    if (strcmp(operation, "brightness") == 0)
        dn_colour_brightness(image, (float)factor);
    else if (strcmp(operation, "contrast") == 0)
        dn_colour_contrast(image, (float)factor);
    else if (strcmp(operation, "saturation") == 0)
        dn_colour_saturation(image, (float)factor);
    else
        dn_colour_hue(image, factor);
}

TEST(colour_operations_equal_torchvisions)
{
    struct tensors file = {0};
    json_t *settings, *factors, *factor;
    const char *operation;
    int checked = 0;

    open_golden(&file, &settings);
    json_object_foreach(json_object_get(settings, "color"), operation, factors)
    {
        size_t i;
        json_array_foreach(factors, i, factor) for (int s = 0; s < 2; s++)
        {
            struct dino_image image = {0};
            char name[64];
            snprintf(name, sizeof name, "small.%s", sources[s]);
            load(&image, &file, name);
            apply(&image, operation, json_number_value(factor));
            snprintf(name, sizeof name, "%s.%zu.%s", operation, i, sources[s]);
            compare(&image, &file, name, 0);
            checked++;
        }
    }
    CHECK(checked == 30);
    json_decref(settings);
    dn_tensors_release(&file);
}

TEST(gray_solarize_and_flip_equal_torchvisions)
{
    struct tensors file = {0};
    json_t *settings;

    open_golden(&file, &settings);
    for (int s = 0; s < 2; s++)
        for (int operation = 0; operation < 3; operation++) {
            static const char *const names[] = {"grayscale", "solarize128", "hflip"};
            struct dino_image image = {0};
            char name[64];
            snprintf(name, sizeof name, "small.%s", sources[s]);
            load(&image, &file, name);
            if (operation == 0)
                dn_colour_gray(&image);
            else if (operation == 1)
                dn_colour_solarize(&image, 128);
            else
                dn_image_flip(&image);
            snprintf(name, sizeof name, "%s.%s", names[operation], sources[s]);
            compare(&image, &file, name, 0);
        }
    json_decref(settings);
    dn_tensors_release(&file);
}

TEST(blur_equals_torchvisions_but_for_ties)
{
    struct tensors file = {0};
    json_t *settings, *sigma;
    struct dino_error err = {0};
    size_t i;

    open_golden(&file, &settings);
    json_array_foreach(json_object_get(json_object_get(settings, "blur"), "sigma"), i, sigma)
    {
        char name[64];
        float kernel[BLUR_TAPS];
        snprintf(name, sizeof name, "blur_kernel.%zu", i);
        float *wanted = testing_tensor(&file, name, NULL);
        dn_blur_kernel(kernel, json_number_value(sigma));
        CHECK(testing_max_abs(kernel, wanted, BLUR_TAPS) <
              2e-7); /* theirs is float throughout */
        free(wanted);
        for (int s = 0; s < 2; s++) {
            struct dino_image image = {0};
            snprintf(name, sizeof name, "small.%s", sources[s]);
            load(&image, &file, name);
            CHECK_OK(dn_blur(&image, json_number_value(sigma), &err), err);
            snprintf(name, sizeof name, "blur.%zu.%s", i, sources[s]);
            CHECK(compare(&image, &file, name, 1) <= 4); /* of 3840 */
        }
    }
    json_decref(settings);
    dn_tensors_release(&file);
}

TEST(resized_crops_equal_pillow_13s)
{
    struct tensors file = {0};
    json_t *settings, *box;
    struct dino_error err = {0};
    size_t i;

    open_golden(&file, &settings);
    json_array_foreach(json_object_get(settings, "resized_crop"), i, box)
    {
        struct dino_image from = {0}, to = {0};
        char name[64];
        int left, top, width, height, out, other;
        const char *source;
        CHECK(json_unpack(box, "{s:s, s:i, s:i, s:i, s:i, s:i, s:b}", "src", &source, "left",
                          &left, "top", &top, "width", &width, "height", &height, "out", &out,
                          "pillow13_vertical_first", &other) == 0);
        snprintf(name, sizeof name, "src.%s", source);
        load(&from, &file, name);
        CHECK_OK(dn_image_resized_crop(&from, &to, left, top, width, height, out, &err), err);
        snprintf(name, sizeof name, "resized_crop%s.%zu", other ? "_pillow13" : "", i);
        if (!dn_tensors_find(&file, name)) /* both orders give the same */
            snprintf(name, sizeof name, "resized_crop.%zu", i);
        compare(&to, &file, name, 0);
        dino_image_release(&from);
    }
    json_decref(settings);
    dn_tensors_release(&file);
}
