#include "command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/words.h"

extern const struct command dn_cmd_embed, dn_cmd_pca, dn_cmd_classify, dn_cmd_info,
    dn_cmd_convert, dn_cmd_train, dn_cmd_train_plot, dn_cmd_distill, dn_cmd_get, dn_cmd_doctor,
    dn_cmd_bench, dn_cmd_help, dn_cmd_version;

const struct command *const dn_commands[] = {
    &dn_cmd_embed, &dn_cmd_pca,        &dn_cmd_classify, &dn_cmd_info, &dn_cmd_convert,
    &dn_cmd_train, &dn_cmd_train_plot, &dn_cmd_distill,  &dn_cmd_get,  &dn_cmd_doctor,
    &dn_cmd_bench, &dn_cmd_help,       &dn_cmd_version,  NULL,
};

int dn_command_words(const struct command *command)
{
    return strchr(command->name, ' ') ? 2 : 1;
}

static bool is_named(const struct command *command, char *const *words)
{
    size_t first = strcspn(command->name, " ");

    return strlen(words[0]) == first && memcmp(words[0], command->name, first) == 0 &&
           (!command->name[first] || strcmp(words[1], command->name + first + 1) == 0);
}

const struct command *dn_command_find(char *const *words, int count)
{
    const struct command *found = NULL;

    for (const struct command *const *command = dn_commands; *command; command++)
        if (dn_command_words(*command) <= count && is_named(*command, words) &&
            (!found || dn_command_words(*command) > dn_command_words(found)))
            found = *command;
    return found;
}

const char *dn_command_near(const char *word)
{
    const char *best = NULL;
    int least = 100;

    for (const struct command *const *command = dn_commands; *command; command++) {
        int distance = dn_word_near(word, (*command)->name);
        if (distance >= 0 && distance < least) {
            least = distance;
            best = (*command)->name;
        }
    }
    return best;
}

int dn_misuse(const struct call *call, const char *format, ...)
{
    const struct command *command = call->command;
    char line[600];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    fprintf(stderr, "dino %s: %s\n", command->name, line);
    fprintf(stderr, "usage: dino %s%s%s   (dino help %s)\n", command->name,
            *command->arguments ? " " : "", command->arguments, command->name);
    return STATUS_MISUSE;
}

static int check_and_run(struct call *call)
{
    const struct command *command = call->command;
    struct dino_error err = {0};

    if (!dn_options_parse(command->groups, call->settings, call->items, &call->count, &err))
        return dn_misuse(call, "%s", err.message);
    if (call->count < command->least)
        return dn_misuse(call, call->count ? "too few arguments" : "nothing to work on");
    if (command->most >= 0 && call->count > command->most)
        return dn_misuse(call, "unexpected argument '%s'", call->items[command->most]);
    return command->run(call);
}

int dn_command_call(const struct command *command, char **words, int count)
{
    struct report report;
    struct dino_error err = {0};
    struct call call = {command, NULL, words, count, &report};
    int status = STATUS_OK;

    dn_report_init(&report, command->name);
    if (dn_options_want_help(words, count)) {
        dn_help_command(stdout, command);
        return dn_report_finish(&report, STATUS_OK);
    }
    call.settings = dn_calloc(1, command->settings_size + 1, "settings", &err);
    if (call.settings)
        status = check_and_run(&call);
    else
        status = dn_report_error(&report, &err);
    free(call.settings);
    return dn_report_finish(&report, status);
}
