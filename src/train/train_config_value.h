/* One value of the table of settings, between YAML's text and its field. */
#ifndef TRAIN_TRAIN_CONFIG_VALUE_H
#define TRAIN_TRAIN_CONFIG_VALUE_H

#include "train/train_config.h"
#include "train/train_config_keys.h"

/* A scalar (count 1, or 0 for null) or a sequence of scalars. */
struct config_value {
    char items[2][CONFIG_TEXT];
    int count;
    bool sequence, quoted; /* a quoted scalar is text, whatever it looks like */
};

/* NULL if there is none. */
const struct config_key *dn_config_key_find(const char *path);
/* Is there a key below "path."? */
bool dn_config_section_is(const char *path);
/* Fails with "where: no setting 'path'" and what may have been meant. */
bool dn_config_key_unknown(const char *path, const char *where, struct dino_error *err);

/* `where` begins the messages: "file.yaml:12". */
bool dn_config_set(struct train_config *config, const struct config_key *key,
                   const struct config_value *value, const char *where, struct dino_error *err);

/* As YAML behind "key: ", or for a pair of two items below it. */
void dn_config_add_value(struct str *yaml, const struct train_config *config,
                         const struct config_key *key, const char *indent);

#endif
