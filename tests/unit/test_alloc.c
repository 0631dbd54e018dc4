/* base/alloc: sizes that overflow are refused, blocks are aligned, arrays double. */
#include "testing.h"

#include <string.h>

#include "base/alloc.h"

TEST(a_product_that_overflows_is_refused_and_left_alone)
{
    size_t n = 7;

    CHECK(!dn_size_mul(SIZE_MAX, 2, &n) && n == 7);
    CHECK(!dn_size_mul((size_t)1 << 32, (size_t)1 << 32, &n));
    CHECK(dn_size_mul(SIZE_MAX, 1, &n) && n == SIZE_MAX);
    CHECK(dn_size_mul(0, SIZE_MAX, &n) && n == 0);
    CHECK(dn_size_mul(6, 7, &n) && n == 42);
}

TEST(a_sum_that_overflows_is_refused_and_left_alone)
{
    size_t n = 7;

    CHECK(!dn_size_add(SIZE_MAX, 1, &n) && n == 7);
    CHECK(dn_size_add(SIZE_MAX - 1, 1, &n) && n == SIZE_MAX);
}

TEST(a_new_block_is_zero_even_when_it_is_empty)
{
    uint8_t *block = dn_calloc(1000, 3, "a test", NULL);
    uint8_t *empty = dn_calloc(0, 8, "a test", NULL);

    for (int i = 0; i < 3000; i++)
        CHECK(block[i] == 0);
    assert_non_null(empty);
    free(block);
    free(empty);
}

TEST(a_count_times_size_that_overflows_names_the_purpose)
{
    struct dino_error err = {0};

    assert_null(dn_calloc(SIZE_MAX / 2, 3, "a giant", &err));
    CHECK(err.code == DINO_ENOMEM);
    assert_non_null(strstr(err.message, "a giant"));
    assert_null(dn_realloc(NULL, SIZE_MAX / 2, 3, "a giant", NULL));
    assert_null(dn_alloc_aligned(SIZE_MAX - 8, "a giant", &err));
    assert_null(dn_alloc_aligned(SIZE_MAX / 4, "a giant", &err));
}

TEST(a_grown_array_keeps_its_items_and_at_least_doubles)
{
    int *items = NULL;
    size_t room = 0, growths = 0;

    for (int i = 0; i < 10000; i++) {
        size_t before = room;
        CHECK(dn_grow(&items, &room, (size_t)i + 1, sizeof *items, "numbers", NULL));
        growths += room != before;
        items[i] = i;
    }
    for (int i = 0; i < 10000; i++)
        CHECK(items[i] == i);
    CHECK(growths <= 12);
    free(items);
}

TEST(a_growth_that_fails_leaves_the_array_as_it_was)
{
    struct dino_error err = {0};
    int *items = NULL;
    size_t room = 0;

    CHECK(dn_grow(&items, &room, 1, sizeof *items, "numbers", &err));
    int *before = items;
    size_t before_room = room;
    CHECK(!dn_grow(&items, &room, SIZE_MAX, sizeof *items, "numbers", &err));
    CHECK(!dn_grow(&items, &room, SIZE_MAX / 2 + 1, 1, "numbers", &err));
    CHECK(err.code == DINO_ENOMEM && items == before && room == before_room);
    free(items);
}

TEST(aligned_blocks_of_all_sizes_are_aligned_and_writable)
{
    const size_t sizes[] = {0, 1, 63, 64, 65, 4096, (4 << 20) - 1, 4 << 20, (5 << 20) + 3};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *block = dn_alloc_aligned(sizes[i], "a test", NULL);
        assert_non_null(block);
        CHECK((uintptr_t)block % DN_ALIGN == 0);
        memset(block, 0xa5, sizes[i]);
        dn_free_aligned(block, sizes[i]);
    }
    dn_free_aligned(NULL, 0);
}

TEST(a_copied_name_is_the_callers_own)
{
    char name[] = "blocks.0";
    char *copy = dn_strdup(name, NULL);

    name[0] = 'x';
    assert_string_equal(copy, "blocks.0");
    free(copy);
}
