/* JSON, written: commas, quotes and indentation keep themselves right. */
#ifndef CLI_JSON_TEXT_H
#define CLI_JSON_TEXT_H

#include "base/str.h"
#include "report.h"

struct json {
    struct str text;
    bool line; /* all on one line */
    int depth;
    bool filled; /* something stands before the next item in this bracket */
};

/* `key` is NULL inside an array and at the top. bracket: '{' or '['. */
void dn_json_open(struct json *json, const char *key, char bracket);
void dn_json_close(struct json *json, char bracket);
void dn_json_text(struct json *json, const char *key, const char *value); /* NULL: null */
void dn_json_int(struct json *json, const char *key, int64_t value);
/* `digits` significant ones; NaN and infinity become null. */
void dn_json_real(struct json *json, const char *key, double value, int digits);
void dn_json_bool(struct json *json, const char *key, bool value);

/* Print it to stdout with a newline, and begin anew. */
bool dn_json_print(struct json *json, struct report *report, struct dino_error *err);
void dn_json_release(struct json *json);

#endif
