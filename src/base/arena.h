/*
 * An arena hands out scratch memory that is given back all at once. It is a chain of blocks;
 * after dn_arena_reset one block as large as the whole chain takes their place, so that from
 * the second step of the same shape on nothing is allocated.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/alloc.h"

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* handed out since the last reset */
    size_t peak;                /* largest `used` so far */
};

void dn_arena_init(struct arena *arena);
void dn_arena_release(struct arena *arena);

/* Aligned to DN_ALIGN, not zeroed; NULL and err on failure. */
void *dn_arena_alloc(struct arena *arena, size_t bytes, struct dino_error *err);
/* count * size, checked. */
void *dn_arena_array(struct arena *arena, size_t count, size_t size, struct dino_error *err);

/* Everything handed out is gone. */
void dn_arena_reset(struct arena *arena);

/* Take back what was handed out since the mark (same block chain, newest part only). */
struct arena_mark {
    struct arena_block *block;
    size_t block_used, used;
};
struct arena_mark dn_arena_mark(const struct arena *arena);
void dn_arena_rewind(struct arena *arena, struct arena_mark mark);

#endif
