#include "compute/host_memory.h"

#include <string.h>

#include "base/alloc.h"

void *dn_host_alloc(const struct device *d, size_t bytes, struct dino_error *err)
{
    (void)d;
    return dn_alloc_aligned(bytes, "device memory", err);
}

void dn_host_free(const struct device *d, void *memory, size_t bytes)
{
    (void)d;
    dn_free_aligned(memory, bytes);
}

void dn_host_transfer(struct queue *q, void *to, const void *from, size_t bytes)
{
    (void)q;
    memcpy(to, from, bytes);
}

void dn_host_sync(struct queue *q)
{
    (void)q;
}
