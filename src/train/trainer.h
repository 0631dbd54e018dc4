/*
 * Inside a run: what trainer_open.c decides and opens, what trainer_save.c writes, and what
 * trainer.c steps through. The door is include/dino_train.h.
 */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include <stdio.h>

#include "dino_train.h"
#include "train/checkpoint.h"
#include "train/distil.h"
#include "train/health.h"
#include "train/loader.h"
#include "train/schedule.h"
#include "train/warm_start.h"

struct trainer {
    const struct dino_train_options *options;
    struct dino_comm *comm; /* NULL: alone */
    struct train_config config;
    struct batch_part part; /* of each batch: this process's share */
    const char *preset;
    struct warm_start from; /* the file that the run begins with; path NULL: none */
    bool from_heads;
    struct str settings; /* config as text */
    struct dataset dataset;
    bool dataset_open;
    int64_t epoch_length, steps;

    struct device *device;
    struct queue *queue;
    struct params_table table;
    struct train_blocks blocks;
    struct distil distil;
    struct ssl_step step;
    enum dino_dtype dtype_asked; /* by the caller or a config; the device may have another */
    bool step_ready;
    size_t scratch; /* bytes that the step's operations take on the device */
    struct schedules schedules;
    struct param_rate *rates; /* [table.count] */
    struct loader *loader;

    char *checkpoints, *config_path, *metrics_path, *teacher_path, *folder_path, *best_path;
    char *heads_path;                  /* the teacher with its heads */
    char *best_teacher_path, *resumed; /* resumed: the checkpoint it goes on from, or NULL */
    FILE *metrics;
    int lock;                        /* of the folder; -1: not held */
    bool made_run, made_checkpoints; /* the folders were not there before */
    struct run_state state;
    int bad_signs;    /* in a row */
    double knn;       /* the last, or -1 */
    double first_knn; /* of the file that the run begins with, or -1 */
    double began, saved_at, waited;
    int64_t first_step, saved_step;
};

/* Decide, check and open everything; on failure release what is there. */
bool dn_trainer_open(struct trainer *t, const struct dino_train_options *options,
                     struct dino_error *err);
void dn_trainer_release(struct trainer *t);
/* Is this the process that writes and speaks for all? */
bool dn_trainer_first(const struct trainer *t);
void dn_trainer_plan(const struct trainer *t, struct dino_train_plan *plan);

/* Parts of opening, for who only counts: the settings (the dataset's count is known), device
 * (unless there is one) and table, what a step is told. */
bool dn_trainer_decide(struct trainer *t, struct dino_error *err);
bool dn_trainer_open_table(struct trainer *t, enum dino_dtype dtype, struct dino_error *err);
struct ssl_config dn_trainer_ssl(const struct trainer *t);

/* What a step is given of a loader's batch, which stays in it: crops, places of masks. */
void dn_trainer_input(const struct trainer *t, const struct batch *batch,
                      struct ssl_batch *input);

/* The heads of a distilling run's teacher that has none. */
bool dn_trainer_make_heads(struct trainer *t, struct dino_error *err);

/* A checkpoint of the steps done, the teacher beside it, old ones removed. All processes call,
 * the first one writes. */
bool dn_trainer_save(struct trainer *t, struct dino_error *err);
/* The same for the best k-NN so far. */
bool dn_trainer_save_best(struct trainer *t, struct dino_error *err);

/* Remove what a killed run had half written. */
void dn_trainer_sweep(const struct trainer *t);

/* Lines of steps from `step` on go: a resumed run writes them again. */
bool dn_trainer_open_metrics(struct trainer *t, struct dino_error *err);

double dn_trainer_seconds(void);

#endif
