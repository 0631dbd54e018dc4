/* Tiny runs in the test's scratch folder, and what is asked of them. */
#ifndef TESTING_RUN_H
#define TESTING_RUN_H

#include "dino_train.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "format/json.h"
#include "train/testing_pictures.h"

/* ViT of width 64, two blocks, patches of 7, crops of 28 and 14 pixels. */
static const char *const tiny[] = {
    "student.embed_dim=64",
    "student.depth=2",
    "student.num_heads=1",
    "student.patch_size=7",
    "student.num_register_tokens=1",
    "student.interpolate_antialias=true",
    "student.interpolate_offset=0",
    "student.drop_path_rate=0.2",
    "student.layerscale=0.1",
    "dino.head_n_prototypes=48",
    "dino.head_bottleneck_dim=16",
    "dino.head_hidden_dim=32",
    "crops.global_crops_size=28",
    "crops.local_crops_size=14",
    "crops.local_crops_number=2",
    "train.batch_size_per_gpu=8",
    "train.OFFICIAL_EPOCH_LENGTH=0",
    "train.centering=sinkhorn_knopp",
    "teacher.warmup_teacher_temp_epochs=1",
    "teacher.momentum_teacher=0.9",
    "optim.epochs=2",
    "optim.warmup_epochs=0",
    "optim.freeze_last_layer_epochs=0",
    "optim.base_lr=0.02",
    "optim.weight_decay=0",
    "optim.weight_decay_end=0",
};
enum { TINY = sizeof tiny / sizeof *tiny, PICTURES = 32, STEPS = 8, MOST_SETTINGS = TINY + 4 };

struct watch {
    int64_t stop_at; /* < 0: never */
    int64_t kill_at; /* the process dies when this many steps were seen; 0: never */
    int64_t seen;
    struct dino_train_plan plan;
};

static inline void started(void *context, const struct dino_train_plan *plan)
{
    ((struct watch *)context)->plan = *plan;
}

static inline bool watch(void *context, const struct dino_train_step *step)
{
    struct watch *w = context;

    if (++w->seen == w->kill_at)
        raise(SIGKILL);
    return w->stop_at < 0 || step->step < w->stop_at;
}

static inline const char *pictures(void)
{
    static char path[256];

    if (!path[0])
        snprintf(path, sizeof path, "%s", draw_pictures("noise", PICTURES, 0));
    return path;
}

static inline const char *in_scratch(const char *name)
{
    static char paths[8][300];
    static unsigned number;
    char *path = paths[number++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", testing_scratch(), name);
    return path;
}

/* A run into scratch/NAME with settings behind the tiny ones; NULL ends them. */
static inline bool train(const char *name, struct watch *w, struct dino_train_options *options,
                         const char *const *more, struct dino_error *err)
{
    const char *settings[MOST_SETTINGS], *folder = pictures();
    int count = TINY;

    memcpy(settings, tiny, sizeof tiny);
    for (; more && *more; more++)
        settings[count++] = *more;
    options->size = sizeof *options;
    if (!options->pictures) {
        options->pictures = &folder;
        options->picture_count = 1;
    }
    options->output = in_scratch(name);
    options->preset = "vitt14-small-data";
    options->settings = settings;
    options->setting_count = count;
    options->threads = 1;
    options->readers = 1;
    options->started = started;
    options->progress = watch;
    options->context = w;
    bool ok = dino_train(options, NULL, err);
    options->pictures = NULL;
    return ok;
}

/* The last checkpoint of both runs, and the network that they are for. */
static inline void check_same_network(const char *a, const char *b, int steps,
                                      const char *network)
{
    char one[400], two[400];

    snprintf(one, sizeof one, "%s/checkpoints/step-%08d.safetensors", in_scratch(a), steps);
    snprintf(two, sizeof two, "%s/checkpoints/step-%08d.safetensors", in_scratch(b), steps);
    CHECK(same_bytes(one, two));
    snprintf(one, sizeof one, "%s/%s", in_scratch(a), network);
    snprintf(two, sizeof two, "%s/%s", in_scratch(b), network);
    CHECK(same_bytes(one, two));
}

static inline void check_same_run(const char *a, const char *b, int steps)
{
    check_same_network(a, b, steps, "teacher.pth");
}

/* The numbers of `key` in a run's metrics; returns how many lines there are, which must count
 * from 0 without a gap. */
static inline int metric(const char *name, const char *key, double values[64])
{
    char path[400], line[2000];
    int count = 0;

    snprintf(path, sizeof path, "%s/training_metrics.json", in_scratch(name));
    FILE *file = fopen(path, "r");
    CHECK(file);
    for (; fgets(line, sizeof line, file); count++) {
        json_t *object = json_loads(line, 0, NULL);
        CHECK(object && count < 64);
        CHECK(json_integer_value(json_object_get(object, "iteration")) == count);
        values[count] = json_number_value(json_object_get(object, key));
        json_decref(object);
    }
    fclose(file);
    return count;
}

#endif
