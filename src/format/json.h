/* JSON through jansson, strictly: no duplicate keys, nothing behind the value, depth bounded
 * by the library. */
#ifndef FORMAT_JSON_H
#define FORMAT_JSON_H

#include <jansson.h>

#include "base/span.h"

/* A new reference, or NULL; `name` is the file's name for messages. */
json_t *dn_json_parse(struct span text, const char *name, struct dino_error *err);
/* The same, and it must be an object. */
json_t *dn_json_object(struct span text, const char *name, struct dino_error *err);

#endif
