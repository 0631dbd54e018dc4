/* The processes of a test: under mpirun each of them runs all of it at once; alone, what is
 * left is that one process is its own world. */
#ifndef TESTING_WORLD_H
#define TESTING_WORLD_H

#include <stdlib.h>

#include "testing.h"
#include "train/comm.h"

static struct dino_comm *opened_world;

static inline void close_world(void)
{
    dino_comm_close(opened_world);
}

static inline struct dino_comm *world(void)
{
    struct dino_error err = {0};

    if (!opened_world) {
        opened_world = dino_comm_open(&err);
        CHECK_OK(opened_world, err);
        atexit(close_world);
    }
    return opened_world;
}

#endif
