/* base/error: one printable line, filled once, with a code. */
#include "testing.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

TEST(a_failure_returns_false_and_keeps_code_and_message)
{
    struct dino_error err = {0};

    CHECK(!dn_fail(&err, DINO_EFORMAT, "%s: wanted %d, found %d", "a.bin", 3, 4));
    CHECK(err.code == DINO_EFORMAT);
    assert_string_equal(err.message, "a.bin: wanted 3, found 4");
}

TEST(a_caller_who_wants_no_message_may_pass_null)
{
    CHECK(!dn_fail(NULL, DINO_EARG, "unheard"));
    CHECK(!dn_fail_errno(NULL, "unheard"));
    CHECK(!dn_fail_memory(NULL, 8, "unheard"));
    CHECK(!dn_fail_prefix(NULL, "unheard"));
}

TEST(control_characters_from_a_file_cannot_break_the_line)
{
    struct dino_error err = {0};

    dn_fail(&err, DINO_EFORMAT, "name \"%s\"", "a\nb\tc\x1b[2J\x7f");
    assert_string_equal(err.message, "name \"a?b?c?[2J?\"");
}

TEST(letters_beyond_ascii_stay_as_they_are)
{
    struct dino_error err = {0};

    dn_fail(&err, DINO_EIO, "%s",
            "gl\xc3\xbc"
            "ck");
    assert_string_equal(err.message, "gl\xc3\xbc"
                                     "ck");
}

TEST(a_long_message_is_cut_and_still_ends)
{
    struct dino_error err;
    char text[2000];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    memset(&err, 0xff, sizeof err);
    dn_fail(&err, DINO_EIO, "%s", text);
    CHECK(strlen(err.message) == sizeof err.message - 1);
    errno = ENOENT;
    dn_fail_errno(&err, "%s", text);
    CHECK(strlen(err.message) == sizeof err.message - 1);
    dn_fail_prefix(&err, text);
    CHECK(strlen(err.message) == sizeof err.message - 1);
}

TEST(the_reason_of_the_system_stands_behind_the_fact)
{
    struct dino_error err = {0};

    errno = ENOENT;
    CHECK(!dn_fail_errno(&err, "%s", "cat.jpg"));
    CHECK(err.code == DINO_EIO);
    assert_string_equal(err.message, "cat.jpg: No such file or directory");
    errno = ENOMEM;
    dn_fail_errno(&err, "map");
    CHECK(err.code == DINO_ENOMEM);
}

TEST(a_prefix_goes_in_front_and_the_code_stays)
{
    struct dino_error err = {0};

    dn_fail(&err, DINO_EFORMAT, "line 3 is 100%% wrong");
    CHECK(!dn_fail_prefix(&err, "config.json"));
    CHECK(err.code == DINO_EFORMAT);
    assert_string_equal(err.message, "config.json: line 3 is 100% wrong");
}

TEST(out_of_memory_says_how_much_and_what_for)
{
    struct dino_error err = {0};

    dn_fail_memory(&err, 4096, "scratch");
    CHECK(err.code == DINO_ENOMEM);
    assert_string_equal(err.message, "out of memory: wanted 4096 bytes for scratch");
}
