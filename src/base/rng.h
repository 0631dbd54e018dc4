/*
 * Chance. Random numbers are functions of (seed, stream, index): no state, so any of them can
 * be had in any order, by any thread, after any interruption.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

uint64_t dn_splitmix64(uint64_t x);
uint64_t dn_fnv1a64(const char *text);

/* 64 random bits, the index-th of a stream. */
uint64_t dn_random_u64(uint64_t seed, uint64_t stream, uint64_t index);
/* Uniform in [0, 1) with 53 bits. */
double dn_random_f64(uint64_t seed, uint64_t stream, uint64_t index);

/*
 * Formula weights: element i of tensor `name` is a + s * (2u - 1), u from 24 bits of a
 * SplitMix64 stream seeded with seed ^ fnv1a64(name). Writes elements [first, first + count).
 */
void dn_formula_fill(float *out, size_t first, size_t count, const char *name, uint64_t seed,
                     double a, double s);

#endif
