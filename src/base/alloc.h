/*
 * Memory. Sizes are size_t and are multiplied only by dn_size_mul. The caller owns what it is
 * given without const; every _free takes NULL.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stdlib.h>

#include "base/error.h"

enum { DN_ALIGN = 64 }; /* a cache line and the widest vector */

/* *product = a * b; false (and untouched) if that overflows. */
bool dn_size_mul(size_t a, size_t b, size_t *product);
bool dn_size_add(size_t a, size_t b, size_t *sum);

/* Zeroed; `what` names the purpose in the message. count * size is checked. */
void *dn_calloc(size_t count, size_t size, const char *what, struct dino_error *err);

/* Like realloc: the old block stays valid on failure. */
void *dn_realloc(void *block, size_t count, size_t size, const char *what,
                 struct dino_error *err);

/* Grow an array so that it holds at least `wanted` items of `size` bytes: doubles *room.
 * items is the address of the array pointer. */
bool dn_grow(void *items, size_t *room, size_t wanted, size_t size, const char *what,
             struct dino_error *err);

/* Aligned to DN_ALIGN, not zeroed, big blocks on huge pages where the system has them;
 * release with dn_free_aligned and the same size. */
void *dn_alloc_aligned(size_t bytes, const char *what, struct dino_error *err);
void dn_free_aligned(void *block, size_t bytes);

char *dn_strdup(const char *text, struct dino_error *err);

#endif
