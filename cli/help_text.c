/* Help for people, made from the commands' rows. */
#include "command.h"

#include <string.h>

enum { LEFT = 26 }; /* width of the options' left column */

void dn_help_overview(FILE *to)
{
    fputs("dino: see pictures as DINOv2 does\n\nusage: dino COMMAND ...\n\n", to);
    for (const struct command *const *command = dn_commands; *command; command++)
        fprintf(to, "  %-10s %s\n", (*command)->name, (*command)->summary);
    fputs("\ndino help COMMAND tells more.  To begin:\n"
          "  dino get vits14                       # download the small official model\n"
          "  dino pca *.jpg --model vits14 -o pca.png\n",
          to);
}

/* "(default 3)", where there is one worth telling. */
static void print_default(FILE *to, const struct option *row)
{
    if (row->fallback && row->kind != OPTION_FLAG)
        fprintf(to, " (default %s)", row->fallback);
}

void dn_help_command(FILE *to, const struct command *command)
{
    char spelling[80];

    fprintf(to, "dino %s: %s\n\nusage: dino %s %s%s\n", command->name, command->summary,
            command->name, command->arguments, command->groups->rows ? " [options]" : "");
    if (command->about)
        fprintf(to, "\n%s\n", command->about);
    for (const struct option_group *group = command->groups; group->rows; group++) {
        if (group->title)
            fprintf(to, "\n%s\n", group->title);
        for (const struct option *row = group->rows; row->name; row++) {
            dn_option_spelling(row, spelling, sizeof spelling);
            if (strlen(spelling) > LEFT)
                fprintf(to, "  %s\n  %*s  %s", spelling, LEFT, "", row->help);
            else
                fprintf(to, "  %-*s  %s", LEFT, spelling, row->help);
            print_default(to, row);
            fputc('\n', to);
        }
    }
    if (command->examples)
        fprintf(to, "\nexamples\n%s\n", command->examples);
}
