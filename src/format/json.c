#include "format/json.h"

json_t *dn_json_parse(struct span text, const char *name, struct dino_error *err)
{
    json_error_t why;
    json_t *value =
        json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &why);

    if (!value)
        dn_fail(err, DINO_EFORMAT, "%s: bad JSON in line %d, column %d: %s", name, why.line,
                why.column, why.text);
    return value;
}

json_t *dn_json_object(struct span text, const char *name, struct dino_error *err)
{
    json_t *value = dn_json_parse(text, name, err);

    if (value && !json_is_object(value)) {
        dn_fail(err, DINO_EFORMAT, "%s: JSON is no object", name);
        json_decref(value);
        return NULL;
    }
    return value;
}
