/*
 * A command is a row: its name, what help says, its options and the function that does the
 * work. One command lives in one file, cmd_NAME.c; the rows are collected in command.c, and
 * parsing, help, the man page and the shell completions are all made from them.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "options.h"
#include "report.h"

enum {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_MISUSE = 2,
    STATUS_SIGNAL = 128, /* + the signal's number */
};

struct command;

/* One call of a command: what was typed, parsed. */
struct call {
    const struct command *command;
    void *settings; /* the command's own struct, filled from its options */
    char **items;   /* the arguments that are no options */
    int count;
    struct report *report;
};

struct command {
    const char *name;      /* one word, or two: "train plot" */
    const char *summary;   /* a few words, for the list of commands */
    const char *arguments; /* "PATHS... -o OUT" */
    const char *about;     /* a few sentences, each line at most 80 columns */
    const char *examples;  /* lines of "command   # what it does" */
    const struct option_group *groups;
    size_t settings_size;
    bool computes;   /* runs a network: waiting threads are told not to spin for long */
    int least, most; /* arguments wanted; most < 0: any number */
    int (*run)(struct call *call);
};

/* All commands, in the order help lists them; ends with NULL. */
extern const struct command *const dn_commands[];
/* The command that the words begin with, the longest if there are two; NULL if there is none.
 */
const struct command *dn_command_find(char *const *words, int count);
/* Of its name. */
int dn_command_words(const struct command *command);

/* What is offered to whoever types `word`; NULL if nothing is near. */
const char *dn_command_near(const char *word);

/* Parse and run; `words` are those behind the command's name. Returns the exit status. */
int dn_command_call(const struct command *command, char **words, int count);

/* One line that says what was wrong with the call, and where help is; returns STATUS_MISUSE. */
__attribute__((format(printf, 2, 3))) int dn_misuse(const struct call *call, const char *format,
                                                    ...);

/* `dino help` and `dino help NAME`. */
void dn_help_overview(FILE *to);
void dn_help_command(FILE *to, const struct command *command);

#endif
