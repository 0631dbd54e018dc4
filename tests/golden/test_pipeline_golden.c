/* Whole official pipelines, replayed with their recorded parameters, and the distributions of
 * our own (train/augment.json). */
#include "testing.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "train/augment.h"

static json_t *load_settings(void)
{
    json_error_t error;
    json_t *root = json_load_file(testing_golden("train/augment.json"), 0, &error);
    CHECK(root);
    return root;
}

static double number(json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static bool starts_jitter(struct crop_plan *plan, const char *op, double factor, int *jitters)
{
    static const char *const names[] = {"adjust_brightness", "adjust_contrast",
                                        "adjust_saturation", "adjust_hue"};

    for (int kind = 0; kind < JITTER_COUNT; kind++)
        if (strcmp(op, names[kind]) == 0) {
            plan->jitter = true;
            plan->order[(*jitters)++] = (enum jitter)kind;
            plan->factor[kind] = factor;
            return true;
        }
    return false;
}

static struct crop_plan read_plan(json_t *steps)
{
    struct crop_plan plan = {0};
    int jitters = 0;
    json_t *step;
    size_t i;

    json_array_foreach(steps, i, step)
    {
        const char *op = json_string_value(json_object_get(step, "op"));
        if (starts_jitter(&plan, op, number(step, "factor"), &jitters))
            continue;
        if (strcmp(op, "resized_crop") == 0) {
            plan.left = (int)number(step, "left");
            plan.top = (int)number(step, "top");
            plan.width = (int)number(step, "width");
            plan.height = (int)number(step, "height");
            plan.size = (int)number(step, "out");
        } else if (strcmp(op, "hflip") == 0) {
            plan.flip = true;
        } else if (strcmp(op, "rgb_to_grayscale") == 0) {
            plan.gray = true;
        } else if (strcmp(op, "gaussian_blur") == 0) {
            plan.sigma = number(step, "sigma");
        } else if (strcmp(op, "solarize") == 0) {
            plan.solarize = true;
        } else {
            CHECK(strcmp(op, "to_tensor") == 0 || strcmp(op, "normalize") == 0);
        }
    }
    CHECK(jitters == 0 || jitters == JITTER_COUNT);
    return plan;
}

static const struct dino_tensor *find(const struct tensors *file, const char *name)
{
    const struct dino_tensor *tensor = dn_tensors_find(file, name);
    if (!tensor)
        fail_msg("no tensor %s", name);
    return tensor;
}

/* The pipelines were recorded with the pass order of Pillow 12, across first. Where Pillow 13,
 * and so we, would go down first, the pass across is made here, and the plan left with the
 * other. */
static struct dino_image across_first(const struct dino_image *from, struct crop_plan *plan)
{
    struct dino_image box = {0}, narrow = {0};
    struct dino_error err = {0};

    CHECK_OK(dn_image_crop(from, &box, plan->left, plan->top, plan->width, plan->height, &err),
             err);
    CHECK_OK(dn_image_resize(&box, &narrow, plan->size, box.height, DINO_BICUBIC, &err), err);
    dino_image_release(&box);
    plan->left = plan->top = 0;
    plan->width = plan->size;
    return narrow;
}

TEST(official_pipelines_are_replayed_byte_for_byte)
{
    struct tensors file = {0};
    struct dino_error err = {0};
    json_t *settings = load_settings(), *row;
    int ties = 0;
    size_t i;

    CHECK_OK(dn_tensors_open(&file, testing_golden("train/augment.safetensors"), &err), err);
    json_array_foreach(json_object_get(settings, "pipeline"), i, row)
    {
        char name[80];
        struct crop_plan plan = read_plan(json_object_get(row, "steps"));
        snprintf(name, sizeof name, "src.%s", json_string_value(json_object_get(row, "src")));
        const struct dino_tensor *source = find(&file, name);
        snprintf(name, sizeof name, "%s.uint8",
                 json_string_value(json_object_get(row, "tensor")));
        const uint8_t *wanted = find(&file, name)->data;
        struct dino_image from = {.width = (int)source->shape[1],
                                  .height = (int)source->shape[0],
                                  .pixels = (uint8_t *)source->data};
        int bytes = plan.size * plan.size * 3, down = plan.height - plan.size;
        bool turned = down > 0 && down > 2 * (plan.width - plan.size);
        if (turned)
            from = across_first(&from, &plan);
        uint8_t *found = malloc((size_t)bytes);
        CHECK_OK(dn_crop_apply(&plan, &from, found, &err), err);
        for (int k = 0; k < bytes; k++) {
            int by = abs(found[k] - wanted[k]);
            if (by > (plan.sigma > 0))
                fail_msg("%s: byte %d is %d, wanted %d", name, k, found[k], wanted[k]);
            ties += by;
        }
        free(found);
        if (turned)
            dino_image_release(&from);
    }
    CHECK(i == 15);
    CHECK(ties <= 12);
    json_decref(settings);
    dn_tensors_release(&file);
}

/* Moments of the boxes; bars are five standard errors of 20000 draws, or the last digit. */
static void check_boxes(json_t *row)
{
    enum { DRAWS = 20000 };
    int height = (int)json_integer_value(json_array_get(json_object_get(row, "image"), 0));
    int width = (int)json_integer_value(json_array_get(json_object_get(row, "image"), 1));
    double area = 0, log_ratio = 0, squares = 0, x = 0, y = 0, least = 2, most = 0;
    struct augment augment;
    struct train_config config;

    dn_train_config_defaults(&config);
    dn_augment_init(&augment, &config);
    for (int i = 0; i < 2; i++)
        augment.global[0].scale[i] =
            json_number_value(json_array_get(json_object_get(row, "scale"), (size_t)i));
    for (int i = 0; i < DRAWS; i++) {
        struct crop_plan plan =
            dn_crop_plan(&augment, 0, width, height, dn_draws(1, DRAW_CROPS, 0, (uint64_t)i));
        CHECK(plan.left >= 0 && plan.top >= 0 && plan.width > 0 && plan.height > 0);
        CHECK(plan.left + plan.width <= width && plan.top + plan.height <= height);
        double part = (double)plan.width * plan.height / ((double)width * height);
        double ratio = log((double)plan.width / plan.height);
        area += part / DRAWS;
        least = fmin(least, part);
        most = fmax(most, part);
        log_ratio += ratio / DRAWS;
        squares += ratio * ratio / DRAWS;
        x += (plan.left + plan.width / 2.0) / width / DRAWS;
        y += (plan.top + plan.height / 2.0) / height / DRAWS;
    }
    json_t *range = json_object_get(row, "area_min_max");
    CHECK(fabs(area - number(row, "area_mean")) < 0.008);
    CHECK(fabs(least - json_number_value(json_array_get(range, 0))) < 0.01);
    CHECK(fabs(most - json_number_value(json_array_get(range, 1))) < 0.02);
    CHECK(fabs(log_ratio - number(row, "log_ratio_mean")) < 0.012);
    CHECK(fabs(sqrt(fabs(squares - log_ratio * log_ratio)) - number(row, "log_ratio_std")) <
          0.006);
    CHECK(fabs(x - number(row, "center_x_mean")) < 0.005);
    CHECK(fabs(y - number(row, "center_y_mean")) < 0.005);
}

TEST(boxes_have_the_official_moments)
{
    json_t *settings = load_settings(), *row;
    size_t i;

    json_array_foreach(json_object_get(settings, "resized_crop_statistics"), i, row)
        check_boxes(row);
    CHECK(i == 3);
    json_decref(settings);
}

/* Probabilities as run, not as written in the official code. */
TEST(steps_happen_as_often_as_in_the_official_pipeline)
{
    enum { DRAWS = 4000 };
    static const char *const kinds[] = {"global_0", "global_1", "local"};
    json_t *settings = load_settings();
    json_t *run = json_object_get(json_object_get(settings, "probabilities"), "as_run");
    struct augment augment;
    struct train_config config;

    dn_train_config_defaults(&config);
    dn_augment_init(&augment, &config);
    for (int kind = 0; kind < 3; kind++) {
        double flip = 0, jitter = 0, gray = 0, blur = 0, solarize = 0;
        for (int i = 0; i < DRAWS; i++) {
            struct crop_plan plan =
                dn_crop_plan(&augment, kind, 300, 200, dn_draws(9, DRAW_CROPS, 1, (uint64_t)i));
            flip += plan.flip / (double)DRAWS;
            jitter += plan.jitter / (double)DRAWS;
            gray += plan.gray / (double)DRAWS;
            blur += (plan.sigma > 0) / (double)DRAWS;
            solarize += plan.solarize / (double)DRAWS;
        }
        CHECK(fabs(flip - 0.5) < 0.04);
        CHECK(fabs(jitter - 0.8) < 0.03);
        CHECK(fabs(gray - 0.2) < 0.03);
        double wanted = number(json_object_get(run, "blur"), kinds[kind]);
        CHECK(wanted == 0 ? blur == 0 : fabs(blur - wanted) < 0.04);
        wanted = number(json_object_get(run, "solarize"), kinds[kind]);
        CHECK(wanted == 0 ? solarize == 0 : fabs(solarize - wanted) < 0.03);
    }
    json_decref(settings);
}
