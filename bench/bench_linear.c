/*
 * Linear layers at the model's shapes: our kernels beside oneDNN's, alternately in one run,
 * each with the epilogue that the model asks for. Prints GFLOP/s and the share of the
 * processor's measured peak.
 *
 *     bench_linear [f32|bf16|int8] [threads] [seconds for a shape] [SBLg] [busy]
 *
 * busy: so many other processes keep the processor busy meanwhile, and the mean of all
 * repetitions is told instead of the least.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"
#include "compute/cpu/cpu_device.h"
#include "compute/cpu/cpu_gemm.h"

struct layer {
    const char *name;
    int n, k;
    bool gelu, residual;
};

/* Sums over the layers of one model. */
struct totals {
    double ours, theirs;
    bool mean;
};

static double once(const struct bench *b, const struct gemm_kernels *kernels,
                   const struct op_linear *op)
{
    double start = bench_now(b);
    if (kernels)
        dn_gemm_linear(b->queue, kernels, op);
    else
        dn_cpu_linear(b->queue, op);
    return bench_now(b) - start;
}

/* The mean of a few repetitions; the least into *best. Threads that wait after the other
 * side's turn are given time to fall asleep, and this side's to wake up. */
static double turn(const struct bench *b, const struct gemm_kernels *kernels,
                   const struct op_linear *op, double *best)
{
    enum { REPETITIONS = 8 };
    double total = 0;

    if (b->queue->threads > 1)
        usleep(10000);
    once(b, kernels, op);
    for (int i = 0; i < REPETITIONS; i++) {
        double taken = once(b, kernels, op);
        total += taken;
        if (taken < *best)
            *best = taken;
    }
    return total / REPETITIONS;
}

/* The least (or mean) times of ours and, where it has the dtype, oneDNN's, in turn. */
static void measure(const struct bench *b, struct op_linear *op, struct mat w,
                    const float *bias, bool mean, double best[2])
{
    const struct gemm_kernels *kernels = dn_gemm_choose(dn_cpu_features().isa);
    const struct device *d = b->device;
    struct dino_error err = {0};
    struct weight_source from = {.w = w, .bias = bias};
    struct weight *ours = dn_gemm_pack(kernels, d->dtype, &from, d->threads, &err);
    struct weight *theirs = d->dtype == DINO_I8 ? NULL : dn_cpu_pack(d, w, bias, &err);
    double end = bench_wall() + b->seconds;

    double total[2] = {0};
    int count = 0;

    best[0] = best[1] = 1e9;
    for (; count < 4 || bench_wall() < end; count++)
        for (int side = 0; side < 2; side++) {
            op->w = side ? theirs : ours;
            double taken = op->w ? turn(b, side ? NULL : kernels, op, &best[side]) : 0;
            total[side] += taken;
        }
    best[1] = theirs ? best[1] : 0;
    for (int side = 0; mean && side < 2; side++)
        best[side] = total[side] / count;
    dn_gemm_weight_free(ours);
    if (theirs)
        dn_cpu_weight_free(d, theirs);
}

static void run_layer(const struct bench *b, int m, const struct layer *l,
                      struct totals *totals)
{
    size_t y_size = (size_t)m * (size_t)l->n, x_size = (size_t)m * (size_t)l->k;
    size_t w_size = (size_t)l->n * (size_t)l->k;
    enum dino_dtype act = b->device->activation;
    float *w = bench_numbers(w_size, DINO_F32, 0.05F), *x = bench_numbers(x_size, act, 1);
    float *y = bench_numbers(y_size, act, 1);
    float *bias = bench_numbers((size_t)l->n, DINO_F32, 1);
    float *scale = bench_numbers((size_t)l->n, DINO_F32, 1e-3F);
    struct mat ym = dn_mat(y, m, l->n, l->residual ? DINO_F32 : act);
    struct op_linear op = {.y = ym,
                           .x = dn_mat(x, m, l->k, act),
                           .act = l->gelu ? OP_GELU : OP_NONE,
                           .scale = l->residual ? scale : NULL,
                           .residual = l->residual ? ym : (struct mat){0}};
    double best[2], gflop = 2.0 * m * l->n * l->k / 1e9;

    measure(b, &op, dn_mat(w, l->n, l->k, DINO_F32), bias, totals->mean, best);
    printf("%5d %5d %5d  %-5s ours %8.3f ms", m, l->n, l->k, l->name, best[0] * 1e3);
    bench_print_rate(b, gflop, best[0]);
    if (best[1] > 0) {
        printf("   onednn %8.3f ms", best[1] * 1e3);
        bench_print_rate(b, gflop, best[1]);
        printf("   %.2f x", best[1] / best[0]);
    }
    printf("\n");
    fflush(stdout);
    totals->ours += best[0];
    totals->theirs += best[1];
    bench_free(w, w_size);
    bench_free(x, x_size);
    bench_free(y, y_size);
    bench_free(bias, (size_t)l->n);
    bench_free(scale, (size_t)l->n);
}

static void run_model(const struct bench *b, char name, int dim, int hidden, int rows,
                      bool mean)
{
    bool swiglu = hidden != 4 * dim;
    struct layer layers[] = {
        {"patch", dim, 588, false, false},
        {"qkv", 3 * dim, dim, false, false},
        {"proj", dim, dim, false, true},
        {swiglu ? "w12" : "fc1", swiglu ? 2 * hidden : hidden, dim, !swiglu, false},
        {swiglu ? "w3" : "fc2", dim, hidden, false, true}};
    struct totals totals = {.mean = mean};

    for (size_t l = 0; l < sizeof layers / sizeof *layers; l++)
        run_layer(b, rows, &layers[l], &totals);
    printf("ViT-%c, %d rows: ours %.3f ms, onednn %.3f ms\n\n", name, rows, totals.ours * 1e3,
           totals.theirs * 1e3);
}

/* Processes that only count, until this one ends. */
static void start_busy(int count, pid_t *pids)
{
    for (int i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (pids[i] == 0)
            __asm__ volatile("");
    }
}

int main(int argc, char **argv)
{
    static const int rows[] = {257, 261, 1370, 16 * 257};
    struct bench b = bench_open(argc, argv);
    struct cpu_device *d = (struct cpu_device *)b.device;
    struct cpu_queue *q = (struct cpu_queue *)b.queue;
    bool opened = !d->matmul && b.device->dtype != DINO_I8; /* the device does without */
    if (opened) {
        d->matmul = dn_matmul_open(d->features, b.device->dtype, NULL);
        q->matmul = dn_matmul_cache_new(d->matmul, NULL);
    }
    int busy = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 0;
    pid_t pids[16];
    start_busy(busy < 16 ? busy : 16, pids);
    const char *models = argc > 4 ? argv[4] : "SBLg";

    printf("    m     n     k\n");
    for (; *models; models++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (*models == 'S')
                run_model(&b, 'S', 384, 1536, rows[i], busy > 0);
            if (*models == 'B')
                run_model(&b, 'B', 768, 3072, rows[i], busy > 0);
            if (*models == 'L')
                run_model(&b, 'L', 1024, 4096, rows[i], busy > 0);
            if (*models == 'g')
                run_model(&b, 'g', 1536, 4096, rows[i], busy > 0);
        }
    for (int i = 0; i < busy && i < 16; i++)
        kill(pids[i], SIGKILL);
    if (opened)
        dn_matmul_cache_free(q->matmul);
    q->matmul = opened ? NULL : q->matmul;
    bench_close(&b);
    return 0;
}
