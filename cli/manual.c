#include "manual.h"

#include <string.h>

#include "command.h"

/* Text for troff: hyphens stay hyphens and no line becomes a request. */
static void put_troff(FILE *to, const char *text)
{
    for (bool fresh = true; *text; text++) {
        if (fresh && (*text == '.' || *text == '\''))
            fputs("\\&", to);
        if (*text == '-')
            fputs("\\-", to);
        else if (*text == '\\')
            fputs("\\e", to);
        else
            fputc(*text, to);
        fresh = *text == '\n';
    }
}

static void manual_option(FILE *to, const struct option *row)
{
    char spelling[80];

    dn_option_spelling(row, spelling, sizeof spelling);
    fputs(".TP\n.B ", to);
    put_troff(to, spelling + strspn(spelling, " "));
    fputc('\n', to);
    put_troff(to, row->help);
    if (row->fallback && row->kind != OPTION_FLAG) {
        fputs(" (default ", to);
        put_troff(to, row->fallback);
        fputc(')', to);
    }
    fputc('\n', to);
}

static void manual_command(FILE *to, const struct command *command)
{
    fprintf(to, ".SS \"dino %s ", command->name);
    put_troff(to, command->arguments);
    fputs("\"\n", to);
    put_troff(to, command->summary);
    fputs(".\n", to);
    if (command->about) {
        fputs(".PP\n", to);
        put_troff(to, command->about);
        fputc('\n', to);
    }
    for (const struct option_group *group = command->groups; group->rows; group++)
        for (const struct option *row = group->rows; row->name; row++)
            manual_option(to, row);
    if (command->examples) {
        fputs(".PP\n.nf\n", to);
        put_troff(to, command->examples);
        fputs("\n.fi\n", to);
    }
}

void dn_manual_page(FILE *to)
{
    fprintf(to, ".TH DINO 1 \"\" \"dino %s\" \"User Commands\"\n", dino_version());
    fputs(".SH NAME\ndino \\- see pictures as DINOv2 does\n"
          ".SH SYNOPSIS\n.B dino\n.I COMMAND\n[options] [arguments]\n"
          ".SH DESCRIPTION\n"
          "Opens DINOv2 checkpoints and makes features, PCA pictures and labels of pictures.\n"
          "Options may stand before or behind arguments; \\-\\- ends them. Results go to\n"
          "standard output or to the file named by \\-o, everything else to standard error.\n"
          ".SH COMMANDS\n",
          to);
    for (const struct command *const *command = dn_commands; *command; command++)
        manual_command(to, *command);
    fputs(".SH ENVIRONMENT\n"
          ".TP\n.B DINO_MODEL\nThe model where neither \\-\\-model nor \\-\\-arch is given.\n"
          ".TP\n.B DINO_CACHE\nWhere dino get keeps files; else $XDG_CACHE_HOME/dino, else\n"
          "~/.cache/dino.\n"
          ".TP\n.B DINO_ISA\nCaps the instruction set: c, avx2, avx512, avx512bf16, amx.\n"
          ".SH EXIT STATUS\n"
          "0: done. 1: failed; one line on standard error says why. 2: the call was wrong.\n"
          "130: stopped by Ctrl\\-C, nothing half-written left.\n",
          to);
}

/* The words of a choice, `gap` between them. */
static void put_choices(FILE *to, const struct option *row, const char *gap)
{
    for (const char *c = row->value; *c; c++)
        if (*c == '|')
            fputs(gap, to);
        else
            fputc(*c, to);
}

static void put_flagged(FILE *to, const struct option *row)
{
    fprintf(to, "--%s%s", dn_option_default_on(row) ? "no-" : "", row->name);
}

/* Where a command is completed as the first word, only names of one word are offered. */
static bool is_first_word(const struct command *command)
{
    return dn_command_words(command) == 1;
}

static void bash_choices(FILE *to, const struct command *command)
{
    for (const struct option_group *group = command->groups; group->rows; group++)
        for (const struct option *row = group->rows; row->name; row++) {
            if (row->kind != OPTION_CHOICE)
                continue;
            fprintf(to, "    '%s --%s') words='", command->name, row->name);
            put_choices(to, row, " ");
            fputs("' ;;\n", to);
        }
}

static void bash_options(FILE *to, const struct command *command)
{
    fprintf(to, "        '%s') words='--help", command->name);
    for (const struct option_group *group = command->groups; group->rows; group++)
        for (const struct option *row = group->rows; row->name; row++) {
            fputc(' ', to);
            put_flagged(to, row);
        }
    fputs("' ;;\n", to);
}

static void completion_bash(FILE *to)
{
    fputs("_dino() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
          "    local before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
          "    local pair=\"$command ${COMP_WORDS[2]}\"\n",
          to);
    for (const struct command *const *command = dn_commands; *command; command++)
        if (!is_first_word(*command))
            fprintf(to, "    [[ $pair == '%s' ]] && command=$pair\n", (*command)->name);
    fputs("    case \"$command $before\" in\n", to);
    for (const struct command *const *command = dn_commands; *command; command++)
        bash_choices(to, *command);
    fputs("    esac\n"
          "    if [[ $COMP_CWORD -eq 1 || ( $COMP_CWORD -eq 2 && $command == help ) ]]; then\n"
          "        words='",
          to);
    for (const struct command *const *command = dn_commands; *command; command++)
        if (is_first_word(*command))
            fprintf(to, "%s%s", command == dn_commands ? "" : " ", (*command)->name);
    fputs("'\n    fi\n"
          "    if [[ -z $words && $word == -* ]]; then\n"
          "        case $command in\n",
          to);
    for (const struct command *const *command = dn_commands; *command; command++)
        bash_options(to, *command);
    fputs(
        "        esac\n    fi\n"
        "    COMPREPLY=()\n"
        "    [[ -z $words ]] || mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
        "}\ncomplete -o default -F _dino dino\n",
        to);
}

/* Inside single quotes and brackets of zsh's _arguments; also fine for fish. */
static void put_quoted(FILE *to, const char *text, const char *special)
{
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", to);
        else if (strchr(special, *text))
            fprintf(to, "\\%c", *text);
        else
            fputc(*text, to);
}

static void zsh_option(FILE *to, const struct option *row)
{
    fputs(" \\\n            '", to);
    put_flagged(to, row);
    fputc('[', to);
    put_quoted(to, row->help, "[]:\\");
    fputc(']', to);
    if (row->kind == OPTION_CHOICE) {
        fputs(":word:(", to);
        put_choices(to, row, " ");
        fputc(')', to);
    } else if (row->kind != OPTION_FLAG) {
        fputs(":", to);
        put_quoted(to, row->value, "[]:\\");
        fputs(row->kind == OPTION_TEXT ? ":_files" : ":", to);
    }
    fputc('\'', to);
}

static void completion_zsh(FILE *to)
{
    fputs("#compdef dino\n_dino() {\n    local -a commands\n    commands=(\n", to);
    for (const struct command *const *command = dn_commands; *command; command++) {
        if (!is_first_word(*command))
            continue;
        fprintf(to, "        '%s:", (*command)->name);
        put_quoted(to, (*command)->summary, ":\\");
        fputs("'\n", to);
    }
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe command commands\n"
          "        return\n    fi\n"
          "    local command=$words[2] pair=\"$words[2] $words[3]\"\n",
          to);
    for (const struct command *const *command = dn_commands; *command; command++)
        if (!is_first_word(*command))
            fprintf(to, "    [[ $pair == '%s' ]] && command=$pair\n", (*command)->name);
    fputs("    shift words\n    (( CURRENT-- ))\n"
          "    case $command in\n",
          to);
    for (const struct command *const *command = dn_commands; *command; command++) {
        fprintf(to, "        '%s')\n            _arguments '--help[what it does]'",
                (*command)->name);
        for (const struct option_group *group = (*command)->groups; group->rows; group++)
            for (const struct option *row = group->rows; row->name; row++)
                zsh_option(to, row);
        fputs(" \\\n            '*:file:_files' ;;\n", to);
    }
    fputs("    esac\n}\n"
          "if [[ $funcstack[1] == _dino ]]; then _dino \"$@\"; else compdef _dino dino; fi\n",
          to);
}

static void fish_option(FILE *to, const struct command *command, const struct option *row)
{
    const char *second = strchr(command->name, ' ');

    fprintf(to, "complete -c dino -n '__fish_seen_subcommand_from %.*s",
            (int)strcspn(command->name, " "), command->name);
    if (second)
        fprintf(to, "; and __fish_seen_subcommand_from%s", second);
    fprintf(to, "' -l %s%s", dn_option_default_on(row) ? "no-" : "", row->name);
    if (row->letter)
        fprintf(to, " -s %c", row->letter);
    if (row->kind == OPTION_CHOICE) {
        fputs(" -x -a '", to);
        put_choices(to, row, " ");
        fputc('\'', to);
    } else if (row->kind != OPTION_FLAG) {
        fputs(row->kind == OPTION_TEXT ? " -r" : " -x", to);
    }
    fputs(" -d '", to);
    put_quoted(to, row->help, "");
    fputs("'\n", to);
}

static void completion_fish(FILE *to)
{
    for (const struct command *const *command = dn_commands; *command; command++) {
        if (is_first_word(*command)) {
            fprintf(to, "complete -c dino -n __fish_use_subcommand -f -a %s -d '",
                    (*command)->name);
            put_quoted(to, (*command)->summary, "");
            fputs("'\n", to);
        }
        for (const struct option_group *group = (*command)->groups; group->rows; group++)
            for (const struct option *row = group->rows; row->name; row++)
                fish_option(to, *command, row);
    }
}

void dn_manual_completion(FILE *to, enum shell shell)
{
    if (shell == SHELL_BASH)
        completion_bash(to);
    else if (shell == SHELL_ZSH)
        completion_zsh(to);
    else if (shell == SHELL_FISH)
        completion_fish(to);
}
