/*
 * Checkpoints of a run: everything that the next step depends on, in one safetensors file.
 * Student, teacher and both moments under the official names ("student.backbone.cls_token",
 * "first.dino_head.mlp.0.weight"), the centres, and as notes the step, the settings and which
 * pictures. Written beside and renamed: a file that has its name is whole. Nothing in it tells
 * how many processes there were: the first one writes what all have, and each reads its own.
 */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "train/loss_scale.h"
#include "train/ssl_step.h"

/* What a checkpoint holds beside the numbers. */
struct run_state {
    int64_t step; /* steps done */
    int64_t pictures;
    uint64_t names;        /* of their names, in order */
    int micro;             /* images a part: it decides how sums round */
    enum dino_dtype dtype; /* of what products read; the file's numbers are f32 either way */
    double best;           /* k-NN accuracy so far, -1: never measured */
    struct loss_scale scale;
    uint64_t teacher; /* who the frozen teacher is (struct distil); 0: none */
};

struct run_numbers {
    struct queue *queue;
    const struct params_table *table;
    const struct train_blocks *blocks;
    const struct ssl_step *step; /* its centres */
};

/* All processes call together; all learn what became of it. */
bool dn_checkpoint_write(const char *path, const struct run_numbers *numbers,
                         const struct run_state *state, const char *settings,
                         struct dino_error *err);

/* The notes alone: is this a checkpoint, of which step and with which parts? *settings is heap,
 * and may be NULL. */
bool dn_checkpoint_peek(const char *path, struct run_state *state, char **settings,
                        struct dino_error *err);

/* Fill the numbers. Everything is checked before anything is changed: that `settings` are those
 * of the checkpoint, and each tensor's shape and dtype. Settings that did not exist when it was
 * written have their defaults. */
bool dn_checkpoint_read(const char *path, const struct run_numbers *numbers,
                        struct run_state *state, const char *settings, struct dino_error *err);

/* FOLDER/step-00000042.safetensors; heap. */
char *dn_checkpoint_path(const char *folder, int64_t step, struct dino_error *err);
/* The largest step with a file in the folder, -1 if there is none. */
int64_t dn_checkpoint_latest(const char *folder);
/* Remove all but the `keep` latest. */
void dn_checkpoint_prune(const char *folder, int keep);

#endif
