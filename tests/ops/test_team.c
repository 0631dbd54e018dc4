/* The threads that share an operation's work: every task is done once, whoever does it. */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "compute/cpu/cpu_team.h"
#include "testing.h"

enum { MOST = 5000 };

struct counts {
    atomic_int done[MOST];
    atomic_int begun[64]; /* a thread */
};

static void count_range(void *argument, int first, int last)
{
    struct counts *c = argument;

    for (int i = first; i < last; i++)
        atomic_fetch_add(&c->done[i], 1);
}

static void check_ranges(int threads, int rounds)
{
    static struct counts c;
    struct dino_error err = {0};
    struct team *team = dn_team_new(threads, &err);

    CHECK_OK(team, err);
    for (int round = 0; round < rounds; round++) {
        int count = 1 + round * 37 % MOST, grain = 1 + round % 19;
        memset(&c, 0, sizeof c);
        dn_team_ranges(team, threads, count, grain, count_range, &c);
        for (int i = 0; i < MOST; i++)
            CHECK(atomic_load(&c.done[i]) == (i < count));
    }
    dn_team_free(team);
}

TEST(every_task_is_done_once)
{
    check_ranges(1, 50);
    check_ranges(2, 2000);
    check_ranges(7, 1000); /* more threads than cores, mostly */
}

static void count_thread(void *argument, int thread)
{
    struct counts *c = argument;

    atomic_fetch_add(&c->begun[thread], 1);
    usleep(200); /* long enough for helpers to come, or to be too late */
}

TEST(a_thread_takes_part_once_and_the_caller_always)
{
    static struct counts c;
    struct dino_error err = {0};
    struct team *team = dn_team_new(6, &err);

    CHECK_OK(team, err);
    for (int round = 0; round < 200; round++) {
        int wanted = 1 + round % 6;
        memset(&c, 0, sizeof c);
        dn_team_run(team, wanted, count_thread, &c);
        CHECK(atomic_load(&c.begun[0]) == 1);
        for (int i = 1; i < 64; i++)
            CHECK(atomic_load(&c.begun[i]) <= (i < wanted));
    }
    dn_team_free(team);
}

TEST(helpers_that_fell_asleep_wake_up_for_work_and_for_the_end)
{
    static struct counts c;
    struct dino_error err = {0};

    for (int round = 0; round < 20; round++) {
        struct team *team = dn_team_new(3, &err);
        int helped = 0;
        CHECK_OK(team, err);
        /* On a busy machine they are late. */
        for (int i = 0; i < 20 || (!helped && i < 2000); i++) {
            usleep(300); /* longer than a helper's patience */
            memset(&c, 0, sizeof c);
            dn_team_run(team, 3, count_thread, &c);
            helped += atomic_load(&c.begun[1]) + atomic_load(&c.begun[2]);
        }
        CHECK(helped > 0);
        dn_team_free(team);
    }
}

TEST(without_a_team_openmp_does_the_work)
{
    static struct counts c;

    memset(&c, 0, sizeof c);
    dn_team_ranges(NULL, 2, 1000, 7, count_range, &c);
    for (int i = 0; i < MOST; i++)
        CHECK(atomic_load(&c.done[i]) == (i < 1000));
    dn_team_ranges(NULL, 1, 1000, 7, count_range, &c);
    CHECK(atomic_load(&c.done[999]) == 2);
}
