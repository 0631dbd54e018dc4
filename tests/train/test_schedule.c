/* Schedules at their corners. */
#include "testing.h"

#include <math.h>

#include "train/schedule.h"

TEST(warm_up_ends_at_the_peak_and_the_cosine_begins_there)
{
    struct schedule s = {.base = 2, .final = 1, .warmup = 5, .total = 10};

    CHECK(dn_schedule_at(&s, 0) == 0);
    CHECK(dn_schedule_at(&s, 4) == 2);
    CHECK(dn_schedule_at(&s, 5) == 2);
    CHECK(dn_schedule_at(&s, 9) > 1);
    CHECK(dn_schedule_at(&s, 10) == 1);
    CHECK(dn_schedule_at(&s, INT64_MAX) == 1);
}

TEST(a_warm_up_of_one_step_is_its_start)
{
    struct schedule s = {.start = 0.5, .base = 2, .final = 1, .warmup = 1, .total = 3};

    CHECK(dn_schedule_at(&s, 0) == 0.5);
    CHECK(dn_schedule_at(&s, 1) == 2);
}

TEST(a_warm_up_that_fills_the_run_has_no_cosine)
{
    struct schedule s = {.start = 1, .base = 3, .final = 3, .warmup = 3, .total = 3};

    CHECK(dn_schedule_at(&s, 1) == 2);
    CHECK(dn_schedule_at(&s, 2) == 3);
    CHECK(dn_schedule_at(&s, 3) == 3);
}

TEST(a_frozen_backbone_is_warmed_up_when_its_heads_are)
{
    struct train_config c;
    struct schedules schedules;

    dn_train_config_defaults(&c);
    c.optim.epochs = 10;
    c.optim.warmup_epochs = 2;
    dn_schedules_init(&schedules, &c, 1024, 10);
    for (int64_t i = 0; i < 110; i++)
        CHECK(dn_schedules_at(&schedules, i).backbone_lr == dn_schedules_at(&schedules, i).lr);
    c.optim.freeze_backbone_epochs = 3;
    dn_schedules_init(&schedules, &c, 1024, 10);
    for (int64_t i = 0; i < 30; i++)
        CHECK(dn_schedules_at(&schedules, i).backbone_lr == 0);
    CHECK(dn_schedules_at(&schedules, 19).lr == 0.004);
    CHECK(dn_schedules_at(&schedules, 30).backbone_lr == 0); /* the warm-up's own first step */
    CHECK(dn_schedules_at(&schedules, 31).backbone_lr > 0);
    CHECK(dn_schedules_at(&schedules, 49).backbone_lr == 0.004);
    CHECK(dn_schedules_at(&schedules, 99).backbone_lr > c.optim.min_lr);
    CHECK(dn_schedules_at(&schedules, 100).backbone_lr == c.optim.min_lr);
}

TEST(the_reference_examples_of_the_short_run)
{
    struct train_config c;
    struct schedules schedules;

    dn_train_config_defaults(&c);
    dn_schedules_init(&schedules, &c, 2048, 1250);
    CHECK(fabs(dn_schedules_at(&schedules, 1).lr - 4.5258454672e-7) < 1e-16);
    CHECK(fabs(dn_schedules_at(&schedules, 12499).lr - 0.0056568542495) < 1e-12);
    CHECK(fabs(dn_schedules_at(&schedules, 62500).lr - 0.0033199915165) < 1e-12);
    CHECK(fabs(dn_schedules_at(&schedules, 62500).weight_decay - 0.22) < 1e-12);
    CHECK(fabs(dn_schedules_at(&schedules, 1).teacher_temp - 0.0400008000213) < 1e-12);
    CHECK(dn_schedules_at(&schedules, 1249).last_layer_lr == 0);
    CHECK(dn_schedules_at(&schedules, 1250).last_layer_lr > 0);
}
