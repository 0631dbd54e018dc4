/* What `dino train` and `dino distill` share: settings, options, the run itself. */
#ifndef CLI_TRAIN_RUN_H
#define CLI_TRAIN_RUN_H

#include "command.h"

struct train_settings {
    const char *output, *from, *preset, *config, *knn_train, *knn_val, *device;
    const char *teacher, *student, *cache; /* of distill alone */
    int knn_every, micro, threads, readers, save_every, keep, ranks;
    int dtype; /* 0: auto, f32, bf16 */
    double memory;
    bool high_res, checkpointing, quiet, json, dry_run;
};

/* Offsets count from a struct train_settings. */
extern const struct option dn_train_run_rows[], dn_train_knn_rows[], dn_train_machine_rows[];
const char *dn_train_stage_conflict(const void *train_settings);
const char *dn_train_knn_conflict(const void *train_settings);

/* The call's settings are a struct train_settings, its arguments paths and key=value. */
int dn_train_run(struct call *call);

#endif
