/*
 * The model that ships has learned something: Caltech-101's held-out photographs, each named
 * after its nearest neighbour among those of the training half, against a larger network with
 * formula weights. Floors, so that a model taught anew need not have the same numbers.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dino.h"
#include "testing.h"

enum { BATCH = 32, SIDE = 70 };

/* Class token and mean of the patches, side by side and of length 1 together. */
struct rows {
    struct dino_source *source;
    float *values; /* [count, dim] */
    int count, dim;
};

static void put_row(float *row, const struct dino_features *features)
{
    int dim = features->dim, patches = features->rows * features->cols;
    double square = 0;

    memcpy(row, features->cls, (size_t)dim * sizeof *row);
    for (int j = 0; j < patches; j++)
        for (int i = 0; i < dim; i++)
            row[dim + i] += features->patches[j * dim + i] / (float)patches;
    for (int i = 0; i < 2 * dim; i++)
        square += (double)row[i] * (double)row[i];
    for (int i = 0; i < 2 * dim; i++)
        row[i] /= (float)sqrt(square);
}

static struct rows embed(const struct dino_model *model, const char *folder)
{
    struct dino_error err = {0};
    struct rows rows = {.dim = 2 * dino_model_info(model)->dim};
    struct dino_picture pictures[BATCH];
    struct dino_input inputs[BATCH] = {0};
    struct dino_view view;
    int got;

    rows.source = dino_source_open(&folder, 1, NULL, &err);
    CHECK_OK(rows.source, err);
    CHECK_OK(dino_view_named(&view, "classify", SIDE, model, &err), err);
    struct dino_session *session = dino_session_new(model, NULL, &err);
    struct dino_feed *feed = dino_feed_open(rows.source, &view, NULL, &err);
    CHECK_OK(session && feed, err);
    rows.values =
        calloc((size_t)dino_source_count(rows.source) * (size_t)rows.dim, sizeof *rows.values);
    CHECK(rows.values);
    while ((got = dino_feed_next(feed, pictures, BATCH)) > 0) {
        for (int i = 0; i < got; i++) {
            CHECK_OK(pictures[i].ok, pictures[i].error);
            inputs[i] = (struct dino_input){.pixels = pictures[i].image.pixels,
                                            .height = SIDE,
                                            .width = SIDE,
                                            .mean = view.mean,
                                            .std = view.std};
        }
        CHECK_OK(dino_run(session, inputs, got, NULL, &err), err);
        for (int i = 0; i < got; i++)
            put_row(rows.values + rows.count++ * rows.dim, dino_result(session, i));
    }
    dino_feed_close(feed);
    dino_session_free(session);
    return rows;
}

static void release(struct rows *rows)
{
    dino_source_close(rows->source);
    free(rows->values);
}

/* Do two pictures lie in folders of the same name? */
static bool alike(const char *a, const char *b)
{
    const char *end_a = strrchr(a, '/'), *end_b = strrchr(b, '/');

    while (a < end_a && b < end_b && end_a[-1] == end_b[-1] && end_a[-1] != '/') {
        end_a--;
        end_b--;
    }
    return end_a[-1] == '/' && end_b[-1] == '/';
}

/* Percent of `asked` whose nearest row of `known` is of their class. */
static double accuracy(const struct rows *known, const struct rows *asked)
{
    int right = 0;

    for (int i = 0; i < asked->count; i++) {
        const float *a = asked->values + i * asked->dim;
        float most = -2;
        int nearest = 0;
        for (int j = 0; j < known->count; j++) {
            const float *b = known->values + j * known->dim;
            float cosine = 0;
            for (int k = 0; k < known->dim; k++)
                cosine += a[k] * b[k];
            if (cosine > most) {
                most = cosine;
                nearest = j;
            }
        }
        right +=
            alike(dino_source_name(known->source, nearest), dino_source_name(asked->source, i));
    }
    return 100.0 * right / asked->count;
}

static double measure(struct dino_model *model, const char *train, const char *val)
{
    struct rows known = embed(model, train), asked = embed(model, val);
    double percent = accuracy(&known, &asked);

    release(&known);
    release(&asked);
    dino_model_free(model);
    return percent;
}

TEST(it_tells_photographs_apart_far_better_than_formula_weights)
{
    struct dino_error err = {0};
    char path[4096];

    if (!dino_shipped_model(path, sizeof path, &err))
        SKIP("%s", err.message);
    const char *train = testing_pictures("caltech101/train");
    const char *val = testing_pictures("caltech101/val");
    struct dino_model *shipped = dino_model_open(path, NULL, &err);
    struct dino_model *formula = dino_model_formula("vits14_reg", NULL, &err);
    CHECK_OK(shipped && formula, err);
    double learned = measure(shipped, train, val), untaught = measure(formula, train, val);
    print_message("nearest neighbours: %.2f %% right, with formula weights %.2f %%\n", learned,
                  untaught);
    CHECK(learned >= 36);
    CHECK(learned >= 3 * untaught);
}
