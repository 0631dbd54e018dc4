#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "base/words.h"

/* What is being parsed: the rows, where values go, and the words. */
struct parser {
    const struct option_group *groups;
    char *settings;
    char **words;
    int count, next;
    struct dino_error *err;
};

static const struct option *find_name(struct parser *p, const char *name, size_t size,
                                      size_t *base)
{
    for (const struct option_group *group = p->groups; group->rows; group++)
        for (const struct option *row = group->rows; row->name; row++)
            if (strlen(row->name) == size && memcmp(row->name, name, size) == 0) {
                *base = group->base;
                return row;
            }
    return NULL;
}

static const struct option *find_letter(struct parser *p, char letter, size_t *base)
{
    for (const struct option_group *group = p->groups; group->rows; group++)
        for (const struct option *row = group->rows; row->name; row++)
            if (row->letter == letter) {
                *base = group->base;
                return row;
            }
    return NULL;
}

static bool unknown_name(struct parser *p, const char *name, size_t size)
{
    char word[64];
    const char *best = NULL, *no = "";
    int least = 100;

    snprintf(word, sizeof word, "%.*s", (int)size, name);
    const char *bare = dn_starts_with(word, "no-") ? word + 3 : word;
    for (const struct option_group *group = p->groups; group->rows; group++)
        for (const struct option *row = group->rows; row->name; row++) {
            int distance = dn_word_near(word, row->name);
            int without =
                bare != word && row->kind == OPTION_FLAG ? dn_word_near(bare, row->name) : -1;
            bool negated = without >= 0 && (distance < 0 || without < distance);
            if (negated)
                distance = without;
            if (distance >= 0 && distance < least) {
                least = distance;
                best = row->name;
                no = negated ? "no-" : "";
            }
        }
    if (best)
        return dn_fail(p->err, DINO_EARG, "unknown option --%s; did you mean --%s%s?", word, no,
                       best);
    return dn_fail(p->err, DINO_EARG, "unknown option --%s", word);
}

/* "64", "1e3" is no integer; "6 4" is none either. */
static bool parse_int(const struct option *row, const char *text, int *value,
                      struct dino_error *err)
{
    int64_t number;

    if (!dn_parse_int(text, (int64_t)row->low, (int64_t)row->high, &number))
        return dn_fail(err, DINO_EARG, "--%s %s: wanted a whole number from %.0f to %.0f",
                       row->name, text, row->low, row->high);
    *value = (int)number;
    return true;
}

static bool parse_real(const struct option *row, const char *text, double *value,
                       struct dino_error *err)
{
    char *end;

    errno = 0;
    double number = strtod(text, &end);
    if (end == text || *end || errno || !(number >= row->low && number <= row->high))
        return dn_fail(err, DINO_EARG, "--%s %s: wanted a number from %g to %g", row->name,
                       text, row->low, row->high);
    *value = number;
    return true;
}

static bool parse_choice(const struct option *row, const char *text, int *value,
                         struct dino_error *err)
{
    const char *word = row->value;

    for (int i = 0;; i++) {
        size_t size = strcspn(word, "|");
        if (strlen(text) == size && memcmp(word, text, size) == 0) {
            *value = i;
            return true;
        }
        if (!word[size])
            return dn_fail(err, DINO_EARG, "--%s %s: wanted %s", row->name, text, row->value);
        word += size + 1;
    }
}

static bool parse_pair(const struct option *row, const char *text, int value[2],
                       struct dino_error *err)
{
    char first[24];
    const char *cross = strchr(text, 'x');
    int64_t width, height;

    if (cross && (size_t)(cross - text) < sizeof first) {
        memcpy(first, text, (size_t)(cross - text));
        first[cross - text] = 0;
        if (dn_parse_int(first, (int64_t)row->low, (int64_t)row->high, &width) &&
            dn_parse_int(cross + 1, (int64_t)row->low, (int64_t)row->high, &height)) {
            value[0] = (int)width;
            value[1] = (int)height;
            return true;
        }
    }
    return dn_fail(err, DINO_EARG, "--%s %s: wanted %s, each from %.0f to %.0f", row->name,
                   text, row->value, row->low, row->high);
}

static bool store(const struct option *row, char *place, const char *text,
                  struct dino_error *err)
{
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)place = strcmp(text, "yes") == 0;
        return true;
    case OPTION_TEXT:
        *(const char **)place = text;
        return true;
    case OPTION_INT:
        return parse_int(row, text, (int *)place, err);
    case OPTION_REAL:
        return parse_real(row, text, (double *)place, err);
    case OPTION_CHOICE:
        return parse_choice(row, text, (int *)place, err);
    case OPTION_PAIR:
        return parse_pair(row, text, (int *)place, err);
    }
    return false;
}

/* The value of an option that wants one: what is glued to it, or the next word. */
static bool take_value(struct parser *p, const struct option *row, const char *glued,
                       const char **text)
{
    if (glued) {
        *text = glued;
        return true;
    }
    if (p->next >= p->count)
        return dn_fail(p->err, DINO_EARG, "--%s wants a value: %s", row->name, row->value);
    *text = p->words[p->next++];
    return true;
}

static bool parse_long(struct parser *p, const char *name)
{
    size_t size = strcspn(name, "="), base;
    const char *glued = name[size] ? name + size + 1 : NULL, *text = "yes";
    const struct option *row = find_name(p, name, size, &base);

    if (!row && size > 3 && dn_starts_with(name, "no-")) {
        row = find_name(p, name + 3, size - 3, &base);
        text = "no";
        if (row && row->kind != OPTION_FLAG)
            row = NULL;
    }
    if (!row)
        return unknown_name(p, name, size);
    if (row->kind == OPTION_FLAG && glued)
        return dn_fail(p->err, DINO_EARG, "--%s takes no value", row->name);
    if (row->kind != OPTION_FLAG && !take_value(p, row, glued, &text))
        return false;
    return store(row, p->settings + base + row->offset, text, p->err);
}

/* "-qo FILE", "-oFILE". */
static bool parse_letters(struct parser *p, const char *letters)
{
    for (; *letters; letters++) {
        size_t base;
        const char *text = "yes";
        const struct option *row = find_letter(p, *letters, &base);
        if (!row)
            return dn_fail(p->err, DINO_EARG, "unknown option -%c", *letters);
        bool flag = row->kind == OPTION_FLAG;
        if (!flag && !take_value(p, row, letters[1] ? letters + 1 : NULL, &text))
            return false;
        if (!store(row, p->settings + base + row->offset, text, p->err))
            return false;
        if (!flag)
            break;
    }
    return true;
}

bool dn_options_parse(const struct option_group *groups, void *settings, char **words,
                      int *count, struct dino_error *err)
{
    struct parser p = {groups, settings, words, *count, 0, err};
    int kept = 0;
    bool only_arguments = false;

    for (const struct option_group *group = groups; group->rows; group++)
        for (const struct option *row = group->rows; row->name; row++)
            if (row->fallback &&
                !store(row, p.settings + group->base + row->offset, row->fallback, err))
                return false;
    while (p.next < p.count) {
        char *word = words[p.next++];
        bool ok = true;
        if (only_arguments || word[0] != '-' || !word[1])
            words[kept++] = word;
        else if (strcmp(word, "--") == 0)
            only_arguments = true;
        else if (word[1] == '-')
            ok = parse_long(&p, word + 2);
        else
            ok = parse_letters(&p, word + 1);
        if (!ok)
            return false;
    }
    *count = kept;
    for (const struct option_group *group = groups; group->rows; group++) {
        const char *wrong = group->conflict ? group->conflict(p.settings + group->base) : NULL;
        if (wrong)
            return dn_fail(err, DINO_EARG, "%s", wrong);
    }
    return true;
}

bool dn_options_want_help(char **words, int count)
{
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++)
        if (strcmp(words[i], "-h") == 0 || strcmp(words[i], "--help") == 0)
            return true;
    return false;
}

bool dn_option_default_on(const struct option *row)
{
    return row->kind == OPTION_FLAG && row->fallback && strcmp(row->fallback, "yes") == 0;
}

void dn_option_spelling(const struct option *row, char *text, size_t room)
{
    const char *no = dn_option_default_on(row) ? "no-" : "";
    const char *gap = row->value ? " " : "", *value = row->value ? row->value : "";

    if (row->letter)
        snprintf(text, room, "-%c, --%s%s%s%s", row->letter, no, row->name, gap, value);
    else
        snprintf(text, room, "    --%s%s%s%s", no, row->name, gap, value);
}
