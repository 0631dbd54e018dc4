/* One picture's features become bytes of a store: the arrays of a plan, f32, f16 or JSON. */
#ifndef TASK_EMBED_ROWS_H
#define TASK_EMBED_ROWS_H

#include "task/embed_plan.h"
#include "task/embed_store.h"

struct embed_rows {
    const struct embed_plan *plan;
    float *values; /* one array of one picture, where it is not taken as it is */
    uint16_t *halves;
    size_t value_room, half_room;
    struct str line;
};

void dn_embed_rows_release(struct embed_rows *rows);

/* A row of the picture called `name`; with .npy, grids of patches must be equal. */
bool dn_embed_rows_put(struct embed_rows *rows, struct embed_store *store, const char *name,
                       const struct dino_features *features, struct dino_error *err);

#endif
