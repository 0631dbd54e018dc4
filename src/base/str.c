#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void dn_str_release(struct str *s)
{
    free(s->text);
    *s = (struct str){0};
}

void dn_str_clear(struct str *s)
{
    s->size = 0;
    if (s->text)
        s->text[0] = 0;
}

void dn_str_add_bytes(struct str *s, const void *bytes, size_t size)
{
    size_t wanted;

    if (s->failed || !dn_size_add(s->size, size, &wanted) || !dn_size_add(wanted, 1, &wanted) ||
        !dn_grow(&s->text, &s->room, wanted, 1, "a text", NULL)) {
        s->failed = true;
        return;
    }
    if (size)
        memcpy(s->text + s->size, bytes, size);
    s->size += size;
    s->text[s->size] = 0;
}

void dn_str_add(struct str *s, const char *text)
{
    dn_str_add_bytes(s, text, strlen(text));
}

void dn_str_addf(struct str *s, const char *format, ...)
{
    char small[256];
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (size >= 0 && (size_t)size < sizeof small) {
        dn_str_add_bytes(s, small, (size_t)size);
    } else if (size < 0 ||
               !dn_grow(&s->text, &s->room, s->size + (size_t)size + 1, 1, "a text", NULL)) {
        s->failed = true;
    } else {
        vsnprintf(s->text + s->size, (size_t)size + 1, format, again);
        s->size += (size_t)size;
    }
    va_end(again);
}

/* Length of the well-formed UTF-8 sequence at p (1..4), or 0. */
static int utf8_length(const unsigned char *p)
{
    static const unsigned low[5] = {0, 0, 0x80, 0x800, 0x10000};
    int size = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
    if (size < 2)
        return size;

    unsigned code = *p & (0x7fU >> size);
    for (int i = 1; i < size; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 0x3fU);
    }
    bool surrogate = code >= 0xd800 && code < 0xe000;
    return code < low[size] || code > 0x10ffff || surrogate ? 0 : size;
}

void dn_str_add_json(struct str *s, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    dn_str_add(s, "\"");
    while (*p) {
        int size = utf8_length(p);
        if (*p == '"' || *p == '\\')
            dn_str_addf(s, "\\%c", *p++);
        else if (*p < 0x20)
            dn_str_addf(s, "\\u%04x", *p++);
        else if (size == 0) {
            dn_str_add(s, "\xef\xbf\xbd");
            p++;
        } else {
            dn_str_add_bytes(s, p, (size_t)size);
            p += size;
        }
    }
    dn_str_add(s, "\"");
}

void dn_str_add_xml(struct str *s, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        int size = utf8_length(p);
        bool barred = size == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe; /* U+FFFE */
        if (*p == '&')
            dn_str_add(s, "&amp;");
        else if (*p == '<')
            dn_str_add(s, "&lt;");
        else if (*p == '>')
            dn_str_add(s, "&gt;");
        else if (*p < 0x20 || *p == 0x7f || size == 0 || barred)
            dn_str_add(s, "?");
        else
            dn_str_add_bytes(s, p, (size_t)size);
        p += size ? size : 1;
    }
}

const char *dn_str_text(const struct str *s)
{
    return s->text ? s->text : "";
}

bool dn_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool dn_ends_with(const char *text, const char *suffix)
{
    size_t have = strlen(text), want = strlen(suffix);
    return have >= want && memcmp(text + have - want, suffix, want) == 0;
}

bool dn_parse_int(const char *text, int64_t low, int64_t high, int64_t *value)
{
    char *end;

    if (!((*text >= '0' && *text <= '9') || *text == '-'))
        return false;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end || v < low || v > high)
        return false;
    *value = v;
    return true;
}

double dn_shortest_double(float value)
{
    double shortest = (double)value;
    char text[32];

    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        shortest = strtod(text, NULL);
        if ((float)shortest == value)
            break;
    }
    return shortest;
}

/* The line around text[at]. */
static void line_at(const char *text, size_t at, char line[DN_LINE])
{
    while (at > 0 && text[at - 1] != '\n')
        at--;
    at += strspn(text + at, " ");
    size_t size = strcspn(text + at, "\n");
    snprintf(line, DN_LINE, "%.*s", (int)(size < DN_LINE ? size : DN_LINE - 1), text + at);
}

void dn_lines_differ(const char *a, const char *b, char line_a[DN_LINE], char line_b[DN_LINE])
{
    size_t at = 0;

    while (a[at] && a[at] == b[at])
        at++;
    line_at(a, at, line_a);
    line_at(b, at, line_b);
}

char *dn_path_join(const char *dir, const char *name, struct dino_error *err)
{
    if (!*dir || *name == '/')
        return dn_strdup(name, err);
    size_t d = strlen(dir), n = strlen(name);
    bool slash = dir[d - 1] != '/';
    char *path = dn_calloc(d + slash + n + 1, 1, "a path", err);
    if (!path)
        return NULL;
    memcpy(path, dir, d);
    if (slash)
        path[d] = '/';
    memcpy(path + d + slash, name, n);
    return path;
}

const char *dn_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
