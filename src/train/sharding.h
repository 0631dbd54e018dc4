/*
 * How processes divide the blocks of numbers (ZeRO-1). The gradient is summed in pieces, as
 * backward finishes them; of each piece every process owns a slice: it receives the sum of its
 * slice, keeps the moments of AdamW for it, updates those parameters and gives them to the
 * others. One process owns everything, in one piece.
 */
#ifndef TRAIN_SHARDING_H
#define TRAIN_SHARDING_H

#include "train/comm.h"
#include "train/params_block.h"

/* The ranges of a block that backward finishes one after the other: heads, then blocks from the
 * last to the first (the last with the norm behind it), then what stands before them. */
struct param_range {
    size_t first, end;
};
struct param_range dn_range_of_module(const struct params_table *table, enum net_module module);
/* Transformer block `block`; -1: the embedding. */
struct param_range dn_range_of_block(const struct params_table *table, int block);

/* Elements [first, first + count) of a block, and where they lie in what holds own slices only.
 */
struct shard {
    size_t first, count, place;
};

struct shard_piece {
    size_t first, count; /* in elements of the block */
    struct shard own;
};

struct shards {
    struct dino_comm *comm;
    const struct params_table *table;
    struct shard_piece *pieces; /* in the order in which backward finishes them */
    int count;
    size_t own;     /* elements of all own slices */
    size_t *starts; /* [size + 1] scratch */
};

/* comm may be NULL; it and the table must outlive the shards. */
bool dn_shards_init(struct shards *s, struct dino_comm *comm, const struct params_table *table,
                    struct dino_error *err);
void dn_shards_release(struct shards *s);

/* What two ranges have in common; count 0: nothing. */
struct shard dn_shard_within(struct shard own, size_t first, size_t count);

/* The gradient of this range is finished here: begin to sum its pieces over all processes.
 * dn_comm_device_wait before own slices are read. */
void dn_shards_sum(const struct shards *s, void *grads, enum dino_dtype dtype,
                   struct param_range range);
/* Own slices of a block to everyone: begins; dn_comm_device_wait ends it. */
void dn_shards_spread(const struct shards *s, void *block, enum dino_dtype dtype);

/* Elements [first, first + count) of a block of which everyone holds own slices only: all of
 * them to rank 0's `to`. Collective. */
void dn_shards_gather(const struct shards *s, const void *own, enum dino_dtype dtype,
                      size_t first, size_t count, void *to);

#endif
