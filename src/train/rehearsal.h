/* What the operations of a step take of the device's memory, beside what is planned for them:
 * a step is gone through on a queue that only counts. */
#ifndef TRAIN_REHEARSAL_H
#define TRAIN_REHEARSAL_H

#include "train/ssl_step.h"

/* *scratch: bytes, with as many masked patches as there can be; 0 where the device has no
 * memory of its own for it. The queue keeps them in mind (device_ops.rehearse). */
bool dn_rehearse_step(struct queue *queue, const struct params_table *table,
                      const struct ssl_config *config, size_t *scratch, struct dino_error *err);

#endif
