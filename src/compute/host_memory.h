/* Device memory that is host memory, for devices whose operations have finished when they
 * return: the rows of struct device_ops that such devices share. */
#ifndef COMPUTE_HOST_MEMORY_H
#define COMPUTE_HOST_MEMORY_H

#include "compute/device.h"

void *dn_host_alloc(const struct device *d, size_t bytes, struct dino_error *err);
void dn_host_free(const struct device *d, void *memory, size_t bytes);
/* Upload and download alike. */
void dn_host_transfer(struct queue *q, void *to, const void *from, size_t bytes);
/* Nothing is under way. */
void dn_host_sync(struct queue *q);

#endif
