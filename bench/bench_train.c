/*
 * Training steps, all of a step but the reading of pictures.
 *   bench_train [--device NAME] [--steps N] [s | b | l | g | t] [f32 | bf16] [images [micro
 *               [threads [prototypes]]]]
 * s, b, l, g: the published ViT of that size with patches of 14, 2 x 224 + 8 x 98 pixels, as
 * the peers of docs/performance.md; t: width 192, 12 blocks, 2 x 98 + 6 x 42 pixels, 64
 * pictures. Prints seconds and images a second of each step, and the median of those behind the
 * second.
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
    const char *name, *arch;
    int dim, heads; /* 0: as the published one */
    int registers, global, local, locals, hidden, bottleneck, prototypes, images;
} forms[] = {
    {"s", "vits14", 0, 0, 0, 224, 98, 8, 2048, 256, 4096, 4},
    {"b", "vitb14", 0, 0, 0, 224, 98, 8, 2048, 256, 4096, 4},
    {"l", "vitl14", 0, 0, 0, 224, 98, 8, 2048, 256, 4096, 4},
    {"g", "vitg14", 0, 0, 0, 224, 98, 8, 2048, 256, 4096, 1},
    {"t", "vits14", 192, 3, 4, 98, 42, 6, 512, 128, 4096, 64},
};
enum { FORMS = sizeof forms / sizeof *forms, MOST_STEPS = 1000 };

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

static uint8_t *pixels(size_t count)
{
    uint8_t *x = malloc(count + 1);

    for (size_t i = 0; x && i < count; i++)
        x[i] = (uint8_t)dn_random_u64(1, 3, i);
    return x;
}

static struct net_config net_of(const struct form *f, int prototypes)
{
    struct net_config net = {0};
    struct vit_config *vit = &net.backbone;
    struct dino_error err;

    if (!dn_vit_config_named(vit, f->arch, &err))
        exit(1);
    if (f->dim) {
        vit->dim = f->dim;
        vit->heads = f->heads;
        vit->hidden = 4 * f->dim;
    }
    vit->registers = f->registers;
    vit->grid_rows = vit->grid_cols = f->global / 14;
    net.dino = (struct head_config){.in = vit->dim,
                                    .layers = 3,
                                    .hidden = f->hidden,
                                    .bottleneck = f->bottleneck,
                                    .prototypes = prototypes};
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

/* The command line: words by place, once its two options are taken out. */
struct words {
    const char *device, *items[8];
    int steps, count;
};

static struct words words_of(int argc, char **argv)
{
    struct words w = {.device = "cpu", .steps = 4};
    int64_t steps;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            w.device = argv[++i];
        else if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc &&
                 dn_parse_int(argv[i + 1], 3, MOST_STEPS, &steps))
            w.steps = (int)steps, i++;
        else if (w.count < 6)
            w.items[w.count++] = argv[i];
    return w;
}

/* The nth word as a number; what is missing or none is `otherwise`. */
static int number(const struct words *w, int nth, int otherwise)
{
    int64_t value = otherwise;

    if (nth < w->count)
        dn_parse_int(w->items[nth], 1, 1 << 20, &value);
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
    r->batch.global_pixels = pixels(pictures * 2 * global);
    r->batch.local_pixels = pixels(pictures * (size_t)f->locals * local);
    if (!start || !masked || !r->rates || !r->batch.global_pixels || !r->batch.local_pixels)
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

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* What the run took: of the machine's memory, or of a GPU's since `room` was left of it. */
static double peak_bytes(const struct run *r, double room)
{
    struct rusage usage;

    if (room > 0)
        return room - r->device->ops->room(r->device);
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss;
}

/* The first two steps allocate and capture. */
static bool measure(struct run *r, int steps, double room, struct dino_error *err)
{
    static double seconds[MOST_STEPS];
    int images = r->step.config.images, first = 2, counted = steps - first;

    for (int i = 0; i < steps; i++) {
        struct ssl_losses losses;
        double begin = now(), used = cpu_seconds();
        if (!step(r, i, &losses, err))
            return false;
        seconds[i] = now() - begin;
        printf("%.3f s (%.3f s of processors)  %.2f images/s  loss %.4f\n", seconds[i],
               cpu_seconds() - used, images / seconds[i], losses.total);
    }
    qsort(seconds + first, (size_t)counted, sizeof *seconds, by_value);
    double median = seconds[first + counted / 2];
    printf("median %.4f s  %.2f images/s  peak memory %.2f GB\n", median, images / median,
           1e-9 * peak_bytes(r, room));
    return true;
}

static const struct form *form_of(const struct words *w)
{
    if (w->count == 0)
        return &forms[0];
    for (int i = 0; i < FORMS; i++)
        if (strcmp(w->items[0], forms[i].name) == 0)
            return &forms[i];
    fprintf(stderr, "bench_train: no form %s\n", w->items[0]);
    exit(2);
}

static struct ssl_config config_of(const struct form *f, int images, int micro)
{
    int patches = (f->global / 14) * (f->global / 14);

    return (struct ssl_config){.images = images,
                               .micro = micro,
                               .global_size = f->global,
                               .local_size = f->local,
                               .local_crops = f->locals,
                               .most_masked = images * (patches / 3 + 1),
                               .centering = CENTERING_SINKHORN,
                               .student_temperature = 0.1,
                               .dino_weight = 1,
                               .ibot_weight = 1,
                               .koleo_weight = 0.1};
}

int main(int argc, char **argv)
{
    struct dino_error err = {0};
    struct words w = words_of(argc, argv);
    struct run r = {.form = form_of(&w)};
    bool bf16 = w.count > 1 && strcmp(w.items[1], "bf16") == 0;
    int images = number(&w, 2, r.form->images), micro = number(&w, 3, images);
    int threads = number(&w, 4, 2);
    struct net_config net = net_of(r.form, number(&w, 5, r.form->prototypes));
    struct ssl_config config = config_of(r.form, images, micro);
    double room = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    r.device = dn_device_open(w.device, bf16 ? DINO_BF16 : DINO_F32, threads, &err);
    if (r.device && r.device->ops->room)
        room = r.device->ops->room(r.device);
    r.queue = r.device ? dn_queue_new(r.device, threads, &err) : NULL;
    if (!r.queue || !dn_params_table_init(&r.table, &net, &err) ||
        !dn_train_blocks_init(&r.blocks, r.queue, &r.table, NULL, &err) ||
        !dn_ssl_step_init(&r.step, r.queue, &r.table, &config, &err) || !fill(&r, images)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s, %s on %s, %d images in parts of %d, %d threads, %d prototypes, %.2f GB "
           "planned\n",
           r.form->name, bf16 ? "bf16" : "f32", w.device, images, micro, threads,
           net.dino.prototypes, (double)r.step.bytes * 1e-9);
    if (measure(&r, w.steps, room, &err))
        return 0;
    fprintf(stderr, "%s\n", err.message);
    return 1;
}
