#include "json_text.h"

#include <math.h>

#include "base/error.h"

static void begin_item(struct json *json, const char *key)
{
    if (json->filled)
        dn_str_add(&json->text, json->line ? ", " : ",");
    if (!json->line && json->depth > 0)
        dn_str_addf(&json->text, "\n%*s", 2 * json->depth, "");
    if (key) {
        dn_str_add_json(&json->text, key);
        dn_str_add(&json->text, ": ");
    }
    json->filled = true;
}

void dn_json_open(struct json *json, const char *key, char bracket)
{
    begin_item(json, key);
    dn_str_add_bytes(&json->text, &bracket, 1);
    json->depth++;
    json->filled = false;
}

void dn_json_close(struct json *json, char bracket)
{
    json->depth--;
    if (!json->line && json->filled)
        dn_str_addf(&json->text, "\n%*s", 2 * json->depth, "");
    dn_str_add_bytes(&json->text, &bracket, 1);
    json->filled = true;
}

void dn_json_text(struct json *json, const char *key, const char *value)
{
    begin_item(json, key);
    if (value)
        dn_str_add_json(&json->text, value);
    else
        dn_str_add(&json->text, "null");
}

void dn_json_int(struct json *json, const char *key, int64_t value)
{
    begin_item(json, key);
    dn_str_addf(&json->text, "%lld", (long long)value);
}

void dn_json_real(struct json *json, const char *key, double value, int digits)
{
    begin_item(json, key);
    if (isfinite(value))
        dn_str_addf(&json->text, "%.*g", digits, value);
    else
        dn_str_add(&json->text, "null");
}

void dn_json_bool(struct json *json, const char *key, bool value)
{
    begin_item(json, key);
    dn_str_add(&json->text, value ? "true" : "false");
}

bool dn_json_print(struct json *json, struct report *report, struct dino_error *err)
{
    if (json->text.failed)
        return dn_fail(err, DINO_ENOMEM, "out of memory while writing JSON");
    dn_print(report, "%s\n", dn_str_text(&json->text));
    dn_str_clear(&json->text);
    json->filled = false;
    return true;
}

void dn_json_release(struct json *json)
{
    dn_str_release(&json->text);
}
