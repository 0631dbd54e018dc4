/*
 * Distillation (training.md, section 13) within a run: a frozen network makes the targets,
 * nothing is hidden from the student and nothing dropped, the iBOT loss asks about every patch
 * of both global crops, and the average of the student is what the run is for.
 *
 * The teacher's heads come with it; where it has none they are made of its features
 * (train/made_heads.h). What it says of the crops may be kept on disk.
 */
#ifndef TRAIN_DISTIL_H
#define TRAIN_DISTIL_H

#include "train/dataset.h"
#include "train/feature_cache.h"
#include "train/ssl_step.h"
#include "train/warm_start.h"

struct distil {
    bool on;                 /* there is a teacher; else everything here is zero */
    char named[CONFIG_TEXT]; /* as the caller names it; file.path is where that leads */
    struct warm_start file;
    bool makes_heads;
    struct params_table table;
    bool table_ready;
    void *params; /* device */
    size_t bytes;
    uint64_t backbone, whole; /* sums of shape and numbers, without and with heads of a file */
    int *every, every_count;  /* all patches of all global crops: what iBOT asks about */
    int64_t period;           /* steps after which the same crops come again; 0: never */
    struct feature_cache cache;
    void *rows; /* host: what the teacher says of a batch */
    size_t row_bytes;
};

/* Headers only. */
bool dn_distil_open(struct distil *d, const char *path, struct dino_error *err);
void dn_distil_release(struct distil *d, const struct device *device);

/* What a teacher decides over preset and file: no masks, no stochastic depth, prototypes. */
void dn_distil_decide(const struct distil *d, struct train_config *config);
/* Does the student fit the teacher? */
bool dn_distil_check(const struct distil *d, const struct train_config *config,
                     struct dino_error *err);

/* The teacher's numbers to the device; made heads are zero yet. */
bool dn_distil_load(struct distil *d, struct queue *queue, const struct train_config *config,
                    struct dino_error *err);
/* What the step is told. */
void dn_distil_plan(const struct distil *d, struct ssl_config *config);

/* Room for what the teacher says of a batch of `step`; folder NULL: it is not kept. */
bool dn_distil_keep(struct distil *d, const struct ssl_step *step,
                    const struct train_config *config, const struct dataset *dataset,
                    uint64_t names, const char *folder, int64_t steps, struct dino_error *err);

/* The teacher's rows of a batch into the step, from the cache or computed and kept. */
bool dn_distil_features(struct distil *d, struct ssl_step *step,
                        const struct train_blocks *blocks, struct ssl_batch *batch,
                        int64_t number, struct dino_error *err);

#endif
