/* Running one launch of a kernel on the processor. */
#ifndef EMULATE_FIBERS_H
#define EMULATE_FIBERS_H

#include <stddef.h>

struct emulated_launch {
    const char *name;
    size_t (*kernel)(const void *args); /* NULL: only tell their size */
    const void *args;
    int grid[2], threads;
    size_t shared;
};

/* Run every block, one after another; ends the program with a line where a kernel errs. */
void emulate_run(const struct emulated_launch *launch);
#endif
