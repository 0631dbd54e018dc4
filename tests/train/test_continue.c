/* Runs that begin with trained weights: what they take from the file, what they leave alone,
 * and that the stage of larger crops resumes to the same bytes. */
#include "dino_train.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "format/json.h"
#include "train/testing_pictures.h"
#include "train/warm_start.h"

/* ViT of width 64, one block, patches of 7, crops of 28 and 14 pixels: a first run. */
static const char *const first[] = {
    "student.embed_dim=64",          "student.depth=1",
    "student.num_heads=2",           "student.patch_size=7",
    "student.num_register_tokens=1", "student.drop_path_rate=0",
    "student.layerscale=0.1",        "student.cosine_init=false",
    "dino.head_n_prototypes=48",     "dino.head_bottleneck_dim=16",
    "dino.head_hidden_dim=32",       "crops.global_crops_size=28",
    "crops.local_crops_size=14",     "crops.local_crops_number=2",
    "train.batch_size_per_gpu=8",    "optim.epochs=40",
    "optim.warmup_epochs=1",         NULL,
};
enum { PICTURES = 16, EPOCH = PICTURES / 8, MOST = 24 };

struct watch {
    int64_t kill_at, stop_at, seen;
    double first_knn;
    struct dino_train_plan plan;
    char from[300];
};

static void started(void *context, const struct dino_train_plan *plan)
{
    struct watch *w = context;

    w->plan = *plan;
    snprintf(w->from, sizeof w->from, "%s", plan->from ? plan->from : "");
}

static bool watch(void *context, const struct dino_train_step *step)
{
    struct watch *w = context;

    if (step->step == 0)
        w->first_knn = step->knn;
    else if (++w->seen == w->kill_at)
        raise(SIGKILL);
    return w->stop_at == 0 || step->step < w->stop_at;
}

static const char *in_scratch(const char *name)
{
    static char paths[8][300];
    static unsigned number;
    char *path = paths[number++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", testing_scratch(), name);
    return path;
}

static const char *pictures(void)
{
    static char path[256];

    if (!path[0])
        snprintf(path, sizeof path, "%s", draw_pictures("noise", PICTURES, 0));
    return path;
}

static bool train(const char *name, struct watch *w, struct dino_train_options options,
                  const char *const *settings, struct dino_error *err)
{
    const char *folder = pictures();
    int count = 0;

    while (settings && settings[count])
        count++;
    options.size = sizeof options;
    options.pictures = &folder;
    options.picture_count = 1;
    options.output = in_scratch(name);
    options.settings = settings;
    options.setting_count = count;
    options.threads = 1;
    options.readers = 1;
    options.started = started;
    options.progress = watch;
    options.context = w;
    return dino_train(&options, NULL, err);
}

/* The first run, made once: four steps of its eighty. */
static const char *first_run(void)
{
    static char path[300];
    struct watch w = {.stop_at = 4};
    struct dino_error err = {0};

    if (!dn_exists(in_scratch("first/teacher.pth"))) {
        CHECK(!train("first", &w, (struct dino_train_options){0}, first, &err));
        CHECK(err.code == DINO_ECANCELLED && w.plan.from == NULL);
    }
    snprintf(path, sizeof path, "%s", in_scratch("first"));
    return path;
}

static const char *last_checkpoint(const char *name)
{
    struct dino_error err = {0};
    struct warm_start start;
    static char path[300];

    CHECK_OK(dn_warm_start_open(&start, in_scratch(name), 2, &err), err);
    snprintf(path, sizeof path, "%s", start.path);
    dn_warm_start_release(&start);
    return path;
}

/* The largest difference of tensor A of one file and B of another. */
static double apart(const char *one, const char *a, const char *two, const char *b)
{
    struct dino_error err = {0};
    struct tensors x, y;
    size_t m, n;
    double most = 0;

    CHECK_OK(dn_tensors_open(&x, one, &err), err);
    CHECK_OK(dn_tensors_open(&y, two, &err), err);
    float *p = testing_tensor(&x, a, &m), *q = testing_tensor(&y, b, &n);
    CHECK(m == n);
    for (size_t i = 0; i < m; i++)
        most = fmax(most, fabs((double)p[i] - (double)q[i]));
    free(p);
    free(q);
    dn_tensors_release(&x);
    dn_tensors_release(&y);
    return most;
}

/* Few steps of an epoch each, the rest as the recipe says. */
static const char *const still[] = {"optim.base_lr=0", "optim.min_lr=0", "optim.epochs=2",
                                    "optim.warmup_epochs=0", NULL};

TEST(a_run_is_taken_with_its_heads_and_settings)
{
    struct dino_train_options options = {.from = first_run()};
    struct watch w = {0};
    struct dino_error err = {0};

    CHECK_OK(train("taken", &w, options, still, &err), err);
    CHECK(w.plan.dim == 64 && w.plan.heads == 2 && w.plan.registers == 1);
    CHECK(w.plan.prototypes == 48 && w.plan.global_size == 28 && w.plan.local_size == 14);
    CHECK(w.plan.from_heads && w.plan.frozen_epochs == 0 && w.plan.preset == NULL);
    CHECK(strstr(w.from, "first/checkpoints/step-00000004.safetensors"));
    const char *whole = in_scratch("taken/teacher_checkpoint.pth");
    CHECK(apart(w.from, "teacher.backbone.blocks.0.attn.qkv.weight", whole,
                "teacher.backbone.blocks.0.attn.qkv.weight") < 1e-7);
    CHECK(apart(w.from, "teacher.dino_head.last_layer.weight_v", whole,
                "teacher.dino_head.last_layer.weight_v") < 1e-7);
    CHECK(apart(w.from, "teacher.backbone.pos_embed", in_scratch("taken/teacher.pth"),
                "pos_embed") < 1e-7);
}

TEST(an_exported_teacher_brings_its_heads_or_gets_new_ones)
{
    static const char *const settings[] = {
        "student.num_heads=2",        "optim.epochs=12",           "train.batch_size_per_gpu=8",
        "crops.local_crops_number=2", "dino.head_n_prototypes=32", NULL};
    const char *own[5] = {settings[0], settings[1], settings[2], settings[3], NULL};
    char path[300];
    struct watch w = {0};
    struct dino_error err = {0};

    if (!dn_exists(in_scratch("taken/teacher_checkpoint.pth")))
        CHECK_OK(
            train("taken", &w, (struct dino_train_options){.from = first_run()}, still, &err),
            err);
    for (int i = 0; i < 2; i++) {
        const char *const name = i == 0 ? "taken/teacher_checkpoint.pth" : "taken/teacher.pth";
        snprintf(path, sizeof path, "%s", in_scratch(name));
        w = (struct watch){.stop_at = 1};
        err = (struct dino_error){0};
        CHECK(!train(i == 0 ? "with" : "without", &w, (struct dino_train_options){.from = path},
                     i == 0 ? own : settings, &err));
        CHECK(err.code == DINO_ECANCELLED);
        CHECK(w.plan.from_heads == (i == 0) && (w.plan.frozen_epochs > 0) == (i == 1));
        CHECK(w.plan.prototypes == (i == 0 ? 48 : 32) && w.plan.heads == 2);
        CHECK(w.plan.global_size == 28 && w.plan.grid == 4);
        CHECK(strcmp(w.plan.preset, "vitt14-small-data") == 0);
    }
}

TEST(a_frozen_backbone_stays_to_the_bit_while_its_heads_learn)
{
    static const char *const other[] = {"dino.head_n_prototypes=40", "optim.epochs=12",
                                        "optim.freeze_backbone_epochs=3",
                                        "optim.warmup_epochs=1", NULL};
    struct dino_train_options options = {.from = first_run(), .save_steps = 1};
    struct watch w = {.stop_at = 3 * EPOCH};
    struct dino_error err = {0};

    CHECK(!train("frozen", &w, options, other, &err));
    CHECK(err.code == DINO_ECANCELLED);
    CHECK(!w.plan.from_heads && w.plan.frozen_epochs == 3);
    char before[300];
    snprintf(before, sizeof before, "%s", last_checkpoint("first"));
    static const char *const names[] = {"backbone.cls_token", "backbone.pos_embed",
                                        "backbone.blocks.0.mlp.fc1.weight",
                                        "backbone.norm.weight"};
    for (int i = 0; i < 4; i++) {
        char teacher[100], student[100];
        snprintf(teacher, sizeof teacher, "teacher.%s", names[i]);
        snprintf(student, sizeof student, "student.%s", names[i]);
        CHECK(apart(before, teacher, last_checkpoint("frozen"), student) == 0);
    }
    CHECK(apart(last_checkpoint("frozen"), "teacher.dino_head.mlp.0.weight",
                last_checkpoint("frozen"), "student.dino_head.mlp.0.weight") > 1e-6);

    err = (struct dino_error){0};
    w = (struct watch){.stop_at = 6 * EPOCH};
    CHECK(!train("frozen", &w, options, other, &err) && err.code == DINO_ECANCELLED);
    CHECK(apart(before, "teacher.backbone.blocks.0.mlp.fc1.weight", last_checkpoint("frozen"),
                "student.backbone.blocks.0.mlp.fc1.weight") > 1e-6);
}

TEST(the_official_setting_takes_shape_and_weights_and_no_recipe)
{
    char setting[400];
    const char *settings[] = {setting,
                              "crops.global_crops_size=56",
                              "crops.local_crops_size=14",
                              "student.num_heads=2",
                              "dino.head_n_prototypes=16",
                              NULL};
    struct watch w = {.stop_at = 1};
    struct dino_error err = {0};

    first_run();
    snprintf(setting, sizeof setting, "student.pretrained_weights=%s",
             in_scratch("first/teacher.pth"));
    CHECK(!train("official", &w, (struct dino_train_options){.preset = "vitt14-small-data"},
                 settings, &err));
    CHECK(err.code == DINO_ECANCELLED);
    CHECK(w.plan.dim == 64 && w.plan.depth == 1 && w.plan.patch == 7);
    CHECK(w.plan.from_grid == 4 && w.plan.grid == 8 && w.plan.frozen_epochs == 0);
    CHECK(w.plan.epochs == 260 && fabs(w.plan.lr - 0.0025 * sqrt(64 / 1024.0)) < 1e-12);
}

TEST(the_stage_of_larger_crops_has_the_runs_schedules_shortened)
{
    struct dino_train_options options = {.from = first_run(), .high_res = true};
    struct watch w = {.stop_at = 1};
    struct dino_error err = {0};

    CHECK(!train("stage", &w, options, NULL, &err) && err.code == DINO_ECANCELLED);
    CHECK(w.plan.global_size == 56 && w.plan.local_size == 21 && w.plan.grid == 8);
    CHECK(w.plan.from_heads && w.plan.from_grid == 4 && w.plan.prototypes == 48);
    CHECK(w.plan.epochs == 16 && w.plan.frozen_epochs == 0);
}

TEST(a_long_run_has_a_short_stage_and_a_brief_one_a_longer)
{
    struct train_config c;
    struct dino_error err = {0};

    dn_train_config_defaults(&c); /* the official run: 100 epochs of 1,250 steps */
    dn_train_config_shorten(&c, 1000000);
    CHECK(c.optim.epochs == 5 && fabs(c.optim.base_lr - 0.001) < 1e-12);
    CHECK(c.crops.local_size == 96 && c.optim.warmup_epochs == 1);
    CHECK_OK(dn_train_config_preset(&c, "vitt14-small-data", &err), err);
    c.crops.global_size *= 2;
    dn_train_config_shorten(&c, 3173);
    CHECK(c.optim.epochs == 104 && fabs(c.optim.base_lr - 0.0016) < 1e-12);
    CHECK(c.crops.global_size == 112 && c.crops.local_size == 42 && c.optim.warmup_epochs == 2);
    c.optim.epochs = 1;
    dn_train_config_shorten(&c, 3173);
    CHECK(c.optim.epochs == 1 && c.optim.warmup_epochs == 0);
}

TEST(a_stage_of_a_continued_run_does_not_freeze_again_but_one_with_new_heads_does)
{
    char path[300];
    static const char *const heads[] = {"student.num_heads=2", NULL};
    struct watch w = {0};
    struct dino_error err = {0};

    CHECK_OK(train("taken", &w, (struct dino_train_options){.from = first_run()}, still, &err),
             err);
    static const char *const waited[] = {"optim.freeze_backbone_epochs=1", "optim.epochs=2",
                                         "optim.warmup_epochs=0", NULL};
    CHECK_OK(
        train("waited", &w, (struct dino_train_options){.from = first_run()}, waited, &err),
        err);
    CHECK(w.plan.frozen_epochs == 1);
    snprintf(path, sizeof path, "%s", in_scratch("waited"));
    w = (struct watch){.stop_at = 1};
    CHECK(!train("stage2", &w, (struct dino_train_options){.from = path, .high_res = true},
                 NULL, &err));
    CHECK(err.code == DINO_ECANCELLED && w.plan.frozen_epochs == 0 && w.plan.grid == 8);

    snprintf(path, sizeof path, "%s", in_scratch("taken/teacher.pth"));
    w = (struct watch){.stop_at = 1};
    err = (struct dino_error){0};
    CHECK(!train("stage3", &w, (struct dino_train_options){.from = path, .high_res = true},
                 heads, &err));
    CHECK(err.code == DINO_ECANCELLED && w.plan.frozen_epochs > 0 && w.plan.grid == 8);
    CHECK(w.plan.epochs > w.plan.frozen_epochs);
}

TEST(a_stage_killed_anywhere_goes_on_to_the_same_bytes)
{
    static const char *const longer[] = {"optim.epochs=8", NULL};
    struct dino_train_options options = {
        .from = first_run(), .high_res = true, .save_steps = 1, .keep = 2};
    struct watch w = {0};
    struct dino_error err = {0};
    int within = 0;

    CHECK_OK(train("unharmed", &w, options, longer, &err), err);
    for (int i = 0; i < 4; i++) {
        int status;
        pid_t child = fork();
        CHECK(child >= 0);
        w = (struct watch){.kill_at = 1 + i};
        if (child == 0)
            _exit(train("killed", &w, options, longer, &err) ? 0 : 1);
        CHECK(waitpid(child, &status, 0) == child);
        within += WIFSIGNALED(status) != 0;
    }
    CHECK(within == 4);
    w = (struct watch){0};
    CHECK_OK(train("killed", &w, options, longer, &err), err);
    CHECK(w.plan.first_step > 0);
    CHECK(same_bytes(in_scratch("unharmed/checkpoints/step-00000016.safetensors"),
                     in_scratch("killed/checkpoints/step-00000016.safetensors")));
    CHECK(same_bytes(in_scratch("unharmed/teacher_checkpoint.pth"),
                     in_scratch("killed/teacher_checkpoint.pth")));
}

TEST(neighbours_are_asked_before_the_first_step_and_are_the_best_so_far)
{
    char folder[300], line[2000];
    snprintf(folder, sizeof folder, "%s", draw_colours("colours", 24));
    struct dino_train_options options = {
        .from = first_run(), .knn_train = folder, .knn_val = folder};
    struct watch w = {.stop_at = 1, .first_knn = -1};
    struct dino_error err = {0};

    CHECK(!train("asked", &w, options, NULL, &err) && err.code == DINO_ECANCELLED);
    CHECK(w.first_knn > 95 && w.seen == 1);
    CHECK(dn_exists(in_scratch("asked/best.pth")));
    FILE *file = fopen(in_scratch("asked/training_metrics.json"), "r");
    CHECK(file && fgets(line, sizeof line, file));
    json_t *object = json_loads(line, 0, NULL);
    CHECK(fabs(json_number_value(json_object_get(object, "first_knn")) - w.first_knn) < 1e-3);
    json_decref(object);
    fclose(file);

    /* a run of which only the best state is left is still one to begin with */
    struct dino_train_options next = {.from = in_scratch("asked")};
    CHECK(remove(in_scratch("asked/checkpoints/step-00000001.safetensors")) == 0);
    err = (struct dino_error){0};
    w = (struct watch){.stop_at = 1};
    CHECK(!train("next", &w, next, still, &err) && err.code == DINO_ECANCELLED);
    CHECK(strstr(w.from, "asked/checkpoints/best.safetensors") && w.plan.from_heads);
}

TEST(what_cannot_be_is_answered_by_one_line)
{
    static const char *const deeper[] = {"student.depth=2", NULL};
    static const char *const registers[] = {"student.num_register_tokens=4", NULL};
    static const char *const whole[] = {"MODEL.WEIGHTS=x.pth", NULL};
    static const char *const absent[] = {"student.pretrained_weights=x.pth", NULL};
    static const char *const longest[] = {"optim.freeze_backbone_epochs=30", NULL};
    static char long_path[1200];
    const char *from = first_run();
    const struct {
        const char *const *settings;
        struct dino_train_options options;
        const char *message;
    } wishes[] = {
        {deeper, {.from = from}, "number of blocks is 1, but student.depth is 2"},
        {registers, {.from = from}, "registers is 1, but student.num_register_tokens is 4"},
        {whole, {0}, "MODEL.WEIGHTS"},
        {absent, {0}, "x.pth: No such file"},
        {NULL, {.from = "/nonexistent"}, "/nonexistent"},
        {NULL, {.from = long_path}, "wanted at most 1023"},
        {NULL, {.high_res = true}, "wants a run or a file"},
        {longest, {.from = from}, "optim.freeze_backbone_epochs is 30, wanted at most"},
    };

    memset(long_path, 'x', sizeof long_path - 1);
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct watch w = {0};
        struct dino_error err = {0};
        CHECK(!train("wishes", &w, wishes[i].options, wishes[i].settings, &err));
        if (!strstr(err.message, wishes[i].message))
            fail_msg("%s", err.message);
    }
    CHECK(!dn_exists(in_scratch("wishes")));
}
