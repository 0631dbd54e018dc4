/* The program: find the command, let it work, see that its output arrived. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "signals.h"

/*
 * Three libraries read settings before any code of ours runs, and their defaults do not suit a
 * program that shares its cores and wants to be quick from the start:
 * - libgomp and OpenBLAS let waiting threads spin for milliseconds, so that two programs on
 *   the same cores stop each other; a short spin costs nothing alone;
 * - malloc takes memory in small pages; a network is packed twice as fast into huge ones
 *   (blocks from 4 MiB on ask for them by themselves, and go back to the system when freed).
 * So the program starts once more with settings of its own. Who has set one of the thread
 * variables is left in peace. docs/performance.md has the figures.
 */
static void restart_tuned(char **words)
{
    static const char *const settings[][2] = {
        {"GOMP_SPINCOUNT", "1000"},
        {"OPENBLAS_THREAD_TIMEOUT", "4"},
        {"GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4194304"},
    };

    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (setenv(settings[i][0], settings[i][1], 0) != 0)
            return;
    execv("/proc/self/exe", words); /* where this fails, the defaults stand */
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
    char *name = words[1], help[] = "help", version[] = "version";
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
        words[1] = help;
    else if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0)
        words[1] = version;

    const struct command *command = dn_command_find(words + 1, count - 1);
    if (command && command->computes)
        restart_tuned(words);
    if (command) {
        int used = 1 + dn_command_words(command);
        return dn_command_call(command, words + used, count - used);
    }

    const char *near = dn_command_near(name);
    if (near)
        fprintf(stderr, "dino: no command '%s'; did you mean '%s'?\n", name, near);
    else
        fprintf(stderr, "dino: no command '%s'\n", name);
    fprintf(stderr, "usage: dino COMMAND ...   (dino help lists the commands)\n");
    return STATUS_MISUSE;
}
