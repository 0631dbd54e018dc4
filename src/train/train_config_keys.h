/* The table of settings behind train_config.h. */
#ifndef TRAIN_TRAIN_CONFIG_KEYS_H
#define TRAIN_TRAIN_CONFIG_KEYS_H

#include <stddef.h>

enum config_type {
    CONFIG_INT,
    CONFIG_INT64,
    CONFIG_REAL,
    CONFIG_PAIR, /* two reals, the first not above the second */
    CONFIG_BOOL,
    CONFIG_CHOICE, /* an int */
    CONFIG_STRING, /* char [size] */
};

/* Several words may stand for one value; the first of them is written. */
struct config_word {
    const char *word;
    int value;
};

struct config_key {
    const char *path; /* "optim.base_lr" */
    enum config_type type;
    size_t offset, size;             /* in struct train_config */
    const char *first, *second;      /* default; second of a pair only */
    double low, high;                /* of numbers */
    const struct config_word *words; /* of a choice; ends with NULL */
};

/* In the order of the official file. */
extern const struct config_key dn_config_keys[];
extern const size_t dn_config_key_count;

#endif
