/* base/arena: scratch that is given back at once, and nothing allocated the second time. */
#include "testing.h"

#include <string.h>

#include "base/arena.h"

TEST(what_an_arena_hands_out_is_aligned_and_apart)
{
    struct arena arena;
    uint8_t *parts[200];

    dn_arena_init(&arena);
    for (int i = 0; i < 200; i++) {
        parts[i] = dn_arena_alloc(&arena, (size_t)i * 997, NULL);
        assert_non_null(parts[i]);
        CHECK((uintptr_t)parts[i] % DN_ALIGN == 0);
        memset(parts[i], i, (size_t)i * 997);
    }
    for (int i = 0; i < 200; i++)
        for (size_t j = 0; j < (size_t)i * 997; j += 501)
            CHECK(parts[i][j] == i);
    dn_arena_release(&arena);
}

/* Five pieces that do not fit the first block; how often a new block was begun. */
static int blocks_begun(struct arena *arena)
{
    int begun = 0;

    for (int i = 0; i < 5; i++) {
        struct arena_block *before = dn_arena_mark(arena).block;
        assert_non_null(dn_arena_alloc(arena, 900000, NULL));
        begun += dn_arena_mark(arena).block != before;
    }
    return begun;
}

TEST(the_second_step_of_the_same_shape_allocates_nothing)
{
    struct arena arena;

    dn_arena_init(&arena);
    CHECK(blocks_begun(&arena) > 1);
    dn_arena_reset(&arena);
    CHECK(arena.used == 0);
    CHECK(blocks_begun(&arena) == 0);
    dn_arena_reset(&arena);
    CHECK(blocks_begun(&arena) == 0);
    dn_arena_release(&arena);
}

TEST(used_counts_what_is_out_and_peak_the_most_that_ever_was)
{
    struct arena arena;

    dn_arena_init(&arena);
    dn_arena_alloc(&arena, 64, NULL);
    dn_arena_alloc(&arena, 100, NULL);
    CHECK(arena.used == 64 + 128);
    dn_arena_reset(&arena);
    dn_arena_alloc(&arena, 1, NULL);
    CHECK(arena.used == 64 && arena.peak == 192);
    dn_arena_release(&arena);
    CHECK(arena.used == 0 && !arena.blocks);
}

TEST(a_rewind_takes_back_what_came_after_the_mark_and_no_more)
{
    struct arena arena;

    dn_arena_init(&arena);
    uint8_t *kept = dn_arena_alloc(&arena, 100, NULL);
    memset(kept, 7, 100);
    struct arena_mark mark = dn_arena_mark(&arena);
    uint8_t *first = dn_arena_alloc(&arena, 100, NULL);
    for (int i = 0; i < 10; i++)
        dn_arena_alloc(&arena, 1 << 20, NULL);
    dn_arena_rewind(&arena, mark);
    CHECK(arena.used == 128);
    CHECK(dn_arena_alloc(&arena, 100, NULL) == first);
    for (int i = 0; i < 100; i++)
        CHECK(kept[i] == 7);
    dn_arena_release(&arena);
}

TEST(a_mark_of_an_empty_arena_rewinds_to_empty)
{
    struct arena arena;

    dn_arena_init(&arena);
    struct arena_mark mark = dn_arena_mark(&arena);
    dn_arena_alloc(&arena, 10, NULL);
    dn_arena_rewind(&arena, mark);
    CHECK(!arena.blocks && arena.used == 0);
    dn_arena_reset(&arena);
    dn_arena_release(&arena);
}

TEST(an_absurd_size_fails_with_a_message_and_the_arena_goes_on)
{
    struct dino_error err = {0};
    struct arena arena;

    dn_arena_init(&arena);
    assert_null(dn_arena_alloc(&arena, SIZE_MAX, &err));
    assert_null(dn_arena_array(&arena, SIZE_MAX / 4, 8, &err));
    assert_null(dn_arena_alloc(&arena, SIZE_MAX / 4, &err));
    CHECK(err.code == DINO_ENOMEM && arena.used == 0);
    assert_non_null(dn_arena_array(&arena, 10, 4, &err));
    dn_arena_release(&arena);
}
