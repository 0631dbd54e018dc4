/*
 * Files. Inputs are mapped read-only; outputs are written beside their final name and renamed
 * into place, so that a reader sees the old file or the whole new one and an interrupted
 * writer leaves nothing.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdio.h>

#include "base/span.h"

/* A whole file, mapped read-only; sequential or random, the kernel decides. */
struct mapping {
    struct span bytes;
    uint64_t device, inode; /* which file it is */
};

bool dn_map_open(struct mapping *map, const char *path, struct dino_error *err);
void dn_map_close(struct mapping *map);
/* Does this path lead to the mapped file? */
bool dn_map_is(const struct mapping *map, const char *path);
/* Let the pages of [data, data + size) go: they come back from the file when touched. */
void dn_map_drop(const struct mapping *map, const void *data, size_t size);
/* Ask for pages ahead of use. */
void dn_map_want(const struct mapping *map, const void *data, size_t size);

/* Read a whole file or pipe into memory (heap, freed with free), at most `limit` bytes. */
bool dn_read_all(const char *path, size_t limit, uint8_t **data, size_t *size,
                 struct dino_error *err);

bool dn_is_dir(const char *path);
bool dn_exists(const char *path);
/* Do both lead to one existing file? */
bool dn_same_file(const char *a, const char *b);
/* mkdir -p of the directories that path's last part lies in. */
bool dn_make_parents(const char *path, struct dino_error *err);

/* Where a write to `path` must go (heap): what a symbolic link leads to, else `path` itself. */
char *dn_output_target(const char *path, struct dino_error *err);
/* Is there a pipe, device or socket of this name? */
bool dn_is_stream(const char *path);

/*
 * An output: write to `stream`, then commit; release without commit removes it. A pipe or
 * device is written where it is, and nothing can be taken back.
 */
struct output {
    FILE *stream;
    char *path, *temporary; /* no temporary: a pipe or device */
};

/* Could `path` be written? Nothing is left of the attempt. */
bool dn_output_try(const char *path, struct dino_error *err);
bool dn_output_open(struct output *out, const char *path, struct dino_error *err);
bool dn_output_write(struct output *out, const void *data, size_t size, struct dino_error *err);
/* Flush, fsync, close and rename. */
bool dn_output_commit(struct output *out, struct dino_error *err);
void dn_output_release(struct output *out);

#endif
