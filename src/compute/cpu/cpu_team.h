/*
 * Threads that help the caller with one job at a time. A job is a function that takes tasks
 * from a counter until none is left; helpers that are on their way join in, and those that the
 * system lets wait are not waited for: on cores that other programs use too, the caller does
 * the work itself instead of standing at a barrier. Which thread does which task must not
 * matter to the result.
 */
#ifndef COMPUTE_CPU_CPU_TEAM_H
#define COMPUTE_CPU_CPU_TEAM_H

#include <stdatomic.h>

#include "base/error.h"

struct team;

/* threads counts the caller; with 1 there are no helpers. Everywhere below, team NULL means
 * OpenMP's threads: beside oneDNN's products, which use them too. */
struct team *dn_team_new(int threads, struct dino_error *err);
void dn_team_free(struct team *team);

/*
 * work(argument, 0) on the caller and, at the same time, work(argument, i) at most once on each
 * helper 0 < i < threads. Returns when all that were begun have ended. One caller at a time.
 */
void dn_team_run(struct team *team, int threads, void (*work)(void *argument, int thread),
                 void *argument);

/*
 * Tasks 0 .. count - 1 of one job. Every thread has a share of its own, the same for every job
 * of as many threads, so that what it wrote in one operation it finds in its caches in the
 * next; who has done its share takes from the others'.
 */
enum { TEAM_SHARES = 64 };
struct team_tasks {
    int count, shares;
    atomic_bool stopped;
    struct {
        _Alignas(64) atomic_int next;
    } share[TEAM_SHARES];
};

void dn_tasks_init(struct team_tasks *tasks, int count, int threads);
/* The next task of this thread, or -1. */
int dn_tasks_take(struct team_tasks *tasks, int thread);
/* No more tasks: what was taken is finished, the rest is left undone. */
void dn_tasks_stop(struct team_tasks *tasks);

/* task(argument, first, last) for ranges of at most `grain` that make up [0, count). */
void dn_team_ranges(struct team *team, int threads, int count, int grain,
                    void (*task)(void *argument, int first, int last), void *argument);

#endif
