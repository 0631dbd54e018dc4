/*
 * Options are rows of a table: the parser, --help, the man page and the shell completions
 * read the same rows. A row says where in the command's settings its value lies.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "dino.h"

enum option_kind {
    OPTION_FLAG = 0, /* bool: --name, --no-name */
    OPTION_TEXT,     /* const char *, points at the word itself */
    OPTION_INT,      /* int in [low, high] */
    OPTION_REAL,     /* double in [low, high] */
    OPTION_CHOICE,   /* int: which of value's words, "crop|pad" */
    OPTION_PAIR,     /* int[2] in [low, high]: "640x480" */
};

struct option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum option_kind kind;
    size_t offset;
    const char *value;    /* how help names the value; the words of a choice */
    const char *help;     /* one line, at most 64 columns */
    const char *fallback; /* the default, parsed as if typed; NULL: zero or nothing */
    double low, high;     /* of numbers */
};

/* Rows that belong together; their offsets count from `base` in the command's settings. */
struct option_group {
    const char *title;         /* NULL: goes on with the group above */
    const struct option *rows; /* ends with a NULL name */
    size_t base;
    /* What is wrong with these settings together, or NULL; may itself be NULL. */
    const char *(*conflict)(const void *settings);
};

/* Set the defaults, then eat options from words[0, *count); what is left are the arguments,
 * moved to the front. False with one line in err if a word cannot be understood. */
bool dn_options_parse(const struct option_group *groups, void *settings, char **words,
                      int *count, struct dino_error *err);

/* True if `-h` or `--help` stands before any `--`. */
bool dn_options_want_help(char **words, int count);

/* The option's left column: "-o, --output FILE". */
void dn_option_spelling(const struct option *row, char *text, size_t room);

/* Is the flag on unless --no-name is given? */
bool dn_option_default_on(const struct option *row);

#endif
