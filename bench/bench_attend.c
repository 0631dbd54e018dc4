/*
 * Attention at the model's shapes: milliseconds, GFLOP/s of its two products, and their share
 * of the processor's measured peak.
 *
 *     bench_attend [f32|bf16] [threads] [seconds for a shape] [TOKENS]
 */
#include <stdlib.h>

#include "bench.h"

static void run(const struct bench *b, int sequences, int tokens, int heads, int width)
{
    int dim = heads * width, rows = tokens * sequences, starts[17];
    size_t size = (size_t)rows * (size_t)dim;
    enum dino_dtype dtype = b->device->activation;
    void *qkv = bench_numbers(3 * size, dtype, 1), *y = bench_numbers(size, dtype, 1);
    struct op_attend op = {.y = dn_mat(y, rows, dim, dtype),
                           .qkv = dn_mat(qkv, rows, 3 * dim, dtype),
                           .heads = heads,
                           .scale = 0.125F,
                           .starts = starts,
                           .sequences = sequences};
    double best = 1e9, end = bench_wall() + b->seconds;

    for (int s = 0; s <= sequences; s++)
        starts[s] = s * tokens;
    for (int i = 0; i < 4 || bench_wall() < end; i++) {
        double start = bench_now(b);
        dn_attend(b->queue, op);
        double taken = bench_now(b) - start;
        if (taken < best)
            best = taken;
    }
    printf("%2d x %4d tokens, %2d heads of %3d: %8.3f ms", sequences, tokens, heads, width,
           best * 1e3);
    bench_print_rate(b, 4.0 * tokens * tokens * dim * sequences / 1e9, best);
    printf("\n");
    bench_free(qkv, 3 * size);
    bench_free(y, size);
}

int main(int argc, char **argv)
{
    struct bench b = bench_open(argc, argv);

    if (argc > 4) {
        run(&b, 1, (int)strtol(argv[4], NULL, 10), 1, 64);
        bench_close(&b);
        return 0;
    }
    run(&b, 1, 257, 6, 64);
    run(&b, 16, 257, 6, 64);
    run(&b, 1, 1370, 6, 64);
    run(&b, 1, 257, 16, 64);
    run(&b, 1, 1370, 16, 64);
    run(&b, 1, 257, 12, 32);
    run(&b, 1, 257, 6, 80);
    bench_close(&b);
    return 0;
}
