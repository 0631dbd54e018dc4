/*
 * Text helpers of base: whatever the bytes, dn_str_add_json writes one JSON string that a
 * strict parser takes, and well-formed text comes back unchanged; numbers and paths hold.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static void check(bool condition)
{
    if (!condition)
        __builtin_trap();
}

static void check_json(const char *text)
{
    struct str literal = {0};
    json_error_t why;

    dn_str_add_json(&literal, text);
    check(!literal.failed);
    json_t *value = json_loads(dn_str_text(&literal), JSON_DECODE_ANY, &why);
    check(json_is_string(value));
    json_t *plain = json_string(text); /* NULL where text is no UTF-8 */
    if (plain)
        check(strcmp(json_string_value(value), text) == 0);
    json_decref(plain);
    json_decref(value);
    dn_str_release(&literal);
}

static void check_number(const char *text)
{
    int64_t value;
    char back[32];

    if (!dn_parse_int(text, INT64_MIN, INT64_MAX, &value))
        return;
    snprintf(back, sizeof back, "%lld", (long long)value);
    const char *digits = text + (*text == '-'), *printed = back + (*back == '-');
    while (*digits == '0' && digits[1])
        digits++;
    check(strcmp(digits, printed) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    check_json(text);
    check_number(text);
    const char *base = dn_path_base(text);
    check(base >= text && base <= text + strlen(text) && !strchr(base, '/'));
    char *joined = dn_path_join("folder", text, NULL);
    check(joined && strcmp(dn_path_base(joined), base) == 0);
    free(joined);
    free(text);
    return 0;
}
