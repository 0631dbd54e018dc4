/*
 * The part of NCCL that src/compute/cuda uses, between processes of one machine with an
 * emulated GPU each: letters in shared memory, which all write and then all read. It is
 * stricter than NCCL: processes whose calls differ, or who wait for a minute, are ended.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cuda_runtime_api.h"

enum { MOST_RANKS = 16, MOST_OPS = 2 * MOST_RANKS, LETTER = 64 << 10, WAIT_SECONDS = 60 };

struct letter {
    size_t all; /* bytes of the whole message */
    char bytes[LETTER];
};

struct office {
    atomic_int waiting, round;
    uint64_t calls[MOST_RANKS]; /* what each rank is doing: its number and kind */
    size_t longest[MOST_RANKS]; /* of each rank's messages */
    struct letter letters[];    /* [from][to] */
};

struct ncclComm {
    struct office *office;
    size_t bytes;
    int rank, size;
    uint64_t calls;
};
typedef struct ncclComm *ncclComm_t;
typedef struct {
    char internal[128];
} ncclUniqueId;

/* Messages that travel together. */
struct group {
    ncclComm_t comm;
    cudaStream_t stream;
    int kind, count;
    struct op {
        char *data; /* to read from or to write to */
        size_t bytes;
        int peer;
        bool send;
    } ops[MOST_OPS];
};

static _Thread_local struct group *open_group;

/* ---- together ---- */

static void fault(const char *what)
{
    fprintf(stderr, "emulated NCCL: %s\n", what);
    abort();
}

static void meet(struct ncclComm *c)
{
    const struct timespec nap = {0, 20000};
    struct office *o = c->office;
    int round = atomic_load(&o->round);
    time_t until = time(NULL) + WAIT_SECONDS;

    if (atomic_fetch_add(&o->waiting, 1) + 1 == c->size) {
        atomic_store(&o->waiting, 0);
        atomic_fetch_add(&o->round, 1);
        return;
    }
    for (int look = 0; atomic_load(&o->round) == round; look++) {
        if (look < 100)
            sched_yield();
        else
            nanosleep(&nap, NULL);
        if (time(NULL) > until)
            fault("a process waits for the others in vain");
    }
}

static struct letter *letter(const struct ncclComm *c, int from, int to)
{
    return &c->office->letters[from * c->size + to];
}

/* Everyone does the same call, and the longest message is this long. */
static size_t compare_calls(struct ncclComm *c, const struct group *g)
{
    struct office *o = c->office;
    size_t longest = 0;

    o->calls[c->rank] = ++c->calls << 8 | (unsigned)g->kind;
    o->longest[c->rank] = 0;
    for (int i = 0; i < g->count; i++)
        if (g->ops[i].bytes > o->longest[c->rank])
            o->longest[c->rank] = g->ops[i].bytes;
    for (int r = 0; r < c->size; r++)
        letter(c, c->rank, r)->all = 0;
    for (int i = 0; i < g->count; i++)
        if (g->ops[i].send)
            letter(c, c->rank, g->ops[i].peer)->all = g->ops[i].bytes;
    meet(c);
    for (int r = 0; r < c->size; r++) {
        if (o->calls[r] != o->calls[0])
            fault("processes make different calls");
        if (o->longest[r] > longest)
            longest = o->longest[r];
    }
    return longest;
}

static void compare_messages(const struct ncclComm *c, const struct group *g)
{
    size_t wanted[MOST_RANKS] = {0};

    for (int i = 0; i < g->count; i++)
        if (!g->ops[i].send)
            wanted[g->ops[i].peer] = g->ops[i].bytes;
    for (int r = 0; r < c->size; r++)
        if (letter(c, r, c->rank)->all != wanted[r])
            fault("what is sent is not what is received");
}

static size_t piece_of(const struct op *op, size_t at)
{
    size_t left = op->bytes > at ? op->bytes - at : 0;

    return left < LETTER ? left : LETTER;
}

static void travel(const void *args)
{
    struct group *g = *(struct group *const *)args;
    struct ncclComm *c = g->comm;
    size_t longest = compare_calls(c, g), at = 0;

    compare_messages(c, g);
    do { /* once even if nothing is sent: all have compared before anyone goes on */
        for (int i = 0; i < g->count; i++)
            if (g->ops[i].send)
                memcpy(letter(c, c->rank, g->ops[i].peer)->bytes, g->ops[i].data + at,
                       piece_of(&g->ops[i], at));
        meet(c);
        for (int i = 0; i < g->count; i++)
            if (!g->ops[i].send)
                memcpy(g->ops[i].data + at, letter(c, g->ops[i].peer, c->rank)->bytes,
                       piece_of(&g->ops[i], at));
        meet(c);
        at += LETTER;
    } while (at < longest);
    free(g);
}

/* ---- NCCL's functions ---- */

int ncclGetVersion(int *version)
{
    *version = 20000; /* 2.0.0: no NCCL that has send and receive */
    return 0;
}

const char *ncclGetErrorString(int result)
{
    return result ? "emulated failure" : "no error";
}

int ncclGetUniqueId(ncclUniqueId *id)
{
    static atomic_int made;

    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "/dino-nccl-%ld-%d", (long)getpid(), made++);
    return 0;
}

int ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank)
{
    size_t letters = (size_t)size * (size_t)size * sizeof(struct letter);
    struct ncclComm *c = calloc(1, sizeof *c);
    int file = size <= MOST_RANKS ? shm_open(id.internal, O_CREAT | O_RDWR, 0600) : -1;

    if (!c || file < 0)
        fault("no shared memory, or too many processes");
    *c = (struct ncclComm){.bytes = sizeof *c->office + letters, .rank = rank, .size = size};
    if (ftruncate(file, (off_t)c->bytes) != 0)
        fault("too little shared memory");
    c->office = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (c->office == MAP_FAILED)
        fault("no shared memory");
    meet(c);
    if (rank == 0)
        shm_unlink(id.internal); /* all have it */
    *comm = c;
    return 0;
}

int ncclCommAbort(ncclComm_t c)
{
    munmap(c->office, c->bytes);
    free(c);
    return 0;
}

int ncclCommDestroy(ncclComm_t c)
{
    meet(c);
    return ncclCommAbort(c);
}

int ncclCommGetAsyncError(ncclComm_t c, int *error)
{
    (void)c;
    *error = 0;
    return 0;
}

static struct group *group_new(int kind)
{
    struct group *g = calloc(1, sizeof *g);

    if (!g)
        fault("no memory");
    g->kind = kind;
    return g;
}

static void add(struct group *g, struct op op, ncclComm_t comm, cudaStream_t stream)
{
    if (g->count == MOST_OPS || (g->comm && (g->comm != comm || g->stream != stream)))
        fault("a group of too many messages, or of two streams");
    g->comm = comm;
    g->stream = stream;
    g->ops[g->count++] = op;
}

static int submit(struct group *g)
{
    const struct emulated_door *door = (const struct emulated_door *)(const void *)g->stream;

    return door->work(g->stream, travel, &g, sizeof g) == cudaSuccess ? 0 : 1;
}

int ncclGroupStart(void)
{
    if (open_group)
        fault("a group in a group");
    open_group = group_new(1);
    return 0;
}

/* One without messages cannot say whose it is: it does nothing, as in NCCL. */
int ncclGroupEnd(void)
{
    struct group *g = open_group;

    open_group = NULL;
    if (g && g->comm)
        return submit(g);
    free(g);
    return 0;
}

int ncclSend(const void *from, size_t count, int dtype, int peer, ncclComm_t comm,
             cudaStream_t stream)
{
    if (dtype != 0 || !open_group)
        return 4;
    add(open_group, (struct op){(char *)(uintptr_t)from, count, peer, true}, comm, stream);
    return 0;
}

int ncclRecv(void *to, size_t count, int dtype, int peer, ncclComm_t comm, cudaStream_t stream)
{
    if (dtype != 0 || !open_group)
        return 4;
    add(open_group, (struct op){to, count, peer, false}, comm, stream);
    return 0;
}

/* In place only: `own` is our part of `all`. */
int ncclAllGather(const void *own, void *all, size_t count, int dtype, ncclComm_t comm,
                  cudaStream_t stream)
{
    struct group *g = group_new(2);

    if (dtype != 0 || own != (char *)all + (size_t)comm->rank * count)
        fault("an all-gather that is not in place");
    for (int r = 0; r < comm->size; r++)
        if (r != comm->rank) {
            add(g, (struct op){(char *)(uintptr_t)own, count, r, true}, comm, stream);
            add(g, (struct op){(char *)all + (size_t)r * count, count, r, false}, comm, stream);
        }
    return submit(g);
}
