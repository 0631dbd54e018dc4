#include "signals.h"

#include <signal.h>
#include <unistd.h>

/* The only place where a handler may leave word. */
static volatile sig_atomic_t seen, held, terminal;

static void on_signal(int number)
{
    if (!held || seen) {
        if (terminal && write(STDERR_FILENO, "\n", 1) < 0)
            _exit(1);
        _exit(128 + number);
    }
    static const char hint[] = "\nstopping soon; once more stops at once\n";
    if (terminal && write(STDERR_FILENO, hint, sizeof hint - 1) < 0)
        _exit(1);
    seen = number;
}

void dn_signals_install(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction before;

    terminal = isatty(STDERR_FILENO) == 1;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        /* nohup and shells that start jobs in the background have them ignored */
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}

void dn_signals_hold(void)
{
    held = 1;
}

int dn_signal_seen(void)
{
    return seen;
}
