/* base/str: growing text, JSON strings, numbers, paths. */
#include "testing.h"

#include <string.h>

#include "base/str.h"

TEST(an_empty_text_reads_as_an_empty_string)
{
    struct str s = {0};

    assert_string_equal(dn_str_text(&s), "");
    dn_str_clear(&s);
    dn_str_release(&s);
}

TEST(pieces_of_every_kind_are_put_end_to_end)
{
    struct str s = {0};

    dn_str_add(&s, "rows ");
    dn_str_addf(&s, "%d x %s", 42, "384");
    dn_str_add_bytes(&s, "!?", 1);
    dn_str_add(&s, "");
    assert_string_equal(dn_str_text(&s), "rows 42 x 384!");
    CHECK(s.size == strlen(s.text) && !s.failed);
    dn_str_clear(&s);
    dn_str_add(&s, "again");
    assert_string_equal(dn_str_text(&s), "again");
    dn_str_release(&s);
    assert_null(s.text);
}

TEST(formatted_pieces_of_any_length_arrive_whole)
{
    char long_text[3000];

    for (size_t size = 250; size < 262; size++) { /* around the inner buffer's 256 */
        struct str s = {0};
        memset(long_text, 'x', size);
        long_text[size] = 0;
        dn_str_add(&s, "<");
        dn_str_addf(&s, "%s", long_text);
        dn_str_add(&s, ">");
        CHECK(s.size == size + 2 && s.text[0] == '<' && s.text[size + 1] == '>');
        CHECK(strncmp(s.text + 1, long_text, size) == 0);
        dn_str_release(&s);
    }
}

TEST(json_strings_escape_what_json_wants_escaped)
{
    struct str s = {0};

    dn_str_add_json(&s, "a\"b\\c\n\t\x01/\x7f");
    assert_string_equal(dn_str_text(&s), "\"a\\\"b\\\\c\\u000a\\u0009\\u0001/\x7f\"");
    dn_str_release(&s);
}

static void check_json(const char *bytes, const char *wanted)
{
    struct str s = {0};

    dn_str_add_json(&s, bytes);
    CHECK(s.size >= 2 && s.text[0] == '"' && s.text[s.size - 1] == '"');
    s.text[s.size - 1] = 0;
    assert_string_equal(s.text + 1, wanted);
    dn_str_release(&s);
}

TEST(well_formed_utf8_passes_through_json)
{
    check_json("\xc3\xa9", "\xc3\xa9");
    check_json("\xe2\x82\xac", "\xe2\x82\xac");
    check_json("\xf0\x9f\x90\x88", "\xf0\x9f\x90\x88");
    check_json("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");
}

TEST(bytes_that_are_no_utf8_become_replacement_characters)
{
    check_json("\xff", "\xef\xbf\xbd");
    check_json("a\x80z", "a\xef\xbf\xbdz");
    check_json("\xc3", "\xef\xbf\xbd");
    check_json("\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd");                 /* overlong */
    check_json("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* surrogate */
    check_json("\xf4\x90\x80\x80",                                      /* > U+10FFFF */
               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(a_number_is_taken_only_whole_and_only_in_range)
{
    int64_t v = 99;

    CHECK(dn_parse_int("-12", -20, 20, &v) && v == -12);
    CHECK(dn_parse_int("9223372036854775807", 0, INT64_MAX, &v) && v == INT64_MAX);
    v = 99;
    CHECK(!dn_parse_int("", 0, 9, &v));
    CHECK(!dn_parse_int("-", -9, 9, &v));
    CHECK(!dn_parse_int(" 1", 0, 9, &v));
    CHECK(!dn_parse_int("+1", 0, 9, &v));
    CHECK(!dn_parse_int("1x", 0, 9, &v));
    CHECK(!dn_parse_int("1.0", 0, 9, &v));
    CHECK(!dn_parse_int("10", 0, 9, &v));
    CHECK(!dn_parse_int("99999999999999999999", 0, INT64_MAX, &v));
    CHECK(v == 99);
}

TEST(prefixes_and_suffixes_may_be_longer_than_the_text)
{
    CHECK(dn_starts_with("backbone.cls", "backbone.") && !dn_starts_with("back", "backbone"));
    CHECK(dn_ends_with("a.tar", ".tar") && !dn_ends_with("tar", ".tar"));
    CHECK(dn_ends_with("a", "") && dn_starts_with("", ""));
}

static void check_join(const char *dir, const char *name, const char *wanted)
{
    char *path = dn_path_join(dir, name, NULL);
    assert_string_equal(path, wanted);
    free(path);
}

TEST(paths_are_joined_with_one_slash)
{
    check_join("a", "b", "a/b");
    check_join("a/", "b", "a/b");
    check_join("", "b", "b");
    check_join("a", "/b", "/b");
    check_join("/", "b", "/b");
}

TEST(the_base_of_a_path_is_what_follows_the_last_slash)
{
    assert_string_equal(dn_path_base("a/b/c.jpg"), "c.jpg");
    assert_string_equal(dn_path_base("c.jpg"), "c.jpg");
    assert_string_equal(dn_path_base("a/"), "");
}

TEST(a_float_is_written_as_the_shortest_double)
{
    CHECK(dn_shortest_double(0.485F) == 0.485);
    CHECK(dn_shortest_double(1e-6F) == 1e-6);
    CHECK(dn_shortest_double(-3) == -3);
    for (int i = 1; i < 1000; i++) {
        float value = (float)i / 997;
        CHECK((float)dn_shortest_double(value) == value);
    }
}
