/*
 * Blocks of threads on one processor thread: each emulated thread is a fiber with a stack of
 * its own, and runs until it waits for its warp or its block. Who runs next follows the order
 * forwards, or backwards where DINO_EMULATE_BACKWARDS is set: results must not depend on it.
 */
#include "emulate_fibers.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "emulate.h"

enum { MOST_THREADS = 1024, STACK = 256 << 10, MOST_COPIES = 256 };

enum state { READY, AT_WARP, AT_BLOCK, DONE };

struct copy {
    void *to;
    const void *from;
    int real, group;
};

struct fiber {
    struct emulated_thread place;
    enum state state;
    jmp_buf here;
    bool begun;
    char *stack;
    void (*together)(void *const lanes[32]); /* what its warp waits to do */
    void *mine;
    struct copy copies[MOST_COPIES]; /* asked for, not made yet */
    int copy_count, groups;
};

/* The fibers of one launch; kept for the next one. */
struct crew {
    struct fiber fibers[MOST_THREADS];
    struct crew *next;
};

struct processor {
    bool backwards;
    struct crew *crew;
    struct fiber *fibers;
    jmp_buf scheduler;
    ucontext_t home;
    struct fiber *now;
    int threads;
    const struct emulated_launch *launch;
    unsigned char *shared;
};

static _Thread_local struct processor processor;
static struct crew *idle;
static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;

/* AddressSanitizer wants to know which stack is in use; without it these are absent. */
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size)
    __attribute__((weak));
void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size)
    __attribute__((weak));

static void leaving(const void *bottom, size_t size)
{
    if (__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(NULL, bottom, size);
}

static void arrived(const void **bottom, size_t *size)
{
    if (__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(NULL, bottom, size);
}

static _Thread_local const void *home_bottom;
static _Thread_local size_t home_size;

const struct emulated_thread *emulated(void)
{
    return &processor.now->place;
}

void emulate_fault(const char *format, ...)
{
    const struct processor *p = &processor;
    va_list args;

    fprintf(stderr, "emulated %s: ", p->launch ? p->launch->name : "runtime");
    if (p->now)
        fprintf(stderr, "block %d, %d thread %d: ", p->now->place.block[0],
                p->now->place.block[1], p->now->place.thread);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

void emulate_aligned(const void *address, size_t bytes)
{
    if ((uintptr_t)address % bytes)
        emulate_fault("%zu bytes at %p, which is no multiple", bytes, address);
}

/* Back to the scheduler until somebody makes this fiber READY. */
static void pause_fiber(void)
{
    struct fiber *f = processor.now;

    if (_setjmp(f->here) == 0) {
        leaving(home_bottom, home_size);
        _longjmp(processor.scheduler, 1);
    }
    arrived(NULL, NULL);
}

void emulate_warp(void (*together)(void *const lanes[32]), void *mine)
{
    struct fiber *f = processor.now, *warp = processor.fibers + f->place.thread / 32 * 32;
    void *lanes[32];

    f->state = AT_WARP;
    f->together = together;
    f->mine = mine;
    for (int i = 0; i < 32; i++) {
        if (warp[i].state == DONE || warp[i].state == AT_BLOCK)
            emulate_fault("waits for its warp, thread %d does something else",
                          warp[i].place.thread);
        if (warp[i].state != AT_WARP) {
            pause_fiber();
            return;
        }
        if (warp[i].together != together)
            emulate_fault("its warp does something else in thread %d", warp[i].place.thread);
        lanes[i] = warp[i].mine;
    }
    together(lanes);
    for (int i = 0; i < 32; i++)
        warp[i].state = READY;
}

void emulate_block(void)
{
    struct processor *p = &processor;

    p->now->state = AT_BLOCK;
    for (int i = 0; i < p->threads; i++) {
        if (p->fibers[i].state == DONE)
            emulate_fault("waits for its block, thread %d has ended", i);
        if (p->fibers[i].state != AT_BLOCK) {
            pause_fiber();
            return;
        }
    }
    for (int i = 0; i < p->threads; i++)
        p->fibers[i].state = READY;
}

/* ---- asynchronous copies: made at the wait that must see them ---- */

void emulate_copy_start(void *shared, const void *global, int real)
{
    struct fiber *f = processor.now;

    emulate_aligned(shared, 16);
    emulate_aligned(global, 16);
    if (f->copy_count == MOST_COPIES)
        emulate_fault("%d copies are under way", MOST_COPIES);
    f->copies[f->copy_count++] = (struct copy){shared, global, real, f->groups};
}

void emulate_copy_group(void)
{
    processor.now->groups++;
}

void emulate_copy_wait(int left)
{
    struct fiber *f = processor.now;
    int kept = 0;

    for (int i = 0; i < f->copy_count; i++) {
        struct copy c = f->copies[i];
        if (c.group >= f->groups - left)
            f->copies[kept++] = c;
        else if (c.real)
            memcpy(c.to, c.from, 16);
        else
            memset(c.to, 0, 16);
    }
    f->copy_count = kept;
}

/* ---- running ---- */

static void fiber_main(void)
{
    struct processor *p = &processor;

    arrived(&home_bottom, &home_size);
    p->launch->kernel(p->launch->args);
    p->now->state = DONE;
    leaving(home_bottom, home_size);
    _longjmp(p->scheduler, 1);
}

static void run_fiber(struct fiber *f)
{
    ucontext_t context;

    processor.now = f;
    if (_setjmp(processor.scheduler) == 0) {
        leaving(f->stack, STACK);
        if (f->begun)
            _longjmp(f->here, 1);
        f->begun = true;
        getcontext(&context);
        context.uc_stack.ss_sp = f->stack;
        context.uc_stack.ss_size = STACK;
        context.uc_link = NULL;
        makecontext(&context, fiber_main, 0);
        setcontext(&context);
    }
    arrived(NULL, NULL);
    processor.now = NULL;
}

static void run_block(int x, int y)
{
    struct processor *p = &processor;
    int threads = p->threads, done = 0;

    memset(p->shared, 0xff, p->launch->shared);
    for (int i = 0; i < threads; i++) {
        struct fiber *f = &p->fibers[i];
        f->place = (struct emulated_thread){i, {x, y}, p->launch->grid[0], p->shared};
        f->state = READY;
        f->begun = false;
        f->copy_count = f->groups = 0;
    }
    while (done < threads) {
        int before = done, ran = 0;
        for (int i = 0; i < threads; i++) {
            struct fiber *f = &p->fibers[p->backwards ? threads - 1 - i : i];
            if (f->state != READY)
                continue;
            run_fiber(f);
            ran++;
            done += f->state == DONE;
        }
        if (ran == 0 && done == before)
            emulate_fault("block %d, %d: %d threads wait for others that do not come", x, y,
                          threads - done);
    }
}

static void crew_begin(struct processor *p, int threads)
{
    pthread_mutex_lock(&idle_lock);
    p->crew = idle;
    if (idle)
        idle = idle->next;
    pthread_mutex_unlock(&idle_lock);
    if (!p->crew)
        p->crew = calloc(1, sizeof *p->crew);
    p->fibers = p->crew->fibers;
    for (int i = 0; i < threads; i++) {
        struct fiber *f = &p->fibers[i];
        if (!f->stack)
            f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (f->stack == MAP_FAILED)
            emulate_fault("no memory for stacks");
    }
}

static void crew_end(struct processor *p)
{
    pthread_mutex_lock(&idle_lock);
    p->crew->next = idle;
    idle = p->crew;
    pthread_mutex_unlock(&idle_lock);
    p->crew = NULL;
}

void emulate_run(const struct emulated_launch *launch)
{
    struct processor *p = &processor;
    int blocks = launch->grid[0] * launch->grid[1];

    if (launch->threads < 1 || launch->threads > MOST_THREADS || launch->threads % 32)
        emulate_fault("%s: %d threads a block", launch->name, launch->threads);
    crew_begin(p, launch->threads);
    p->backwards = getenv("DINO_EMULATE_BACKWARDS") != NULL;
    p->launch = launch;
    p->threads = launch->threads;
    p->shared = aligned_alloc(16, (launch->shared + 15) / 16 * 16 + 16);
    for (int i = 0; i < blocks; i++) {
        int block = p->backwards ? blocks - 1 - i : i;
        run_block(block % launch->grid[0], block / launch->grid[0]);
    }
    free(p->shared);
    p->launch = NULL;
    crew_end(p);
}
