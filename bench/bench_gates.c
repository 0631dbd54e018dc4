/*
 * SwiGLU at ViT-g's width: gated at the end of the product, and by an operation of its own
 * after it. Least of several turns, alternately.
 *
 *     bench_gates [f32|bf16|int8] [threads] [seconds for a shape]
 */
#include "bench.h"

enum { DIM = 1536, HIDDEN = 4096 };

static void keep_least(const struct bench *b, double start, double *best)
{
    double taken = bench_now(b) - start;

    if (taken < *best)
        *best = taken;
}

static void run(const struct bench *b, struct weight *gated, struct weight *plain, int rows)
{
    size_t count = (size_t)rows * HIDDEN;
    enum dino_dtype act = b->device->activation;
    void *x = bench_numbers((size_t)rows * DIM, act, 1), *y = bench_numbers(count, act, 1);
    void *both = bench_numbers(2 * count, act, 1);
    struct mat xm = dn_mat(x, rows, DIM, act), ym = dn_mat(y, rows, HIDDEN, act);
    struct mat bm = dn_mat(both, rows, 2 * HIDDEN, act);
    double fused = 1e9, apart = 1e9, end = bench_wall() + b->seconds;

    for (int i = 0; i < 4 || bench_wall() < end; i++) {
        double start = bench_now(b);
        dn_linear(b->queue, (struct op_linear){.y = ym, .x = xm, .w = gated, .act = OP_SWIGLU});
        keep_least(b, start, &fused);
        start = bench_now(b);
        dn_linear(b->queue, (struct op_linear){.y = bm, .x = xm, .w = plain});
        dn_swiglu(b->queue, (struct op_swiglu){.y = ym, .x = bm});
        keep_least(b, start, &apart);
    }
    printf("%5d rows: gated %8.3f ms", rows, fused * 1e3);
    bench_print_rate(b, 4e-9 * rows * HIDDEN * DIM, fused);
    printf("   apart %8.3f ms   %.2f x\n", apart * 1e3, apart / fused);
    bench_free(x, (size_t)rows * DIM);
    bench_free(y, count);
    bench_free(both, 2 * count);
}

int main(int argc, char **argv)
{
    struct bench b = bench_open(argc, argv);
    size_t count = (size_t)2 * HIDDEN * DIM;
    float *w = bench_numbers(count, DINO_F32, 0.05F);
    struct weight_source from = {.w = dn_mat(w, 2 * HIDDEN, DIM, DINO_F32)};
    struct weight *plain = b.device->ops->pack_any(b.device, &from, NULL);

    from.gated = true;
    struct weight *gated = b.device->ops->pack_any(b.device, &from, NULL);
    if (!b.device->gates || !plain || !gated)
        return 1;
    run(&b, gated, plain, 257);
    run(&b, gated, plain, 1370);
    run(&b, gated, plain, 4112);
    b.device->ops->weight_free(b.device, gated);
    b.device->ops->weight_free(b.device, plain);
    bench_free(w, count);
    bench_close(&b);
    return 0;
}
