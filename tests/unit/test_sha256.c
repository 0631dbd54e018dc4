/* The published sums, however the bytes arrive. */
#include <string.h>

#include "base/sha256.h"
#include "testing.h"

static void sum_of(const char *unit, size_t count, char text[65])
{
    struct sha256 sum;

    dn_sha256_init(&sum);
    for (size_t i = 0; i < count; i++)
        dn_sha256_add(&sum, unit, strlen(unit));
    dn_sha256_text(&sum, text);
}

/* The examples of FIPS 180-4, and the lengths around a block's end. */
TEST(sha256_gives_the_published_sums)
{
    static const struct {
        const char *unit;
        size_t count;
        const char *sum;
    } known[] = {
        {"", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"a", 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {"a", 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {"a", 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    char text[65];

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        sum_of(known[i].unit, known[i].count, text);
        assert_string_equal(text, known[i].sum);
    }
}

TEST(parts_of_any_size_give_the_sum_of_the_whole)
{
    uint8_t bytes[300];
    char whole[65], parts[65];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    dn_sha256_of(bytes, sizeof bytes, whole);
    for (size_t step = 1; step < 140; step++) {
        struct sha256 sum;
        dn_sha256_init(&sum);
        for (size_t at = 0; at < sizeof bytes; at += step)
            dn_sha256_add(&sum, bytes + at,
                          at + step < sizeof bytes ? step : sizeof bytes - at);
        dn_sha256_text(&sum, parts);
        assert_string_equal(parts, whole);
    }
}
