/* The PCA picture against scikit-learn's, from stored features. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "task/pca.h"

static const double TOLERANCE = 1e-5; /* of the largest value; golden README, section 6 */

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
