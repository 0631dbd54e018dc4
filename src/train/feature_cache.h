/*
 * What a frozen teacher says of a run's crops, kept on disk from step to step and from run to
 * run: one record a step, the teacher's normed class and patch tokens of all its global crops,
 * before any head. So other students, heads, temperatures and rates may share one cache.
 *
 * FOLDER/features.cache is a head, which says of what, and records in the order of steps, each
 * behind a sum of its own: a record that a kill or a full disk left unfinished is one that is
 * not there. Holes take no room. Processes may share a cache: they write the same bytes.
 */
#ifndef TRAIN_FEATURE_CACHE_H
#define TRAIN_FEATURE_CACHE_H

#include "base/error.h"

struct feature_cache {
    char *path; /* NULL: closed */
    int file;
    int64_t steps, made; /* records: all, and those that were there when it was opened */
    size_t record;       /* bytes of the rows of a step */
    int64_t head;        /* bytes before the first record */
};

/*
 * Open the cache or begin one. facts: lines "key: value" of all that the rows depend on; a
 * cache of other facts is refused, naming the first line that differs. So is one for which the
 * disk has no room. It may hold more or fewer steps than are asked for.
 */
bool dn_feature_cache_open(struct feature_cache *cache, const char *folder, const char *facts,
                           int64_t steps, size_t record, struct dino_error *err);
void dn_feature_cache_close(struct feature_cache *cache);

/* *found: whether the record is there and whole; then rows are filled. */
bool dn_feature_cache_read(const struct feature_cache *cache, int64_t step, void *rows,
                           bool *found, struct dino_error *err);
bool dn_feature_cache_write(const struct feature_cache *cache, int64_t step, const void *rows,
                            struct dino_error *err);

#endif
