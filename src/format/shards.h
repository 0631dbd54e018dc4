/* Tar shards (WebDataset, gz and zst through libarchive). A plain tar is indexed once, so that
 * any member can be read at random; a compressed one is streamed in order. */
#ifndef FORMAT_SHARDS_H
#define FORMAT_SHARDS_H

#include "base/file.h"

struct shard_entry {
    char *name;      /* path inside the tar */
    uint64_t offset; /* of the data in a plain tar; ordinal otherwise */
    uint64_t size;
};

struct shard {
    char *path;
    bool plain; /* uncompressed: members are read by offset */
    struct shard_entry *entries;
    size_t count, room;
};

bool dn_shard_is(const char *path); /* by content: tar, tar.gz, tar.zst */
bool dn_shard_open(struct shard *shard, const char *path, struct dino_error *err);
/* Heap bytes of one entry. Thread-safe on a plain shard. */
bool dn_shard_read(const struct shard *shard, size_t index, uint8_t **data, size_t *size,
                   struct dino_error *err);
void dn_shard_release(struct shard *shard);

#endif
