/*
 * Processes that train together. Each has its part of every batch; what concerns the whole
 * batch passes through here. All calls are collective: every process makes the same ones in the
 * same order, whatever has failed in it meanwhile, and dn_comm_agree tells the others.
 *
 * Sums add in the order of ranks, so that they have the same bits on every process and every
 * time. Numbers of the host go over MPI. Those in device memory do the same where the device's
 * memory is the host's; else over the device's own library (compute/peers.h) or, without one,
 * through the host. With one process, or `comm` NULL, every call is done at once.
 */
#ifndef TRAIN_COMM_H
#define TRAIN_COMM_H

#include "compute/peers.h"
#include "dino_train.h"

/*
 * A transport between the memories of hosts.
 * `starts` [size + 1]: the bytes of `data` that belong to rank r are [starts[r], starts[r +
 * 1]). dtype is F32 or F64. A failure sticks to comm->error, and later calls do nothing.
 */
struct comm_ops {
    /* data[i] = the sum, or the largest, of all processes' data[i] */
    void (*sum)(struct dino_comm *c, void *data, size_t count, enum dino_dtype dtype);
    void (*largest)(struct dino_comm *c, void *data, size_t count, enum dino_dtype dtype);
    /* rank `from`'s data to everyone */
    void (*broadcast)(struct dino_comm *c, void *data, size_t bytes, int from);
    /* to rank 0 only: everyone's own part into `all` (NULL elsewhere) */
    void (*gather)(struct dino_comm *c, void *all, const void *own, const size_t *starts);

    /* These begin; data must stay in place until `wait`. Each process's part goes to everyone;
     * each process's part becomes the sum of everyone's, the others are as they were. */
    void (*all_gather)(struct dino_comm *c, void *data, const size_t *starts);
    void (*reduce_scatter)(struct dino_comm *c, void *data, const size_t *starts,
                           enum dino_dtype dtype);
    void (*wait)(struct dino_comm *c);

    void (*close)(struct dino_comm *c);
};

/* A transport puts it first in a struct of its own. */
struct dino_comm {
    const struct comm_ops *ops; /* NULL: alone */
    int rank, size;
    uint64_t machine; /* a number of this machine */
    int nearby;       /* processes on this machine, this one included */
    int local;        /* this one among them, from 0 */
    int sharing;      /* those of them that may run on the same cores */
    struct dino_error error;

    /* dn_comm_attach */
    struct queue *queue; /* of a device with memory of its own; NULL: none */
    struct peers *peers; /* NULL: through the host */
    char *stage;         /* host: what passes through it */
    size_t stage_bytes;
    char exchange[160]; /* what numbers in device memory travel with; "": nothing is attached */
};

/* This process's share of the cores, at least one; and how many processes share the machine. */
int dn_comm_cores(const struct dino_comm *c);
int dn_comm_nearby(const struct dino_comm *c);

/* ---- numbers of the host ---- */

void dn_comm_sum(struct dino_comm *c, void *data, size_t count, enum dino_dtype dtype);
void dn_comm_largest(struct dino_comm *c, void *data, size_t count, enum dino_dtype dtype);
void dn_comm_broadcast(struct dino_comm *c, void *data, size_t bytes, int from);
void dn_comm_gather(struct dino_comm *c, void *all, const void *own, const size_t *starts);
void dn_comm_all_gather(struct dino_comm *c, void *data, const size_t *starts);
void dn_comm_reduce_scatter(struct dino_comm *c, void *data, const size_t *starts,
                            enum dino_dtype dtype);
void dn_comm_wait(struct dino_comm *c);
/* Nobody else is there, or reached any more. */
bool dn_comm_alone(struct dino_comm *c);

/* ---- numbers in device memory ---- */

/*
 * From here on such numbers are those of this queue's device, and calls keep its order. Each
 * process needs a device of its own. The queue must outlive it: detach before. Without: they
 * are the host's.
 */
bool dn_comm_attach(struct dino_comm *c, struct queue *queue, struct dino_error *err);
void dn_comm_detach(struct dino_comm *c);
/* Elements of a block that should travel together. */
size_t dn_comm_piece(const struct dino_comm *c);
/* Device memory that exchanging them takes, beside what a library of its own takes. */
size_t dn_comm_bucket_bytes(const struct device *d, int processes);

void dn_comm_device_sum(struct dino_comm *c, struct mat row);
void dn_comm_device_largest(struct dino_comm *c, struct mat row);
/* To the memory of rank 0's host. */
void dn_comm_device_gather(struct dino_comm *c, void *all, const void *own,
                           const size_t *starts);
void dn_comm_device_all_gather(struct dino_comm *c, void *data, const size_t *starts);
void dn_comm_device_reduce_scatter(struct dino_comm *c, void *data, const size_t *starts,
                                   enum dino_dtype dtype);
void dn_comm_device_wait(struct dino_comm *c);

/* ---- decisions ---- */

/* Did everyone succeed? If not, err is that of the lowest rank that failed, on all. */
bool dn_comm_agree(struct dino_comm *c, bool ok, struct dino_error *err);
/* Is it so on any process? */
bool dn_comm_any(struct dino_comm *c, bool here);

/* What the plug-in libdino_mpi.so offers. */
typedef struct dino_comm *comm_mpi_open_fn(struct dino_error *err);
typedef void comm_mpi_version_fn(char text[256]);

#endif
