/*
 * Processes over MPI: the plug-in libdino_mpi.so, which links MPI and is loaded by comm.c in
 * processes that mpirun started; the rest of the program knows nothing of MPI.
 *
 * Everything is built from transfers of bytes, and sums are added here, in the order of ranks:
 * MPI's own reductions may add in any. A sum is a reduce-scatter (each process is sent
 * everyone's numbers for its part, and adds them) and an all-gather of the parts, which moves
 * as few bytes as any algorithm. Who waits sleeps: cores are for arithmetic.
 */
#include "train/comm.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TRANSFERS = 4,     /* on their way at once */
    PIECE = 4 << 20,   /* bytes of a sum that travel together */
    SMALL = 256 << 10, /* bytes, of all processes, that are sent whole to everyone */
    SPINS = 200,       /* looks before the first sleep */
    NAP = 50000,       /* nanoseconds */
};

/* A transfer that was begun. */
struct transfer {
    MPI_Request request; /* MPI_REQUEST_NULL: none */
    int *counts;         /* [4][size] of MPI's calls */
    char *parts;         /* [size][bytes] numbers to add up into own; NULL: nothing to add */
    size_t room;
    void *own;
    size_t bytes;
    enum dino_dtype dtype;
};

struct mpi_comm {
    struct dino_comm base;
    MPI_Comm world;
    bool ends_mpi; /* we started it */
    struct transfer transfers[TRANSFERS];
    int next;
    size_t *starts; /* [size + 1] */
    char *small;    /* [SMALL] */
};

static struct mpi_comm *of(struct dino_comm *c)
{
    return (struct mpi_comm *)c;
}

static bool good(struct mpi_comm *m, int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int size = 0;

    if (code == MPI_SUCCESS)
        return true;
    MPI_Error_string(code, text, &size);
    if (m->base.error.code == DINO_OK)
        dn_fail(&m->base.error, DINO_EIO, "a process was lost: MPI %s: %s", what, text);
    return false;
}

static bool fail_memory(struct mpi_comm *m, size_t bytes)
{
    if (m->base.error.code == DINO_OK)
        dn_fail_memory(&m->base.error, bytes, "what other processes send");
    return false;
}

/* ---- adding ---- */

static size_t width_of(enum dino_dtype dtype)
{
    return dtype == DINO_F64 ? sizeof(double) : sizeof(float);
}

static void add_f32(float *restrict y, const float *restrict x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

static void add_f64(double *restrict y, const double *restrict x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

/* to = parts[0] + parts[1] + ... */
static void add_parts(void *to, const char *parts, size_t bytes, int size,
                      enum dino_dtype dtype)
{
    memcpy(to, parts, bytes);
    for (int r = 1; r < size; r++) {
        const void *part = parts + (size_t)r * bytes;
        if (dtype == DINO_F64)
            add_f64(to, part, bytes / sizeof(double));
        else
            add_f32(to, part, bytes / sizeof(float));
    }
}

static void largest_of_parts(void *to, const char *parts, size_t bytes, int size,
                             enum dino_dtype dtype)
{
    size_t width = width_of(dtype);

    memcpy(to, parts, bytes);
    for (int r = 1; r < size; r++)
        for (size_t i = 0; i < bytes; i += width) {
            const char *x = parts + (size_t)r * bytes + i;
            char *y = (char *)to + i;
            double there = dtype == DINO_F64 ? *(const double *)x : (double)*(const float *)x;
            double here = dtype == DINO_F64 ? *(double *)y : (double)*(float *)y;
            if (there > here || isnan(there)) /* a NaN stays */
                memcpy(y, x, width);
        }
}

/* ---- transfers ---- */

static void settle(struct mpi_comm *m, MPI_Request *request, const char *what)
{
    const struct timespec nap = {0, NAP};
    int done = 0;

    for (int look = 0; !done; look++) {
        if (!good(m, MPI_Test(request, &done, MPI_STATUS_IGNORE), what))
            return;
        if (!done && look >= SPINS)
            nanosleep(&nap, NULL);
    }
}

static void finish(struct mpi_comm *m, struct transfer *t)
{
    if (t->request != MPI_REQUEST_NULL)
        settle(m, &t->request, "transfer");
    if (t->own && m->base.error.code == DINO_OK)
        add_parts(t->own, t->parts, t->bytes, m->base.size, t->dtype);
    t->own = NULL;
}

static void wait_all(struct dino_comm *c)
{
    struct mpi_comm *m = of(c);

    for (int i = 0; i < TRANSFERS; i++) /* the oldest first */
        finish(m, &m->transfers[(m->next + i) % TRANSFERS]);
}

/* A free transfer; and MPI, which works only inside its calls, looks at the others. */
static struct transfer *take(struct mpi_comm *m)
{
    struct transfer *t = &m->transfers[m->next];

    for (int i = 0; i < TRANSFERS; i++) {
        struct transfer *other = &m->transfers[i];
        int done = 0;
        if (other != t && other->request != MPI_REQUEST_NULL)
            good(m, MPI_Test(&other->request, &done, MPI_STATUS_IGNORE), "transfer");
    }
    finish(m, t);
    m->next = (m->next + 1) % TRANSFERS;
    return t;
}

/* MPI's form of starts: counts, then places. */
static void list_parts(const size_t *starts, int size, int *counts, int *places)
{
    assert(starts[size] <= INT_MAX);
    for (int r = 0; r < size; r++) {
        counts[r] = (int)(starts[r + 1] - starts[r]);
        places[r] = (int)starts[r];
    }
}

static void all_gather(struct dino_comm *c, void *data, const size_t *starts)
{
    struct mpi_comm *m = of(c);
    struct transfer *t = take(m);

    list_parts(starts, c->size, t->counts, t->counts + c->size);
    good(m,
         MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_BYTE, data, t->counts, t->counts + c->size,
                         MPI_BYTE, m->world, &t->request),
         "all-gather");
}

static void reduce_scatter(struct dino_comm *c, void *data, const size_t *starts,
                           enum dino_dtype dtype)
{
    struct mpi_comm *m = of(c);
    struct transfer *t = take(m);
    size_t own = starts[c->rank + 1] - starts[c->rank], wanted = own * (size_t)c->size;
    int *counts = t->counts, *places = counts + c->size, *from = places + c->size;

    assert(wanted <= INT_MAX);
    if (wanted > t->room) {
        free(t->parts);
        t->room = wanted;
        t->parts = malloc(wanted);
        if (!t->parts) {
            t->room = 0;
            fail_memory(m, wanted);
            return;
        }
    }
    list_parts(starts, c->size, counts, places);
    for (int r = 0; r < c->size; r++) {
        from[r] = (int)own;
        from[c->size + r] = r * (int)own;
    }
    t->own = own ? (char *)data + starts[c->rank] : NULL;
    t->bytes = own;
    t->dtype = dtype;
    good(m,
         MPI_Ialltoallv(data, counts, places, MPI_BYTE, t->parts, from, from + c->size,
                        MPI_BYTE, m->world, &t->request),
         "reduce-scatter");
}

/* ---- what waits ---- */

static void gather(struct dino_comm *c, void *all, const void *own, const size_t *starts)
{
    struct mpi_comm *m = of(c);
    struct transfer *t = take(m);

    list_parts(starts, c->size, t->counts, t->counts + c->size);
    good(m,
         MPI_Igatherv(own, t->counts[c->rank], MPI_BYTE, all, t->counts, t->counts + c->size,
                      MPI_BYTE, 0, m->world, &t->request),
         "gather");
    finish(m, t);
}

static void broadcast(struct dino_comm *c, void *data, size_t bytes, int from)
{
    struct mpi_comm *m = of(c);
    struct transfer *t = take(m);

    assert(bytes <= INT_MAX);
    good(m, MPI_Ibcast(data, (int)bytes, MPI_BYTE, from, m->world, &t->request), "broadcast");
    finish(m, t);
}

/* Few numbers: everyone is sent everyone's. */
static void combine_small(struct mpi_comm *m, void *data, size_t bytes, enum dino_dtype dtype,
                          void (*combine)(void *to, const char *parts, size_t bytes, int size,
                                          enum dino_dtype dtype))
{
    struct dino_comm *c = &m->base;

    assert(bytes * (size_t)c->size <= SMALL);
    for (int r = 0; r <= c->size; r++)
        m->starts[r] = (size_t)r * bytes;
    memcpy(m->small + m->starts[c->rank], data, bytes);
    all_gather(c, m->small, m->starts);
    wait_all(c);
    combine(data, m->small, bytes, c->size, dtype);
}

/* Parts of `bytes` bytes in whole numbers, as even as can be. */
static void share_out(struct mpi_comm *m, size_t bytes, size_t width)
{
    size_t count = bytes / width, size = (size_t)m->base.size;

    for (size_t r = 0; r <= size; r++)
        m->starts[r] = count * r / size * width;
}

static void sum(struct dino_comm *c, void *data, size_t count, enum dino_dtype dtype)
{
    struct mpi_comm *m = of(c);
    size_t width = width_of(dtype), all = count * width;

    if (all * (size_t)c->size <= SMALL) {
        combine_small(m, data, all, dtype, add_parts);
        return;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (size_t at = 0; at < all; at += PIECE) {
            share_out(m, all - at < PIECE ? all - at : PIECE, width);
            if (pass == 0)
                reduce_scatter(c, (char *)data + at, m->starts, dtype);
            else
                all_gather(c, (char *)data + at, m->starts);
        }
        wait_all(c);
    }
}

static void largest(struct dino_comm *c, void *data, size_t count, enum dino_dtype dtype)
{
    combine_small(of(c), data, count * width_of(dtype), dtype, largest_of_parts);
}

/* ---- beginning and end ---- */

/* If anyone is lost, MPI_Finalize would wait for him. */
static void close_mpi(struct dino_comm *c)
{
    struct mpi_comm *m = of(c);
    int ended = 0;

    if (c->error.code != DINO_OK)
        MPI_Abort(m->world, 1);
    MPI_Finalized(&ended);
    if (m->world != MPI_COMM_NULL && !ended)
        MPI_Comm_free(&m->world);
    if (m->ends_mpi && !ended)
        MPI_Finalize();
    for (int i = 0; i < TRANSFERS; i++) {
        free(m->transfers[i].counts);
        free(m->transfers[i].parts);
    }
    free(m->starts);
    free(m->small);
    free(m);
}

static const struct comm_ops ops = {
    .sum = sum,
    .largest = largest,
    .broadcast = broadcast,
    .gather = gather,
    .all_gather = all_gather,
    .reduce_scatter = reduce_scatter,
    .wait = wait_all,
    .close = close_mpi,
};

static uint64_t add_to_hash(uint64_t hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) /* FNV-1a */
        hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3U;
    return hash;
}

/* A process's machine, and its machine and cores, as hashes. */
struct place {
    uint64_t machine, cores;
};

static bool find_place(struct mpi_comm *m, struct place *place)
{
    char machine[MPI_MAX_PROCESSOR_NAME] = "";
    cpu_set_t cores;
    int length = 0;

    CPU_ZERO(&cores);
    sched_getaffinity(0, sizeof cores, &cores);
    if (!good(m, MPI_Get_processor_name(machine, &length), "names"))
        return false;
    place->machine = add_to_hash(0xcbf29ce484222325U, machine, strlen(machine));
    place->cores = add_to_hash(place->machine, &cores, sizeof cores);
    return true;
}

static bool count_neighbours(struct mpi_comm *m)
{
    size_t size = (size_t)m->base.size;
    struct place own, *places = calloc(size, sizeof *places);

    if (!places)
        return fail_memory(m, size * sizeof *places);
    bool ok = find_place(m, &own) && good(m,
                                          MPI_Allgather(&own, sizeof own, MPI_BYTE, places,
                                                        sizeof own, MPI_BYTE, m->world),
                                          "all-gather");
    m->base.machine = own.machine;
    for (size_t r = 0; ok && r < size; r++) {
        m->base.nearby += places[r].machine == own.machine;
        m->base.local += r < (size_t)m->base.rank && places[r].machine == own.machine;
        m->base.sharing += places[r].cores == own.cores;
    }
    free(places);
    return ok;
}

static bool open_world(struct mpi_comm *m)
{
    int started = 0, level;

    MPI_Initialized(&started);
    m->ends_mpi = !started;
    if (!started && !good(m, MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level), "start"))
        return false;
    if (!good(m, MPI_Comm_dup(MPI_COMM_WORLD, &m->world), "start"))
        return false;
    MPI_Comm_set_errhandler(m->world, MPI_ERRORS_RETURN);
    MPI_Comm_rank(m->world, &m->base.rank);
    MPI_Comm_size(m->world, &m->base.size);

    size_t size = (size_t)m->base.size, counts = 4 * size * sizeof(int);
    m->starts = calloc(size + 1, sizeof *m->starts);
    m->small = malloc(SMALL);
    bool ok = m->starts && m->small;
    for (int i = 0; i < TRANSFERS; i++) {
        m->transfers[i].request = MPI_REQUEST_NULL;
        m->transfers[i].counts = malloc(counts);
        ok = ok && m->transfers[i].counts;
    }
    return ok ? count_neighbours(m) : fail_memory(m, counts);
}

__attribute__((visibility("default"))) struct dino_comm *
dn_comm_mpi_open(struct dino_error *err);
__attribute__((visibility("default"))) void dn_comm_mpi_version(char text[256]);

struct dino_comm *dn_comm_mpi_open(struct dino_error *err)
{
    struct mpi_comm *m = calloc(1, sizeof *m);

    if (!m) {
        dn_fail_memory(err, sizeof *m, "a process");
        return NULL;
    }
    m->base.ops = &ops;
    m->world = MPI_COMM_NULL;
    if (open_world(m))
        return &m->base;
    if (err)
        *err = m->base.error;
    close_mpi(&m->base);
    return NULL;
}

void dn_comm_mpi_version(char text[256])
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;

    MPI_Get_library_version(version, &length);
    snprintf(text, 256, "%.*s", (int)strcspn(version, ",\n"), version);
}
