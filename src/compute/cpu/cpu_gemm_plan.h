/*
 * One product as the threads of cpu_gemm.c work through it: y [m, n] = what follows the sums
 * a [m, k] . b [n, k]^T. Linear layers bring b packed (cpu_gemm.c); training's products with
 * plain matrices have it packed on the way, and both operands may be stored either way round
 * (cpu_product.c).
 */
#ifndef COMPUTE_CPU_CPU_GEMM_PLAN_H
#define COMPUTE_CPU_CPU_GEMM_PLAN_H

#include "compute/cpu/cpu_device.h"
#include "compute/cpu/cpu_gemm.h"

/*
 * A task is a block of rows by a block of panels; it takes k in steps, packs its rows of a for
 * each step, and keeps its sums in the second-level cache between steps. Tasks are handed out
 * as threads come: who does one does not change its result.
 */
struct gemm_plan {
    const struct gemm_kernels *kernels;
    enum tile_kind kind;
    int m, n, depth; /* depth: dwords of k */
    struct mat a;    /* [m, k], or [k, m] with a_across */
    struct mat b;    /* without values: [n, k], or [k, n] with b_across */
    bool a_across, b_across;
    const void *values;     /* b as a gemm_weight has it, or NULL */
    float *a_sums;          /* [m] += the sums over k of a; NULL, or a_across */
    struct gemm_finish end; /* of the whole of y: rows, cols and sums are not read */

    /* the engine's own */
    struct queue *queue;
    int threads, panels, row_blocks, panel_blocks;
    int steps;                      /* of k */
    bool in_place;                  /* a is read where it lies */
    bool large_y;                   /* more than a core keeps in its caches */
    size_t a_bytes, sums_at, bytes; /* of a thread: packed rows; where sums of a are; all */
    char *scratch, *packed_b;
    /* int8: a as bytes [m][depth * 4], its scales and zeros */
    uint8_t *bytes_a;
    float *a_scale;
    int32_t *a_zero;
    struct team_tasks tasks;
};

/* Uses the queue's scratch and threads. */
void dn_gemm_run(struct queue *q, struct gemm_plan *plan);

/* b packed to plan->packed_b. cpu_gemm_pack.c */
void dn_gemm_pack_plain(struct queue *q, struct gemm_plan *plan);

#endif
