/* Help for people, made from the commands' rows. */
#include "command.h"

#include <string.h>

enum {
    LEFT = 26,       /* width of the options' left column */
    TEXT = LEFT + 4, /* where the right one begins */
    WIDTH = 80,
};

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

/* A word of the right column, on the next line where this one is full. */
static void print_word(FILE *to, const char *word, int size, int *column)
{
    if (*column > TEXT && *column + 1 + size > WIDTH) {
        fprintf(to, "\n%*s", TEXT, "");
        *column = TEXT;
    } else if (*column > TEXT) {
        fputc(' ', to);
        ++*column;
    }
    fprintf(to, "%.*s", size, word);
    *column += size;
}

/* What an option does, and its default where there is one worth telling. */
static void print_help(FILE *to, const struct option *row)
{
    char fallback[128];
    int column = TEXT;

    for (const char *word = row->help; *word; word += strspn(word, " ")) {
        int size = (int)strcspn(word, " ");
        print_word(to, word, size, &column);
        word += size;
    }
    if (row->fallback && row->kind != OPTION_FLAG) {
        int size = snprintf(fallback, sizeof fallback, "(default %s)", row->fallback);
        print_word(to, fallback, size, &column);
    }
    fputc('\n', to);
}

void dn_help_command(FILE *to, const struct command *command)
{
    char spelling[80];

    fprintf(to, "dino %s: %s\n\nusage: dino %s%s%s%s\n", command->name, command->summary,
            command->name, *command->arguments ? " " : "", command->arguments,
            command->groups->rows ? " [options]" : "");
    if (command->about)
        fprintf(to, "\n%s\n", command->about);
    for (const struct option_group *group = command->groups; group->rows; group++) {
        if (group->title)
            fprintf(to, "\n%s\n", group->title);
        for (const struct option *row = group->rows; row->name; row++) {
            dn_option_spelling(row, spelling, sizeof spelling);
            if (strlen(spelling) > LEFT)
                fprintf(to, "  %s\n%*s", spelling, TEXT, "");
            else
                fprintf(to, "  %-*s  ", LEFT, spelling);
            print_help(to, row);
        }
    }
    if (command->examples)
        fprintf(to, "\nexamples\n%s\n", command->examples);
}
