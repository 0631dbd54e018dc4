/* From logits to the best classes. */
#include "testing.h"

#include <math.h>

TEST(the_best_classes_come_in_falling_order_and_ties_by_index)
{
    const float logits[7] = {1, 5, -2, 5, 3, 3, 0};
    int index[7];
    float p[7];

    CHECK(dino_top(logits, 7, 5, index, p) == 5);
    const int want[5] = {1, 3, 4, 5, 0};
    for (int i = 0; i < 5; i++)
        CHECK(index[i] == want[i]);
    CHECK(p[0] == p[1] && p[2] == p[3] && p[1] > p[2] && p[3] > p[4]);

    double sum = 0;
    for (int i = 0; i < 7; i++)
        sum += exp((double)logits[i]);
    CHECK(fabs(p[0] - exp(5) / sum) < 1e-7 && fabs(p[4] - exp(1) / sum) < 1e-7);
}

TEST(no_more_classes_come_back_than_there_are)
{
    const float logits[3] = {1, 2, 3};
    int index[9];
    float p[9];

    CHECK(dino_top(logits, 3, 9, index, p) == 3);
    CHECK(index[0] == 2 && index[1] == 1 && index[2] == 0);
    CHECK(fabsf(p[0] + p[1] + p[2] - 1) < 1e-6F);
    CHECK(dino_top(logits, 3, 0, index, p) == 0);
    CHECK(dino_top(logits, 0, 3, index, p) == 0);
    CHECK(dino_top(logits, 3, 1, index, NULL) == 1 && index[0] == 2);
}

TEST(large_logits_do_not_overflow_and_nan_is_never_the_best)
{
    const float logits[4] = {NAN, 3e38F, -3e38F, NAN};
    int index[4];
    float p[4];

    CHECK(dino_top(logits + 1, 2, 2, index, p) == 2);
    CHECK(index[0] == 0 && p[0] == 1 && p[1] == 0);
    CHECK(dino_top(logits, 4, 4, index, p) == 4);
    CHECK(index[0] == 1);
}
