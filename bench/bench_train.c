/*
 * Training steps on device cpu, all of a step but the reading of pictures.
 *   bench_train [s | t] [f32 | bf16] [images [micro [threads [prototypes]]]]
 * s: ViT-S/14, 2 x 224 + 8 x 98 pixels, as the peers of docs/performance.md; t: width
 * 192, 12 blocks, 2 x 98 + 6 x 42 pixels, 64 pictures. Prints seconds and images a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/rng.h"
#include "base/str.h"
#include "train/ssl_step.h"

/* A network and its crops. */
static const struct form {
    const char *name;
    int dim, heads, registers, global, local, locals, hidden, bottleneck, prototypes, images;
} forms[] = {
    {"s", 384, 6, 0, 224, 98, 8, 2048, 256, 4096, 4},
    {"t", 192, 3, 4, 98, 42, 6, 512, 128, 4096, 64},
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of all threads: what a step costs where others share the cores. */
static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *noise(size_t count, float scale)
{
    float *x = malloc((count + 1) * sizeof *x);

    for (size_t i = 0; x && i < count; i++)
        x[i] = scale * (float)(2 * dn_random_f64(1, 2, i) - 1);
    return x;
}

static struct net_config net_of(const struct form *f, int prototypes)
{
    struct head_config head = {.in = f->dim,
                               .layers = 3,
                               .hidden = f->hidden,
                               .bottleneck = f->bottleneck,
                               .prototypes = prototypes};
    struct net_config net = {.dino = head};
    struct dino_error err;

    if (!dn_vit_config_named(&net.backbone, "vits14", &err))
        exit(1);
    net.backbone.dim = f->dim;
    net.backbone.heads = f->heads;
    net.backbone.hidden = 4 * f->dim;
    net.backbone.registers = f->registers;
    net.backbone.grid_rows = net.backbone.grid_cols = f->global / 14;
    return net;
}

/* A third of the patches of every second crop. */
static int masks(int *masked, int images, int patches)
{
    int count = 0;

    for (int crop = 0; crop < 2 * images; crop += 2)
        for (int p = 0; p < patches; p += 3)
            masked[count++] = crop * patches + p;
    return count;
}

/* The nth word as a number; what is missing or none is `otherwise`. */
static int number(int argc, char **argv, int nth, int otherwise)
{
    int64_t value = otherwise;

    if (nth < argc)
        dn_parse_int(argv[nth], 1, 1 << 20, &value);
    return (int)value;
}

struct run {
    const struct form *form;
    struct device *device;
    struct queue *queue;
    struct params_table table;
    struct train_blocks blocks;
    struct ssl_step step;
    struct ssl_batch batch;
    struct param_rate *rates;
};

/* Gradient, clipping, AdamW and the teacher. */
static bool step(struct run *r, int at, struct ssl_losses *losses, struct dino_error *err)
{
    struct adamw_options adamw = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = at + 1, .rates = r->rates};
    struct clipping clip;

    dn_zero_grads(r->queue, &r->table, &r->blocks);
    if (!dn_ssl_step_run(&r->step, &r->blocks, &r->batch, 0.05, 1, losses, err) ||
        !dn_clip(r->queue, &r->table, &r->blocks, 3, &clip, err))
        return false;
    dn_optimizer_step(r->queue, &r->table, &r->blocks, &clip, &adamw);
    dn_teacher_follow(r->queue, &r->table, &r->blocks, 0.99);
    return dn_queue_finish(r->queue, err);
}

static bool fill(struct run *r, int images)
{
    const struct form *f = r->form;
    int patches = (f->global / 14) * (f->global / 14);
    size_t count = r->table.elements, pictures = (size_t)images;
    size_t global = 3 * (size_t)f->global * (size_t)f->global;
    size_t local = 3 * (size_t)f->local * (size_t)f->local;
    float *start = noise(count, 0.02F);
    int *masked = malloc(pictures * 2 * (size_t)patches * sizeof *masked);

    r->rates = calloc((size_t)r->table.count, sizeof *r->rates);
    r->batch.global = noise(pictures * 2 * global, 1);
    r->batch.local = noise(pictures * (size_t)f->locals * local, 1);
    if (!start || !masked || !r->rates || !r->batch.global || !r->batch.local)
        return false;
    r->device->ops->upload(r->queue, r->blocks.student, start, count * sizeof *start);
    r->device->ops->upload(r->queue, r->blocks.teacher, start, count * sizeof *start);
    r->batch.masked_count = masks(masked, images, patches);
    r->batch.masked = masked;
    for (int i = 0; i < r->table.count; i++)
        r->rates[i] = (struct param_rate){1e-4, 0.04};
    free(start);
    return true;
}

int main(int argc, char **argv)
{
    struct dino_error err = {0};
    struct run r = {.form = &forms[argc > 1 && strcmp(argv[1], "t") == 0]};
    enum dino_dtype dtype = argc > 2 && strcmp(argv[2], "bf16") == 0 ? DINO_BF16 : DINO_F32;
    int images = number(argc, argv, 3, r.form->images);
    int micro = number(argc, argv, 4, images), threads = number(argc, argv, 5, 2);
    struct net_config net = net_of(r.form, number(argc, argv, 6, r.form->prototypes));
    int patches = (r.form->global / 14) * (r.form->global / 14);
    struct ssl_config config = {.images = images,
                                .micro = micro,
                                .global_size = r.form->global,
                                .local_size = r.form->local,
                                .local_crops = r.form->locals,
                                .most_masked = images * (patches / 3 + 1),
                                .centering = CENTERING_SINKHORN,
                                .student_temperature = 0.1,
                                .dino_weight = 1,
                                .ibot_weight = 1,
                                .koleo_weight = 0.1};
    struct rusage usage;

    setvbuf(stdout, NULL, _IOLBF, 0);
    r.device = dn_device_open("cpu", dtype, threads, &err);
    r.queue = r.device ? dn_queue_new(r.device, threads, &err) : NULL;
    if (!r.queue || !dn_params_table_init(&r.table, &net, &err) ||
        !dn_train_blocks_init(&r.blocks, r.queue, &r.table, NULL, &err) ||
        !dn_ssl_step_init(&r.step, r.queue, &r.table, &config, &err) || !fill(&r, images)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s, %s, %d images in parts of %d, %d threads, %d prototypes, %.2f GB planned\n",
           r.form->name, dino_dtype_name(dtype), images, micro, threads, net.dino.prototypes,
           (double)r.step.bytes * 1e-9);
    for (int i = 0; i < 4; i++) {
        struct ssl_losses losses;
        double begin = now(), used = cpu_seconds();
        if (!step(&r, i, &losses, &err)) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        double seconds = now() - begin;
        printf("%.3f s (%.3f s of processors)  %.2f images/s  loss %.4f\n", seconds,
               cpu_seconds() - used, images / seconds, losses.total);
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("peak memory %.2f GB\n", (double)usage.ru_maxrss * 1024e-9);
    return 0;
}
