/* Batches: the same bytes for any number of threads, from any step, in any division. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "train/loader.h"
#include "train/testing_pictures.h"

enum { BATCH = 6, GLOBAL = 28, LOCAL = 14, LOCALS = 3, STEPS = 5 };
enum { GLOBAL_BYTES = GLOBAL * GLOBAL * 3, LOCAL_BYTES = LOCAL * LOCAL * 3 };
enum { ALL_BYTES = BATCH * (2 * GLOBAL_BYTES + LOCALS * LOCAL_BYTES) };

static void small(struct train_config *config)
{
    dn_train_config_defaults(config);
    config->student.patch_size = 7;
    config->train.batch_size = BATCH;
    config->crops.global_size = GLOBAL;
    config->crops.local_size = LOCAL;
    config->crops.local_number = LOCALS;
}

/* A step's bytes: crops, masks, indices. */
struct record {
    uint8_t crops[ALL_BYTES], cells[2 * BATCH * 16];
    int32_t indices[2 * BATCH * 16];
    int count;
};

static void keep(struct record *record, const struct batch *batch)
{
    CHECK(batch->part.count == BATCH);
    memcpy(record->crops, batch->global, 2 * BATCH * GLOBAL_BYTES);
    memcpy(record->crops + 2 * BATCH * GLOBAL_BYTES, batch->local,
           LOCALS * BATCH * LOCAL_BYTES);
    memcpy(record->cells, batch->masks.cells, sizeof record->cells);
    memset(record->indices, 0, sizeof record->indices);
    record->count = batch->masks.count;
    memcpy(record->indices, batch->masks.indices, (size_t)record->count * 4);
}

/* Steps first to first + STEPS - 1 as loaded by so many threads; heap. */
static struct record *load(const struct dataset *dataset, int threads, int64_t first,
                           int64_t *skipped)
{
    struct record *records = calloc(STEPS, sizeof *records);
    struct train_config config;
    struct dino_error err = {0};
    struct loader_options options = {.threads = threads, .first_step = first};

    small(&config);
    struct loader *loader = dn_loader_open(dataset, &config, &options, &err);
    CHECK_OK(loader != NULL, err);
    for (int i = 0; i < STEPS; i++) {
        const struct batch *batch = dn_loader_next(loader, &err);
        CHECK_OK(batch != NULL, err);
        CHECK(batch->step == first + i);
        keep(&records[i], batch);
    }
    *skipped = dn_loader_skipped(loader);
    dn_loader_close(loader);
    return records;
}

static void open_folder(struct dataset *dataset, const char *folder)
{
    struct dino_error err = {0};
    CHECK_OK(dn_dataset_open(dataset, &folder, 1, 3, &err), err);
}

TEST(any_number_of_threads_makes_the_same_batches)
{
    struct dataset dataset;
    int64_t skipped, again;

    open_folder(&dataset, draw_pictures("threads", 10, 1 << 4));
    struct record *one = load(&dataset, 1, 0, &skipped);
    for (int threads = 2; threads <= 7; threads += 5) {
        struct record *many = load(&dataset, threads, 0, &again);
        CHECK(memcmp(one, many, STEPS * sizeof *one) == 0);
        CHECK(skipped == again && skipped > 0);
        free(many);
    }
    CHECK(memcmp(&one[0], &one[1], sizeof *one) != 0);
    free(one);
    dn_dataset_close(&dataset);
}

TEST(a_run_resumed_at_a_step_gets_what_it_would_have_got)
{
    struct dataset dataset;
    int64_t skipped;

    open_folder(&dataset, draw_pictures("resumed", 10, 1 << 1));
    struct record *whole = load(&dataset, 2, 0, &skipped);
    struct record *later = load(&dataset, 2, 3, &skipped);
    CHECK(memcmp(whole + 3, later, 2 * sizeof *whole) == 0);
    free(whole);
    free(later);
    dn_dataset_close(&dataset);
}

/* Batches of six from ten pictures run over the ends of passes. */
TEST(crops_are_crop_major_and_made_by_their_plans)
{
    struct dataset dataset;
    struct train_config config;
    struct augment augment;
    struct dino_error err = {0};
    int64_t skipped;
    const int step = 4;

    small(&config);
    dn_augment_init(&augment, &config);
    open_folder(&dataset, draw_pictures("plans", 10, 0));
    struct record *records = load(&dataset, 2, 0, &skipped);
    for (int slot = 0; slot < BATCH; slot++) {
        struct sample sample = dn_dataset_sample(&dataset, step * BATCH + slot);
        struct misses misses = {0};
        struct dino_image image = {0};
        CHECK_OK(dn_dataset_read(&dataset, sample, &image, &misses, &err), err);
        for (int crop = 0; crop < 2 + LOCALS; crop++) {
            uint8_t wanted[GLOBAL_BYTES];
            const uint8_t *found = records[step].crops;
            struct draws draws =
                dn_draws(3, DRAW_CROPS, (uint64_t)sample.pass,
                         (uint64_t)sample.position * MOST_CROPS + (uint64_t)crop);
            struct crop_plan plan =
                dn_crop_plan(&augment, crop, image.width, image.height, draws);
            CHECK_OK(dn_crop_apply(&plan, &image, wanted, &err), err);
            if (crop < 2)
                found += (crop * BATCH + slot) * GLOBAL_BYTES;
            else
                found += 2 * BATCH * GLOBAL_BYTES + ((crop - 2) * BATCH + slot) * LOCAL_BYTES;
            CHECK(memcmp(wanted, found, crop < 2 ? GLOBAL_BYTES : LOCAL_BYTES) == 0);
        }
        dino_image_release(&image);
    }
    free(records);
    dn_dataset_close(&dataset);
}

TEST(processes_load_the_parts_of_one_batch)
{
    struct dataset dataset;
    struct train_config config;
    struct dino_error err = {0};
    int64_t skipped;

    small(&config);
    open_folder(&dataset, draw_pictures("parts", 9, 0));
    struct record *whole = load(&dataset, 1, 0, &skipped);
    for (int first = 0; first < BATCH; first += 2) {
        struct loader_options options = {.threads = 2, .part = {BATCH, first, 2}};
        struct loader *loader = dn_loader_open(&dataset, &config, &options, &err);
        CHECK_OK(loader != NULL, err);
        for (int step = 0; step < STEPS; step++) {
            const struct batch *batch = dn_loader_next(loader, &err);
            CHECK_OK(batch != NULL, err);
            for (int crop = 0; crop < 2; crop++)
                CHECK(memcmp(batch->global + crop * 2 * GLOBAL_BYTES,
                             whole[step].crops + (crop * BATCH + first) * GLOBAL_BYTES,
                             2 * GLOBAL_BYTES) == 0);
            for (int crop = 0; crop < 4; crop++)
                CHECK(memcmp(batch->masks.cells + crop * 16,
                             whole[step].cells + (crop / 2 * BATCH + first + crop % 2) * 16,
                             16) == 0);
        }
        dn_loader_close(loader);
    }
    free(whole);
    dn_dataset_close(&dataset);
}

struct names {
    int count;
    char first[300];
};

static void note(void *context, const char *name, const struct dino_error *why)
{
    struct names *names = context;
    CHECK(why->code != DINO_OK);
    if (names->count++ == 0)
        snprintf(names->first, sizeof names->first, "%s", name);
}

TEST(unreadable_pictures_are_reported_once_each_in_order)
{
    struct dataset dataset;
    struct train_config config;
    struct dino_error err = {0};
    struct names names = {0};
    struct loader_options options = {.threads = 3, .skipped = note, .context = &names};

    small(&config);
    open_folder(&dataset, draw_pictures("reported", 12, 1 << 5));
    struct loader *loader = dn_loader_open(&dataset, &config, &options, &err);
    CHECK_OK(loader != NULL, err);
    for (int i = 0; i < 8; i++) /* two steps are a pass */
        CHECK_OK(dn_loader_next(loader, &err), err);
    CHECK(names.count == 1 && dn_loader_skipped(loader) == 1);
    CHECK(strstr(names.first, "sub/05.png"));
    dn_loader_close(loader);
    dn_dataset_close(&dataset);
}

TEST(a_run_of_which_most_pictures_cannot_be_read_stops_and_says_so)
{
    struct dataset dataset;
    struct train_config config;
    struct dino_error err = {0}, again = {0};
    struct names names = {0};
    struct loader_options options = {.threads = 2, .skipped = note, .context = &names};
    int batches = 0;

    small(&config);
    open_folder(&dataset, draw_pictures("mostly", 12, 0xff7));
    struct loader *loader = dn_loader_open(&dataset, &config, &options, &err);
    CHECK_OK(loader != NULL, err);
    while (batches < 100 && dn_loader_next(loader, &err))
        batches++;
    print_message("%s\n", err.message);
    CHECK(strstr(err.message, "most pictures cannot be read, 1"));
    CHECK(batches < 20 && names.count == 11);
    CHECK(!dn_loader_next(loader, &again) && strcmp(err.message, again.message) == 0);
    dn_loader_close(loader);
    dn_dataset_close(&dataset);
}

TEST(an_error_comes_in_its_turn_and_stays)
{
    struct dataset dataset;
    struct train_config config;
    struct dino_error err = {0}, again = {0};
    struct loader_options options = {.threads = 2};

    small(&config);
    open_folder(&dataset, draw_pictures("lost", 2, 3));
    struct loader *loader = dn_loader_open(&dataset, &config, &options, &err);
    CHECK_OK(loader != NULL, err);
    CHECK(!dn_loader_next(loader, &err));
    CHECK(strstr(err.message, "in a row cannot be read"));
    CHECK(!dn_loader_next(loader, &again));
    CHECK(strcmp(err.message, again.message) == 0);
    dn_loader_close(loader);
    dn_dataset_close(&dataset);
}

TEST(a_loader_can_be_closed_at_any_time)
{
    struct dataset dataset;
    struct train_config config;
    struct dino_error err = {0};

    small(&config);
    config.crops.local_number = 0;
    open_folder(&dataset, draw_pictures("closed", 5, 0));
    for (int used = 0; used < 3; used++) {
        struct loader_options options = {.threads = 3, .ahead = 1 + used};
        struct loader *loader = dn_loader_open(&dataset, &config, &options, &err);
        CHECK_OK(loader != NULL, err);
        for (int i = 0; i < used; i++) {
            const struct batch *batch = dn_loader_next(loader, &err);
            CHECK_OK(batch != NULL, err);
            CHECK(!batch->local);
        }
        dn_loader_close(loader);
    }
    dn_loader_close(NULL);
    CHECK(
        !dn_loader_open(&dataset, &config, &(struct loader_options){.part = {4, 3, 2}}, &err));
    dn_dataset_close(&dataset);
}
