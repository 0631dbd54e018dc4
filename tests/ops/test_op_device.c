/* Devices and queues themselves: opening, sticking errors, threads, repeatability. */
#include <malloc.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ops/testing_ops.h"

static const char *const op_names[] = {"linear",    "attend",   "attention_map", "layernorm",
                                       "swiglu",    "gelu",     "put_rows",      "copy",
                                       "mean_rows", "patchify", "place_tokens"};

TEST(every_operation_has_a_kernel_with_a_name)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (size_t i = 0; i < sizeof op_names / sizeof *op_names; i++) {
            const char *name = b.device->ops->kernel_name(b.device, op_names[i]);
            CHECK(name && name[0]);
            if (getenv("DINO_TEST_MEASURE"))
                print_message("%s %s: %s\n", dino_dtype_name(b.dtype), op_names[i], name);
        }
        CHECK(!b.device->ops->kernel_name(b.device, "telepathy"));
        ops_close(&b);
    }
}

TEST(the_peak_grows_with_narrower_numbers_and_is_zero_without_instructions)
{
    ops_devices();
    struct bench b = ops_open(0);
    if (strcmp(b.device->name, "cpu") != 0) {
        ops_close(&b);
        SKIP("only the processor's peak is measured");
    }
    double f32 = b.device->ops->peak(b.device, DINO_F32, 1);
    double bf16 = b.device->ops->peak(b.device, DINO_BF16, 1);
    double i8 = b.device->ops->peak(b.device, DINO_I8, 1);

    if (getenv("DINO_TEST_MEASURE"))
        print_message("peak of one thread: f32 %.0f bf16 %.0f int8 %.0f GFLOP/s\n", f32, bf16,
                      i8);
    CHECK(f32 > 0.1);
    CHECK(bf16 == 0 || bf16 > f32);
    CHECK(i8 == 0 || i8 > f32);
    CHECK(b.device->ops->peak(b.device, DINO_I64, 1) == 0);
    ops_close(&b);
}

TEST(what_cannot_be_opened_says_why)
{
    struct dino_error err = {0};

    CHECK(!dn_device_open("abacus", DINO_F32, 0, &err));
    CHECK(err.code == DINO_EDEVICE && strstr(err.message, "abacus"));
    CHECK(!dn_device_open("cpu", DINO_F64, 0, &err));
    CHECK(err.code == DINO_EUNSUPPORTED && strstr(err.message, "f64"));
    CHECK(!dn_device_open("cpu", DINO_F64, 0, NULL));
}

TEST(the_first_failure_sticks_and_stops_what_follows)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        struct dino_error err = {0};
        float x[4] = {1, 2, 3, 4}, y[4] = {7, 7, 7, 7};
        struct op_copy op = {.y = dn_mat(y, 2, 2, DINO_F32), .x = dn_mat(x, 2, 2, DINO_F32)};

        dn_queue_fail(b.queue, DINO_EDEVICE, "the %s is loose", "plug");
        dn_queue_fail(b.queue, DINO_ENOMEM, "a later one");
        dn_copy(b.queue, op);
        CHECK(y[0] == 7 && y[3] == 7);
        CHECK(!dn_queue_finish(b.queue, &err));
        CHECK(err.code == DINO_EDEVICE && strcmp(err.message, "the plug is loose") == 0);
        dn_copy(b.queue, op);
        CHECK(dn_queue_finish(b.queue, &err));
        CHECK(y[0] == 1 && y[3] == 4);
        ops_close(&b);
    }
}

/* A little of everything: layernorm, qkv, attention, projection into the residual, MLP. */
struct work {
    const struct device *device;
    struct weight *qkv, *project, *grow, *shrink;
    int threads, rounds;
    float result[70 * 32];
    bool good;
};

enum { TOKENS = 70, DIM = 32 };

static void block(struct queue *q, const struct work *w, float *stream)
{
    enum dino_dtype dtype = w->device->activation;
    double normed[TOKENS * DIM], wide[TOKENS * 4 * DIM], mixed[TOKENS * DIM];
    float ones[DIM], zeros[DIM] = {0};
    const int starts[] = {0, 33, TOKENS};
    struct mat x = dn_mat(stream, TOKENS, DIM, DINO_F32);
    struct mat n = dn_mat(normed, TOKENS, DIM, dtype), y = dn_mat(mixed, TOKENS, DIM, dtype);
    struct mat qkv = dn_mat(wide, TOKENS, 3 * DIM, dtype);
    struct mat hidden = dn_mat(wide, TOKENS, 4 * DIM, dtype);

    for (int i = 0; i < DIM; i++)
        ones[i] = 1;
    struct op_layernorm norm = {.y = n, .x = x, .weight = ones, .bias = zeros, .eps = 1e-6F};
    dn_layernorm(q, norm);
    dn_linear(q, (struct op_linear){.y = qkv, .x = n, .w = w->qkv});
    dn_attend(
        q,
        (struct op_attend){
            .y = y, .qkv = qkv, .heads = 2, .scale = 0.25F, .starts = starts, .sequences = 2});
    dn_linear(q, (struct op_linear){.y = x, .x = y, .w = w->project, .residual = x});
    dn_layernorm(q, norm);
    dn_linear(q, (struct op_linear){.y = hidden, .x = n, .w = w->grow, .act = OP_GELU});
    dn_linear(q, (struct op_linear){
                     .y = x, .x = hidden, .w = w->shrink, .scale = ones, .residual = x});
}

static void *work_run(void *argument)
{
    struct work *w = argument;
    struct dino_error err = {0};
    struct queue *q = dn_queue_new(w->device, w->threads, &err);
    float stream[TOKENS * DIM];

    w->good = q;
    for (int round = 0; q && round < w->rounds; round++) {
        for (int i = 0; i < TOKENS * DIM; i++)
            stream[i] = (float)(i * 37 % 101) / 50 - 1;
        for (int depth = 0; depth < 3; depth++)
            block(q, w, stream);
        w->good = dn_queue_finish(q, &err) && w->good;
        if (round > 0) /* every round gives the same bits */
            w->good = w->good && memcmp(w->result, stream, sizeof stream) == 0;
        memcpy(w->result, stream, sizeof stream);
    }
    dn_queue_free(q);
    return NULL;
}

static struct weight *pack(const struct device *d, int n, int k, uint64_t seed)
{
    float *values = ops_vector(n * k, 0.2F, seed), *bias = ops_vector(n, 1, seed + 100);
    struct weight *w = d->ops->pack(d, dn_mat(values, n, k, DINO_F32), bias, NULL);

    CHECK(w);
    free(values);
    free(bias);
    return w;
}

static struct work work_open(const struct device *d, int threads)
{
    return (struct work){.device = d,
                         .threads = threads,
                         .rounds = 5,
                         .qkv = pack(d, 3 * DIM, DIM, 1),
                         .project = pack(d, DIM, DIM, 2),
                         .grow = pack(d, 4 * DIM, DIM, 3),
                         .shrink = pack(d, DIM, 4 * DIM, 4)};
}

static void work_close(struct work *w)
{
    struct weight *weights[] = {w->qkv, w->project, w->grow, w->shrink};

    for (int i = 0; i < 4; i++)
        w->device->ops->weight_free(w->device, weights[i]);
}

TEST(the_same_work_gives_the_same_bits_in_any_queue_and_any_thread)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++)
        for (int threads = 1; threads <= 2; threads++) {
            struct bench b = ops_open(d);
            struct work first = work_open(b.device, threads), others[3];
            pthread_t running[3];

            work_run(&first);
            CHECK(first.good);
            for (int i = 0; i < 3; i++) {
                others[i] = first;
                CHECK(pthread_create(&running[i], NULL, work_run, &others[i]) == 0);
            }
            for (int i = 0; i < 3; i++) {
                pthread_join(running[i], NULL);
                CHECK(others[i].good);
                CHECK(memcmp(first.result, others[i].result, sizeof first.result) == 0);
            }
            work_close(&first);
            ops_close(&b);
        }
}

TEST(a_queue_leaves_its_callers_openmp_as_it_was)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        struct work w = work_open(b.device, 1);
        int before = omp_get_max_threads();

        omp_set_num_threads(7);
        work_run(&w);
        CHECK(w.good && omp_get_max_threads() == 7);
        omp_set_num_threads(before);
        work_close(&w);
        ops_close(&b);
    }
}

TEST(from_the_second_round_on_a_queue_allocates_nothing)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        struct work w = work_open(b.device, 0);
        float stream[TOKENS * DIM] = {0};

        if (getenv("DINO_TEST_MIRROR"))
            SKIP("the mirror allocates");
        for (int i = 0; i < 2 * ops_warm_rounds(&b); i++) {
            block(b.queue, &w, stream);
            ops_finish(&b);
        }
        struct mallinfo2 before = mallinfo2();
        for (int i = 0; i < 10; i++) {
            block(b.queue, &w, stream);
            ops_finish(&b);
        }
        struct mallinfo2 after = mallinfo2();
        CHECK(after.uordblks == before.uordblks && after.hblks == before.hblks);
        work_close(&w);
        ops_close(&b);
    }
}

TEST(memory_of_a_device_is_aligned_and_moves_both_ways)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        struct dino_error err = {0};
        char text[] = "there and back", back[sizeof text] = "";
        void *memory = b.device->ops->alloc(b.device, sizeof text, &err);

        CHECK_OK(memory, err);
        CHECK((uintptr_t)memory % 64 == 0);
        b.device->ops->upload(b.queue, memory, text, sizeof text);
        b.device->ops->download(b.queue, back, memory, sizeof text);
        ops_finish(&b);
        CHECK(strcmp(back, text) == 0);
        b.device->ops->free(b.device, memory, sizeof text);
        CHECK(!b.device->ops->alloc(b.device, SIZE_MAX, &err) && err.code == DINO_ENOMEM);
        ops_close(&b);
    }
}
