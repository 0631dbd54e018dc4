/*
 * Where the rows of an embed job lie until it is done: part files that only grow, and a
 * journal that says how far each of them counts. Knows bytes and rows, nothing of features.
 *
 *     OUT.part, OUT.part.1, ...   data; the first has room for a header at its front
 *     OUT.part.json               one JSON object a line: the request, then commits
 *
 * A commit is written after the data it counts are on disk, so what it says is there however
 * the run ended; what lies behind the last commit is cut off when the job goes on. A locked
 * journal keeps a second run away.
 */
#ifndef TASK_EMBED_STORE_H
#define TASK_EMBED_STORE_H

#include <jansson.h>

#include "base/str.h"

struct embed_skip {
    int64_t index;
    char *why;
};

/* A state that may be committed: everything before picture `next` is written or skipped. */
struct embed_mark {
    int64_t next, rows;
    size_t skips;
    int grid[2];     /* of all rows; 0: none yet, -1: they differ */
    uint64_t *bytes; /* [files] of data */
};

struct embed_store {
    char *output, *journal_path;
    char **paths; /* [files] */
    int *fds;     /* [files] */
    int files, journal;
    uint64_t journal_size;
    uint64_t head;                 /* bytes reserved at the front of file 0 */
    struct embed_mark now, marked; /* being written; at the last whole batch */
    struct embed_skip *skips;      /* [now.skips] */
    size_t skip_room, skips_logged;
    int64_t logged;   /* marked.next of the last commit, -1 before any */
    double logged_at; /* seconds */
    double log_cost;  /* of the last commit */
    bool finished;    /* the output is in place; only leftovers were to be removed */
};

struct embed_store_options {
    const char *output;
    int files;
    uint64_t head;
    const uint64_t *row_bytes; /* [files]; 0: rows differ in size */
    json_t *request;           /* a part with another request is refused */
    int64_t count;             /* pictures */
    bool fresh;                /* throw away what is there */
};

/* Begin, or go on: then store->now says how far. `batch` is recorded at the beginning and, if
 * it is 0, taken from what was recorded: the same batches give the same bits. */
bool dn_embed_store_open(struct embed_store *store, const struct embed_store_options *options,
                         int *batch, int default_batch, struct dino_error *err);

/* Bytes of the current row; then count the row. */
bool dn_embed_store_append(struct embed_store *store, int file, const void *data, size_t size,
                           struct dino_error *err);
void dn_embed_store_row(struct embed_store *store, int grid_rows, int grid_cols);
bool dn_embed_store_skip(struct embed_store *store, int64_t index, const char *why,
                         struct dino_error *err);

/* All pictures before `next` are done. Commits as often as costs a twentieth of the time. */
bool dn_embed_store_mark(struct embed_store *store, int64_t next, struct dino_error *err);

/* Write into the reserved front of file 0. */
bool dn_embed_store_head(struct embed_store *store, uint64_t at, const void *data, size_t size,
                         struct dino_error *err);
/* Put the data of file `from` behind file 0's. */
bool dn_embed_store_join(struct embed_store *store, int from, struct dino_error *err);

/* The first part becomes the output and the rest goes. `sidecar` is written just before. */
typedef bool (*embed_sidecar_fn)(void *context, struct dino_error *err);
bool dn_embed_store_finish(struct embed_store *store, embed_sidecar_fn sidecar, void *context,
                           struct dino_error *err);

/* Commit what is marked; with nothing to keep, or `discard`, leave no file behind. */
void dn_embed_store_close(struct embed_store *store, bool discard);

/* Lines of the journal, for the two files that make a store (embed_journal.c reads). */
bool dn_embed_journal_write(struct embed_store *store, const char *line, size_t size,
                            struct dino_error *err);
/* Read the journal: the marks, the skips and the batch; cut what lies behind. `empty` when
 * there is nothing to go on from. The files must be open. */
bool dn_embed_journal_read(struct embed_store *store, const struct embed_store_options *options,
                           int *batch, bool *empty, struct dino_error *err);

#endif
