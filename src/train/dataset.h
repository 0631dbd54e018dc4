/*
 * The pictures of a training run in random order, without end: passes over a source, each in
 * an order of its own. Sample n lies at position n mod count of pass n / count, and which
 * picture it is can be computed for any n: a run resumes with one integer. A picture that
 * cannot be read is replaced by another, chosen by (seed, pass, position) alone.
 */
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "train/draws.h"

#include "dino.h"

struct dataset {
    struct dino_source *source;
    int64_t count; /* pictures */
    uint64_t seed;
};

/* Where a sample lies. */
struct sample {
    int64_t pass, position;
};

/* A picture that a sample could not be made of. */
struct miss {
    int64_t picture;
    struct dino_error why;
};

/* In the order they were tried. */
struct misses {
    struct miss *items;
    size_t count, room;
};

/* Folders, lists and tar shards, as dino_source_open takes them. Compressed shards are unpacked
 * first: pictures are wanted in random order. */
bool dn_dataset_open(struct dataset *dataset, const char *const *paths, int count,
                     uint64_t seed, struct dino_error *err);
void dn_dataset_close(struct dataset *dataset);

struct sample dn_dataset_sample(const struct dataset *dataset, int64_t number);
/* The picture of a sample; `attempt` > 0: what takes its place. */
int64_t dn_dataset_picture(const struct dataset *dataset, struct sample sample, int attempt);

/* Read and decode, from any thread. Misses are added to; fails if a hundred pictures in a row
 * are unreadable or memory is short. */
bool dn_dataset_read(const struct dataset *dataset, struct sample sample,
                     struct dino_image *image, struct misses *misses, struct dino_error *err);

void dn_misses_release(struct misses *misses);

#endif
