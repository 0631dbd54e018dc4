/* What a run takes of memory is counted before it is taken. */
#include "dino_train.h"

#include "compute/device.h"
#include "train/testing_pictures.h"

static const char *const small[] = {
    "student.embed_dim=64",       "student.depth=2",
    "student.num_heads=1",        "student.patch_size=7",
    "dino.head_n_prototypes=48",  "dino.head_bottleneck_dim=16",
    "dino.head_hidden_dim=32",    "crops.global_crops_size=28",
    "crops.local_crops_size=14",  "crops.local_crops_number=2",
    "train.batch_size_per_gpu=8", "optim.warmup_epochs=0",
};
enum { SMALL = sizeof small / sizeof *small };

static struct dino_train_options options_of(const char *const *folder, const char *run)
{
    return (struct dino_train_options){.size = sizeof(struct dino_train_options),
                                       .pictures = folder,
                                       .picture_count = 1,
                                       .output = run,
                                       .preset = "vitt14-small-data",
                                       .settings = small,
                                       .setting_count = SMALL,
                                       .threads = 1,
                                       .readers = 1};
}

static void remember(void *context, const struct dino_train_plan *plan)
{
    *(size_t *)context = plan->bytes;
}

static bool stop(void *context, const struct dino_train_step *step)
{
    (void)context;
    (void)step;
    return false;
}

static const char *in_scratch(const char *name)
{
    static char path[300];

    snprintf(path, sizeof path, "%s/%s", testing_scratch(), name);
    return path;
}

TEST(what_is_counted_is_what_a_run_takes)
{
    const char *folder = draw_pictures("pictures", 8, 0);
    struct dino_train_options options = options_of(&folder, in_scratch("run"));
    struct dino_train_memory one, four;
    struct dino_error err = {0};
    size_t taken = 0;

    options.micro = 3;
    options.started = remember;
    options.progress = stop;
    options.context = &taken;
    CHECK(!dino_train(&options, NULL, &err) && err.code == DINO_ECANCELLED);
    CHECK_OK(dino_train_count(&options, 1, 0, &one, &err), err);
    CHECK(one.batch == 8 && one.micro == 3 && one.processes == 1);
    CHECK(one.all - one.batches == taken);
    CHECK(one.all == one.student + one.teacher + one.gradients + one.moments + one.activations +
                         one.logits + one.batches);
    CHECK_OK(dino_train_count(&options, 4, 1 << 20, &four, &err), err);
    CHECK(four.student == one.student && four.moments <= one.moments / 4 + 8);
    CHECK(four.room == 1 << 20 && four.all > four.room);
    /* the gradient, sums over 2 x 48 prototypes, weights; 2 x 8 class tokens to three others */
    size_t sums = four.gradients + 3 * 2 * 48 * sizeof(float);
    size_t tokens = 2 * 8 * 64 * sizeof(float);
    CHECK(one.traffic == 0 && four.traffic == 2 * (sums - sums / 4) + 3 * tokens);
}

TEST(a_gpu_need_not_be_here_to_be_counted)
{
    struct dino_train_options options = {
        .preset = "vitg14", .device = "cuda", .dtype = DINO_AUTO};
    struct dino_train_memory gpus, one;
    struct dino_error err = {0};

    setenv("DINO_PLUGINS", BUILD_DIR "/emulated", 0);
    setenv("DINO_EMULATE", "no-driver", 1);
    CHECK_OK(dino_train_count(&options, 8, (size_t)80e9, &gpus, &err), err);
    CHECK(gpus.all <= gpus.room && gpus.micro == gpus.batch && gpus.batches_elsewhere);
    CHECK(gpus.scratch > 0 && gpus.buckets > 0 &&
          gpus.all == gpus.student + gpus.teacher + gpus.gradients + gpus.moments +
                          gpus.activations + gpus.logits + gpus.scratch + gpus.buckets);
    CHECK_OK(dino_train_count(&options, 1, (size_t)16e9, &one, &err), err);
    CHECK(one.all > one.room && one.micro == 1 && one.buckets == 0 && one.traffic == 0);
    options.device = "cuda:1023"; /* without memory it is asked for, and is not here */
    CHECK(!dino_train_count(&options, 1, 0, &one, &err) && strstr(err.message, "cuda"));
    unsetenv("DINO_EMULATE");
}

TEST(a_part_is_as_large_as_memory_allows)
{
    struct dino_train_options options = {.preset = "vits14-small-data"};
    struct dino_train_memory all, some;
    struct dino_error err = {0};

    CHECK_OK(dino_train_count(&options, 1, (size_t)1 << 40, &all, &err), err);
    CHECK(all.micro == all.batch && all.all < all.room);
    size_t less = all.all - all.activations / 2;
    CHECK_OK(dino_train_count(&options, 1, less, &some, &err), err);
    CHECK(some.micro < all.micro && some.micro >= all.micro / 4 && some.all <= less);
}

TEST(a_run_that_cannot_fit_is_refused_before_it_begins)
{
    static const char *const huge[] = {"train.batch_size_per_gpu=60000",
                                       "dino.head_n_prototypes=1000000"};
    const char *folder = draw_pictures("few", 2, 0);
    struct dino_train_options options = options_of(&folder, in_scratch("unfit"));
    struct dino_error err = {0};

    options.settings = huge;
    options.setting_count = 2;
    options.progress = stop;
    CHECK(!dino_train(&options, NULL, &err));
    print_message("%s\n", err.message);
    CHECK(err.code == DINO_ENOMEM && strstr(err.message, "take a smaller network"));
}

/* ---- on a device with memory of its own ---- */

struct watch {
    struct device *device;
    size_t planned;
    double before, least; /* bytes that are free */
};

static void watch_plan(void *context, const struct dino_train_plan *plan)
{
    ((struct watch *)context)->planned = plan->bytes;
}

static bool watch_step(void *context, const struct dino_train_step *step)
{
    struct watch *w = context;
    double left = w->device->ops->room(w->device);

    (void)step;
    w->least = left < w->least ? left : w->least;
    return true;
}

static void check_planned(const char *run, int micro, enum dino_dtype dtype)
{
    static const char *const more[] = {"optim.epochs=4", "train.OFFICIAL_EPOCH_LENGTH=1",
                                       "student.drop_path_rate=0.3",
                                       "ibot.mask_ratio_min_max=[0.1, 0.5]"};
    const char *settings[SMALL + 4];
    const char *folder = draw_pictures("pictures", 8, 0);
    struct dino_error err = {0};
    struct watch w = {.device = dn_device_open(testing_device(), DINO_F32, 1, &err)};
    struct dino_train_options options = options_of(&folder, in_scratch(run));

    CHECK_OK(w.device, err);
    memcpy(settings, small, sizeof small);
    memcpy(settings + SMALL, more, sizeof more);
    w.before = w.least = w.device->ops->room(w.device);
    options.device = testing_device();
    options.dtype = dtype;
    options.micro = micro;
    options.settings = settings;
    options.setting_count = SMALL + 4;
    options.started = watch_plan;
    options.progress = watch_step;
    options.context = &w;
    CHECK_OK(dino_train(&options, NULL, &err), err);
    double taken = w.before - w.least;
    print_message("planned %zu bytes, taken %.0f\n", w.planned, taken);
    CHECK(taken <= (double)w.planned && taken >= 0.95 * (double)w.planned);
    dn_device_close(w.device);
}

TEST(a_gpu_takes_what_was_planned)
{
    if (!testing_device())
        SKIP("DINO_TEST_DEVICE names no device beside cpu");
    check_planned("whole", 8, DINO_F32);
    check_planned("parts", 3, DINO_BF16);
}
