/* dino help: the overview, one command's page, and what is generated from the same rows. */
#include "command.h"

#include "manual.h"

struct settings {
    bool man;
    int completion;
};

static const struct option rows[] = {
    {"man", 0, OPTION_FLAG, offsetof(struct settings, man), NULL,
     "print the manual page, for man -l -"},
    {"completion", 0, OPTION_CHOICE, offsetof(struct settings, completion),
     "none|bash|zsh|fish", "print that shell's completion script", "none"},
    {0},
};

static const struct option_group groups[] = {{"Options", rows, 0}, {0}};

static int run(struct call *call)
{
    const struct settings *settings = call->settings;

    if (settings->man)
        dn_manual_page(stdout);
    else if (settings->completion)
        dn_manual_completion(stdout, (enum shell)settings->completion);
    else if (call->count == 0)
        dn_help_overview(stdout);
    if (call->count == 0)
        return STATUS_OK;

    const struct command *command = dn_command_find(call->items, call->count);
    if (command && call->count > dn_command_words(command))
        return dn_misuse(call, "unexpected argument '%s'", call->items[1]);
    if (!command) {
        const char *near = dn_command_near(call->items[0]);
        return dn_misuse(call, "no command '%s'%s%s%s", call->items[0],
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    dn_help_command(stdout, command);
    return STATUS_OK;
}

const struct command dn_cmd_help = {
    .name = "help",
    .summary = "what the commands do, and their options",
    .arguments = "[COMMAND]",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .most = 2,
    .run = run,
    .examples = "  dino help embed\n"
                "  dino help --man | man -l -\n"
                "  source <(dino help --completion bash)",
};
