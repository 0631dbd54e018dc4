/* base/span: bytes eaten from the front; a failure consumes nothing. */
#include "testing.h"

#include "base/span.h"

static const uint8_t bytes[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                0xfe, 0x80, 'n',  'a',  'm',  'e',  '\n', 'z'};

static struct span all(void)
{
    return (struct span){bytes, sizeof bytes};
}

TEST(numbers_are_little_endian_and_eat_their_bytes)
{
    struct span s = all();
    uint64_t u64;
    uint32_t u32;
    uint16_t u16;
    uint8_t u8;

    CHECK(dn_span_u64(&s, &u64, NULL) && u64 == 0xefcdab8967452301u && s.size == 8);
    s = all();
    CHECK(dn_span_u32(&s, &u32, NULL) && u32 == 0x67452301u);
    CHECK(dn_span_u16(&s, &u16, NULL) && u16 == 0xab89u);
    CHECK(dn_span_u8(&s, &u8, NULL) && u8 == 0xcd && s.data == bytes + 7);
}

TEST(a_number_that_does_not_fit_is_refused_and_nothing_is_consumed)
{
    for (size_t size = 0; size < 8; size++) {
        struct dino_error err = {0};
        struct span s = {bytes, size};
        uint64_t u64 = 5;

        CHECK(!dn_span_u64(&s, &u64, &err));
        CHECK(err.code == DINO_EFORMAT && s.size == size && s.data == bytes && u64 == 5);
    }
    struct span empty = {bytes, 0};
    uint8_t u8 = 5;
    CHECK(!dn_span_u8(&empty, &u8, NULL) && u8 == 5);
}

TEST(a_part_is_taken_up_to_the_last_byte_and_not_beyond)
{
    struct span s = all(), part = {0};

    CHECK(!dn_span_take(&s, sizeof bytes + 1, &part, NULL) && !part.data);
    CHECK(!dn_span_take(&s, SIZE_MAX, &part, NULL));
    CHECK(dn_span_take(&s, 4, &part, NULL) && part.data == bytes && part.size == 4);
    CHECK(dn_span_take(&s, sizeof bytes - 4, &part, NULL) && s.size == 0);
    CHECK(dn_span_take(&s, 0, &part, NULL) && part.size == 0);
}

TEST(until_drops_the_end_byte_and_wants_one)
{
    struct span s = {bytes + 10, 6}, line;

    CHECK(dn_span_until(&s, '\n', &line, NULL));
    CHECK(dn_span_equals(line, "name") && dn_span_equals(s, "z"));
    CHECK(!dn_span_until(&s, '\n', &line, NULL) && s.size == 1);
    struct span nothing = {NULL, 0};
    CHECK(!dn_span_until(&nothing, '\n', &line, NULL));
}

TEST(starts_and_equals_do_not_read_past_the_end)
{
    struct span s = {(const uint8_t *)"PK\3\4", 4}, cut = {(const uint8_t *)"PK", 2};

    CHECK(dn_span_starts(s, "PK\3\4") && dn_span_starts(s, "PK") && dn_span_starts(s, ""));
    CHECK(!dn_span_starts(cut, "PK\3\4") && !dn_span_equals(s, "PK"));
    CHECK(dn_span_equals(cut, "PK") && !dn_span_equals(cut, "PL"));
}
