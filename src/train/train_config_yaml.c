/*
 * Settings from YAML, through libyaml's events: sections are mappings, values are scalars or
 * lists of two. Aliases and tags, which no config needs, are refused, and so is a key that
 * stands twice.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

#include "base/file.h"
#include "train/train_config.h"
#include "train/train_config_value.h"

enum { PATH = 200, MOST_KEYS = 256, MOST_FILE = 1 << 20 };

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    struct train_config *config;
    const char *name; /* of the file */
    char path[PATH];
    bool seen[MOST_KEYS];
    struct dino_error *err;
};

/* "file.yaml:12", of the current event. */
static const char *where(const struct reader *r, char text[PATH])
{
    snprintf(text, PATH, "%.150s:%zu", r->name, r->event.start_mark.line + 1);
    return text;
}

static bool refuse(const struct reader *r, const char *what)
{
    char text[PATH];
    return dn_fail(r->err, DINO_EFORMAT, "%s: %s", where(r, text), what);
}

static bool advance(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return true;
    if (r->parser.error == YAML_MEMORY_ERROR)
        return dn_fail_memory(r->err, MOST_FILE, "a YAML file");
    size_t line = r->parser.error == YAML_READER_ERROR ? r->parser.mark.line
                                                       : r->parser.problem_mark.line;
    return dn_fail(r->err, DINO_EFORMAT, "%.150s:%zu: not YAML: %s", r->name, line + 1,
                   r->parser.problem ? r->parser.problem : "unreadable");
}

static bool take_scalar(struct reader *r, struct config_value *value)
{
    const char *text = (const char *)r->event.data.scalar.value;
    size_t size = r->event.data.scalar.length;
    bool quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;

    if (value->count == 2)
        return refuse(r, "a list of more than two, wanted two numbers");
    if (size >= CONFIG_TEXT || memchr(text, 0, size))
        return refuse(r, "a value of more than 1023 bytes or with a zero in it");
    if (r->event.data.scalar.tag)
        return refuse(r, "a tag, wanted plain values");
    memcpy(value->items[value->count++], text, size + 1);
    value->quoted = value->quoted || quoted;
    bool null = !quoted && (size == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
    if (null && !value->sequence)
        value->count = 0;
    return true;
}

/* The current event begins a value; afterwards it is its last. */
static bool take_value(struct reader *r, struct config_value *value)
{
    memset(value, 0, sizeof *value);
    if (r->event.type == YAML_SCALAR_EVENT)
        return take_scalar(r, value);
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return refuse(r, "a section or an alias, wanted a value");
    value->sequence = true;
    while (advance(r)) {
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        if (r->event.type != YAML_SCALAR_EVENT)
            return refuse(r, "a list in a list, wanted numbers");
        if (!take_scalar(r, value))
            return false;
    }
    return false;
}

static bool set_key(struct reader *r, const struct config_key *key)
{
    struct config_value value;
    char text[PATH];

    where(r, text);
    if (r->seen[key - dn_config_keys])
        return dn_fail(r->err, DINO_EFORMAT, "%s: %s stands here twice", text, key->path);
    r->seen[key - dn_config_keys] = true;
    return take_value(r, &value) && dn_config_set(r->config, key, &value, text, r->err);
}

static bool is_empty_scalar(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT && event->data.scalar.length == 0;
}

/*
 * The current event begins a mapping. Only known sections are entered, so the table bounds the
 * depth.
 */
static bool read_section(struct reader *r)
{
    size_t length = strlen(r->path);

    while (advance(r) && r->event.type != YAML_MAPPING_END_EVENT) {
        char text[PATH];
        if (r->event.type != YAML_SCALAR_EVENT)
            return refuse(r, "wanted the name of a setting");
        const char *name = (const char *)r->event.data.scalar.value;
        if (strlen(name) != r->event.data.scalar.length || strlen(name) + length + 2 > PATH)
            return refuse(r, "a name that is too long, wanted the name of a setting");
        snprintf(r->path + length, PATH - length, "%s%s", length ? "." : "", name);
        where(r, text);

        const struct config_key *key = dn_config_key_find(r->path);
        if (!key && !dn_config_section_is(r->path))
            return dn_config_key_unknown(r->path, text, r->err);
        if (!advance(r))
            return false;
        if (key && !set_key(r, key))
            return false;
        if (!key && r->event.type == YAML_MAPPING_START_EVENT && !read_section(r))
            return false;
        if (!key && r->event.type != YAML_MAPPING_END_EVENT && !is_empty_scalar(&r->event))
            return dn_fail(r->err, DINO_EFORMAT, "%s: %s is a section, found a value", text,
                           r->path);
        r->path[length] = 0;
    }
    return r->event.type == YAML_MAPPING_END_EVENT;
}

/* Skip what begins a document; false at an error. An empty stream has no document. */
static bool begin_document(struct reader *r, bool *empty)
{
    if (!advance(r) || !advance(r)) /* stream start; document start or stream end */
        return false;
    *empty = r->event.type == YAML_STREAM_END_EVENT;
    return *empty || advance(r);
}

static bool end_document(struct reader *r)
{
    if (!advance(r) || !advance(r)) /* document end; stream end */
        return false;
    return r->event.type == YAML_STREAM_END_EVENT || refuse(r, "a second document, wanted one");
}

static bool start(struct reader *r, struct span yaml, const char *name, struct dino_error *err)
{
    assert(dn_config_key_count <= MOST_KEYS);
    r->name = name;
    r->err = err;
    if (!yaml_parser_initialize(&r->parser))
        return dn_fail_memory(err, sizeof r->parser, "a YAML parser");
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, yaml.data, yaml.size);
    return true;
}

static void stop(struct reader *r)
{
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
}

static bool read_all(struct reader *r)
{
    bool empty = false;

    if (!begin_document(r, &empty) || empty)
        return empty && r->event.type == YAML_STREAM_END_EVENT;
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return read_section(r) && end_document(r);
    if (is_empty_scalar(&r->event)) /* nothing but comments behind "---" */
        return end_document(r);
    return refuse(r, "wanted sections of settings");
}

bool dn_train_config_parse(struct train_config *config, struct span yaml, const char *name,
                           struct dino_error *err)
{
    struct train_config changed = *config;
    struct reader reader = {.config = &changed};

    if (!start(&reader, yaml, name, err))
        return false;
    bool ok = read_all(&reader);
    stop(&reader);
    if (ok)
        *config = changed;
    return ok;
}

bool dn_train_config_read(struct train_config *config, const char *path, struct dino_error *err)
{
    uint8_t *data;
    size_t size;

    if (!dn_read_all(path, MOST_FILE, &data, &size, err))
        return false;
    bool ok = dn_train_config_parse(config, (struct span){data, size}, path, err);
    free(data);
    return ok;
}

static bool read_value(struct reader *r, struct config_value *value)
{
    bool empty = false;

    memset(value, 0, sizeof *value);
    if (!begin_document(r, &empty))
        return false;
    return empty || (take_value(r, value) && end_document(r));
}

bool dn_train_config_override(struct train_config *config, const char *assignment,
                              struct dino_error *err)
{
    struct config_value value;
    struct reader reader = {0};
    const char *equals = strchr(assignment, '=');
    char path[PATH];

    if (!equals || equals == assignment || (size_t)(equals - assignment) >= PATH)
        return dn_fail(err, DINO_EARG, "'%.100s', wanted key.path=value", assignment);
    snprintf(path, sizeof path, "%.*s", (int)(equals - assignment), assignment);
    const struct config_key *key = dn_config_key_find(path);
    if (!key)
        return dn_config_key_unknown(path, "key=value", err);
    struct span text = {(const uint8_t *)equals + 1, strlen(equals + 1)};
    if (!start(&reader, text, path, err))
        return false;
    bool ok =
        read_value(&reader, &value) && dn_config_set(config, key, &value, "key=value", err);
    stop(&reader);
    return ok;
}
