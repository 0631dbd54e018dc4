/* Whole runs on drawn pictures at tiny size: what they learn, what they leave, and that a run
 * which was stopped or killed anywhere ends with the bytes of one that was not. */
#include "dino_train.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "format/json.h"
#include "train/health.h"
#include "train/knn_probe.h"
#include "train/testing_run.h"

TEST(two_epochs_lower_the_loss)
{
    static const char *const longer[] = {"optim.epochs=2", "train.OFFICIAL_EPOCH_LENGTH=20",
                                         NULL};
    struct dino_train_options options = {.health_steps = 10};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    double loss[64], first = 0, last = 0;

    CHECK_OK(train("learns", &w, &options, longer, &err), err);
    CHECK(metric("learns", "total_loss", loss) == 40 && w.seen == 40);
    for (int i = 0; i < 8; i++) {
        first += loss[i] / 8;
        last += loss[32 + i] / 8;
    }
    print_message("loss %.3f, then %.3f\n", first, last);
    CHECK(isfinite(last) && last < 0.9 * first);
}

TEST(the_plan_says_what_the_settings_mean)
{
    struct dino_train_options options = {.save_steps = 100};
    struct watch w = {.stop_at = 1};
    struct dino_error err = {0};

    CHECK(!train("plan", &w, &options, NULL, &err));
    CHECK(err.code == DINO_ECANCELLED);
    CHECK(w.plan.pictures == PICTURES && w.plan.epoch_length == PICTURES / 8);
    CHECK(w.plan.steps == STEPS && w.plan.first_step == 0);
    CHECK(fabs(w.plan.lr - 0.02 * sqrt(8 / 1024.0)) < 1e-15);
    CHECK(w.plan.dim == 64 && w.plan.depth == 2 && w.plan.patch == 7);
}

static void check_stops(const char *straight, const char *stopped, enum dino_dtype dtype)
{
    struct dino_train_options options = {.dtype = dtype}, own = {.dtype = DINO_AUTO};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    double loss[64];

    CHECK_OK(train(straight, &w, &options, NULL, &err), err);
    CHECK(w.plan.dtype == dtype);
    for (int at = 1; at < STEPS; at += 3) {
        struct watch some = {.stop_at = at};
        CHECK(!train(stopped, &some, &options, NULL, &err));
        CHECK(err.code == DINO_ECANCELLED);
        err = (struct dino_error){0};
    }
    w.seen = 0;
    CHECK_OK(train(stopped, &w, &own, NULL, &err), err);
    CHECK(w.plan.first_step == 7 && w.seen == 1 && w.plan.dtype == dtype);
    CHECK(metric(stopped, "total_loss", loss) == STEPS);
    check_same_run(straight, stopped, STEPS);
}

TEST(a_run_stopped_between_steps_goes_on_to_the_same_bytes)
{
    check_stops("straight", "stopped", DINO_F32);
    check_stops("straight16", "stopped16", DINO_BF16);
}

TEST(a_run_killed_anywhere_goes_on_to_the_same_bytes)
{
    static const char *const longer[] = {"optim.epochs=6", NULL};
    struct dino_train_options options = {.save_steps = 1, .keep = 2};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    double loss[64];
    int within = 0;

    CHECK_OK(train("unharmed", &w, &options, longer, &err), err);
    for (int i = 0; i < 8; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        w.seen = 0;
        w.kill_at = i == 0 ? 5 : 0; /* the first dies by itself, the others wherever they are */
        if (child == 0)
            _exit(train("killed", &w, &options, longer, &err) ? 0 : 1);
        if (i > 0) {
            usleep((useconds_t)(3000 + dn_random_u64(7, 1, (uint64_t)i) % 60000));
            kill(child, SIGKILL);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        within += WIFSIGNALED(status) && dn_exists(in_scratch("killed/teacher.pth"));
        CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    }
    print_message("%d of 8 killed between the first save and the end\n", within);
    CHECK(within > 0);
    w.kill_at = 0;
    CHECK_OK(train("killed", &w, &options, longer, &err), err);
    print_message("the last one went on from step %d\n", (int)w.plan.first_step);
    CHECK(w.plan.first_step > 0);
    CHECK(metric("killed", "total_loss", loss) == 3 * STEPS);
    check_same_run("unharmed", "killed", 3 * STEPS);
}

/* The centres move with the step that saw them: what is saved before it has them as they were.
 */
TEST(a_killed_run_with_softmax_centring_goes_on_to_the_same_bytes)
{
    static const char *const centred[] = {"train.centering=centering", NULL};
    struct dino_train_options options = {.save_steps = 1};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    int status;

    CHECK_OK(train("centred", &w, &options, centred, &err), err);
    w = (struct watch){.stop_at = -1, .kill_at = 5};
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(train("torn", &w, &options, centred, &err) ? 0 : 1);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    w.kill_at = 0;
    CHECK_OK(train("torn", &w, &options, centred, &err), err);
    CHECK(w.plan.first_step > 0);
    check_same_run("centred", "torn", STEPS);
}

TEST(a_batch_in_parts_trains_the_same_within_rounding)
{
    struct dino_train_options whole = {0}, parts = {.micro = 3};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    double one[64], two[64];

    CHECK_OK(train("whole", &w, &whole, NULL, &err), err);
    CHECK_OK(train("parts", &w, &parts, NULL, &err), err);
    CHECK(w.plan.micro == 3);
    CHECK(metric("whole", "total_loss", one) == STEPS);
    CHECK(metric("parts", "total_loss", two) == STEPS);
    for (int i = 0; i < STEPS; i++)
        CHECK(fabs(one[i] - two[i]) < 1e-3 * fabs(one[i]));
}

TEST(the_teacher_opens_as_a_model_in_both_layouts_with_the_same_features)
{
    struct dino_train_options options = {0};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    const char *const names[] = {"out/teacher.pth", "out/teacher"};
    float pixels[3 * 28 * 28], cls[2][64];

    CHECK_OK(train("out", &w, &options, NULL, &err), err);
    for (int i = 0; i < 3 * 28 * 28; i++)
        pixels[i] = (float)(dn_random_f64(1, 2, (uint64_t)i) - 0.5);
    for (int k = 0; k < 2; k++) {
        struct dino_model *model = dino_model_open(in_scratch(names[k]), NULL, &err);
        CHECK_OK(model, err);
        const struct dino_model_info *info = dino_model_info(model);
        CHECK(info->dim == 64 && info->depth == 2 && info->patch == 7 && info->registers == 1);
        CHECK(info->grid_rows == 4 && info->positions == DINO_POSITIONS_ANTIALIAS);
        struct dino_view view; /* the folder is for pictures as large as those of training */
        if (k == 1) {
            CHECK_OK(dino_view_named(&view, "hf", 0, model, &err), err);
            CHECK(view.crop_width == 28 && view.crop_height == 28 && view.resize == 32);
        }
        struct dino_session *session = dino_session_new(model, NULL, &err);
        CHECK_OK(session, err);
        struct dino_input input = {.planes = pixels, .height = 28, .width = 28};
        CHECK_OK(dino_run(session, &input, 1, NULL, &err), err);
        memcpy(cls[k], dino_result(session, 0)->cls, sizeof cls[k]);
        dino_session_free(session);
        dino_model_free(model);
    }
    CHECK(memcmp(cls[0], cls[1], sizeof cls[0]) == 0);
}

TEST(neighbours_are_found_where_colours_are_classes)
{
    const char *folder = draw_colours("colours", 24);
    struct dino_train_options options = {
        .pictures = &folder, .picture_count = 1, .knn_train = folder, .knn_val = folder};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    double knn[64];

    CHECK_OK(train("knn", &w, &options, NULL, &err), err);
    int lines = metric("knn", "knn", knn);
    CHECK(lines == 6 && knn[5] > 95);
    CHECK(dn_exists(in_scratch("knn/best.pth")));
    CHECK(dn_exists(in_scratch("knn/checkpoints/best.safetensors")));
    CHECK(!dn_exists(in_scratch("knn/knn.pth")));
}

TEST(a_vote_weighs_the_twenty_nearest)
{
    enum { COUNT = 40 };
    float rows[COUNT][2];
    int labels[COUNT];
    double votes[2];

    for (int i = 0; i < COUNT; i++) { /* one near of class 1, three further of class 0 */
        double angle = i == 0 ? 0.1 : i < 4 ? 0.5 : 2 + 0.01 * i;
        rows[i][0] = (float)cos(angle);
        rows[i][1] = (float)sin(angle);
        labels[i] = i == 0;
    }
    CHECK(dn_knn_vote(rows[0], labels, COUNT, 2, 2, (float[]){1, 0}, votes) == 1);
    double share = exp((cos(0.5) - cos(0.1)) / 0.07), rest = 0;
    for (int i = 4; i < 20; i++)
        rest += exp((cos(2 + 0.01 * i) - cos(0.1)) / 0.07);
    CHECK(fabs(votes[0] - (3 * share + rest)) < 1e-5 && fabs(votes[1] - 1) < 1e-5);
}

TEST(other_settings_or_pictures_do_not_go_on_with_a_run)
{
    static const char *const other[] = {"optim.epochs=3", NULL};
    struct dino_train_options options = {0};
    struct watch w = {.stop_at = 2};
    struct dino_error err = {0};
    const char *fewer = draw_pictures("fewer", 9, 0);

    CHECK(!train("kept", &w, &options, NULL, &err) && err.code == DINO_ECANCELLED);
    err = (struct dino_error){0};
    CHECK(!train("kept", &w, &options, other, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "'epochs: 2', now it is 'epochs: 3'"));
    err = (struct dino_error){0};
    options.dtype = DINO_BF16;
    CHECK(!train("kept", &w, &options, NULL, &err) && err.code == DINO_EARG);
    CHECK(strstr(err.message, "was trained in f32, now it is bf16"));
    err = (struct dino_error){0};
    options.dtype = DINO_I8;
    CHECK(!train("kept", &w, &options, NULL, &err));
    CHECK(strstr(err.message, "training in int8, wanted auto, f32, bf16 or f16"));
    options.dtype = DINO_F32;
    err = (struct dino_error){0};
    options.pictures = &fewer;
    options.picture_count = 1;
    CHECK(!train("kept", &w, &options, NULL, &err));
    CHECK(strstr(err.message, "with 32 pictures, now there are 9"));
}

TEST(a_damaged_checkpoint_is_refused_with_its_name)
{
    struct dino_train_options options = {0};
    struct watch w = {.stop_at = 2};
    struct dino_error err = {0};
    const char *name = "damaged/checkpoints/step-00000002.safetensors";

    CHECK(!train("damaged", &w, &options, NULL, &err) && err.code == DINO_ECANCELLED);
    CHECK(truncate(in_scratch(name), 5000) == 0);
    err = (struct dino_error){0};
    CHECK(!train("damaged", &w, &options, NULL, &err));
    CHECK(err.code == DINO_EFORMAT && strstr(err.message, "step-00000002.safetensors"));
    CHECK(rename(in_scratch("damaged/teacher.pth"), in_scratch(name)) == 0);
    err = (struct dino_error){0};
    CHECK(!train("damaged", &w, &options, NULL, &err));
    CHECK(err.code == DINO_EFORMAT &&
          strstr(err.message, "is no checkpoint of a training run"));
}

TEST(a_run_that_leaves_the_numbers_keeps_what_is_good_to_go_on_from)
{
    static const char *const wild[] = {"optim.base_lr=1000", "optim.clip_grad=0",
                                       "optim.epochs=10", "optim.warmup_epochs=9", NULL};
    struct dino_train_options options = {.save_steps = 1, .keep = 1, .health_steps = -1};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    long long lost = 0;
    char good[100];

    CHECK(!train("wild", &w, &options, wild, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "no number; lower optim.base_lr"));
    /* the state that gave no number is not among the saved ones */
    CHECK(sscanf(err.message, "stopped at step %lld", &lost) == 1 && lost > 1);
    snprintf(good, sizeof good, "The last good checkpoint is of step %lld", lost - 1);
    CHECK(strstr(err.message, good));
    snprintf(good, sizeof good, "wild/checkpoints/step-%08lld.safetensors", lost - 1);
    CHECK(dn_exists(in_scratch(good)));
    snprintf(good, sizeof good, "wild/checkpoints/step-%08lld.safetensors", lost);
    CHECK(!dn_exists(in_scratch(good)));
}

TEST(a_collapsed_run_stops_at_its_third_sign_and_saves_nothing_after_the_first)
{
    /* branches that add nothing: every picture has the class token of every other */
    static const char *const dead[] = {"student.layerscale=1e-12", "optim.base_lr=0",
                                       "optim.min_lr=0", "optim.epochs=10", NULL};
    struct dino_train_options options = {.save_steps = 1, .health_steps = 1};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};

    CHECK(!train("dead", &w, &options, dead, &err));
    if (!strstr(err.message, "stopped at step 22: all pictures have the same class token") ||
        !strstr(err.message, "The last good checkpoint is of step 19"))
        fail_msg("%s", err.message);
    CHECK(w.seen == 22);
    CHECK(dn_exists(in_scratch("dead/checkpoints/step-00000019.safetensors")));
    CHECK(!dn_exists(in_scratch("dead/checkpoints/step-00000020.safetensors")));
}

TEST(a_healthy_run_says_how_it_is)
{
    struct dino_train_options options = {.health_steps = 1};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    double spread[64], rank[64], entropy[64];

    CHECK_OK(train("healthy", &w, &options, NULL, &err), err);
    CHECK(metric("healthy", "feature_spread", spread) == STEPS);
    CHECK(metric("healthy", "feature_rank", rank) == STEPS);
    CHECK(metric("healthy", "teacher_entropy", entropy) == STEPS);
    for (int i = 0; i < STEPS; i++) {
        CHECK(spread[i] > 0.001 && spread[i] < 1);
        CHECK(rank[i] >= 1 && rank[i] <= 15);
        CHECK(entropy[i] > 0.1 && entropy[i] < 1);
    }
}

TEST(a_run_is_trained_by_one_process_at_a_time)
{
    struct dino_train_options options = {0};
    struct watch w = {.stop_at = 1};
    struct dino_error err = {0};

    CHECK(!train("locked", &w, &options, NULL, &err) && err.code == DINO_ECANCELLED);
    int lock = open(in_scratch("locked"), O_RDONLY | O_DIRECTORY);
    CHECK(lock >= 0 && flock(lock, LOCK_EX) == 0);
    err = (struct dino_error){0};
    CHECK(!train("locked", &w, &options, NULL, &err));
    CHECK(strstr(err.message, "is being trained by another process"));
    close(lock);
    w.stop_at = -1;
    CHECK_OK(train("locked", &w, &options, NULL, &err), err);
}

TEST(each_sign_of_collapse_is_told_from_health)
{
    struct health good = {.crops = 16, .entropy = 0.5, .used = 0.9, .spread = 0.3, .rank = 12};
    struct health same = good, flat = good, single = good, nan = good, few = good;

    same.spread = 1e-6;
    flat.entropy = 1;
    single.used = 0;
    nan.entropy = NAN;
    few.crops = 2;
    few.used = 0;
    CHECK(dn_health_sign(&few) == NULL);
    CHECK(dn_health_sign(&good) == NULL);
    CHECK(strstr(dn_health_sign(&same), "same class token"));
    CHECK(strstr(dn_health_sign(&flat), "uniform"));
    CHECK(strstr(dn_health_sign(&single), "one prototype"));
    CHECK(strstr(dn_health_sign(&nan), "no numbers"));
}

TEST(impossible_wishes_are_answered_by_one_line)
{
    static const char *const unknown[] = {"optim.epoch=3", NULL};
    static const char *const uneven[] = {"crops.global_crops_size=30", NULL};
    static const char *const given[] = {"student.pretrained_weights=x.pth", NULL};
    const struct {
        const char *const *settings;
        struct dino_train_options options;
        const char *message;
    } wishes[] = {
        {unknown, {0}, "optim.epoch"},
        {uneven, {0}, "multiple of student.patch_size 7"},
        {given, {0}, "x.pth: No such file"},
        {NULL, {.micro = 9}, "9 pictures at a time, but a batch has 8"},
        {NULL, {.knn_train = "x"}, "two folders"},
        {NULL, {.config = "/nonexistent.yaml"}, "/nonexistent.yaml"},
    };

    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct dino_train_options options = wishes[i].options;
        struct watch w = {.stop_at = -1};
        struct dino_error err = {0};
        CHECK(!train("wishes", &w, &options, wishes[i].settings, &err));
        if (!strstr(err.message, wishes[i].message))
            fail_msg("%s", err.message);
    }
}
