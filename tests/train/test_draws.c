/* Draws and permutations: ranges, independence of the order of asking, evenness. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "train/draws.h"

TEST(a_permutation_meets_every_place_once)
{
    for (int64_t count = 1; count < 300; count += count < 40 ? 1 : 37) {
        char *met = calloc((size_t)count, 1);
        for (int64_t i = 0; i < count; i++) {
            int64_t to = dn_permuted(77, i, count);
            CHECK(to >= 0 && to < count && !met[to]);
            met[to] = 1;
        }
        free(met);
    }
}

/* Chi-squared of items in places, and of pairs of items in one pair of places. */
TEST(permutations_are_even_over_places_and_pairs)
{
    enum { N = 6, RUNS = 36000 };
    int singles[N][N] = {{0}}, pairs[N][N] = {{0}};
    double chi = 0, chi_pairs = 0;

    for (uint64_t key = 0; key < RUNS; key++) {
        int64_t to[N];
        for (int i = 0; i < N; i++) {
            to[i] = dn_permuted(key, i, N);
            singles[i][to[i]]++;
        }
        pairs[to[1]][to[4]]++;
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double off = singles[i][j] - RUNS / 6.0;
            chi += off * off / (RUNS / 6.0);
            if (i == j) {
                CHECK(pairs[i][j] == 0);
                continue;
            }
            off = pairs[i][j] - RUNS / 30.0;
            chi_pairs += off * off / (RUNS / 30.0);
        }
    CHECK(chi < 60);       /* 25 degrees of freedom: one in ten thousand */
    CHECK(chi_pairs < 66); /* 29 */
}

TEST(millions_of_places_need_no_table)
{
    const int64_t count = 142000001;
    int64_t least = count, most = 0;
    double sum = 0;

    for (int64_t i = 0; i < 2000; i++) {
        int64_t to = dn_permuted(5, i, count);
        CHECK(to >= 0 && to < count);
        least = to < least ? to : least;
        most = to > most ? to : most;
        sum += (double)to / (double)count;
    }
    CHECK(least < count / 200 && most > count - count / 200);
    CHECK(sum / 2000 > 0.48 && sum / 2000 < 0.52);
}

TEST(draws_keep_to_their_ranges_and_restart)
{
    struct draws draws = dn_draws(1, DRAW_CROPS, 2, 3), again = draws;
    int met[5] = {0}, hits = 0;

    for (int i = 0; i < 5000; i++) {
        double x = dn_draw_between(&draws, 4, 2);
        CHECK(x > 2 && x <= 4);
        CHECK(x == dn_draw_between(&again, 4, 2));
        met[dn_draw_below(&draws, 5)]++;
        dn_draw_below(&again, 5);
        hits += dn_draw_chance(&draws, 0.3);
        dn_draw_chance(&again, 0.3);
    }
    for (int i = 0; i < 5; i++)
        CHECK(met[i] > 850 && met[i] < 1150);
    CHECK(hits > 1350 && hits < 1650);
    CHECK(!dn_draw_chance(&draws, 0) && dn_draw_chance(&draws, 1));
}

TEST(purposes_places_and_streams_draw_different_numbers)
{
    struct draws all[] = {dn_draws(1, DRAW_CROPS, 2, 3), dn_draws(1, DRAW_MASKS, 2, 3),
                          dn_draws(1, DRAW_CROPS, 3, 3), dn_draws(1, DRAW_CROPS, 2, 4),
                          dn_draws(2, DRAW_CROPS, 2, 3)};
    double first[5];

    for (int i = 0; i < 5; i++) {
        first[i] = dn_draw_between(&all[i], 0, 1);
        for (int j = 0; j < i; j++)
            CHECK(first[i] != first[j]);
    }
}
