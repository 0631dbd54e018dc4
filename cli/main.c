/* The program: find the command, let it work, see that its output arrived. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "signals.h"

/*
 * libgomp lets waiting threads spin for milliseconds, so that two programs that share cores
 * stop each other, and it reads its settings before any code of ours runs. So the program
 * starts once more with a short spin, which alone costs nothing; who sets either variable is
 * left in peace. docs/performance.md has the figures.
 */
static void restart_patient(char **words)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0)
        execv("/proc/self/exe", words); /* where this fails, threads just spin */
}

/* A file opened in place of a closed stream would get what is meant for that stream. In its
 * place comes one that refuses: reads of 0, writes of 1 and 2 stay errors. */
static void fill_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(STATUS_FAILED);
}

int main(int count, char **words)
{
    fill_streams();
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
    if (command && command->computes)
        restart_patient(words);
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
