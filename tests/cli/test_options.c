/* The option parser and the small parts of the program, without the program around them. */
#include <float.h>
#include <string.h>

#include "testing.h"

#include "../../cli/options.c"

struct settings {
    bool loud, norm;
    const char *name;
    int count, fit, pair[2];
    double share;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"loud", 'l', OPTION_FLAG, PLACE(loud)},
    {"norm", 0, OPTION_FLAG, PLACE(norm), NULL, "", "yes"},
    {"name", 'n', OPTION_TEXT, PLACE(name), "NAME"},
    {"count", 'c', OPTION_INT, PLACE(count), "N", "", "3", -5, 2147483647},
    {"fit", 'f', OPTION_CHOICE, PLACE(fit), "crop|pad|cr", "", "pad"},
    {"pair", 0, OPTION_PAIR, PLACE(pair), "WxH", "", NULL, 1, 100},
    {"share", 0, OPTION_REAL, PLACE(share), "S", "", "0.25", 0, 1},
    {0},
};
static const struct option_group groups[] = {{"Options", rows, 0}, {0}};

static struct settings parsed;
static struct dino_error error;
static char *words[16];
static int left;

/* Parse up to eight words; what they set stands in `parsed`. */
static bool parse(const char *const *given)
{
    static char copies[8][64];

    memset(&parsed, 0, sizeof parsed);
    error = (struct dino_error){0};
    for (left = 0; given[left]; left++) {
        snprintf(copies[left], sizeof copies[left], "%s", given[left]);
        words[left] = copies[left];
    }
    return dn_options_parse(groups, &parsed, words, &left, &error);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

TEST(without_options_the_defaults_stand)
{
    CHECK(PARSE("a"));
    CHECK(!parsed.loud && parsed.norm && !parsed.name && parsed.count == 3);
    CHECK(parsed.fit == 1 && parsed.pair[0] == 0 && parsed.share == 0.25);
    CHECK(left == 1 && strcmp(words[0], "a") == 0);
}

TEST(values_may_be_glued_or_follow)
{
    CHECK(PARSE("--count=7", "--name", "x"));
    CHECK(parsed.count == 7 && strcmp(parsed.name, "x") == 0 && left == 0);
    CHECK(PARSE("-c9", "-n", "-y"));
    CHECK(parsed.count == 9 && strcmp(parsed.name, "-y") == 0);
    CHECK(PARSE("-lc", "4", "b"));
    CHECK(parsed.loud && parsed.count == 4 && left == 1);
    CHECK(PARSE("--name="));
    CHECK(parsed.name && !*parsed.name);
}

TEST(arguments_keep_their_order_between_options)
{
    CHECK(PARSE("a", "--loud", "-", "-c", "1", "--", "--norm", "-x"));
    CHECK(left == 4 && strcmp(words[0], "a") == 0 && strcmp(words[1], "-") == 0);
    CHECK(strcmp(words[2], "--norm") == 0 && strcmp(words[3], "-x") == 0);
}

TEST(no_turns_flags_off_and_nothing_else)
{
    CHECK(PARSE("--no-norm", "--loud", "--no-loud"));
    CHECK(!parsed.norm && !parsed.loud);
    CHECK(!PARSE("--no-count"));
    CHECK(strstr(error.message, "unknown option --no-count"));
}

TEST(numbers_are_whole_and_within_their_bounds)
{
    static const char *const wrong[] = {"",
                                        "x",
                                        "1x",
                                        "1.5",
                                        "1e3",
                                        " 1",
                                        "0x10",
                                        "-6",
                                        "+1",
                                        "2147483648",
                                        "99999999999999999999999999"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!PARSE("--count", wrong[i]));
    CHECK(PARSE("--count", "-5") && parsed.count == -5);
    CHECK(PARSE("--count", "2147483647") && parsed.count == 2147483647);
    CHECK(!PARSE("--share", "1.01") && !PARSE("--share", "nan") && !PARSE("--share", "1e999"));
    CHECK(!PARSE("--share", "") && !PARSE("--share", "0.5x"));
    CHECK(PARSE("--share", "1e-3") && parsed.share == 1e-3);
}

TEST(a_choice_is_one_whole_word)
{
    CHECK(PARSE("--fit", "crop") && parsed.fit == 0);
    CHECK(PARSE("--fit", "cr") && parsed.fit == 2);
    CHECK(!PARSE("--fit", "c") && !PARSE("--fit", "") && !PARSE("--fit", "crop|pad"));
    CHECK(strstr(error.message, "crop|pad|cr"));
}

TEST(a_pair_has_both_sides)
{
    CHECK(PARSE("--pair", "3x100") && parsed.pair[0] == 3 && parsed.pair[1] == 100);
    CHECK(!PARSE("--pair", "3") && !PARSE("--pair", "3x") && !PARSE("--pair", "x3"));
    CHECK(!PARSE("--pair", "3x101") && !PARSE("--pair", "0x1") && !PARSE("--pair", "1x2x3"));
    CHECK(!PARSE("--pair", "00000000000000000000000000000001x1"));
}

TEST(a_missing_value_and_a_superfluous_one_are_named)
{
    CHECK(!PARSE("--name"));
    CHECK(strstr(error.message, "--name wants a value"));
    CHECK(!PARSE("-n"));
    CHECK(!PARSE("--loud=1"));
    CHECK(strstr(error.message, "takes no value"));
}

TEST(near_misses_are_offered)
{
    CHECK(!PARSE("--cuont"));
    CHECK(strstr(error.message, "did you mean --count?"));
    CHECK(!PARSE("--no-nrom"));
    CHECK(strstr(error.message, "did you mean --no-norm?"));
    CHECK(!PARSE("--quetzalcoatl"));
    CHECK(!strstr(error.message, "did you mean"));
}

TEST(help_is_wanted_only_before_two_dashes)
{
    char *asks[] = {"a", "-h"}, *does_not[] = {"--", "--help"};

    CHECK(dn_options_want_help(asks, 2));
    CHECK(!dn_options_want_help(does_not, 2));
}

TEST(distances_count_single_edits)
{
    CHECK(dn_word_distance("embed", "embed") == 0);
    CHECK(dn_word_distance("embde", "embed") == 1);
    CHECK(dn_word_distance("", "abc") == 3);
    CHECK(dn_word_distance("kitten", "sitting") == 3);
    CHECK(dn_word_near("class", "classify") == 0);
    CHECK(dn_word_near("zz", "embed") < 0);
}
