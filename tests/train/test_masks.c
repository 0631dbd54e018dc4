/* Masks: what must hold for each, and their statistics against the official generator's
 * (train/mask_stats.json). */
#include "testing.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/masks.h"

enum { GRID = 16, CELLS = GRID * GRID, DRAWS = 10000 };

static json_t *load(void)
{
    json_error_t error;
    json_t *root = json_load_file(testing_golden("train/mask_stats.json"), 0, &error);
    CHECK(root);
    return root;
}

static double number(json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* Masks of one target: how often each count came, and each cell. */
struct tally {
    int counts[CELLS + 1], cells[CELLS];
    double mean;
};

static void draw_many(struct tally *tally, int target)
{
    struct mask_rule rule = dn_mask_rule(224, 14);
    uint8_t mask[CELLS];

    memset(tally, 0, sizeof *tally);
    for (int i = 0; i < DRAWS; i++) {
        struct draws draws = dn_draws(11, DRAW_MASKS, (uint64_t)target, (uint64_t)i);
        int count = dn_mask_draw(mask, &rule, target, &draws), found = 0;
        for (int c = 0; c < CELLS; c++) {
            CHECK(mask[c] <= 1);
            found += mask[c];
            tally->cells[c] += mask[c];
        }
        CHECK(found == count && count <= target);
        tally->counts[count]++;
        tally->mean += (double)count / DRAWS;
    }
}

TEST(rules_have_the_official_areas)
{
    struct mask_rule rule = dn_mask_rule(224, 14);
    CHECK(rule.rows == 16 && rule.max_area == 128 && rule.min_area == 4);
    rule = dn_mask_rule(224, 16);
    CHECK(rule.rows == 14 && rule.max_area == 98);
}

TEST(masks_have_the_official_statistics_for_every_target)
{
    json_t *root = load(), *row, *histogram, *wanted;
    size_t i, count;

    json_array_foreach(json_object_get(root, "per_target"), i, row)
    {
        int target = (int)number(row, "target");
        char name[16];
        struct tally tally;
        draw_many(&tally, target);
        double bar = 5 * number(row, "std") / 100 + 0.003 * target;
        if (fabs(tally.mean - number(row, "mean_masked")) > bar)
            fail_msg("target %d: %g on average, wanted %g", target, tally.mean,
                     number(row, "mean_masked"));
        double exact = (double)tally.counts[target] / DRAWS;
        double empty = (double)tally.counts[0] / DRAWS;
        CHECK(fabs(exact - number(row, "fraction_exact")) < 0.025);
        CHECK(fabs(empty - number(row, "fraction_empty")) < 0.025);
        snprintf(name, sizeof name, "%d", target);
        histogram = json_object_get(json_object_get(root, "histogram_of_masked_counts"), name);
        json_array_foreach(histogram, count, wanted)
            CHECK(fabs(tally.counts[count] - json_number_value(wanted)) < 0.025 * DRAWS);
    }
    CHECK(i > 5);
    json_decref(root);
}

TEST(cells_are_masked_as_often_as_by_the_official_generator)
{
    json_t *root = load(), *row, *wanted;
    struct tally tally;
    size_t y, x;

    draw_many(&tally, 64);
    json_array_foreach(json_object_get(root, "cell_frequency_target_64"), y, row)
        json_array_foreach(row, x, wanted)
    {
        double found = (double)tally.cells[y * GRID + x] / DRAWS;
        if (fabs(found - json_number_value(wanted)) > 0.025)
            fail_msg("cell %zu,%zu: %g, wanted %g", y, x, found, json_number_value(wanted));
    }
    json_decref(root);
}

static void official(struct train_config *config)
{
    dn_train_config_defaults(config);
    config->student.patch_size = 14;
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* 64 crops: 32 pictures. */
TEST(a_step_has_the_official_shares)
{
    enum { STEPS = 200, PICTURES = 32 };
    json_t *root = load(), *collate = json_object_get(root, "collate"), *wanted;
    const struct batch_part part = {PICTURES, 0, PICTURES};
    double total = 0, sorted[PICTURES] = {0};
    struct train_config config;
    struct masks masks;
    struct dino_error err = {0};
    size_t k;

    official(&config);
    CHECK_OK(dn_masks_init(&masks, &config, part, &err), err);
    for (int step = 0; step < STEPS; step++) {
        int counts[2 * PICTURES] = {0};
        dn_masks_make(&masks, &config, part, 3, step);
        CHECK(masks.upperbound == (int)number(collate, "upperbound"));
        CHECK(masks.count <= masks.upperbound);
        for (int i = 0; i < masks.count; i++)
            counts[masks.indices[i] / CELLS]++;
        qsort(counts, 2 * PICTURES, sizeof *counts, ascending);
        CHECK(counts[PICTURES - 1] == 0 && counts[PICTURES] > 0);
        for (int i = 0; i < PICTURES; i++)
            sorted[i] += (double)counts[PICTURES + i] / STEPS;
        total += (double)masks.count / STEPS;
    }
    CHECK(fabs(total - number(collate, "total_masked_mean")) < 3);
    json_array_foreach(json_object_get(collate, "sorted_counts_mean"), k, wanted)
        CHECK(fabs(sorted[k] - json_number_value(wanted)) < 0.6);
    CHECK(k == PICTURES);
    dn_masks_release(&masks);
    json_decref(root);
}

TEST(indices_and_weights_follow_from_the_masks)
{
    const struct batch_part part = {6, 0, 6};
    struct train_config config;
    struct masks masks;
    struct dino_error err = {0};
    double sum = 0;

    official(&config);
    CHECK_OK(dn_masks_init(&masks, &config, part, &err), err);
    dn_masks_make(&masks, &config, part, 8, 123456789);
    CHECK(masks.crops == 12 && masks.patches == CELLS);
    int at = 0, masked_crops = 0;
    for (int crop = 0; crop < 12; crop++) {
        int here = 0;
        for (int c = 0; c < CELLS; c++)
            if (masks.cells[crop * CELLS + c]) {
                CHECK(masks.indices[at + here] == crop * CELLS + c);
                here++;
            }
        for (int i = 0; i < here; i++)
            CHECK(masks.weights[at + i] == 1.0F / (float)here);
        masked_crops += here > 0;
        at += here;
    }
    CHECK(at == masks.count && masked_crops == 6);
    for (int i = 0; i < masks.count; i++)
        sum += (double)masks.weights[i];
    CHECK(fabs(sum - masked_crops) < 1e-5);
    dn_masks_release(&masks);
}

TEST(the_example_of_sixty_four_pictures_has_its_upper_bound)
{
    const struct batch_part part = {64, 0, 64};
    struct train_config config;
    struct masks masks;
    struct dino_error err = {0};

    dn_train_config_defaults(&config);
    CHECK_OK(dn_masks_init(&masks, &config, part, &err), err);
    dn_masks_make(&masks, &config, part, 0, 0);
    CHECK(masks.upperbound == 3771);
    dn_masks_release(&masks);
}

/* The parts of three processes are the whole of one, and steps differ. */
TEST(processes_share_the_masks_of_one)
{
    const struct batch_part whole = {9, 0, 9};
    struct train_config config;
    struct masks all, mine;
    struct dino_error err = {0};
    int masked = 0;

    official(&config);
    CHECK_OK(dn_masks_init(&all, &config, whole, &err), err);
    dn_masks_make(&all, &config, whole, 21, 4);
    for (int first = 0; first < 9; first += 3) {
        struct batch_part part = {9, first, 3};
        CHECK_OK(dn_masks_init(&mine, &config, part, &err), err);
        dn_masks_make(&mine, &config, part, 21, 4);
        for (int crop = 0; crop < 6; crop++)
            assert_memory_equal(mine.cells + crop * CELLS,
                                all.cells + (crop / 3 * 9 + first + crop % 3) * CELLS, CELLS);
        masked += mine.count;
        dn_masks_release(&mine);
    }
    CHECK(masked == all.count);
    uint8_t *before = malloc(18 * CELLS);
    memcpy(before, all.cells, 18 * CELLS);
    dn_masks_make(&all, &config, whole, 21, 5);
    CHECK(memcmp(before, all.cells, 18 * CELLS) != 0);
    dn_masks_make(&all, &config, whole, 21, 4);
    CHECK(memcmp(before, all.cells, 18 * CELLS) == 0);
    free(before);
    dn_masks_release(&all);
}

TEST(without_masking_nothing_is_masked)
{
    const struct batch_part part = {4, 0, 4};
    struct train_config config;
    struct masks masks;
    struct dino_error err = {0};

    official(&config);
    config.ibot.mask_sample_probability = 0;
    CHECK_OK(dn_masks_init(&masks, &config, part, &err), err);
    dn_masks_make(&masks, &config, part, 0, 0);
    CHECK(masks.count == 0 && masks.upperbound == 0);
    dn_masks_release(&masks);
}
