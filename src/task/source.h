/* An ordered list of pictures, millions long if need be: the part that a feed reads from. */
#ifndef TASK_SOURCE_H
#define TASK_SOURCE_H

#include "base/error.h"

/* Heap bytes of one picture's file, from any thread. Those for which dn_source_in_order holds
 * come one at a time, and in order or slowly. */
bool dn_source_read(const struct dino_source *source, int64_t index, uint8_t **data,
                    size_t *size, struct dino_error *err);

/* Make compressed shards as quick to read in any order as plain ones, with as many bytes in
 * $TMPDIR
 * (/var/tmp) as they have unpacked. Before any reading. */
bool dn_source_unpack(struct dino_source *source, struct dino_error *err);

/* Does this picture lie in a compressed shard, which can only be streamed? */
bool dn_source_in_order(const struct dino_source *source, int64_t index);

#endif
