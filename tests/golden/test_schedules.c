/* Schedules and parameter groups against the official code's (train/schedules.json and
 * param_groups.json). */
#include "testing.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "train/groups.h"
#include "train/schedule.h"

static json_t *load(const char *name)
{
    json_error_t error;
    json_t *root = json_load_file(testing_golden(name), 0, &error);
    CHECK(root);
    return root;
}

static double number(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return value ? json_number_value(value) : 0;
}

static void check_near(double value, json_t *wanted, const char *what, int64_t step)
{
    double want = json_number_value(wanted);
    if (!(fabs(value - want) <= 1e-12 * fabs(want)))
        fail_msg("%s at %lld is %.17g, wanted %.17g", what, (long long)step, value, want);
}

/* All five at the given steps (NULL: 0, 1, 2...). */
static void check_all(json_t *root, const struct schedules *schedules, json_t *steps)
{
    static const char *const names[] = {"lr", "wd", "momentum", "teacher_temp",
                                        "last_layer_lr"};
    json_t *wanted;
    size_t i;

    for (int k = 0; k < 5; k++)
        json_array_foreach(json_object_get(root, names[k]), i, wanted)
        {
            int64_t step = steps ? json_integer_value(json_array_get(steps, i)) : (int64_t)i;
            struct schedule_values v = dn_schedules_at(schedules, step);
            const double values[] = {v.lr, v.weight_decay, v.momentum, v.teacher_temp,
                                     v.last_layer_lr};
            check_near(values[k], wanted, names[k], step);
        }
    CHECK(json_array_size(json_object_get(root, "teacher_temp")) > 10);
}

TEST(the_small_run_has_the_official_schedules_at_every_step)
{
    json_t *root = load("train/schedules.json"), *small = json_object_get(root, "small");
    json_t *config = json_object_get(small, "config");
    struct schedules schedules;
    struct train_config c;

    dn_train_config_defaults(&c);
    c.optim.epochs = (int)number(config, "epochs");
    c.optim.warmup_epochs = (int)number(config, "warmup_epochs");
    c.optim.freeze_last_layer_epochs = (int)number(config, "freeze_last_layer_epochs");
    c.teacher.warmup_temp_epochs = (int)number(config, "warmup_teacher_temp_epochs");
    c.optim.base_lr = number(config, "base_lr");
    dn_schedules_init(&schedules, &c, 48, (int64_t)number(config, "epoch_length"));
    check_all(small, &schedules, NULL);
    json_decref(root);
}

TEST(the_published_runs_have_the_official_schedules)
{
    static const struct {
        const char *name, *preset;
        int batch;
    } runs[] = {
        {"full_default", "vitl16-short", 64},
        {"full_vitl14", "vitl14", 32},
        {"full_vitg14", "vitg14", 12},
    };
    json_t *root = load("train/schedules.json");

    for (int i = 0; i < 3; i++) {
        json_t *run = json_object_get(root, runs[i].name);
        struct schedules schedules;
        struct train_config c;
        struct dino_error err = {0};
        dn_train_config_defaults(&c);
        CHECK_OK(dn_train_config_preset(&c, runs[i].preset, &err), err);
        dn_schedules_init(&schedules, &c, runs[i].batch, c.train.epoch_length);
        check_near(schedules.lr.base, json_object_get(run, "lr_peak"), "lr_peak", 0);
        CHECK(schedules.lr.total == (int64_t)number(run, "total"));
        check_all(run, &schedules, json_object_get(run, "iterations"));
    }
    json_decref(root);
}

TEST(the_scheduler_takes_warm_up_start_and_freeze)
{
    json_t *root = load("train/schedules.json"), *row, *value;
    size_t i, step;

    json_array_foreach(json_object_get(root, "cosine_scheduler"), i, row)
    {
        json_t *arguments = json_object_get(row, "arguments");
        struct schedule s = {
            .start = number(arguments, "start_warmup_value"),
            .base = number(arguments, "base_value"),
            .final = number(arguments, "final_value"),
            .freeze = (int64_t)number(arguments, "freeze_iters"),
            .warmup = (int64_t)number(arguments, "warmup_iters"),
            .total = (int64_t)number(arguments, "total_iters"),
        };
        json_array_foreach(json_object_get(row, "values"), step, value)
            check_near(dn_schedule_at(&s, (int64_t)step), value, "value", (int64_t)step);
    }
    CHECK(i > 3);
    json_array_foreach(json_object_get(json_object_get(root, "scaling_rule"), "rows"), i, row)
    {
        double batch = number(row, "batch_per_gpu") * number(row, "gpus");
        check_near(dn_schedule_scaled_lr(number(row, "base_lr"), (int64_t)batch),
                   json_object_get(row, "lr"), "scaled lr", 0);
    }
    CHECK(i > 3);
    json_decref(root);
}

static void check_group(struct param_group group, json_t *wanted, const char *name)
{
    check_near(group.lr, json_object_get(wanted, "lr"), name, 0);
    CHECK(group.wd == number(wanted, "wd"));
    CHECK(group.last_layer == json_is_true(json_object_get(wanted, "last_layer")));
}

TEST(every_parameter_has_its_official_group)
{
    static const char *const backbones[] = {"vit_small_backbone", "vit_small_reg4_extra",
                                            "vit_small_block_chunks_4"};
    const struct group_rule rule = {.layerwise_decay = 0.9, .patch_embed_lr_mult = 0.2};
    json_t *root = load("train/param_groups.json"), *wanted;
    struct vit_config config;
    struct dino_error err = {0};
    const char *name;
    int checked = 0;

    CHECK_OK(dn_vit_config_named(&config, "vits14_reg", &err), err);
    for (int i = 0; i < 3; i++)
        json_object_foreach(json_object_get(root, backbones[i]), name, wanted)
        {
            struct param_ref ref;
            if (!dn_param_parse(NAMING_OFFICIAL, name, &ref))
                fail_msg("no parameter is called %s", name);
            check_group(dn_group_of_backbone(&config, ref, &rule), wanted, name);
            checked++;
        }
    CHECK(checked > 180);
    json_object_foreach(json_object_get(root, "head"), name, wanted)
        check_group(dn_group_of_head(name), wanted, name);
    CHECK(json_object_size(json_object_get(root, "head")) == 8);
    json_decref(root);
}

/* The table of parameters, stepped through, has the groups that the trainer fuses. */
TEST(groups_of_the_whole_network_have_the_official_sizes)
{
    const struct group_rule rule = {.layerwise_decay = 0.9, .patch_embed_lr_mult = 0.2};
    json_t *root = load("train/param_groups.json"), *fused, *row;
    struct vit_config config;
    struct dino_error err = {0};
    size_t i;

    CHECK_OK(dn_vit_config_named(&config, "vits14", &err), err);
    fused = json_object_get(root, "fused_groups_lr_wd_at_lr_1e-3_wd_0.04_last_layer_lr_0");
    json_array_foreach(fused, i, row)
    {
        double lr = number(row, "lr_multiplier"), wd = number(row, "wd_multiplier");
        int found = 0, wanted = (int)number(row, "tensors");
        if (json_is_true(json_object_get(row, "is_last_layer")) || lr == 1)
            continue; /* heads are among them */
        struct param_ref ref = dn_param_first();
        do {
            struct param_group group = dn_group_of_backbone(&config, ref, &rule);
            found += fabs(group.lr - lr) < 1e-12 && group.wd == wd;
        } while (dn_param_next(&config, &ref));
        if (found != wanted)
            fail_msg("lr %g wd %g: %d tensors, wanted %d", lr, wd, found, wanted);
    }
    CHECK(i > 10);
    json_decref(root);
}
