/* What a run takes of memory: how many pictures pass at a time, and whether it fits at all. */
#ifndef TRAIN_RUN_MEMORY_H
#define TRAIN_RUN_MEMORY_H

#include "train/trainer.h"

/* Bytes of the device's memory: what can be had now, and what a run takes of it without being
 * told. It leaves half of the machine's memory to others, of a GPU's a little to its driver,
 * which keeps graphs there. */
struct run_room {
    double left, plan;
};

/* processes: that share the machine. */
struct run_room dn_run_room(const struct device *device, int processes);

/* Of all five blocks and what their norms are summed in, moments shared by so many processes.
 */
size_t dn_blocks_bytes(const struct params_table *table, enum dino_dtype dtype, int processes);

/* Bytes of a step: what is planned for its matrices, and what operations take on the way. */
struct step_bytes {
    size_t planned, scratch;
};

/* Fill config->micro: `wish` pictures, or if 0 the largest part that takes at most `memory`
 * bytes, at least one. *bytes: what the step takes then. */
bool dn_choose_parts(struct queue *queue, const struct params_table *table,
                     struct ssl_config *config, int wish, double memory,
                     struct step_bytes *bytes, struct dino_error *err);

/* Refuse what `memory` cannot hold, and say what to change. */
bool dn_check_memory(double memory, size_t blocks, struct step_bytes step, int micro,
                     struct dino_error *err);

#endif
