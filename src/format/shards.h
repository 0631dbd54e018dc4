/* Tar shards (WebDataset, gz and zst through libarchive). A plain tar is indexed once, so that
 * any member can be read at random; a compressed one is streamed in order. */
#ifndef FORMAT_SHARDS_H
#define FORMAT_SHARDS_H

#include "base/file.h"

struct shard_entry {
    char *name;      /* path inside the tar */
    uint64_t offset; /* of the data in a plain tar; 0 otherwise */
    uint64_t size;
};

/* Regular files only, in the order of the archive; sparse ones are refused. */
struct shard {
    char *path;
    bool plain; /* members are read by offset: uncompressed, or unpacked */
    struct shard_entry *entries;
    size_t count, room;
    struct shard_stream *stream; /* of a compressed shard: how far reading has come */
    FILE *unpacked;              /* its members, in a file without a name */
};

bool dn_shard_is(const char *path); /* by content: tar, tar.gz, tar.zst */
/* Reads through the whole archive once, for a plain one only its headers. */
bool dn_shard_open(struct shard *shard, const char *path, struct dino_error *err);
/*
 * Heap bytes of one entry, freed with free; never NULL, even if empty. Any number of threads
 * may read a plain shard. A compressed one belongs to one thread at a time: going forward
 * costs what lies between, going back starts over.
 */
bool dn_shard_read(const struct shard *shard, size_t index, uint8_t **data, size_t *size,
                   struct dino_error *err);
/* Make a compressed shard plain: its members go into a file in `folder` that has no name and
 * ends with the process. A plain one stays as it is. Before any reading. */
bool dn_shard_unpack(struct shard *shard, const char *folder, struct dino_error *err);
void dn_shard_release(struct shard *shard);

#endif
