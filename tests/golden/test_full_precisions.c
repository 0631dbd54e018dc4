/*
 * bf16 and int8 on official architectures with formula weights: bf16 against the float64 truth
 * at most 1.2 times as far as PyTorch's bf16 autocast (full_errors.json), int8 by the cosine.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/rng.h"
#include "golden/golden_model.h"

struct result {
    float *cls, *patch; /* [dim], and 8 rows of patches */
    size_t dim;
};

static void result_free(struct result *r)
{
    free(r->cls);
    free(r->patch);
}

static struct result run(const char *arch, int size, enum dino_dtype dtype, const float *index)
{
    struct dino_error err = {0};
    struct dino_model_options options = {
        .size = sizeof options, .seed = 1, .dtype = dtype, .device = testing_device()};
    struct dino_model *model = dino_model_formula(arch, &options, &err);
    CHECK_OK(model, err);
    struct dino_session *session = dino_session_new(model, NULL, &err);
    CHECK_OK(session, err);
    size_t dim = (size_t)dino_model_info(model)->dim, pixels = (size_t)size * (size_t)size;
    struct result r = {malloc(dim * sizeof(float)), malloc(8 * dim * sizeof(float)), dim};
    float *image = malloc(3 * pixels * sizeof *image);

    dn_formula_fill(image, 0, 3 * pixels, "image", 1, 0, 2);
    struct dino_input input = {.planes = image, .height = size, .width = size};
    CHECK_OK(dino_run(session, &input, 1, NULL, &err), err);
    const struct dino_features *f = dino_result(session, 0);
    memcpy(r.cls, f->cls, dim * sizeof(float));
    for (size_t i = 0; i < 8; i++)
        memcpy(r.patch + i * dim, f->patches + (size_t)index[i] * dim, dim * sizeof(float));
    free(image);
    dino_session_free(session);
    dino_model_free(model);
    return r;
}

static double autocast_error(const char *arch, const char *size, const char *what)
{
    json_error_t error;
    json_t *root = json_load_file(testing_golden("full_errors.json"), 0, &error);
    json_t *entry = json_object_get(json_object_get(root, arch), size);
    json_t *errors = json_object_get(json_object_get(entry, "bf16_autocast"), what);
    json_t *value = json_object_get(errors, "rel_l2");

    CHECK(json_is_number(value));
    double number = json_number_value(value);
    json_decref(root);
    return number;
}

static double cosine(const float *a, const float *b, size_t count)
{
    double ab = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < count; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static void compare(const char *arch, int pixels, enum dino_dtype dtype)
{
    struct dino_error err = {0};
    struct tensors truth;
    char name[96], size[32];

    snprintf(size, sizeof size, "%dx%d", pixels, pixels);
    snprintf(name, sizeof name, "full_%s_%s.safetensors", arch, size);
    CHECK_OK(dn_tensors_open(&truth, testing_golden(name), &err), err);
    float *cls = testing_tensor(&truth, "cls", NULL);
    float *patch = testing_tensor(&truth, "patch", NULL);
    float *index = testing_tensor(&truth, "patch_idx", NULL);
    struct result r = run(arch, pixels, dtype, index);
    double cls_error = testing_rel_l2(r.cls, cls, r.dim);
    double patch_error = testing_rel_l2(r.patch, patch, 8 * r.dim), least = 1;

    for (size_t i = 0; i < 8; i++)
        least = fmin(least, cosine(r.patch + i * r.dim, patch + i * r.dim, r.dim));
    print_message("%s %s %s: cls %.2e (cosine %.6f), patches %.2e (cosine %.6f)\n", arch, size,
                  dino_dtype_name(dtype), cls_error, cosine(r.cls, cls, r.dim), patch_error,
                  least);
    if (dtype == DINO_BF16) {
        CHECK(cls_error <= 1.2 * autocast_error(arch, size, "cls"));
        CHECK(patch_error <= 1.2 * autocast_error(arch, size, "patch"));
    } else if (dtype != DINO_I8) {
        CHECK(cls_error <= 0.5 * autocast_error(arch, size, "cls"));
        CHECK(patch_error <= 0.5 * autocast_error(arch, size, "patch"));
    } else {
        CHECK(cosine(r.cls, cls, r.dim) >= 0.995);
        CHECK(least >= 0.995);
    }
    result_free(&r);
    free(index);
    free(patch);
    free(cls);
    dn_tensors_release(&truth);
}

TEST(bf16_is_as_exact_as_pytorch_autocast)
{
    compare("vits14", 224, DINO_BF16);
    compare("vits14", 518, DINO_BF16);
    compare("vits14_reg", 224, DINO_BF16);
    compare("vitb14", 224, DINO_BF16);
    compare("vitl14", 224, DINO_BF16);
}

/* f16 has three bits more; TF32 as many, and rounds nothing but the factors of products. */
TEST(f16_and_tf32_are_nearer_to_the_truth_than_bf16)
{
    if (!testing_device() || strncmp(testing_device(), "cuda", 4) != 0)
        SKIP("only the device cuda has f16 and tf32");
    compare("vits14", 224, DINO_F16);
    compare("vits14", 518, DINO_TF32);
    compare("vitl14", 224, DINO_F16);
    compare("vitl14", 224, DINO_TF32);
}

TEST(int8_points_where_the_truth_points)
{
    if (testing_device() && strncmp(testing_device(), "cuda", 4) == 0)
        SKIP("the device cuda has no int8");
    compare("vits14", 224, DINO_I8);
    compare("vits14", 518, DINO_I8);
    compare("vits14_reg", 224, DINO_I8);
    compare("vitb14", 224, DINO_I8);
    compare("vitl14", 224, DINO_I8);
}
