/*
 * Whole forward passes of official architectures with formula weights: the least of several
 * runs, its share of the processor's peak, and where its time went, operation by operation.
 *
 *     bench_forward [f32|bf16|int8] [threads] [seconds] [arch] [pixels] [batch]
 */
#include "bench.h"
#include "model/model.h"

/* Every operation's time of one pass. A measurement program may have globals. */
enum { LINEAR, ATTEND, LAYERNORM, SWIGLU, GELU, OTHERS, OP_COUNT };
static const char *const names[] = {"linear", "attend", "layernorm",
                                    "swiglu", "gelu",   "others"};
static struct bench b;
static struct device_ops plain, timed;
static double spent[OP_COUNT], products[OP_COUNT];

static void linear(struct queue *q, const struct op_linear *op)
{
    double start = bench_now(&b);
    plain.linear(q, op);
    spent[LINEAR] += bench_now(&b) - start;
    products[LINEAR] += 2e-9 * op->y.rows * op->y.cols * op->x.cols;
}

static void attend(struct queue *q, const struct op_attend *op)
{
    double start = bench_now(&b);
    plain.attend(q, op);
    spent[ATTEND] += bench_now(&b) - start;
    for (int s = 0; s < op->sequences; s++) {
        double tokens = op->starts[s + 1] - op->starts[s];
        products[ATTEND] += 4e-9 * tokens * tokens * op->y.cols;
    }
}

#define TIMED(name, where)                                        \
    static void name(struct queue *q, const struct op_##name *op) \
    {                                                             \
        double start = bench_now(&b);                             \
        plain.name(q, op);                                        \
        spent[where] += bench_now(&b) - start;                    \
    }
TIMED(layernorm, LAYERNORM)
TIMED(swiglu, SWIGLU)
TIMED(gelu, GELU)
TIMED(put_rows, OTHERS)
TIMED(copy, OTHERS)
TIMED(mean_rows, OTHERS)
TIMED(patchify, OTHERS)

static void watch(struct device *d)
{
    plain = timed = *d->ops;
    timed.linear = linear;
    timed.attend = attend;
    timed.layernorm = layernorm;
    timed.swiglu = swiglu;
    timed.gelu = gelu;
    timed.put_rows = put_rows;
    timed.copy = copy;
    timed.mean_rows = mean_rows;
    timed.patchify = patchify;
    d->ops = &timed;
}

static void report(const char *what, double seconds, const double times[OP_COUNT])
{
    double gflop = products[LINEAR] + products[ATTEND], rest = seconds;

    printf("%s: %.3f ms, GFLOP/s", what, seconds * 1e3);
    bench_print_rate(&b, gflop, seconds);
    printf("\n");
    for (int i = 0; i < OP_COUNT; i++) {
        rest -= times[i];
        if (times[i] <= 0)
            continue;
        printf("  %-10s %9.3f ms %4.1f %%", names[i], times[i] * 1e3, 100 * times[i] / seconds);
        if (products[i] > 0)
            bench_print_rate(&b, products[i], times[i]);
        printf("\n");
    }
    printf("  %-10s %9.3f ms\n", "between", rest * 1e3);
}

int main(int argc, char **argv)
{
    b = bench_open(argc, argv);
    const char *arch = argc > 4 ? argv[4] : "vits14";
    int pixels = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 224;
    int batch = argc > 6 ? (int)strtol(argv[6], NULL, 10) : 1;
    struct dino_error err = {0};
    struct dino_model_options options = {.size = sizeof options,
                                         .dtype = b.device->dtype,
                                         .threads = b.device->threads,
                                         .arch = arch};
    double start = bench_wall();
    struct dino_model *model = dino_model_formula(arch, &options, &err);
    struct dino_session *session = model ? dino_session_new(model, NULL, &err) : NULL;
    size_t size = 3 * (size_t)pixels * (size_t)pixels;
    struct dino_input inputs[64] = {{0}};
    struct dino_request request = {.size = sizeof request};
    double best = 1e9, best_times[OP_COUNT] = {0};

    if (!session || batch < 1 || batch > 64) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s, %d x %d pixels, %d threads, ready after %.0f ms\n", arch, batch, pixels,
           b.device->threads, (bench_wall() - start) * 1e3);
    for (int i = 0; i < batch; i++)
        inputs[i] = (struct dino_input){
            .planes = bench_numbers(size, DINO_F32, 2), .height = pixels, .width = pixels};
    watch(model->device);
    double end = bench_wall() + b.seconds;
    for (int i = 0; i < 3 || bench_wall() < end; i++) {
        memset(spent, 0, sizeof spent);
        memset(products, 0, sizeof products);
        start = bench_now(&b);
        if (!dino_run(session, inputs, batch, &request, &err)) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        double taken = bench_now(&b) - start;
        if (taken < best) {
            best = taken;
            memcpy(best_times, spent, sizeof spent);
        }
    }
    report(arch, best, best_times);
    for (int i = 0; i < batch; i++)
        bench_free((void *)(uintptr_t)inputs[i].planes, size);
    dino_session_free(session);
    dino_model_free(model);
    bench_close(&b);
    return 0;
}
