/* The door to other processes: who started us, the plug-in, and what needs no transport. */
#include "train/comm.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cpu_features.h"
#include "base/str.h"

/* How many processes were started together, as their starter says. */
static int started_together(void)
{
    /* Open MPI; MPICH and its kin; Slurm */
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"};
    bool slurm = getenv("PMIX_RANK") || getenv("PMI_RANK"); /* else it is a batch script */

    for (int i = 0; i < (slurm ? 3 : 2); i++) {
        int64_t count;
        if (getenv(names[i]) && dn_parse_int(getenv(names[i]), 1, 1 << 20, &count))
            return (int)count;
    }
    return 1;
}

/* Beside the program, as in a build's folder, or where libraries are. */
static void *open_plugin(void)
{
    static const char name[] = "libdino_mpi.so";
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - sizeof name);
    void *plugin = NULL;

    if (size > 0) {
        path[size] = 0;
        char *file = strrchr(path, '/') + 1;
        memcpy(file, name, sizeof name);
        plugin = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    }
    return plugin ? plugin : dlopen(name, RTLD_NOW | RTLD_GLOBAL);
}

/* A function of the plug-in, which then stays for the life of the process: MPI cannot be
 * unloaded. */
static void *plugin_function(const char *name, struct dino_error *err)
{
    void *plugin = open_plugin();
    void *function = plugin ? dlsym(plugin, name) : NULL;

    if (!function)
        dn_fail(err, DINO_EUNSUPPORTED, "no MPI in this build: %s", dlerror());
    return function;
}

struct dino_comm *dino_comm_open(struct dino_error *err)
{
    int together = started_together();
    comm_mpi_open_fn *open_mpi;

    if (together == 1) {
        struct dino_comm *c = dn_calloc(1, sizeof *c, "a process", err);
        if (c)
            *c = (struct dino_comm){.size = 1, .nearby = 1, .sharing = 1};
        return c;
    }
    *(void **)&open_mpi = plugin_function("dn_comm_mpi_open", err);
    if (open_mpi)
        return open_mpi(err);
    if (err) {
        char name[64];
        snprintf(name, sizeof name, "one of %d processes", together);
        dn_fail_prefix(err, name);
    }
    return NULL;
}

void dino_comm_close(struct dino_comm *c)
{
    dn_comm_detach(c);
    if (c && c->ops)
        c->ops->close(c);
    else
        free(c);
}

int dino_comm_rank(const struct dino_comm *c)
{
    return c ? c->rank : 0;
}

int dino_comm_size(const struct dino_comm *c)
{
    return c ? c->size : 1;
}

bool dino_comm_lost(const struct dino_comm *c)
{
    return c && c->error.code != DINO_OK;
}

bool dino_comm_transport(char text[256])
{
    struct dino_error err = {0};
    comm_mpi_version_fn *version;

    *(void **)&version = plugin_function("dn_comm_mpi_version", &err);
    if (version)
        version(text);
    else
        snprintf(text, 256, "%.255s", err.message);
    return version != NULL;
}

int dn_comm_cores(const struct dino_comm *c)
{
    int cores = dn_cpu_cores() / (c ? c->sharing : 1);

    return cores > 1 ? cores : 1;
}

int dn_comm_nearby(const struct dino_comm *c)
{
    return c ? c->nearby : 1;
}

/* ---- calls that one process answers itself ---- */

/* Whose GPU is lost waits for nobody: the others wait for it, on theirs. */
static void look_at_device(struct dino_comm *c, bool failed, const struct dino_error *why)
{
    if (failed && c->peers && c->error.code == DINO_OK && !c->peers->ops->alive(c->peers))
        c->error = *why;
}

bool dn_comm_alone(struct dino_comm *c)
{
    if (!c || !c->ops)
        return true;
    if (c->queue)
        look_at_device(c, c->queue->error.code != DINO_OK, &c->queue->error);
    return c->error.code != DINO_OK;
}

void dn_comm_sum(struct dino_comm *c, void *data, size_t count, enum dino_dtype dtype)
{
    if (!dn_comm_alone(c) && count > 0)
        c->ops->sum(c, data, count, dtype);
}

void dn_comm_largest(struct dino_comm *c, void *data, size_t count, enum dino_dtype dtype)
{
    if (!dn_comm_alone(c) && count > 0)
        c->ops->largest(c, data, count, dtype);
}

void dn_comm_broadcast(struct dino_comm *c, void *data, size_t bytes, int from)
{
    if (!dn_comm_alone(c) && bytes > 0)
        c->ops->broadcast(c, data, bytes, from);
}

void dn_comm_gather(struct dino_comm *c, void *all, const void *own, const size_t *starts)
{
    if (!dn_comm_alone(c))
        c->ops->gather(c, all, own, starts);
    else if (dino_comm_rank(c) == 0)
        memcpy((char *)all + starts[0], own, starts[1] - starts[0]);
}

void dn_comm_all_gather(struct dino_comm *c, void *data, const size_t *starts)
{
    if (!dn_comm_alone(c))
        c->ops->all_gather(c, data, starts);
}

void dn_comm_reduce_scatter(struct dino_comm *c, void *data, const size_t *starts,
                            enum dino_dtype dtype)
{
    if (!dn_comm_alone(c))
        c->ops->reduce_scatter(c, data, starts, dtype);
}

void dn_comm_wait(struct dino_comm *c)
{
    if (!dn_comm_alone(c))
        c->ops->wait(c);
}

/* ---- decisions ---- */

bool dn_comm_any(struct dino_comm *c, bool here)
{
    double flag = here;

    dn_comm_largest(c, &flag, 1, DINO_F64);
    return flag > 0;
}

bool dn_comm_agree(struct dino_comm *c, bool ok, struct dino_error *err)
{
    int size = dino_comm_size(c), rank = dino_comm_rank(c);
    double flag = ok ? 0 : size - rank; /* the lowest rank that failed is the largest flag */
    struct dino_error first = {0};
    char name[32];

    if (size == 1)
        return ok;
    look_at_device(c, !ok && err, err);
    dn_comm_largest(c, &flag, 1, DINO_F64);
    int from = size - (int)flag;
    if (!ok && err)
        first = *err;
    if (from < size)
        dn_comm_broadcast(c, &first, sizeof first, from);
    if (c->error.code != DINO_OK)
        first = c->error; /* whatever it was: the others are lost */
    else if (from == size)
        return true;
    if (err)
        *err = first;
    snprintf(name, sizeof name, "process %d", from);
    return from > 0 && from < size ? dn_fail_prefix(err, name) : false;
}
