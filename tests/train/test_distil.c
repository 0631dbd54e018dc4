/* Whole runs that learn from a frozen network: with its own heads or made ones, with its
 * features kept or computed, killed or not. */
#include "dino_train.h"

#include <fcntl.h>
#include <math.h>
#include <sys/wait.h>

#include "train/feature_cache.h"
#include "train/head_train.h"
#include "train/made_heads.h"
#include "train/testing_run.h"

enum { MANY = 40 };
static const char *const smaller[] = {"student.embed_dim=48", "student.num_heads=2",
                                      "student.depth=1", NULL};

/* A run of one and a half dozen steps with heads of 48 prototypes; its folder. */
static const char *teacher(void)
{
    static char path[400];
    static const char *const longer[] = {"train.OFFICIAL_EPOCH_LENGTH=10", NULL};
    struct dino_train_options options = {0};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};

    if (!path[0]) {
        CHECK_OK(train("teacher", &w, &options, longer, &err), err);
        snprintf(path, sizeof path, "%s", in_scratch("teacher"));
    }
    return path;
}

static void check_same_students(const char *a, const char *b, int steps)
{
    check_same_network(a, b, steps, "student.pth");
}

/* The mean of the first or last 8 losses. */
static void check_lower(const char *name, double share)
{
    double loss[64], first = 0, last = 0;
    int count = metric(name, "total_loss", loss);

    for (int i = 0; i < 8; i++) {
        first += loss[i] / 8;
        last += loss[count - 8 + i] / 8;
    }
    print_message("%s: loss %.3f, then %.3f\n", name, first, last);
    CHECK(count == MANY && isfinite(last) && last < share * first);
}

static void learn(const char *name, const char *from, bool heads)
{
    static const char *const longer[] = {"student.embed_dim=48", "student.num_heads=2",
                                         "student.depth=1", "train.OFFICIAL_EPOCH_LENGTH=20",
                                         NULL};
    struct dino_train_options options = {.teacher = from, .health_steps = 10};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    char path[400];

    CHECK_OK(train(name, &w, &options, longer, &err), err);
    CHECK(w.plan.teacher && w.plan.teacher_dim == 64 && w.plan.teacher_depth == 2);
    CHECK(w.plan.teacher_has_heads == heads && w.plan.dim == 48 && w.plan.depth == 1);
    check_lower(name, 0.9);
    snprintf(path, sizeof path, "%s/student", in_scratch(name));
    struct dino_model *model = dino_model_open(
        path, &(struct dino_model_options){.size = sizeof(struct dino_model_options)}, &err);
    CHECK_OK(model, err);
    CHECK(dino_model_info(model)->dim == 48 && dino_model_info(model)->heads == 2);
    dino_model_free(model);
}

TEST(a_smaller_student_learns_from_a_run)
{
    learn("from_run", teacher(), true);
}

TEST(a_smaller_student_learns_from_a_bare_model_through_made_heads)
{
    char bare[500];

    snprintf(bare, sizeof bare, "%s/teacher", teacher()); /* a Hugging Face folder */
    learn("from_bare", bare, false);
}

TEST(a_killed_distillation_goes_on_to_the_same_bytes)
{
    char bare[500];
    struct dino_error err = {0};
    struct watch w = {.stop_at = -1};

    snprintf(bare, sizeof bare, "%s/teacher.pth", teacher());
    for (int kind = 0; kind < 4; kind++) {
        bool made = kind % 2 == 1; /* heads: the teacher's own, or made again */
        char whole[20], cut[20];
        struct dino_train_options options = {.teacher = made ? bare : teacher(),
                                             .dtype = kind < 2 ? DINO_F32 : DINO_BF16,
                                             .save_steps = 1};
        snprintf(whole, sizeof whole, "whole%d", kind);
        snprintf(cut, sizeof cut, "cut%d", kind);
        w.kill_at = 0;
        CHECK_OK(train(whole, &w, &options, smaller, &err), err);
        pid_t child = fork();
        CHECK(child >= 0);
        w.seen = 0;
        w.kill_at = 3;
        if (child == 0)
            _exit(train(cut, &w, &options, smaller, &err) ? 0 : 1);
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        w.kill_at = 0;
        CHECK_OK(train(cut, &w, &options, smaller, &err), err);
        CHECK(w.plan.first_step > 0 && w.plan.dtype == options.dtype);
        check_same_students(whole, cut, STEPS);
    }
}

/* ---- the cache ---- */

static const char *const again[] = {"student.embed_dim=48", "student.num_heads=2",
                                    "distillation.crop_epochs=1", NULL};

TEST(kept_features_give_the_bits_of_fresh_ones)
{
    struct dino_train_options options = {.teacher = teacher()};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};

    CHECK_OK(train("fresh", &w, &options, again, &err), err);
    CHECK(!w.plan.cache);
    options.cache = in_scratch("cache");
    CHECK_OK(train("kept", &w, &options, again, &err), err);
    CHECK(w.plan.cache && w.plan.cache_steps == STEPS / 2 && w.plan.cache_made == 0);
    CHECK(w.plan.cache_record == (size_t)(2 * 8 * (1 + 16)) * 64 * sizeof(float));
    options.cache = in_scratch("cache");
    CHECK_OK(train("reused", &w, &options, again, &err), err);
    CHECK(w.plan.cache_made == STEPS / 2);
    check_same_students("fresh", "kept", STEPS);
    check_same_students("fresh", "reused", STEPS);

    /* another student, with other heads, on the same features */
    static const char *const other[] = {"distillation.crop_epochs=1", "student.depth=3",
                                        "dino.head_hidden_dim=24", NULL};
    options.cache = in_scratch("cache");
    CHECK_OK(train("other", &w, &options, other, &err), err);
    CHECK(w.plan.cache_made == STEPS / 2 && w.plan.depth == 3);
}

TEST(crops_that_come_again_are_the_same_crops)
{
    struct dino_train_options options = {.teacher = teacher()};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    static const char *const still[] = {"distillation.crop_epochs=1", "optim.base_lr=0",
                                        "optim.min_lr=0", "student.drop_path_rate=0", NULL};
    double loss[64];

    CHECK_OK(train("still", &w, &options, still, &err), err);
    CHECK(metric("still", "koleo_loss", loss) == STEPS); /* of the crops alone */
    for (int i = 0; i < STEPS / 2; i++) {
        CHECK(loss[i] == loss[i + STEPS / 2]);
        CHECK(i == 0 || loss[i] != loss[0]);
    }
}

/* A record that was not finished, or was changed, is one that is not there. */
TEST(a_damaged_record_is_made_again)
{
    struct dino_train_options options = {.teacher = teacher(), .cache = in_scratch("harmed")};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    char path[400], noise[64];

    CHECK_OK(train("harmed_one", &w, &options, again, &err), err);
    snprintf(path, sizeof path, "%s/features.cache", in_scratch("harmed"));
    int file = open(path, O_RDWR);
    CHECK(file >= 0);
    off_t size = lseek(file, 0, SEEK_END);
    memset(noise, 7, sizeof noise);
    CHECK(pwrite(file, noise, sizeof noise, size / 2) == sizeof noise);
    CHECK(ftruncate(file, size - 100) == 0);
    close(file);
    options.cache = in_scratch("harmed");
    CHECK_OK(train("harmed_two", &w, &options, again, &err), err);
    check_same_students("harmed_one", "harmed_two", STEPS);
}

static void refused(const char *name, struct dino_train_options *options,
                    const char *const *more, const char *word)
{
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};

    if (train(name, &w, options, more, &err))
        fail_msg("%s was not refused", name);
    if (!strstr(err.message, word))
        fail_msg("%s: '%s' does not say %s", name, err.message, word);
}

TEST(what_does_not_fit_is_refused)
{
    static const char *const prototypes[] = {"dino.head_n_prototypes=47", NULL};
    static const char *const patch[] = {"student.patch_size=14", NULL};
    static const char *const masks[] = {"ibot.mask_sample_probability=0.5", NULL};
    static const char *const separate[] = {"ibot.separate_head=true", NULL};
    static const char *const seed[] = {"train.seed=2", "distillation.crop_epochs=1", NULL};
    struct dino_train_options options = {.teacher = teacher()};
    struct watch w = {.stop_at = -1};
    struct dino_error err = {0};
    char other[400];

    refused("p", &options, prototypes, "48 prototypes, but dino.head_n_prototypes is 47");
    refused("q", &options, patch, "patches have 7 pixels");
    refused("m", &options, masks, "hides no patch");
    refused("s", &options, separate, "ibot.separate_head is true");
    options.teacher = in_scratch("nobody");
    refused("n", &options, NULL, "nobody");
    options.teacher = NULL;
    options.cache = in_scratch("c");
    refused("c", &options, NULL, "no teacher");

    options = (struct dino_train_options){.teacher = teacher(), .cache = in_scratch("seeds")};
    CHECK_OK(train("seed1", &w, &options, again, &err), err);
    options.cache = in_scratch("seeds");
    refused("seed2", &options, seed,
            "was made with 'train.seed: 0', now it is 'train.seed: 2'");

    /* a run keeps its teacher, wherever that lies */
    snprintf(other, sizeof other, "%s/teacher.pth", in_scratch("seed1"));
    options = (struct dino_train_options){0};
    refused("seed1", &options, again, "by a frozen teacher, now there is none");
    snprintf(other, sizeof other, "%s/checkpoints/../", teacher());
    options.teacher = other;
    CHECK_OK(train("seed1", &w, &options, again, &err), err);
    CHECK(w.plan.first_step == STEPS);
}

/* ---- made heads ---- */

/* Features of their own are nearest to themselves, at a cosine of 1. */
TEST(made_heads_find_the_features_they_were_made_of)
{
    enum { DIM = 6, ROWS = 20, K = 10 };
    struct net_config net = {.dino = dn_made_head(DIM, K)};
    struct params_table table;
    struct dino_error err = {0};
    float rows[ROWS * DIM], logits[ROWS * K];

    CHECK_OK(dn_vit_config_named(&net.backbone, "vits14", &err), err);
    net.backbone.dim = net.backbone.hidden = DIM;
    net.backbone.heads = net.backbone.depth = 1;
    CHECK_OK(dn_params_table_init(&table, &net, &err), err);
    float *values = calloc(table.elements, sizeof *values);
    for (int i = 0; i < ROWS * DIM; i++) /* of many sizes, one that never moves */
        rows[i] = i % DIM == 3
                      ? 2.5F
                      : (float)(dn_random_f64(1, 1, (uint64_t)i) * pow(10, i % DIM - 2) + 3);
    dn_made_head_fill(&table, MODULE_DINO_HEAD, rows, ROWS, values);

    struct device *device = dn_device_open("cpu", DINO_F32, 1, &err);
    struct queue *queue = device ? dn_queue_new(device, 1, &err) : NULL;
    CHECK_OK(queue, err);
    struct head_pass head = {.queue = queue, .table = &table, .module = MODULE_DINO_HEAD};
    struct tape tape = {.dtype = DINO_F32};
    dn_head_layout(&head, &tape, ROWS, false);
    tape.base = aligned_alloc(DN_ALIGN, tape.used);
    tape.used = 0;
    dn_head_layout(&head, &tape, ROWS, false);
    dn_head_forward(&head, dn_plain_params(values, DINO_F32), dn_mat(rows, ROWS, DIM, DINO_F32),
                    dn_mat(logits, ROWS, K, DINO_F32));
    CHECK_OK(dn_queue_finish(queue, &err), err);
    for (int r = 0; r < ROWS; r += ROWS / K) {
        int best = 0;
        for (int k = 1; k < K; k++)
            if (logits[r * K + k] > logits[r * K + best])
                best = k;
        CHECK(best == r / (ROWS / K) && fabsf(logits[r * K + best] - 1) < 1e-5F);
    }
    dn_queue_free(queue);
    dn_device_close(device);
    dn_params_table_release(&table);
    free(tape.base);
    free(values);
}
