/* Plans of crops: ranges, evenness of the orders, independence. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "train/augment.h"

static void official(struct augment *augment)
{
    struct train_config config;

    dn_train_config_defaults(&config);
    dn_augment_init(augment, &config);
}

TEST(crops_have_their_sizes_and_factors_their_ranges)
{
    struct augment augment;
    double low[JITTER_COUNT] = {9, 9, 9, 9}, high[JITTER_COUNT] = {-9, -9, -9, -9};
    double least = 9, most = 0;

    official(&augment);
    CHECK(augment.locals == 8);
    for (int i = 0; i < 5000; i++) {
        struct crop_plan plan =
            dn_crop_plan(&augment, i % 10, 64, 48, dn_draws(4, DRAW_CROPS, 0, (uint64_t)i));
        CHECK(plan.size == (i % 10 < 2 ? 224 : 96));
        for (int k = 0; k < JITTER_COUNT; k++) {
            low[k] = fmin(low[k], plan.factor[k]);
            high[k] = fmax(high[k], plan.factor[k]);
        }
        if (plan.sigma > 0) {
            least = fmin(least, plan.sigma);
            most = fmax(most, plan.sigma);
        }
    }
    static const double from[] = {0.6, 0.6, 0.8, -0.1}, to[] = {1.4, 1.4, 1.2, 0.1};
    for (int k = 0; k < JITTER_COUNT; k++) {
        double slack = (to[k] - from[k]) / 100;
        CHECK(low[k] >= from[k] && low[k] < from[k] + slack);
        CHECK(high[k] <= to[k] && high[k] > to[k] - slack);
    }
    CHECK(least >= 0.1 && least < 0.12 && most <= 2 && most > 1.98);
}

TEST(all_orders_of_the_colour_operations_come_equally_often)
{
    enum { DRAWS = 24000 };
    struct augment augment;
    int counts[256] = {0}, orders = 0;
    double chi = 0;

    official(&augment);
    for (int i = 0; i < DRAWS; i++) {
        struct crop_plan plan =
            dn_crop_plan(&augment, 0, 64, 48, dn_draws(4, DRAW_CROPS, 7, (uint64_t)i));
        int code = 0, met = 0;
        for (int k = 0; k < JITTER_COUNT; k++) {
            code = code * 4 + (int)plan.order[k];
            met |= 1 << plan.order[k];
        }
        CHECK(met == 15);
        counts[code]++;
    }
    for (int code = 0; code < 256; code++)
        if (counts[code]) {
            double off = counts[code] - DRAWS / 24.0;
            chi += off * off / (DRAWS / 24.0);
            orders++;
        }
    CHECK(orders == 24);
    CHECK(chi < 57); /* 23 degrees of freedom: one in ten thousand */
}

TEST(pictures_of_every_shape_have_a_box)
{
    static const int shapes[][2] = {{1, 1}, {1, 500}, {500, 1}, {2, 3}, {20000, 7}};
    struct augment augment;
    struct dino_error err = {0};

    official(&augment);
    augment.global[0].size = 14;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct dino_image from = {0};
        uint8_t to[14 * 14 * 3];
        CHECK_OK(dino_image_alloc(&from, shapes[i][0], shapes[i][1], &err), err);
        for (uint64_t k = 0; k < 20; k++) {
            struct crop_plan plan = dn_crop_plan(&augment, 0, shapes[i][0], shapes[i][1],
                                                 dn_draws(k, DRAW_CROPS, 0, 0));
            CHECK_OK(dn_crop_apply(&plan, &from, to, &err), err);
        }
        dino_image_release(&from);
    }
}

/* Nothing of the plan is left out of the picture. */
TEST(every_step_of_a_plan_changes_the_crop)
{
    struct dino_image from = {0};
    struct dino_error err = {0};
    uint8_t plain[48 * 3 * 48], changed[48 * 3 * 48];

    CHECK_OK(dino_image_alloc(&from, 60, 50, &err), err);
    for (size_t i = 0; i < 60 * 50 * 3; i++)
        from.pixels[i] = (uint8_t)dn_random_u64(6, 0, i);
    struct crop_plan start = {.left = 3, .top = 1, .width = 50, .height = 45, .size = 48};
    for (int i = 0; i < JITTER_COUNT; i++)
        start.order[i] = (enum jitter)i;
    start.factor[0] = start.factor[1] = start.factor[2] = 1;
    CHECK_OK(dn_crop_apply(&start, &from, plain, &err), err);
    for (int step = 0; step < 10; step++) {
        struct crop_plan plan = start;
        plan.flip = step == 0;
        plan.jitter = step >= 1 && step <= 4;
        if (plan.jitter)
            plan.factor[step - 1] = step == 4 ? 0.1 : 1.3;
        plan.gray = step == 5;
        plan.sigma = step == 6 ? 1 : 0;
        plan.solarize = step == 7;
        plan.left += step == 8;
        plan.top += step == 9;
        CHECK_OK(dn_crop_apply(&plan, &from, changed, &err), err);
        CHECK(memcmp(plain, changed, sizeof plain) != 0);
    }
    dino_image_release(&from);
}
