#include "compute/cpu/cpu_team.h"

#include <omp.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu_features.h"

/*
 * `state` says whether a job is open, which one, and how many helpers are inside it. A helper
 * enters by a compare-and-swap on the open state, so it can never enter a job that is over;
 * the caller closes the job and then waits for those inside only.
 */
enum { INSIDE = 1 }; /* added by each helper inside: 16 bits */
#define OPEN ((uint64_t)1 << 16)
#define JOB ((uint64_t)1 << 17) /* added for each job */
#define INSIDE_OF(state) ((int)((state) & (OPEN - 1)))
#define JOB_OF(state) ((state) / JOB)

/* How often a waiting thread looks before it sleeps: some twenty microseconds, the time
 * between two operations. */
enum { PATIENCE = 1500 };

struct helper {
    struct team *team;
    pthread_t thread;
    int index;
};

struct team {
    _Alignas(64) _Atomic uint64_t state;
    _Alignas(64) atomic_int sleepers; /* helpers, and the caller, that may need a signal */
    atomic_bool leaving;
    void (*work)(void *argument, int thread);
    void *argument;
    int limit; /* helpers with a smaller index may enter */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int started; /* helpers that run */
    struct helper helpers[];
};

/* After a change of state: wake those that sleep. */
static void announce(struct team *team)
{
    if (atomic_load(&team->sleepers) == 0)
        return;
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
}

/* Until ready(team, what): look for a while, then sleep. */
static void await(struct team *team, bool (*ready)(struct team *team, uint64_t what),
                  uint64_t what)
{
    for (int i = 0; i < PATIENCE; i++, dn_cpu_rest())
        if (ready(team, what))
            return;
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->sleepers, 1);
    while (!ready(team, what))
        pthread_cond_wait(&team->changed, &team->mutex);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->mutex);
}

/* A job other than `seen` is open, or everyone leaves. */
static bool job_waits(struct team *team, uint64_t seen)
{
    uint64_t state = atomic_load(&team->state);
    return ((state & OPEN) && JOB_OF(state) != seen) || atomic_load(&team->leaving);
}

static bool all_are_out(struct team *team, uint64_t unused)
{
    (void)unused;
    return INSIDE_OF(atomic_load(&team->state)) == 0;
}

/* Enter the open job and do a share of it; returns its number. */
static uint64_t join(struct team *team, int index)
{
    uint64_t state = atomic_load(&team->state);

    do {
        if (!(state & OPEN))
            return 0; /* too late; look again */
    } while (!atomic_compare_exchange_weak(&team->state, &state, state + INSIDE));
    if (index < team->limit)
        team->work(team->argument, index);
    uint64_t left = atomic_fetch_sub(&team->state, INSIDE) - INSIDE;
    if (!(left & OPEN) && INSIDE_OF(left) == 0)
        announce(team);
    return JOB_OF(state);
}

static void *help(void *argument)
{
    struct helper *helper = argument;
    struct team *team = helper->team;
    uint64_t seen = 0;

    for (;;) {
        await(team, job_waits, seen);
        if (atomic_load(&team->leaving))
            return NULL;
        uint64_t done = join(team, helper->index);
        if (done)
            seen = done;
    }
}

struct team *dn_team_new(int threads, struct dino_error *err)
{
    int helpers = threads > 1 ? threads - 1 : 0;
    size_t bytes = sizeof(struct team) + (size_t)helpers * sizeof(struct helper);
    struct team *team = dn_alloc_aligned(bytes, "a team of threads", err);

    if (!team)
        return NULL;
    memset(team, 0, bytes);
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->changed, NULL);
    for (int i = 0; i < helpers; i++) {
        struct helper *helper = &team->helpers[i];
        *helper = (struct helper){.team = team, .index = i + 1};
        if (pthread_create(&helper->thread, NULL, help, helper) != 0)
            break; /* fewer threads do the same work */
        team->started++;
    }
    return team;
}

void dn_team_free(struct team *team)
{
    if (!team)
        return;
    atomic_store(&team->leaving, true);
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
    for (int i = 0; i < team->started; i++)
        pthread_join(team->helpers[i].thread, NULL);
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->mutex);
    dn_free_aligned(team, sizeof *team + (size_t)team->started * sizeof(struct helper));
}

void dn_team_run(struct team *team, int threads, void (*work)(void *argument, int thread),
                 void *argument)
{
    if (!team && threads > 1) {
#pragma omp parallel num_threads(threads)
        work(argument, omp_get_thread_num());
        return;
    }
    if (threads <= 1 || team->started == 0) {
        work(argument, 0);
        return;
    }
    team->work = work;
    team->argument = argument;
    team->limit = threads;
    atomic_fetch_add(&team->state, JOB + OPEN); /* closed and empty before */
    announce(team);
    work(argument, 0);
    atomic_fetch_sub(&team->state, OPEN);
    await(team, all_are_out, 0);
}

/* ---------------------------------------------------------------- tasks */

static int share_start(const struct team_tasks *tasks, int share)
{
    return (int)((int64_t)tasks->count * share / tasks->shares);
}

void dn_tasks_init(struct team_tasks *tasks, int count, int threads)
{
    tasks->count = count;
    atomic_init(&tasks->stopped, false);
    tasks->shares = threads < 1 ? 1 : threads < TEAM_SHARES ? threads : TEAM_SHARES;
    for (int i = 0; i < tasks->shares; i++)
        atomic_init(&tasks->share[i].next, share_start(tasks, i));
}

void dn_tasks_stop(struct team_tasks *tasks)
{
    atomic_store_explicit(&tasks->stopped, true, memory_order_relaxed);
}

int dn_tasks_take(struct team_tasks *tasks, int thread)
{
    if (atomic_load_explicit(&tasks->stopped, memory_order_relaxed))
        return -1;
    for (int i = 0; i < tasks->shares; i++) {
        int share = (thread + i) % tasks->shares, end = share_start(tasks, share + 1);
        if (atomic_load_explicit(&tasks->share[share].next, memory_order_relaxed) >= end)
            continue;
        int task = atomic_fetch_add(&tasks->share[share].next, 1);
        if (task < end)
            return task;
    }
    return -1;
}

struct ranges {
    void (*task)(void *argument, int first, int last);
    void *argument;
    int count, grain;
    struct team_tasks tasks;
};

static void do_ranges(void *argument, int thread)
{
    struct ranges *r = argument;

    for (int i; (i = dn_tasks_take(&r->tasks, thread)) >= 0;) {
        int first = i * r->grain, left = r->count - first;
        r->task(r->argument, first, first + (left < r->grain ? left : r->grain));
    }
}

void dn_team_ranges(struct team *team, int threads, int count, int grain,
                    void (*task)(void *argument, int first, int last), void *argument)
{
    struct ranges r = {.task = task, .argument = argument, .count = count, .grain = grain};
    int tasks = count / grain + (count % grain != 0);

    if (tasks <= 1 || threads <= 1) {
        if (count > 0)
            task(argument, 0, count);
        return;
    }
    dn_tasks_init(&r.tasks, tasks, threads);
    dn_team_run(team, threads, do_ranges, &r);
}
