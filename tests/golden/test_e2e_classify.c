/* Photographs to logits and labels: decoding, views, network and head together
 * (e2e_classify.json: float64 networks on float32 pixels). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "testing.h"

/* The tolerance of golden/README.md, section 6. */
static const double LOGIT_BOUND = 1e-4;

static json_t *load(void)
{
    json_error_t error;
    json_t *root = json_load_file(testing_golden("e2e_classify.json"), 0, &error);
    CHECK(root);
    return root;
}

static void run_photo(const struct dino_model *model, struct dino_session *session,
                      const char *photo, const char *view_name)
{
    struct dino_error err = {0};
    struct dino_image image = {0}, seen = {0};
    struct dino_view view;
    char path[128];

    snprintf(path, sizeof path, "photos/%s", photo);
    CHECK_OK(dino_image_read(&image, testing_golden(path), NULL, &err), err);
    CHECK_OK(dino_view_named(&view, view_name, 0, model, &err), err);
    CHECK_OK(dino_view_apply(&view, &image, &seen, &err), err);
    struct dino_input input = {
        .pixels = seen.pixels, .height = seen.height, .width = seen.width};
    CHECK_OK(dino_run(session, &input, 1, &(struct dino_request){.logits = true}, &err), err);
    dino_image_release(&seen);
    dino_image_release(&image);
}

static void check_case(const struct dino_model *model, struct dino_session *session,
                       const char *photo, json_t *expected)
{
    const float *logits = dino_result(session, 0)->logits;
    int classes = dino_model_info(model)->classes, index[5];
    float probability[5];
    json_t *best = json_object_get(expected, "index"), *value;
    size_t i;

    int found = dino_top(logits, classes, (int)json_array_size(best), index, probability);
    CHECK((size_t)found == json_array_size(best));
    json_array_foreach(best, i, value)
    {
        if (index[i] != (int)json_integer_value(value))
            fail_msg("%s: place %zu is class %d", photo, i, index[i]);
        double logit = json_number_value(json_array_get(json_object_get(expected, "logit"), i));
        CHECK(fabs(logits[index[i]] - logit) <= LOGIT_BOUND);
    }
    json_array_foreach(json_object_get(expected, "logits"), i, value)
        CHECK(fabs(logits[i] - json_number_value(value)) <= LOGIT_BOUND);
    json_array_foreach(json_object_get(expected, "labels"), i, value)
    {
        const char *label = dino_model_label(model, index[i]);
        if (label)
            assert_string_equal(label, json_string_value(value));
    }
}

/* Every photograph of the file that has an entry `name`. */
static void check_all(const char *name, const char *path, struct dino_model_options options,
                      const char *view)
{
    struct dino_error err = {0};
    json_t *root = load(), *entries;
    const char *photo;
    int cases = 0;

    struct dino_model *model = dino_model_open(testing_golden(path), &options, &err);
    CHECK_OK(model, err);
    struct dino_session *session = dino_session_new(model, NULL, &err);
    CHECK_OK(session, err);
    json_object_foreach(root, photo, entries)
    {
        json_t *expected = json_object_get(entries, name);
        if (!expected)
            continue;
        run_photo(model, session, photo, view);
        check_case(model, session, photo, expected);
        cases++;
    }
    CHECK(cases >= 9);
    dino_session_free(session);
    dino_model_free(model);
    json_decref(root);
}

TEST(hugging_face_classifiers_name_photographs_as_transformers_does)
{
    check_all("tiny_cls_hf/pil", "tiny_cls_hf", (struct dino_model_options){0}, "hf");
    check_all("tiny_cls_reg_hf/pil", "tiny_cls_reg_hf", (struct dino_model_options){0}, "hf");
}

TEST(official_heads_choose_the_official_classes_of_photographs)
{
    const char *head = testing_golden("tiny_t1_linear_head.pth");
    check_all("tiny_t1/linear", "tiny_t1.pth",
              (struct dino_model_options){.heads = 4, .head = head}, "classify");
    head = testing_golden("tiny_t1_linear4_head.pth");
    check_all("tiny_t1/linear4", "tiny_t1.pth",
              (struct dino_model_options){.heads = 4, .head = head}, "classify");
}
