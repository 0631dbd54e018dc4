/* The device "cuda" as its users meet it, on the emulated GPU: being absent, failing, and
 * giving the same bits whatever order its threads run in. */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/testing_ops.h"

enum { TOKENS = 70, HEADS = 2, DIM = 128 };

/* The plug-in of the tests, as a machine of this kind ("" is a good one with two GPUs). */
static void be_machine(const char *kind)
{
    setenv("DINO_PLUGINS", BUILD_DIR "/emulated", 1);
    setenv("DINO_EMULATE", kind, 1);
}

static void check_refusal(const char *kind, const char *name, enum dino_dtype dtype,
                          const char *line)
{
    struct dino_error err = {0};

    be_machine(kind);
    CHECK(!dn_device_open(name, dtype, 0, &err));
    assert_string_equal(err.message, line);
    be_machine("");
}

TEST(a_machine_without_a_usable_gpu_is_told_in_one_line)
{
    check_refusal("no-driver", "cuda", DINO_F32,
                  "device cuda: this machine has no NVIDIA driver");
    check_refusal("old-driver", "cuda", DINO_F32,
                  "device cuda: the NVIDIA driver is for CUDA 12.4, wanted one for 13.0 or "
                  "later");
    check_refusal("no-gpu", "cuda:0", DINO_F32, "device cuda: this machine has no NVIDIA GPU");
    check_refusal("one", "cuda:1", DINO_F32,
                  "device cuda:1: this machine has 1 GPU, from cuda:0 on");
    check_refusal("", "cuda:2", DINO_F32,
                  "device cuda:2: this machine has 2 GPUs, from cuda:0 on");
    check_refusal("", "cuda", DINO_I8, "device cuda computes f32, tf32, bf16 or f16, not int8");
    check_refusal("", "cuda:x", DINO_F32,
                  "no device 'cuda:x' in this build, wanted auto, cpu, ref, cuda or cuda:N");
}

TEST(a_library_of_another_version_or_none_is_refused)
{
    struct dino_error err = {0};
    char library[4096];

    be_machine("");
    setenv("DINO_PLUGINS", testing_scratch(), 1);
    snprintf(library, sizeof library, "%s/libdino_cuda.so", testing_scratch());
    CHECK(symlink("/proc/self/exe", library) == 0);
    CHECK(!dn_device_open("cuda", DINO_F32, 0, &err));
    CHECK(err.code == DINO_EDEVICE);
    CHECK(strstr(err.message, "device cuda is not in this build: "));
    CHECK(unlink(library) == 0);
}

TEST(auto_does_not_choose_what_is_experimental)
{
    be_machine("");
    struct device *d = dn_device_open("auto", DINO_F32, 0, NULL);

    CHECK(d && strcmp(d->name, "cpu") == 0);
    dn_device_close(d);
}

TEST(memory_that_runs_out_and_a_gpu_that_is_lost_are_one_line_each)
{
    struct dino_error err = {0};
    float numbers[4] = {0};

    be_machine("");
    struct device *d = dn_device_open("cuda", DINO_F32, 0, &err);
    CHECK_OK(d, err);
    struct queue *q = dn_queue_new(d, 0, &err);
    CHECK_OK(q, err);
    be_machine("full");
    CHECK(!d->ops->alloc(d, (4 << 20) + 1, &err) && err.code == DINO_ENOMEM);
    assert_string_equal(err.message,
                        "cuda:0: out of memory: wanted 5 MiB, 0 of 1024 MiB are free");
    be_machine("lost");
    dn_gelu(q,
            (struct op_gelu){dn_mat(numbers, 1, 4, DINO_F32), dn_mat(numbers, 1, 4, DINO_F32)});
    CHECK(!dn_queue_finish(q, &err) && err.code == DINO_EDEVICE);
    assert_string_equal(err.message, "cuda:0 failed at running: unspecified launch failure");
    be_machine("");
    dn_queue_free(q);
    dn_device_close(d);
}

TEST(two_gpus_work_in_one_process)
{
    enum { ROWS = 9, OUT = 5, ROUNDS = 3, COPIES = 8 };
    struct device *d[2];
    struct queue *q[2];
    struct weight *w[2];
    float *values = ops_vector(OUT * 16, 1, 1), *x = ops_vector(ROWS * 16, 1, 2);
    float y[2][ROWS * OUT];
    struct dino_error err = {0};

    be_machine("");
    for (int i = 0; i < 2; i++) {
        d[i] = dn_device_open(i ? "cuda:1" : "cuda:0", DINO_F32, 0, &err);
        CHECK_OK(d[i], err);
        assert_string_equal(d[i]->name, i ? "cuda:1" : "cuda:0");
        q[i] = dn_queue_new(d[i], 0, &err);
        CHECK_OK(q[i], err);
        w[i] = d[i]->ops->pack(d[i], dn_mat(values, OUT, 16, DINO_F32), NULL, &err);
        CHECK_OK(w[i], err);
    }
    /* both in turn: launched one by one, captured, launched as a graph */
    for (int round = 0; round < ROUNDS; round++) {
        memset(y, 0xff, sizeof y);
        for (int copy = 0; copy < COPIES; copy++)
            for (int i = 0; i < 2; i++)
                dn_linear(q[i], (struct op_linear){.y = dn_mat(y[i], ROWS, OUT, DINO_F32),
                                                   .x = dn_mat(x, ROWS, 16, DINO_F32),
                                                   .w = w[i]});
        for (int i = 0; i < 2; i++)
            CHECK_OK(dn_queue_finish(q[i], &err), err);
        CHECK(y[0][0] == y[0][0] && memcmp(y[0], y[1], sizeof y[0]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        d[i]->ops->weight_free(d[i], w[i]);
        dn_queue_free(q[i]);
        dn_device_close(d[i]);
    }
    free(values);
    free(x);
}

/* residual + scale * (x . w^T + bias) on a machine of this kind. */
static void scale_and_add(const char *kind, float *y)
{
    enum { ROWS = 9, COLS = 40, DEPTH = 48 };
    struct dino_error err = {0};
    float *values = ops_vector(COLS * DEPTH, 1, 1), *x = ops_vector(ROWS * DEPTH, 1, 2);
    float *vectors = ops_vector(3 * COLS, 1, 3), *residual = ops_vector(ROWS * COLS, 1, 4);
    const float *bias = vectors, *scale = vectors + COLS;

    be_machine(kind);
    struct device *d = dn_device_open("cuda", DINO_F32, 0, &err);
    CHECK_OK(d, err);
    struct queue *q = dn_queue_new(d, 0, &err);
    struct mat matrix = dn_mat(values, COLS, DEPTH, DINO_F32);
    struct weight *w = d->ops->pack(d, matrix, bias, &err);
    CHECK_OK(q && w, err);
    for (int c = 0; c < COLS; c++)
        vectors[2 * COLS + c] = bias[c] * scale[c];
    dn_linear(q, (struct op_linear){.y = dn_mat(y, ROWS, COLS, DINO_F32),
                                    .x = dn_mat(x, ROWS, DEPTH, DINO_F32),
                                    .w = w,
                                    .scale = scale,
                                    .scaled_bias = vectors + 2 * COLS,
                                    .residual = dn_mat(residual, ROWS, COLS, DINO_F32)});
    CHECK_OK(dn_queue_finish(q, &err), err);
    d->ops->weight_free(d, w);
    dn_queue_free(q);
    dn_device_close(d);
    be_machine("");
    free(values);
    free(x);
    free(vectors);
    free(residual);
}

TEST(what_the_library_does_not_scale_is_scaled_behind_it)
{
    enum { COUNT = 9 * 40 };
    float ends[COUNT], passes[COUNT];
    int differ = 0;

    scale_and_add("", ends);
    scale_and_add("without-scale", passes);
    for (int i = 0; i < COUNT; i++) {
        CHECK(fabsf(ends[i] - passes[i]) < 2e-5F);
        differ += ends[i] != passes[i];
    }
    CHECK(differ > 0); /* (p + b) s and p s + b s round differently: both ways were gone */
}

/* Every kernel once; what comes out, as bytes. */
static void run_all(enum dino_dtype dtype, uint8_t *pixels, float *out)
{
    struct dino_error err = {0};
    const int starts[] = {0, 33, TOKENS};
    struct device *d = dn_device_open("cuda", dtype, 0, &err);
    CHECK_OK(d, err);
    struct queue *q = dn_queue_new(d, 0, &err);
    struct guarded wide = ops_random(TOKENS, 3 * DIM, 8, d->activation, 1, 1);
    struct guarded mixed = ops_random(TOKENS, DIM, 0, d->activation, 1, 2);
    struct guarded patches = ops_random(TOKENS, 588, 0, DINO_F32, 1, 4);
    struct mat wide16 = wide.mat;
    float *weight = ops_vector(DIM, 1, 5);
    struct mat stream = dn_mat(out, TOKENS, DIM, DINO_F32);
    struct mat means = dn_mat(out + TOKENS * DIM, 2, DIM, DINO_F32);
    struct mat map = dn_mat(out + (TOKENS + 2) * DIM, HEADS * 33, 33, DINO_F32);

    wide16.data = (void *)(((uintptr_t)wide.mat.data + 15) / 16 * 16); /* for tensor cores */
    memset(wide16.data, 0x3c, 64);
    struct op_picture picture = {
        .pixels = pixels, .height = 7 * 14, .width = 10 * 14, .std = {1, 1, 1}};
    dn_patchify(
        q, (struct op_patchify){
               .y = patches.mat, .pictures = &picture, .count = 1, .channels = 3, .patch = 14});
    dn_copy(q, (struct op_copy){stream, dn_mat_cols(patches.mat, 0, DIM)});
    dn_attend(q, (struct op_attend){.y = mixed.mat,
                                    .qkv = wide16,
                                    .heads = HEADS,
                                    .scale = 0.125,
                                    .starts = starts,
                                    .sequences = 2});
    dn_copy(q, (struct op_copy){dn_mat_rows(stream, 0, 30), dn_mat_rows(mixed.mat, 20, 30)});
    dn_attend(q, (struct op_attend){.y = mixed.mat,
                                    .qkv = wide16,
                                    .heads = 1,
                                    .scale = 0.1,
                                    .starts = starts,
                                    .sequences = 2});
    dn_copy(q, (struct op_copy){dn_mat_rows(stream, 30, 30), dn_mat_rows(mixed.mat, 20, 30)});
    dn_layernorm(q, (struct op_layernorm){stream, stream, weight, weight, 1e-6F});
    dn_gelu(q, (struct op_gelu){dn_mat_rows(stream, 0, 9), dn_mat_rows(stream, 0, 9)});
    dn_mean_rows(q, (struct op_mean_rows){means, stream, starts, 2, 1});
    dn_attention_map(q,
                     (struct op_attention_map){map, dn_mat_rows(wide16, 0, 33), HEADS, 0.1F});
    CHECK_OK(dn_queue_finish(q, &err), err);
    free(weight);
    ops_free(&wide);
    ops_free(&mixed);
    ops_free(&patches);
    dn_queue_free(q);
    dn_device_close(d);
}

TEST(the_order_in_which_threads_run_changes_no_bit)
{
    enum { COUNT = (TOKENS + 2) * DIM + HEADS * 33 * 33, NEXT = (COUNT + 15) / 16 * 16 };
    static const enum dino_dtype dtypes[] = {DINO_F32, DINO_BF16, DINO_F16};
    float *out = malloc(2 * NEXT * sizeof *out);
    uint8_t *pixels = malloc(3 * 98 * 140);

    be_machine("");
    CHECK(out && pixels);
    for (int i = 0; i < 3 * 98 * 140; i++)
        pixels[i] = (uint8_t)(i * 37);
    for (int d = 0; d < 3; d++) {
        run_all(dtypes[d], pixels, out);
        setenv("DINO_EMULATE_BACKWARDS", "1", 1);
        run_all(dtypes[d], pixels, out + NEXT);
        unsetenv("DINO_EMULATE_BACKWARDS");
        for (int i = 0; i < COUNT; i++)
            if (memcmp(out + i, out + NEXT + i, sizeof *out) != 0)
                fail_msg("%s: number %d is %a, backwards %a", dino_dtype_name(dtypes[d]), i,
                         (double)out[i], (double)out[NEXT + i]);
    }
    free(out);
    free(pixels);
}

/* emulate_counts of the plug-in's runtime. */
static void counts_of_gpu(unsigned long counts[3])
{
    void *plugin = dlopen(BUILD_DIR "/emulated/libdino_cuda.so", RTLD_NOW | RTLD_NOLOAD);
    void (*ask)(unsigned long[3]) = NULL;

    CHECK(plugin);
    *(void **)&ask = dlsym(plugin, "emulate_counts");
    CHECK(ask);
    ask(counts);
    dlclose(plugin);
}

/* As many commands as are worth a graph, on so many rows. */
static void run_list_of(struct queue *q, struct mat x, int rows)
{
    struct dino_error err = {0};

    for (int i = 0; i < 8; i++)
        dn_gelu(q, (struct op_gelu){dn_mat_rows(x, 0, rows), dn_mat_rows(x, 0, rows)});
    CHECK_OK(dn_queue_finish(q, &err), err);
}

TEST(a_queue_keeps_the_last_graphs_and_no_more)
{
    enum { LISTS = 80, KEPT = 64, COLS = 4 };
    struct dino_error err = {0};
    unsigned long first[3], made[3], last[3];

    be_machine("");
    struct device *d = dn_device_open("cuda", DINO_F32, 0, &err);
    CHECK_OK(d, err);
    struct queue *q = dn_queue_new(d, 0, &err);
    CHECK_OK(q, err);
    size_t bytes = (size_t)LISTS * COLS * sizeof(float);
    float *memory = d->ops->alloc(d, bytes, &err), zeros[LISTS * COLS] = {0};
    CHECK_OK(memory, err);
    d->ops->upload(q, memory, zeros, bytes);
    struct mat x = dn_mat(memory, LISTS, COLS, DINO_F32);
    counts_of_gpu(first);
    for (int rows = 1; rows <= LISTS; rows++) {
        run_list_of(q, x, rows);
        run_list_of(q, x, rows);
    }
    counts_of_gpu(made);
    CHECK(made[1] - first[1] == 8UL * LISTS && made[2] - first[2] == KEPT);
    run_list_of(q, x, LISTS - KEPT + 1); /* the oldest that is kept */
    run_list_of(q, x, 1);                /* long forgotten */
    counts_of_gpu(last);
    CHECK(last[1] - made[1] == 8 && last[0] - made[0] == 8);
    CHECK(last[2] == made[2] || last[2] == made[2] - 1);
    d->ops->free(d, memory, bytes);
    dn_queue_free(q);
    counts_of_gpu(last);
    CHECK(last[2] == first[2]);
    dn_device_close(d);
}
