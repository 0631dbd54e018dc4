/* Command lines: words between NULs, parsed with rows of every kind. */
#include <string.h>

#include "../cli/options.c"

struct settings {
    bool flag, on;
    const char *text;
    int number, choice, pair[2];
    double real;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"flag", 'f', OPTION_FLAG, PLACE(flag)},
    {"on", 0, OPTION_FLAG, PLACE(on), NULL, "", "yes"},
    {"text", 't', OPTION_TEXT, PLACE(text), "TEXT"},
    {"number", 'n', OPTION_INT, PLACE(number), "N", "", "3", -7, 4096},
    {"choice", 'c', OPTION_CHOICE, PLACE(choice), "a|bb|ccc", "", "bb"},
    {"pair", 'p', OPTION_PAIR, PLACE(pair), "WxH", "", NULL, 1, 16384},
    {"real", 'r', OPTION_REAL, PLACE(real), "R", "", "0.5", 0.001, 0.999},
    {0},
};
static const struct option_group groups[] = {{"Options", rows, 0}, {0}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { ROOM = 4096, WORDS = 64 };
    char text[ROOM + 1], *words[WORDS];
    int count = 0;
    struct settings settings = {0};
    struct dino_error err = {0};

    if (size > ROOM)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    for (size_t at = 0; at < size && count < WORDS; at += strlen(text + at) + 1)
        words[count++] = text + at;
    dn_options_want_help(words, count);
    bool ok = dn_options_parse(groups, &settings, words, &count, &err);
    if (!ok && !err.message[0])
        __builtin_trap(); /* a refusal says why */
    if (settings.number < -7 || settings.number > 4096 || settings.choice < 0 ||
        settings.choice > 2 || count < 0 || count > WORDS)
        __builtin_trap();
    return 0;
}
