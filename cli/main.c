/* The program: find the command, let it work, see that its output arrived. */
#include <string.h>

#include "command.h"
#include "signals.h"

int main(int count, char **words)
{
    dn_signals_install();
    if (count < 2) {
        dn_help_overview(stderr);
        return STATUS_MISUSE;
    }
    const char *name = words[1];
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
        name = "help";
    else if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0)
        name = "version";

    const struct command *command = dn_command_find(name);
    if (command)
        return dn_command_call(command, words + 2, count - 2);

    const char *near = dn_command_near(name);
    if (near)
        fprintf(stderr, "dino: no command '%s'; did you mean '%s'?\n", name, near);
    else
        fprintf(stderr, "dino: no command '%s'\n", name);
    fprintf(stderr, "usage: dino COMMAND ...   (dino help lists the commands)\n");
    return STATUS_MISUSE;
}
