/* A growing text. Failure is sticky: check `failed` once, at the end. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/alloc.h"

struct str {
    char *text; /* NUL-terminated; NULL while empty */
    size_t size, room;
    bool failed;
};

void dn_str_release(struct str *s);
void dn_str_clear(struct str *s); /* keeps the memory */
void dn_str_add(struct str *s, const char *text);
void dn_str_add_bytes(struct str *s, const void *bytes, size_t size);
__attribute__((format(printf, 2, 3))) void dn_str_addf(struct str *s, const char *format, ...);

/* A JSON string literal with its quotes; bytes that are no UTF-8 become U+FFFD. */
void dn_str_add_json(struct str *s, const char *text);

/* Text between the tags of XML: no byte of it is markup, and each that XML cannot hold is '?'.
 */
void dn_str_add_xml(struct str *s, const char *text);

/* Never NULL. */
const char *dn_str_text(const struct str *s);

bool dn_starts_with(const char *text, const char *prefix);
bool dn_ends_with(const char *text, const char *suffix);

/* A whole decimal number in [low, high], nothing behind it. */
bool dn_parse_int(const char *text, int64_t low, int64_t high, int64_t *value);

/* The double that is written shortest and is this float: 0.485, not 0.48500001430511475. */
double dn_shortest_double(float value);

/* The lines in which two texts first differ, without indentation, cut to fit a message. */
enum { DN_LINE = 100 };
void dn_lines_differ(const char *a, const char *b, char line_a[DN_LINE], char line_b[DN_LINE]);

/* dir + "/" + name, heap; an absolute name or an empty dir gives name alone. */
char *dn_path_join(const char *dir, const char *name, struct dino_error *err);
/* The part behind the last slash. */
const char *dn_path_base(const char *path);

#endif
