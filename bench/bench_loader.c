/*
 * How many pictures a second the loader makes into batches:
 *
 *     bench_loader FOLDER [THREADS [PRESET]]
 *
 * Without a preset: 2 crops of 224 and 8 of 98 pixels, in batches of 16.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "train/loader.h"

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool measure(struct loader *loader, int batch, struct dino_error *err)
{
    double wall, start = seconds(CLOCK_MONOTONIC), work = seconds(CLOCK_PROCESS_CPUTIME_ID);
    int pictures = 0;

    do {
        if (!dn_loader_next(loader, err))
            return false;
        pictures += batch;
        wall = seconds(CLOCK_MONOTONIC) - start;
    } while (wall < 3);
    work = seconds(CLOCK_PROCESS_CPUTIME_ID) - work;
    printf("%.1f pictures/s, %.2f ms of processor a picture, %lld unreadable\n",
           pictures / wall, 1e3 * work / pictures, (long long)dn_loader_skipped(loader));
    return true;
}

int main(int count, char **words)
{
    const char *const folder = count > 1 ? words[1] : ".";
    struct loader_options options = {.threads =
                                         count > 2 ? (int)strtol(words[2], NULL, 10) : 2};
    struct dino_error err = {0};
    struct train_config config;
    struct dataset dataset;

    dn_train_config_defaults(&config);
    config.student.patch_size = 14;
    config.crops.local_size = 98;
    config.train.batch_size = 16;
    bool ok = count <= 3 || dn_train_config_preset(&config, words[3], &err);
    if (ok && dn_dataset_open(&dataset, &folder, 1, 0, &err)) {
        struct loader *loader = dn_loader_open(&dataset, &config, &options, &err);
        ok = loader && measure(loader, config.train.batch_size, &err);
        dn_loader_close(loader);
        dn_dataset_close(&dataset);
    }
    if (err.code != DINO_OK)
        fprintf(stderr, "bench_loader: %s\n", err.message);
    return err.code != DINO_OK;
}
