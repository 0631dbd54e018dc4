/*
 * Ctrl-C and its relatives, SIGUSR1 too: mpirun hands it on without killing. By default they
 * end the program at once; while a command writes files it holds them back, looks at
 * dn_signal_seen between steps, and cleans up after itself. SIGPIPE and SIGXFSZ (ulimit -f) are
 * ignored: then they are errors of the write, and temporary files go.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <stdbool.h>

void dn_signals_install(void);

/* From here on signals only raise the flag; a second one still ends the program. */
void dn_signals_hold(void);

/* The number of the signal that came, 0 if none did. */
int dn_signal_seen(void);

#endif
