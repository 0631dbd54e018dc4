/* Finding, setting and writing single settings by the table. */
#include "train/train_config_value.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/words.h"

const struct config_key *dn_config_key_find(const char *path)
{
    for (size_t i = 0; i < dn_config_key_count; i++)
        if (strcmp(dn_config_keys[i].path, path) == 0)
            return &dn_config_keys[i];
    return NULL;
}

bool dn_config_section_is(const char *path)
{
    size_t size = strlen(path);

    for (size_t i = 0; i < dn_config_key_count; i++)
        if (dn_starts_with(dn_config_keys[i].path, path) && dn_config_keys[i].path[size] == '.')
            return true;
    return false;
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* The right key in the wrong section counts as one edit more. */
static int nearness(const char *path, const char *known)
{
    int whole = dn_word_near(path, known);
    int part = dn_word_near(last_part(path), last_part(known));

    if (part >= 0 && (whole < 0 || part + 1 < whole))
        return part + 1;
    return whole;
}

bool dn_config_key_unknown(const char *path, const char *where, struct dino_error *err)
{
    const char *near = NULL;
    int least = 0;

    for (size_t i = 0; i < dn_config_key_count; i++) {
        int distance = nearness(path, dn_config_keys[i].path);
        if (distance >= 0 && (!near || distance < least)) {
            near = dn_config_keys[i].path;
            least = distance;
        }
    }
    return dn_fail(err, DINO_EARG, "%s: no setting is called %.100s%s%s%s", where, path,
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static bool wrong(const struct config_key *key, const struct config_value *value,
                  const char *where, const char *wanted, struct dino_error *err)
{
    char found[80];

    if (value->sequence)
        snprintf(found, sizeof found, "a list of %d", value->count);
    else
        snprintf(found, sizeof found, "'%.60s'", value->count ? value->items[0] : "");
    return dn_fail(err, DINO_EARG, "%s: %s is %s, wanted %s", where, key->path, found, wanted);
}

static void range_text(char *text, size_t room, const char *kind, const struct config_key *key)
{
    snprintf(text, room, "%s from %.10g to %.10g", kind, key->low, key->high);
}

/* A finite decimal number with nothing behind it; no hexadecimal, no words. */
static bool parse_real(const char *text, double low, double high, double *value)
{
    char *end;

    if (!*text || text[strspn(text, "0123456789+-.eE")])
        return false;
    double parsed = strtod(text, &end);
    if (*end || end == text || !(parsed >= low && parsed <= high))
        return false;
    *value = parsed;
    return true;
}

static bool parse_flag(const char *text, bool *value)
{
    static const char *const words[2][3] = {{"false", "no", "off"}, {"true", "yes", "on"}};

    for (int i = 0; i < 6; i++)
        if (strcasecmp(text, words[i / 3][i % 3]) == 0) {
            *value = i / 3;
            return true;
        }
    return false;
}

static bool set_number(void *field, const struct config_key *key,
                       const struct config_value *value, const char *where,
                       struct dino_error *err)
{
    char wanted[100];
    int64_t parsed;

    if (key->type == CONFIG_REAL) {
        if (parse_real(value->items[0], key->low, key->high, field))
            return true;
        range_text(wanted, sizeof wanted, "a number", key);
        return wrong(key, value, where, wanted, err);
    }
    if (!dn_parse_int(value->items[0], (int64_t)key->low, (int64_t)key->high, &parsed)) {
        range_text(wanted, sizeof wanted, "a whole number", key);
        return wrong(key, value, where, wanted, err);
    }
    if (key->type == CONFIG_INT64)
        *(int64_t *)field = parsed;
    else
        *(int *)field = (int)parsed;
    return true;
}

static bool set_pair(double *field, const struct config_key *key,
                     const struct config_value *value, const char *where,
                     struct dino_error *err)
{
    double pair[2];

    if (!value->sequence || value->count != 2 ||
        !parse_real(value->items[0], key->low, key->high, &pair[0]) ||
        !parse_real(value->items[1], key->low, key->high, &pair[1]) || pair[0] > pair[1])
        return wrong(key, value, where, "a list of two rising numbers from 0 to 1", err);
    memcpy(field, pair, sizeof pair);
    return true;
}

static bool set_choice(int *field, const struct config_key *key,
                       const struct config_value *value, const char *where,
                       struct dino_error *err)
{
    char wanted[160] = "";

    for (const struct config_word *word = key->words; word->word; word++) {
        size_t used = strlen(wanted);
        if (strcmp(value->items[0], word->word) == 0) {
            *field = word->value;
            return true;
        }
        snprintf(wanted + used, sizeof wanted - used, "%s%s", used ? " or " : "", word->word);
    }
    return wrong(key, value, where, wanted, err);
}

static bool set_text(char *field, const struct config_key *key,
                     const struct config_value *value, const char *where,
                     struct dino_error *err)
{
    const char *text = value->count ? value->items[0] : "";

    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            return wrong(key, value, where, "text without control characters", err);
    if (strlen(text) >= key->size)
        return dn_fail(err, DINO_EARG, "%s: %s has %zu bytes, wanted at most %zu", where,
                       key->path, strlen(text), key->size - 1);
    snprintf(field, key->size, "%s", text);
    return true;
}

bool dn_config_set(struct train_config *config, const struct config_key *key,
                   const struct config_value *value, const char *where, struct dino_error *err)
{
    void *field = (char *)config + key->offset;

    if (key->type == CONFIG_PAIR)
        return set_pair(field, key, value, where, err);
    if (value->sequence)
        return wrong(key, value, where, "a single value", err);
    if (key->type == CONFIG_STRING)
        return set_text(field, key, value, where, err);
    if (!value->count)
        return wrong(key, value, where, "a value", err);
    if (key->type == CONFIG_CHOICE)
        return set_choice(field, key, value, where, err);
    if (value->quoted)
        return wrong(key, value, where, "a value without quotes", err);
    if (key->type != CONFIG_BOOL)
        return set_number(field, key, value, where, err);
    return parse_flag(value->items[0], field) || wrong(key, value, where, "true or false", err);
}

/* Shortest, with a point: readers of YAML 1.1 take 1e-06 for a text, but not 1.0e-06. */
static void add_real(struct str *yaml, double value)
{
    char text[40];

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    size_t mantissa = strcspn(text, "e");
    bool point = memchr(text, '.', mantissa);
    dn_str_add_bytes(yaml, text, mantissa);
    dn_str_add(yaml, point ? "" : ".0");
    dn_str_add(yaml, text + mantissa);
}

/* Single quotes, doubled inside, hold any text without control characters. */
static void add_quoted(struct str *yaml, const char *text)
{
    dn_str_add(yaml, "'");
    for (; *text; text++) {
        dn_str_add_bytes(yaml, text, 1);
        if (*text == '\'')
            dn_str_add(yaml, "'");
    }
    dn_str_add(yaml, "'");
}

static const char *choice_word(const struct config_key *key, int value)
{
    const struct config_word *word = key->words;

    while (word->word && word->value != value)
        word++;
    return word->word ? word->word : "";
}

void dn_config_add_value(struct str *yaml, const struct train_config *config,
                         const struct config_key *key, const char *indent)
{
    const void *field = (const char *)config + key->offset;
    const double *reals = field;

    switch (key->type) {
    case CONFIG_INT:
        dn_str_addf(yaml, " %d\n", *(const int *)field);
        return;
    case CONFIG_INT64:
        dn_str_addf(yaml, " %lld\n", (long long)*(const int64_t *)field);
        return;
    case CONFIG_BOOL:
        dn_str_addf(yaml, " %s\n", *(const bool *)field ? "true" : "false");
        return;
    case CONFIG_CHOICE:
        dn_str_addf(yaml, " %s\n", choice_word(key, *(const int *)field));
        return;
    case CONFIG_STRING:
        dn_str_add(yaml, " ");
        add_quoted(yaml, field);
        break;
    case CONFIG_REAL:
        dn_str_add(yaml, " ");
        add_real(yaml, *reals);
        break;
    case CONFIG_PAIR:
        dn_str_addf(yaml, "\n%s- ", indent);
        add_real(yaml, reals[0]);
        dn_str_addf(yaml, "\n%s- ", indent);
        add_real(yaml, reals[1]);
        break;
    }
    dn_str_add(yaml, "\n");
}
