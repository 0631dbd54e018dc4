#include "base/arena.h"

struct arena_block {
    struct arena_block *older;
    uint8_t *data;
    size_t size, used;
};

enum { FIRST_BLOCK = 1 << 20 };

void dn_arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

static void pop_block(struct arena *arena)
{
    struct arena_block *block = arena->blocks;

    arena->blocks = block->older;
    dn_free_aligned(block->data, block->size);
    free(block);
}

void dn_arena_release(struct arena *arena)
{
    while (arena->blocks)
        pop_block(arena);
    *arena = (struct arena){0};
}

static bool push_block(struct arena *arena, size_t size, struct dino_error *err)
{
    struct arena_block *block = dn_calloc(1, sizeof *block, "scratch", err);
    if (!block)
        return false;
    block->data = dn_alloc_aligned(size, "scratch", err);
    if (!block->data) {
        free(block);
        return false;
    }
    block->size = size;
    block->older = arena->blocks;
    arena->blocks = block;
    return true;
}

void *dn_arena_alloc(struct arena *arena, size_t bytes, struct dino_error *err)
{
    size_t size;

    if (!dn_size_add(bytes ? bytes : 1, DN_ALIGN - 1, &size)) {
        dn_fail_memory(err, bytes, "scratch");
        return NULL;
    }
    size &= ~(size_t)(DN_ALIGN - 1);

    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size) {
        size_t wanted = block ? block->size : FIRST_BLOCK;
        if (!push_block(arena, size > wanted ? size : wanted, err))
            return NULL;
        block = arena->blocks;
    }
    void *data = block->data + block->used;
    block->used += size;
    arena->used += size;
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return data;
}

void *dn_arena_array(struct arena *arena, size_t count, size_t size, struct dino_error *err)
{
    size_t bytes;

    if (!dn_size_mul(count, size, &bytes)) {
        dn_fail_memory(err, SIZE_MAX, "scratch");
        return NULL;
    }
    return dn_arena_alloc(arena, bytes, err);
}

void dn_arena_reset(struct arena *arena)
{
    size_t total = 0;

    for (struct arena_block *b = arena->blocks; b; b = b->older)
        total += b->size;
    if (arena->blocks && arena->blocks->older) {
        while (arena->blocks)
            pop_block(arena);
        push_block(arena, arena->peak > total ? total : arena->peak, NULL);
    } else if (arena->blocks) {
        arena->blocks->used = 0;
    }
    arena->used = 0;
}

struct arena_mark dn_arena_mark(const struct arena *arena)
{
    return (struct arena_mark){arena->blocks, arena->blocks ? arena->blocks->used : 0,
                               arena->used};
}

void dn_arena_rewind(struct arena *arena, struct arena_mark mark)
{
    while (arena->blocks != mark.block)
        pop_block(arena);
    if (arena->blocks)
        arena->blocks->used = mark.block_used;
    arena->used = mark.used;
}
