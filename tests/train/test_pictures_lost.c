/* A run whose pictures vanish stops, says so, and keeps the steps that it did. */
#include "dino_train.h"

#include <unistd.h>

#include "base/file.h"
#include "train/testing_pictures.h"

enum { PICTURES = 8, LAST = 3 };

struct watch {
    const char *folder;
    int64_t steps;
};

/* After the third step nothing is left to read. */
static bool take_away(void *context, const struct dino_train_step *step)
{
    struct watch *watch = context;
    char path[300];

    watch->steps = step->step;
    for (int i = 0; step->step == LAST && i < PICTURES; i++) {
        snprintf(path, sizeof path, "%s/%s%02d.png", watch->folder, i % 2 ? "sub/" : "", i);
        CHECK(unlink(path) == 0);
    }
    return true;
}

TEST(a_run_whose_pictures_vanish_keeps_its_steps)
{
    static const char *const settings[] = {
        "student.embed_dim=64",      "student.depth=1",
        "student.num_heads=1",       "student.patch_size=7",
        "dino.head_n_prototypes=48", "dino.head_bottleneck_dim=16",
        "dino.head_hidden_dim=32",   "crops.global_crops_size=28",
        "crops.local_crops_size=14", "crops.local_crops_number=2",
        "optim.epochs=1000",         "train.batch_size_per_gpu=4",
    };
    struct watch watch = {.folder = draw_pictures("vanishing", PICTURES, 0)};
    char run[300], path[400];
    struct dino_error err = {0};
    struct dino_train_options options = {
        .size = sizeof options,
        .pictures = &watch.folder,
        .picture_count = 1,
        .output = run,
        .preset = "vitt14-small-data",
        .settings = settings,
        .setting_count = sizeof settings / sizeof *settings,
        .threads = 1,
        .readers = 1,
        .progress = take_away,
        .context = &watch,
    };

    snprintf(run, sizeof run, "%s/run", testing_scratch());
    CHECK(!dino_train(&options, NULL, &err));
    print_message("%s\n", err.message);
    CHECK(strstr(err.message, "cannot be read"));
    CHECK(watch.steps >= LAST && watch.steps < 20);
    snprintf(path, sizeof path, "%s/checkpoints/step-%08d.safetensors", run, (int)watch.steps);
    CHECK(dn_exists(path));
}
