/*
 * One training step: ViT-S/14 (or `dim depth heads`), 2 x 224 + 8 x 98 pixels, DINO and iBOT
 * heads, on device cpu in f32. Prints seconds and images a second for the parts and the whole.
 *   bench_train [images [micro [threads [prototypes]]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/str.h"
#include "base/rng.h"
#include "train/ssl_step.h"

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *noise(size_t count, float scale)
{
    float *x = malloc(count * sizeof *x);

    for (size_t i = 0; x && i < count; i++)
        x[i] = scale * (float)(2 * dn_random_f64(1, 2, i) - 1);
    return x;
}

static struct net_config small_net(int prototypes)
{
    struct head_config head = {
        .in = 384, .layers = 3, .hidden = 2048, .bottleneck = 256, .prototypes = prototypes};
    struct net_config net = {.dino = head};
    struct dino_error err;

    if (!dn_vit_config_named(&net.backbone, "vits14", &err))
        exit(1);
    net.backbone.grid_rows = net.backbone.grid_cols = 16;
    return net;
}

/* A third of the patches of every second crop. */
static int masks(int *masked, int images)
{
    int count = 0;

    for (int crop = 0; crop < 2 * images; crop += 2)
        for (int p = 0; p < 256; p += 3)
            masked[count++] = crop * 256 + p;
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

int main(int argc, char **argv)
{
    int images = number(argc, argv, 1, 4), micro = number(argc, argv, 2, images);
    int threads = number(argc, argv, 3, 2), prototypes = number(argc, argv, 4, 4096);
    struct dino_error err = {0};
    struct net_config net = small_net(prototypes);
    struct params_table table;
    struct train_blocks blocks;
    struct ssl_step step;
    struct ssl_losses losses;
    struct ssl_config config = {.images = images,
                                .micro = micro,
                                .global_size = 224,
                                .local_size = 98,
                                .local_crops = 8,
                                .most_masked = images * 86,
                                .centering = CENTERING_SINKHORN,
                                .student_temperature = 0.1,
                                .dino_weight = 1,
                                .ibot_weight = 1,
                                .koleo_weight = 0.1};
    struct device *device = dn_device_open("cpu", DINO_F32, threads, &err);
    struct queue *queue = device ? dn_queue_new(device, threads, &err) : NULL;

    if (!queue || !dn_params_table_init(&table, &net, &err) ||
        !dn_train_blocks_init(&blocks, queue, &table, NULL, &err) ||
        !dn_ssl_step_init(&step, queue, &table, &config, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    float *start = noise(table.elements, 0.02F);
    float *global = noise((size_t)images * 2 * 3 * 224 * 224, 1);
    float *local = noise((size_t)images * 8 * 3 * 98 * 98, 1);
    int *masked = malloc((size_t)images * 512 * sizeof *masked);
    if (!start || !global || !local || !masked)
        return 1;
    device->ops->upload(queue, blocks.student, start, table.elements * sizeof *start);
    device->ops->upload(queue, blocks.teacher, start, table.elements * sizeof *start);
    struct ssl_batch batch = {global, local, masked, masks(masked, images)};

    printf("%d images in parts of %d, %d threads, %d prototypes, %.2f GB planned\n", images,
           micro, threads, prototypes, (double)step.bytes * 1e-9);
    for (int i = 0; i < 3; i++) {
        double begin = now();
        dn_zero_grads(queue, &table, &blocks);
        if (!dn_ssl_step_run(&step, &blocks, &batch, 0.05, 1, &losses, &err)) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        double seconds = now() - begin;
        printf("%.2f s  %.2f images/s  loss %.4f\n", seconds, images / seconds, losses.total);
    }
    dn_ssl_step_release(&step);
    dn_train_blocks_release(&blocks, device, &table);
    dn_params_table_release(&table);
    dn_queue_free(queue);
    dn_device_close(device);
    free(start);
    free(global);
    free(local);
    free(masked);
    return 0;
}
