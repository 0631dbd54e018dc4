/*
 * The loader: threads that decode and augment ahead of the trainer and hand out whole batches
 * in order. The batches are the same for any number of threads, and from any first step on the
 * same as in a run that began at 0.
 */
#ifndef TRAIN_LOADER_H
#define TRAIN_LOADER_H

#include "train/batch.h"

struct loader;

struct loader_options {
    int threads;            /* 0: one per core */
    int ahead;              /* batches made ahead of the one in use; 0: 2 */
    struct batch_part part; /* all zero: all of config's batch */
    int64_t first_step;
    int64_t period;       /* steps after which the same batches come again; 0: never */
    dino_skip_fn skipped; /* once for each unreadable picture, from dn_loader_next, in order */
    void *context;
};

/* Dataset and config must outlive the loader. The seed is the dataset's. */
struct loader *dn_loader_open(const struct dataset *dataset, const struct train_config *config,
                              const struct loader_options *options, struct dino_error *err);

/* The next step's; valid until the next call. NULL at an error, which stays; that most pictures
 * cannot be read is one. */
const struct batch *dn_loader_next(struct loader *loader, struct dino_error *err);

/* Different unreadable pictures so far, of the batches handed out. */
int64_t dn_loader_skipped(const struct loader *loader);

void dn_loader_close(struct loader *loader);

#endif
