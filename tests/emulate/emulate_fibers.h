/* Running one launch of a kernel on the processor. */
#ifndef EMULATE_FIBERS_H
#define EMULATE_FIBERS_H

#include <stdbool.h>
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

/* Does DINO_EMULATE name this machine? */
bool emulate_machine_is(const char *what);
/* N where DINO_EMULATE is "WORD:N", else -1. */
long emulate_machine_figure(const char *word);
/* Asked by every call that reaches a GPU: has it vanished by now? */
bool emulate_vanished(void);
/* While the GPU works, its memory can be touched. */
void emulate_work_begins(void);
void emulate_work_ends(void);
/* Bytes of all blocks of the GPUs' memory. */
size_t emulate_memory_taken(void);
/* The GPU that this thread chose. */
int emulate_current(void);
/* Run what all streams wait with. */
void emulate_finish(void);
#endif
