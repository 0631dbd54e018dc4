/*
 * Draws for training. Each purpose has its own numbers, all functions of the run's seed and of
 * where they are used (step, epoch, picture): any thread can draw any of them at any time, and
 * a resumed run draws what an uninterrupted one would have.
 */
#ifndef TRAIN_DRAWS_H
#define TRAIN_DRAWS_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers are part of every run's results: they stay as they are. */
enum draw_purpose {
    DRAW_ORDER = 1,
    DRAW_REPLACEMENT = 2,
    DRAW_CROPS = 3,
    DRAW_MASKS = 4,
    DRAW_MASK_SHARES = 5,
    DRAW_FIRST_WEIGHTS = 6,
    DRAW_DEPTH = 7,
    DRAW_PROTOTYPES = 8,
};

/* Numbers in order; copied and restarted at will. */
struct draws {
    uint64_t key, stream, next;
};

/* The draws of one purpose at `place` (an epoch, a step), one stream an item. */
struct draws dn_draws(uint64_t seed, enum draw_purpose purpose, uint64_t place,
                      uint64_t stream);

/* Uniform in [low, high), or (high, low] if they are the other way round. */
double dn_draw_between(struct draws *draws, double low, double high);
/* 0 to count - 1 */
int64_t dn_draw_below(struct draws *draws, int64_t count);
bool dn_draw_chance(struct draws *draws, double probability);

/*
 * Where a random permutation of 0..count-1 sends `index`, without making the permutation:
 * swap-or-not (Hoang, Morris, Rogaway 2012), in which each round exchanges pairs by coin.
 */
int64_t dn_permuted(uint64_t key, int64_t index, int64_t count);

#endif
