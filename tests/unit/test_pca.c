/* The PCA picture on rows whose answer is known, its worst inputs and its file. */
#include "testing.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/rng.h"
#include "task/pca.h"

/*
 * Rows around a mean with three orthogonal directions of falling spread: an object (first
 * coordinate high) of 40 % of the rows before a background (low).
 */
enum { DIM = 19, COUNT = 3000 };

static double noise(uint64_t stream, uint64_t i)
{
    return 2 * dn_random_f64(7, stream, i) - 1;
}

static float *make_rows(uint8_t *object)
{
    float *rows = calloc((size_t)COUNT * DIM, sizeof *rows);
    for (int i = 0; i < COUNT; i++) {
        float *row = rows + (size_t)i * DIM;
        object[i] = i % 5 < 2;
        for (int j = 0; j < DIM; j++)
            row[j] = 5 + 0.01F * (float)noise(9, (uint64_t)(i * DIM + j));
        row[4] += (object[i] ? 20.0F : -20.0F) + (float)noise(1, (uint64_t)i);
        row[7] += (object[i] ? -8.0F : 1.0F) * (float)noise(2, (uint64_t)i);
        row[2] += 4 * (float)noise(3, (uint64_t)i);
        row[11] += 2 * (float)noise(4, (uint64_t)i);
    }
    return rows;
}

static int largest(const double *component)
{
    int best = 0;
    for (int j = 1; j < DIM; j++)
        best = fabs(component[j]) > fabs(component[best]) ? j : best;
    return best;
}

TEST(the_object_is_found_and_its_directions_become_the_colours)
{
    uint8_t object[COUNT], found[COUNT];
    float *rows = make_rows(object), *rgb = malloc(3 * COUNT * sizeof *rgb);
    struct dino_error err = {0};
    struct dino_pca *pca = dino_pca_fit(rows, COUNT, DIM, NULL, NULL, &err);

    CHECK_OK(pca, err);
    dino_pca_apply(pca, rows, COUNT, rgb, found, NULL);
    CHECK(memcmp(found, object, COUNT) == 0);
    CHECK(dino_pca_dim(pca) == DIM && dino_pca_side(pca) == 1);
    CHECK(largest(pca->first.components) == 4);
    CHECK(largest(pca->colour.components) == 7);
    CHECK(largest(pca->colour.components + DIM) == 2);
    CHECK(largest(pca->colour.components + 2 * DIM) == 11);
    for (int k = 0; k < 3; k++) {
        const double *c = pca->colour.components + k * DIM;
        double square = 0, low = 2, high = -1;
        for (int j = 0; j < DIM; j++)
            square += c[j] * c[j];
        CHECK(fabs(square - 1) < 1e-12);
        CHECK(c[largest(c)] > 0);
        for (int i = 0; i < COUNT; i++) {
            float value = rgb[3 * i + k];
            CHECK(object[i] || value == 0);
            low = object[i] && value < low ? value : low;
            high = value > high ? value : high;
        }
        CHECK(low == 0 && high == 1);
    }
    dino_pca_free(pca);
    free(rgb);
    free(rows);
}

/* Jacobi rotations: slow, and nothing in common with the way it is done. */
static void jacobi(double *a, int n)
{
    for (int sweep = 0; sweep < 40; sweep++)
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) {
                if (fabs(a[p * n + q]) < 1e-300)
                    continue;
                double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
                double t = copysign(1, theta) / (fabs(theta) + sqrt(theta * theta + 1));
                double c = 1 / sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < n; k++) {
                    double x = a[k * n + p], y = a[k * n + q];
                    a[k * n + p] = c * x - s * y;
                    a[k * n + q] = s * x + c * y;
                }
                for (int k = 0; k < n; k++) {
                    double x = a[p * n + k], y = a[q * n + k];
                    a[p * n + k] = c * x - s * y;
                    a[q * n + k] = s * x + c * y;
                }
            }
}

TEST(variances_equal_those_of_a_jacobi_eigensolver)
{
    uint8_t object[COUNT];
    float *rows = make_rows(object);
    struct dino_error err = {0};
    struct dino_pca_options options = {.plain = true};
    struct dino_pca *pca = dino_pca_fit(rows, COUNT, DIM, NULL, &options, &err);
    double mean[DIM] = {0}, covariance[DIM * DIM] = {0}, trace = 0;

    CHECK_OK(pca, err);
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < DIM; j++)
            mean[j] += (double)rows[i * DIM + j] / COUNT;
    for (int i = 0; i < COUNT; i++)
        for (int a = 0; a < DIM; a++)
            for (int b = 0; b < DIM; b++)
                covariance[a * DIM + b] += ((double)rows[i * DIM + a] - mean[a]) *
                                           ((double)rows[i * DIM + b] - mean[b]) / (COUNT - 1);
    jacobi(covariance, DIM);
    for (int j = 0; j < DIM; j++)
        trace += covariance[j * DIM + j];
    for (int k = 0; k < 3; k++) {
        double best = 0;
        int at = 0;
        for (int j = 0; j < DIM; j++)
            if (covariance[j * DIM + j] > best)
                best = covariance[(at = j) * DIM + j];
        covariance[at * DIM + at] = -1;
        CHECK(fabs(pca->colour.variance[k] - best) < 1e-11 * best);
        CHECK(fabs(pca->colour.ratio[k] - best / trace) < 1e-11);
    }
    dino_pca_free(pca);
    free(rows);
}

TEST(rims_decide_the_side_and_an_explicit_side_wins)
{
    uint8_t object[COUNT], rim[COUNT], found[COUNT];
    float *rows = make_rows(object);
    struct dino_error err = {0};
    struct dino_pca_options options = {0};

    for (int i = 0; i < COUNT; i++)
        rim[i] = object[i] && i % 2;
    struct dino_pca *pca = dino_pca_fit(rows, COUNT, DIM, rim, &options, &err);
    CHECK_OK(pca, err);
    CHECK(dino_pca_side(pca) == -1);
    dino_pca_apply(pca, rows, COUNT, NULL, found, NULL);
    for (int i = 0; i < COUNT; i++)
        CHECK(found[i] == !object[i]);
    dino_pca_free(pca);

    options.side = 1;
    pca = dino_pca_fit(rows, COUNT, DIM, rim, &options, &err);
    CHECK_OK(pca, err);
    CHECK(dino_pca_side(pca) == 1);
    dino_pca_free(pca);

    options = (struct dino_pca_options){.notebook = true};
    pca = dino_pca_fit(rows, COUNT, DIM, NULL, &options, &err);
    CHECK_OK(pca, err);
    CHECK(dino_pca_side(pca) == -1); /* above is the notebook's background */
    dino_pca_free(pca);
    free(rows);
}

TEST(one_odd_row_alone_is_never_the_automatic_foreground)
{
    float rows[200 * 3];
    struct dino_error err = {0};
    struct dino_pca_options options = {0};

    for (int i = 0; i < 600; i++)
        rows[i] = (float)noise(5, (uint64_t)i);
    rows[0] = 1000;
    struct dino_pca *pca = dino_pca_fit(rows, 200, 3, NULL, &options, &err);
    CHECK_OK(pca, err);
    CHECK(dino_pca_side(pca) == -1);
    dino_pca_free(pca);

    options.side = 1;
    CHECK(!dino_pca_fit(rows, 200, 3, NULL, &options, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "1 of 200 rows are foreground"));
}

TEST(impossible_rows_are_refused_with_a_reason)
{
    float rows[10 * 4];
    struct dino_error err = {0};
    struct dino_pca_options options = {.threshold = 1.5F};

    for (int i = 0; i < 40; i++)
        rows[i] = 0.3F;
    CHECK(!dino_pca_fit(rows, 10, 4, NULL, NULL, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "equal"));
    rows[33] = NAN;
    CHECK(!dino_pca_fit(rows, 10, 4, NULL, NULL, &err));
    CHECK(strstr(err.message, "row 8 holds a NaN"));
    rows[33] = INFINITY;
    CHECK(!dino_pca_fit(rows, 10, 4, NULL, NULL, &err));
    rows[33] = 1;
    CHECK(!dino_pca_fit(rows, 10, 2, NULL, NULL, &err));
    CHECK(!dino_pca_fit(rows, 3, 4, NULL, NULL, &err));
    CHECK(!dino_pca_fit(rows, 0, 4, NULL, NULL, &err));
    CHECK(!dino_pca_fit(rows, 10, 4, NULL, &options, &err));
    options = (struct dino_pca_options){.threshold = NAN};
    CHECK(!dino_pca_fit(rows, 10, 4, NULL, &options, &err));
    options = (struct dino_pca_options){.side = 2};
    CHECK(!dino_pca_fit(rows, 10, 4, NULL, &options, &err));
    CHECK(!dino_pca_fit(rows, 10, 4, NULL, &options, NULL));
}

TEST(rows_on_one_line_give_one_colour_and_two_flat_ones)
{
    float rows[50 * 5], rgb[50 * 3];
    struct dino_error err = {0};
    struct dino_pca_options options = {.plain = true};

    for (int i = 0; i < 50; i++)
        for (int j = 0; j < 5; j++)
            rows[i * 5 + j] = 100 + (float)(i * (j + 1));
    struct dino_pca *pca = dino_pca_fit(rows, 50, 5, NULL, &options, &err);
    CHECK_OK(pca, err);
    dino_pca_apply(pca, rows, 50, rgb, NULL, NULL);
    for (int i = 0; i < 50; i++) {
        CHECK(fabsf(rgb[3 * i] - (float)i / 49) < 1e-6F);
        CHECK(rgb[3 * i + 1] == 0.5F && rgb[3 * i + 2] == 0.5F);
    }
    dino_pca_free(pca);
}

TEST(other_rows_are_clamped_and_rows_with_nan_are_background)
{
    uint8_t object[COUNT], front[3];
    float *rows = make_rows(object), other[3 * DIM], rgb[9], score[3];
    struct dino_error err = {0};
    struct dino_pca *pca = dino_pca_fit(rows, COUNT, DIM, NULL, NULL, &err);

    CHECK_OK(pca, err);
    memcpy(other, rows, sizeof other);
    for (int j = 0; j < DIM; j++)
        other[j] = 1e6F;
    other[DIM + 3] = NAN;
    dino_pca_apply(pca, other, 3, rgb, front, score);
    CHECK(front[0] == 1 && score[0] > 1 && front[1] == 0);
    for (int k = 0; k < 3; k++)
        CHECK(rgb[k] >= 0 && rgb[k] <= 1 && rgb[3 + k] == 0);
    dino_pca_free(pca);
    free(rows);
}

TEST(a_row_has_the_same_colour_alone_and_among_others)
{
    uint8_t object[COUNT];
    float *rows = make_rows(object), *all = malloc(3 * COUNT * sizeof *all), one[3];
    struct dino_error err = {0};
    struct dino_pca *pca = dino_pca_fit(rows, COUNT, DIM, NULL, NULL, &err);

    CHECK_OK(pca, err);
    dino_pca_apply(pca, rows, COUNT, all, NULL, NULL);
    for (int i = 0; i < COUNT; i += 77) {
        dino_pca_apply(pca, rows + (size_t)i * DIM, 1, one, NULL, NULL);
        CHECK(memcmp(one, all + 3 * i, sizeof one) == 0);
    }
    dino_pca_free(pca);
    free(all);
    free(rows);
}

TEST(a_saved_basis_gives_the_same_bits)
{
    uint8_t object[COUNT], front[2][COUNT];
    float *rows = make_rows(object), *rgb[2], *score[2];
    struct dino_error err = {0};
    char path[128];

    snprintf(path, sizeof path, "%s/basis.safetensors", testing_scratch());
    for (int form = 0; form < 3; form++) {
        struct dino_pca_options options = {
            .plain = form == 1, .notebook = form == 2, .threshold = 0.4F};
        struct dino_pca *pca = dino_pca_fit(rows, COUNT, DIM, NULL, &options, &err);
        CHECK_OK(pca, err);
        CHECK_OK(dino_pca_save(pca, path, &err), err);
        struct dino_pca *again = dino_pca_load(path, &err);
        CHECK_OK(again, err);
        CHECK(dino_pca_side(again) == dino_pca_side(pca));
        for (int p = 0; p < 2; p++) {
            rgb[p] = malloc(3 * COUNT * sizeof **rgb);
            score[p] = malloc(COUNT * sizeof **score);
            dino_pca_apply(p ? again : pca, rows, COUNT, rgb[p], front[p], score[p]);
        }
        CHECK(memcmp(rgb[0], rgb[1], 3 * COUNT * sizeof **rgb) == 0);
        CHECK(memcmp(score[0], score[1], COUNT * sizeof **score) == 0);
        CHECK(memcmp(front[0], front[1], COUNT) == 0);
        for (int p = 0; p < 2; p++) {
            free(rgb[p]);
            free(score[p]);
        }
        dino_pca_free(again);
        dino_pca_free(pca);
    }
    free(rows);
}

/* Save pca with one field spoilt and expect the loader to say `why`. */
static void expect_refused(struct dino_pca *pca, const char *why)
{
    struct dino_error err = {0};
    char path[128];

    snprintf(path, sizeof path, "%s/spoilt.safetensors", testing_scratch());
    CHECK_OK(dino_pca_save(pca, path, &err), err);
    CHECK(!dino_pca_load(path, &err));
    CHECK(err.code == DINO_EFORMAT);
    if (!strstr(err.message, why))
        fail_msg("'%s' does not say '%s'", err.message, why);
}

TEST(a_spoilt_basis_file_is_refused)
{
    uint8_t object[COUNT];
    float *rows = make_rows(object);
    struct dino_error err = {0};
    struct dino_pca *pca = dino_pca_fit(rows, COUNT, DIM, NULL, NULL, &err);
    double kept;

    CHECK_OK(pca, err);
    kept = pca->colour.components[3];
    pca->colour.components[3] = NAN;
    expect_refused(pca, "colour.components holds a NaN");
    pca->colour.components[3] = 3;
    expect_refused(pca, "unit length");
    pca->colour.components[3] = kept;
    kept = pca->first.low[0];
    pca->first.low[0] = pca->first.high[0] + 1;
    expect_refused(pca, "upside down");
    pca->first.low[0] = kept;
    pca->side = 3;
    expect_refused(pca, "side 3");
    dino_pca_free(pca);
    free(rows);
}

TEST(a_basis_that_cannot_be_saved_leaves_no_file)
{
    uint8_t object[COUNT];
    float *rows = make_rows(object);
    struct dino_error err = {0};
    struct dino_pca *pca = dino_pca_fit(rows, COUNT, DIM, NULL, NULL, &err);
    struct rlimit before, tight;
    char path[128];

    CHECK_OK(pca, err);
    CHECK(!dino_pca_save(pca, "/nonexistent/basis.safetensors", &err));
    CHECK(err.code == DINO_EIO);
    snprintf(path, sizeof path, "%s/full.safetensors", testing_scratch());
    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    tight = before;
    tight.rlim_cur = 700;
    CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
    bool saved = dino_pca_save(pca, path, &err);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(!saved && err.code == DINO_EIO && strstr(err.message, "full.safetensors"));
    CHECK(access(path, F_OK) != 0);
    dino_pca_free(pca);
    free(rows);
}

TEST(a_file_of_other_tensors_is_no_basis)
{
    struct dino_error err = {0};
    CHECK(!dino_pca_load(testing_golden("pca_224.safetensors"), &err));
    CHECK(err.code == DINO_EFORMAT && strstr(err.message, "not a PCA basis"));
    CHECK(!dino_pca_load("/nonexistent/basis.safetensors", &err));
    CHECK(err.code == DINO_EIO);
}
