/* What dino_session holds; sessions are made in session.c and run in run.c. */
#ifndef MODEL_SESSION_H
#define MODEL_SESSION_H

#include "base/arena.h"
#include "model/model.h"

enum { GRIDS_KEPT = 16, RUNS_AT_ONCE = 2 };

struct kept_grid {
    struct position_grid grid;
    size_t bytes;
    uint64_t used; /* run that used it last */
};

/* Memory that grows to the largest run. */
struct growing {
    char *data;
    size_t bytes;
};

/* One run, from its beginning until its results are of no use any more. */
struct run {
    struct arena arena; /* index arrays, tables of results */
    struct forward forward;
    struct growing results; /* on the device */
    struct growing mirror;  /* the same on the host, where that is other memory */
};

struct dino_session {
    const struct dino_model *model;
    struct queue *queue;
    struct growing scratch; /* on the device; runs have it one after the other */
    struct kept_grid grids[GRIDS_KEPT];
    struct run runs[RUNS_AT_ONCE];
    int under_way, oldest; /* runs begun and not ended, and the first of them */
    uint64_t begun;
    struct dino_features *shown; /* [shown_count], in its run's arena */
    int shown_count;
};

/* The positions of a grid of patches, on the device: resampled once and kept. */
bool dn_session_grid(struct dino_session *s, int rows, int cols, struct position_grid *grid,
                     struct dino_error *err);
/* At least so many bytes, of the device's memory or the host's. What was there is lost. */
bool dn_session_grow(struct dino_session *s, struct growing *memory, size_t bytes, bool on_host,
                     struct dino_error *err);

#endif
