/*
 * Processes with a device each, which exchange numbers in device memory: what a device's
 * library for it (NCCL) is used through. Every call is collective: all processes make the same
 * ones in the same order, also those whose queue has failed, so that nobody waits for ever.
 *
 * What the queue was told before is done before, and what it is told after sees the result;
 * the host waits for neither. The library moves bytes and never adds: sums are the device's, in
 * the order of ranks, so that they have the same bits on every process and every time.
 */
#ifndef COMPUTE_PEERS_H
#define COMPUTE_PEERS_H

#include "compute/device.h"

/* Implementations put it first in a struct of their own. A failure sticks to error, and later
 * calls do nothing. */
struct peers {
    const struct peers_ops *ops;
    struct queue *queue;
    int rank, size;
    struct dino_error error;
};

/* What one process makes and tells the others, so that they meet. */
enum { PEERS_ID = 128 };
struct peers_id {
    unsigned char bytes[PEERS_ID];
};

/* Numbers are f32 in device memory. starts [size + 1]: the bytes of `data` that belong to rank
 * r are [starts[r], starts[r + 1]), whole numbers. */
struct peers_ops {
    /* Is the library here? Its name and version, or why not. Takes milliseconds. */
    bool (*find)(char name[64], struct dino_error *err);
    bool (*id)(struct peers_id *id, struct dino_error *err);
    /* Waits for all. The queue must outlive them. */
    struct peers *(*open)(struct queue *q, const struct peers_id *id, int rank, int size,
                          struct dino_error *err);
    /* Waits for all, unless there is an error: then the others are given up. */
    void (*close)(struct peers *p);
    /* Can the device still answer? False, and an error, where it is lost with all that it was
     * told: the others wait for it in vain. */
    bool (*alive)(struct peers *p);

    /* data[i] = the sum, or the largest, of all processes' data[i]; a NaN stays */
    void (*sum)(struct peers *p, float *data, size_t count);
    void (*largest)(struct peers *p, float *data, size_t count);

    /* These begin: the queue goes on beside them until `wait`, and leaves data alone. Each
     * process's part goes to everyone; each process's part becomes the sum of everyone's, the
     * others are as they were. */
    void (*all_gather)(struct peers *p, void *data, const size_t *starts);
    void (*reduce_scatter)(struct peers *p, void *data, const size_t *starts);
    /* What the queue is told from here on comes behind them. The host does not wait. */
    void (*wait)(struct peers *p);
};

#endif
