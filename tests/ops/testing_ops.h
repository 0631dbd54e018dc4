/*
 * For the tests of operations: devices under test, matrices between guard zones, and errors
 * against the device "ref" held to the table in tolerances.h.
 */
#ifndef TESTING_OPS_H
#define TESTING_OPS_H

#include "compute/device.h"
#include "testing.h"

/* A device under test and the reference beside it. */
struct bench {
    struct device *device, *ref;
    struct queue *queue, *ref_queue;
    enum dino_dtype dtype; /* of activations */
};

/* How many devices there are to test; open the i-th. Skips the test where DINO_ISA asks for
 * what this machine has not. */
int ops_devices(void);
struct bench ops_open(int index);
void ops_close(struct bench *b);
/* Both queues must have finished without an error. */
void ops_finish(struct bench *b);

/* `inner` as a device whose operations take host memory; closes it. DINO_TEST_MIRROR=1 puts it
 * before every device, as a real GPU needs. */
struct device *ops_mirror(struct device *inner);

/* Rounds of the same work until a queue has all it needs. */
int ops_warm_rounds(const struct bench *b);

/* A matrix with guard zones before, behind and between its rows. */
struct guarded {
    struct mat mat;
    uint8_t *block;
    size_t bytes;
};

/* Values in [-scale, scale) from `seed`, rounded to dtype; pad: stride - cols. The data
 * starts one element off every alignment that is wider than the element. */
struct guarded ops_random(int rows, int cols, int pad, enum dino_dtype dtype, float scale,
                          uint64_t seed);
/* The same beginning at a multiple of 64 bytes, as blocks of devices do. */
struct guarded ops_aligned(int rows, int cols, int pad, enum dino_dtype dtype, float scale,
                           uint64_t seed);
struct guarded ops_like(const struct guarded *from); /* the same bytes in a block of its own */
void ops_free(struct guarded *g);
/* Not a byte outside the matrix has changed. */
void ops_check_guards(const struct guarded *g);

double ops_get(struct mat m, int row, int col);
/* The larger tolerance of the row for (op, dtype) bounds the largest difference over the
 * largest value of truth, the smaller one the relative L2 norm. Also checks the guards. */
void ops_check(const char *op, enum dino_dtype dtype, const struct guarded *result,
               struct mat truth, const char *what);
/* For truths that cover some rows: result rows first .. first + truth.rows - 1. */
void ops_check_rows(const char *op, enum dino_dtype dtype, const struct guarded *result,
                    int first, struct mat truth, const char *what);

/* An f32 vector of n, not guarded; release with free. */
float *ops_vector(int n, float scale, uint64_t seed);
/* An f64 matrix for the reference's answer; release its data with free. */
struct mat ops_truth(int rows, int cols);

#endif
