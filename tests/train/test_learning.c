/*
 * A network learns to see: a few hundred steps on drawn textures, of which neither colour nor
 * brightness tells the kind, lower the loss and raise the k-NN accuracy far above that of
 * random weights.
 */
#include "dino_train.h"

#include <math.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "testing.h"

enum { SIDE = 32, KINDS = 4, TRAIN = 64, VAL = 32, STEPS = 200 };

static const char *const kinds[KINDS] = {"across", "down", "chequered", "rings"};

/* Between -1 and 1 at a place, for a kind of texture. */
static double texture(int kind, double x, double y, double width)
{
    double turn = 2 * 3.14159265358979 / width;

    switch (kind) {
    case 0:
        return sin(turn * y);
    case 1:
        return sin(turn * x);
    case 2:
        return sin(turn * x) * sin(turn * y);
    default:
        return sin(turn * hypot(x - SIDE / 2.0, y - SIDE / 2.0));
    }
}

/* Number `index` of a kind: two colours, width and place are drawn. */
static void draw(struct dino_image *image, int kind, int index)
{
    double draws[9];

    for (int i = 0; i < 9; i++)
        draws[i] = dn_random_f64(11, (uint64_t)(kind * 1000 + index), (uint64_t)i);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double at = texture(kind, x + 9 * draws[6], y + 9 * draws[7], 6 + 3 * draws[8]);
            for (int c = 0; c < 3; c++) {
                double level = 0.5 + 0.3 * (draws[c] - 0.5) + (0.15 + 0.2 * draws[3]) * at;
                image->pixels[3 * (y * SIDE + x) + c] = (uint8_t)(255 * level);
            }
        }
}

static const char *textures(const char *name, int first, int count)
{
    static char folders[2][300];
    static int number;
    char *folder = folders[number++ % 2], path[400];
    struct dino_image image = {0};
    struct dino_error err = {0};

    snprintf(folder, sizeof folders[0], "%s/%s", testing_scratch(), name);
    CHECK(mkdir(folder, 0777) == 0);
    CHECK_OK(dino_image_alloc(&image, SIDE, SIDE, &err), err);
    for (int k = 0; k < KINDS; k++) {
        snprintf(path, sizeof path, "%s/%s", folder, kinds[k]);
        CHECK(mkdir(path, 0777) == 0);
        for (int i = 0; i < count; i++) {
            draw(&image, k, first + i);
            snprintf(path, sizeof path, "%s/%s/%03d.png", folder, kinds[k], i);
            CHECK_OK(dino_image_write(&image, path, &err), err);
        }
    }
    dino_image_release(&image);
    return folder;
}

/* Loss and k-NN of the steps that were measured. */
struct seen {
    double first_knn, last_knn, first_loss, last_loss;
    bool one_step;
};

static bool watch(void *context, const struct dino_train_step *step)
{
    struct seen *seen = context;

    if (step->step <= 20)
        seen->first_loss += step->loss / 20;
    if (step->step > STEPS - 20)
        seen->last_loss += step->loss / 20;
    if (step->knn >= 0) {
        print_message("step %d: loss %.3f, k-NN %.1f %%\n", (int)step->step, step->loss,
                      step->knn);
        if (step->step == 1)
            seen->first_knn = step->knn;
        seen->last_knn = step->knn;
    }
    return !seen->one_step;
}

TEST(a_network_learns_textures_of_any_colour)
{
    static const char *const settings[] = {
        "student.embed_dim=64",
        "student.depth=2",
        "student.num_heads=2",
        "student.patch_size=4",
        "student.num_register_tokens=0",
        "student.drop_path_rate=0",
        "student.layerscale=1",
        "dino.head_n_prototypes=128",
        "dino.head_bottleneck_dim=32",
        "dino.head_hidden_dim=64",
        "dino.koleo_loss_weight=0.1",
        "crops.global_crops_size=24",
        "crops.local_crops_size=16",
        "crops.local_crops_number=2",
        "crops.local_crops_scale=[0.25, 0.6]",
        "crops.global_crops_scale=[0.5, 1.0]",
        "train.batch_size_per_gpu=16",
        "train.OFFICIAL_EPOCH_LENGTH=200",
        "train.centering=sinkhorn_knopp",
        "teacher.momentum_teacher=0.98",
        "teacher.warmup_teacher_temp_epochs=0",
        "optim.epochs=1",
        "optim.warmup_epochs=0",
        "optim.freeze_last_layer_epochs=0",
        "optim.base_lr=0.016",
    };
    const char *train = textures("train", 0, TRAIN), *val = textures("val", 500, VAL);
    char run[300];
    struct seen seen = {0};
    struct dino_error err = {0};
    struct dino_train_options options = {
        .size = sizeof options,
        .pictures = &train,
        .picture_count = 1,
        .output = run,
        .preset = "vitt14-small-data",
        .settings = settings,
        .setting_count = sizeof settings / sizeof *settings,
        .knn_train = train,
        .knn_val = val,
        .knn_steps = 1,
        .threads = 2,
        .readers = 2,
        .progress = watch,
        .context = &seen,
    };

    snprintf(run, sizeof run, "%s/start", testing_scratch());
    options.knn_steps = 1;
    seen.one_step = true;
    CHECK(!dino_train(&options, NULL, &err) && err.code == DINO_ECANCELLED);
    snprintf(run, sizeof run, "%s/run", testing_scratch());
    options.knn_steps = STEPS / 4;
    seen.one_step = false;
    seen.first_loss = 0;
    CHECK_OK(dino_train(&options, NULL, &err), err);
    print_message("loss %.3f, then %.3f\n", seen.first_loss, seen.last_loss);
    CHECK(seen.last_loss < 0.9 * seen.first_loss);
    CHECK(seen.last_knn > seen.first_knn + 20 && seen.last_knn > 50);
}
