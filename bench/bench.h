/*
 * For the measurements: clocks, operands, arguments. A measurement is the least of many short
 * repetitions. With one thread the clock counts the time on the processor only, so that other
 * programs on the machine disturb little; with more it is the wall's.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/half.h"
#include "compute/device.h"

struct bench {
    struct device *device;
    struct queue *queue;
    double seconds; /* for a shape */
};

static inline double bench_now(const struct bench *b)
{
    struct timespec t;
    clock_gettime(b->queue->threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds since an arbitrary moment, by the wall. */
static inline double bench_wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Room for count floats, filled with numbers of dtype in [-scale, scale). */
static inline void *bench_numbers(size_t count, enum dino_dtype dtype, float scale)
{
    float *x = dn_alloc_aligned(count * sizeof *x, "bench", NULL);
    uint32_t state = 1;

    if (!x)
        exit(1);
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525U + 1013904223U;
        float v = ((float)(state >> 8) / 8388608.0F - 1.0F) * scale;
        dn_from_f32((char *)x + i * dino_dtype_size(dtype), dtype, &v, 1);
    }
    return x;
}

static inline void bench_free(void *numbers, size_t count)
{
    dn_free_aligned(numbers, count * sizeof(float));
}

/* Arguments: [f32|bf16|int8] [threads] [seconds for a shape] */
static inline struct bench bench_open(int argc, char **argv)
{
    struct dino_error err = {0};
    struct bench b = {.seconds = argc > 3 ? strtod(argv[3], NULL) : 0.2};
    enum dino_dtype dtype = DINO_F32;

    if (argc > 1 && strcmp(argv[1], "f32") != 0)
        dtype = strcmp(argv[1], "bf16") == 0 ? DINO_BF16 : DINO_I8;
    int threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    b.device = dn_device_open("cpu", dtype, threads, &err);
    b.queue = b.device ? dn_queue_new(b.device, 0, &err) : NULL;
    if (!b.queue) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return b;
}

static inline void bench_close(struct bench *b)
{
    dn_queue_free(b->queue);
    dn_device_close(b->device);
}

/* "123.4 (56 %)": GFLOP/s, and the share of the peak where the device knows it. */
static inline void bench_print_rate(const struct bench *b, double gflop, double seconds)
{
    const struct device *d = b->device;
    double peak = d->ops->peak(d, d->dtype, b->queue->threads);

    printf(" %7.1f", gflop / seconds);
    if (peak > 0)
        printf(" (%2.0f %%)", 100 * gflop / seconds / peak);
}

#endif
