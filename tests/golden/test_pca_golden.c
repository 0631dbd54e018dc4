/* The PCA picture against scikit-learn's: from stored features, and from photographs. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "task/pca.h"

/* golden README, section 6: of the largest value; absolute, end to end */
static const double TOLERANCE = 1e-5, END_TO_END = 1e-4;

static void compare(const struct tensors *file, const char *name, const float *have,
                    size_t count)
{
    size_t n;
    double largest = 0;
    float *want = testing_tensor(file, name, &n);

    CHECK(n == count);
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(want[i]));
    double worst = testing_max_abs(have, want, n) / largest;
    if (!(worst <= TOLERANCE))
        fail_msg("%s: off by %g of its largest value", name, worst);
    free(want);
}

static void compare_doubles(const struct tensors *file, const char *prefix, const char *name,
                            const double *have, size_t count)
{
    char full[64];
    float *rounded = malloc(count * sizeof *rounded);

    snprintf(full, sizeof full, "%s.%s", prefix, name);
    for (size_t i = 0; i < count; i++)
        rounded[i] = (float)have[i];
    compare(file, full, rounded, count);
    free(rounded);
}

struct variant {
    const char *name;
    struct dino_pca_options options;
    bool all_rows; /* scores are stored for all rows, not for the foreground alone */
};

/* One variant of the second pass: mask, basis, scores and colours. */
static void check_variant(const struct tensors *file, const struct variant *v,
                          const float *features, size_t rows, int dim)
{
    struct dino_error err = {0};
    struct dino_pca *pca = dino_pca_fit(features, rows, dim, NULL, &v->options, &err);
    size_t n, scores = 0, d = (size_t)dim;
    float *norm = malloc(rows * sizeof *norm), *rgb = malloc(3 * rows * sizeof *rgb);
    double *score = malloc(3 * rows * sizeof *score);
    uint8_t *front = malloc(rows);
    char name[64];

    CHECK_OK(pca, err);
    dino_pca_apply(pca, features, rows, rgb, front, norm);
    compare(file, "pca1.norm", norm, rows);
    float *above = testing_tensor(file, "above", &n);
    CHECK(n == rows);
    for (size_t i = 0; i < rows; i++)
        CHECK(front[i] == ((above[i] != 0) == (v->options.side > 0)));

    compare_doubles(file, "pca1", "mean", pca->first.mean, d);
    compare_doubles(file, "pca1", "component", pca->first.components, d);
    compare_doubles(file, "pca1", "explained_variance", pca->first.variance, 1);
    compare_doubles(file, "pca1", "explained_variance_ratio", pca->first.ratio, 1);
    compare_doubles(file, v->name, "mean", pca->colour.mean, d);
    compare_doubles(file, v->name, "components", pca->colour.components, 3 * d);
    compare_doubles(file, v->name, "explained_variance", pca->colour.variance, 3);
    compare_doubles(file, v->name, "explained_variance_ratio", pca->colour.ratio, 3);
    for (size_t i = 0; i < rows; i++)
        if (v->all_rows || front[i])
            dn_pca_basis_score(&pca->colour, front[i] ? features + i * d : NULL,
                               score + 3 * scores++);
    compare_doubles(file, v->name, "score", score, 3 * scores);
    snprintf(name, sizeof name, "%s.rgb", v->name);
    compare(file, name, rgb, 3 * rows);

    free(above);
    free(front);
    free(score);
    free(rgb);
    free(norm);
    dino_pca_free(pca);
}

TEST(stored_features_give_the_masks_scores_and_colours_of_scikit_learn)
{
    static const struct variant variants[] = {
        {"notebook", {.notebook = true, .side = -1}, true},
        {"fg_above", {.side = 1}, false},
        {"fg_below", {.side = -1}, false},
    };
    struct tensors file = {0};
    struct dino_error err = {0};
    size_t n;

    CHECK_OK(dn_tensors_open(&file, testing_golden("pca_224.safetensors"), &err), err);
    float *features = testing_tensor(&file, "features", &n);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        check_variant(&file, &variants[i], features, n / 384, 384);
    free(features);
    dn_tensors_release(&file);
}

/* ---- end to end: four photographs, formula weights, one basis ---- */

static const char *const PHOTOS[] = {"sub444.jpg", "large.jpg", "wide.jpg", "sub420.jpg"};
enum { PHOTO_COUNT = 4, WIDTH = 384 };

/* Patch features of all photographs, [PHOTO_COUNT * grid * grid, WIDTH]. */
static float *photo_features(int side, size_t *rows)
{
    struct dino_error err = {0};
    struct dino_model_options options = {.size = sizeof options, .seed = 1};
    struct dino_model *model = dino_model_formula("vits14", &options, &err);
    CHECK_OK(model, err);
    struct dino_session *session = dino_session_new(model, NULL, &err);
    CHECK_OK(session, err);
    struct dino_view view;
    size_t each = (size_t)(side / 14) * (size_t)(side / 14);
    float *features = malloc(PHOTO_COUNT * each * WIDTH * sizeof *features);

    CHECK_OK(dino_view_named(&view, "pca", side, model, &err), err);
    for (size_t i = 0; i < PHOTO_COUNT; i++) {
        struct dino_image photo = {0}, seen = {0};
        char path[64];
        snprintf(path, sizeof path, "photos/%s", PHOTOS[i]);
        CHECK_OK(dino_image_read(&photo, testing_golden(path), NULL, &err), err);
        CHECK_OK(dino_view_apply(&view, &photo, &seen, &err), err);
        struct dino_input input = {
            .pixels = seen.pixels, .height = seen.height, .width = seen.width};
        CHECK_OK(dino_run(session, &input, 1, NULL, &err), err);
        memcpy(features + i * each * WIDTH, dino_result(session, 0)->patches,
               each * WIDTH * sizeof *features);
        dino_image_release(&seen);
        dino_image_release(&photo);
    }
    dino_session_free(session);
    dino_model_free(model);
    *rows = PHOTO_COUNT * each;
    return features;
}

static void check_end_to_end(const char *golden, int side)
{
    static const struct variant variants[] = {
        {"notebook", {.notebook = true}, true},
        {"fg_above", {.side = 1}, false},
        {"fg_below", {.side = -1}, false},
    };
    struct tensors file = {0};
    struct dino_error err = {0};
    size_t rows, n;

    CHECK_OK(dn_tensors_open(&file, testing_golden(golden), &err), err);
    float *features = photo_features(side, &rows), *above = testing_tensor(&file, "above", &n);
    float *rgb = malloc(3 * rows * sizeof *rgb);
    uint8_t *front = malloc(rows);
    CHECK(n == rows);
    for (size_t v = 0; v < 3; v++) {
        struct dino_pca *pca =
            dino_pca_fit(features, rows, WIDTH, NULL, &variants[v].options, &err);
        char name[64];
        CHECK_OK(pca, err);
        dino_pca_apply(pca, features, rows, rgb, front, NULL);
        for (size_t i = 0; i < rows; i++)
            CHECK(front[i] == ((above[i] != 0) == (dino_pca_side(pca) > 0)));
        snprintf(name, sizeof name, "%s.rgb", variants[v].name);
        float *want = testing_tensor(&file, name, &n);
        double worst = testing_max_abs(rgb, want, n);
        if (!(n == 3 * rows && worst <= END_TO_END))
            fail_msg("%s: rgb off by %g", name, worst);
        free(want);
        dino_pca_free(pca);
    }
    free(front);
    free(rgb);
    free(above);
    free(features);
    dn_tensors_release(&file);
}

TEST(photographs_give_the_masks_and_colours_at_224_pixels)
{
    check_end_to_end("pca_224.safetensors", 224);
}

TEST(photographs_give_the_masks_and_colours_at_560_pixels)
{
    check_end_to_end("pca_560.safetensors", 560);
}
