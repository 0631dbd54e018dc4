/* Official architectures with formula weights: parameters by checksum, outputs by the error
 * that PyTorch's own float32 has against the float64 truth (full_errors.json). */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <zlib.h>

#include "base/rng.h"
#include "golden/golden_model.h"
#include "model/params.h"

static json_t *load_json(const char *name)
{
    json_error_t error;
    json_t *root = json_load_file(testing_golden(name), 0, &error);
    CHECK(root);
    return root;
}

TEST(formula_weights_have_the_checksums_of_the_official_parameters)
{
    static const char *const archs[] = {"vits14", "vits14_reg"};
    json_t *root = load_json("full_weights.json");

    for (size_t a = 0; a < sizeof archs / sizeof *archs; a++) {
        json_t *model = json_object_get(json_object_get(root, "models"), archs[a]);
        json_t *tensors = json_object_get(model, "tensors");
        struct vit_config config;
        struct param_ref ref = dn_param_first();
        size_t seen = 0;

        CHECK(dn_vit_config_named(&config, archs[a], NULL));
        CHECK(json_integer_value(json_object_get(model, "parameters")) ==
              dn_vit_config_parameters(&config));
        do {
            char name[128], sum[16];
            size_t count = dn_param_elements(&config, ref.param);
            float *values = malloc(count * sizeof *values);
            dn_param_name(NAMING_OFFICIAL, ref, name);
            dn_param_formula(&config, ref, 1, 0, count, values);
            snprintf(sum, sizeof sum, "%08lx",
                     crc32(0, (const Bytef *)values, (uInt)(count * sizeof *values)));
            const char *wanted =
                json_string_value(json_object_get(json_object_get(tensors, name), "crc32"));
            if (!wanted || strcmp(sum, wanted) != 0)
                fail_msg("%s: checksum %s, wanted %s", name, sum, wanted ? wanted : "none");
            free(values);
            seen++;
        } while (dn_param_next(&config, &ref));
        CHECK(seen == json_object_size(tensors));
    }
    json_decref(root);
}

/* PyTorch's relative error of one output in float32. */
static double pytorch_error(json_t *root, const char *arch, const char *size, const char *what)
{
    json_t *entry = json_object_get(json_object_get(root, arch), size);
    json_t *fp32 = json_object_get(entry, "fp32");
    json_t *value = json_object_get(json_object_get(fp32, what), "rel_l2");
    CHECK(json_is_number(value));
    return json_number_value(value);
}

static void compare(const char *arch, int height, int width)
{
    struct dino_error err = {0};
    struct dino_model_options options = {.seed = 1, .device = testing_device()};
    struct tensors truth;
    char name[96], size[32];
    size_t values = 3 * (size_t)height * (size_t)width, dim;

    snprintf(size, sizeof size, "%dx%d", height, width);
    snprintf(name, sizeof name, "full_%s_%s.safetensors", arch, size);
    CHECK_OK(dn_tensors_open(&truth, testing_golden(name), &err), err);
    struct dino_model *model = dino_model_formula(arch, &options, &err);
    CHECK_OK(model, err);
    struct dino_session *session = dino_session_new(model, NULL, &err);
    CHECK_OK(session, err);

    float *image = malloc(values * sizeof *image);
    dn_formula_fill(image, 0, values, "image", 1, 0, 2);
    struct dino_input input = {.planes = image, .height = height, .width = width};
    CHECK_OK(dino_run(session, &input, 1, NULL, &err), err);
    const struct dino_features *f = dino_result(session, 0);

    json_t *errors = load_json("full_errors.json");
    float *cls = testing_tensor(&truth, "cls", &dim);
    float *patch = testing_tensor(&truth, "patch", NULL);
    float *index = testing_tensor(&truth, "patch_idx", NULL);
    double cls_error = testing_rel_l2(f->cls, cls, dim), worst = 0;
    double cls_bound = 2 * pytorch_error(errors, arch, size, "cls");
    double patch_bound = 2 * pytorch_error(errors, arch, size, "patch");
    float *rows = malloc(8 * dim * sizeof *rows);
    for (size_t i = 0; i < 8; i++)
        memcpy(rows + i * dim, f->patches + (size_t)index[i] * dim, dim * sizeof *rows);
    worst = testing_rel_l2(rows, patch, 8 * dim);
    print_message("%s %s: cls %.2e (allowed %.2e), patches %.2e (allowed %.2e)\n", arch, size,
                  cls_error, cls_bound, worst, patch_bound);
    CHECK(cls_error <= cls_bound);
    CHECK(worst <= patch_bound);
    free(rows);
    free(index);
    free(patch);
    free(cls);
    free(image);
    json_decref(errors);
    dino_session_free(session);
    dino_model_free(model);
    dn_tensors_release(&truth);
}

TEST(vits14_is_as_exact_as_pytorch_at_224)
{
    compare("vits14", 224, 224);
}

TEST(vits14_is_as_exact_as_pytorch_on_an_oblong_picture)
{
    compare("vits14", 308, 434);
}

TEST(vits14_is_as_exact_as_pytorch_at_518)
{
    compare("vits14", 518, 518);
}

TEST(vits14_with_hugging_face_positions_is_as_exact_as_pytorch)
{
    compare("vits14_offset0", 224, 224);
}

TEST(vits14_with_registers_is_as_exact_as_pytorch)
{
    compare("vits14_reg", 224, 224);
    compare("vits14_reg", 308, 434);
    compare("vits14_reg", 518, 518);
}

TEST(vitb14_is_as_exact_as_pytorch)
{
    compare("vitb14", 224, 224);
    compare("vitb14", 518, 518);
}

TEST(vitl14_is_as_exact_as_pytorch)
{
    compare("vitl14", 224, 224);
    compare("vitl14_reg", 224, 224);
}

/* 4.6 GB of weights: asked for by DINO_TEST_GIANT=1, and run before a release. */
TEST(vitg14_is_as_exact_as_pytorch)
{
    if (!getenv("DINO_TEST_GIANT"))
        SKIP("set DINO_TEST_GIANT=1 (needs 6 GB)");
    compare("vitg14", 224, 224);
}
