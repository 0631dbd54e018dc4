/*
 * Planned memory: every matrix of a training step is placed once, by walking the layout with a
 * counter. A walk without a base only counts; the second one, from the block that the count
 * asked for, places.
 */
#ifndef TRAIN_TAPE_H
#define TRAIN_TAPE_H

#include "base/alloc.h"
#include "compute/mat.h"

struct tape {
    char *base; /* NULL: count only */
    size_t used;
    enum dino_dtype dtype;  /* of the stream, of sums and of gradients of parameters */
    enum dino_dtype factor; /* of what products read and only they */
};

static inline void *dn_tape_take(struct tape *tape, size_t bytes)
{
    size_t at = tape->used;

    tape->used += (bytes + DN_ALIGN - 1) / DN_ALIGN * DN_ALIGN;
    return tape->base ? tape->base + at : NULL;
}

static inline struct mat dn_tape_place(struct tape *tape, int rows, int cols,
                                       enum dino_dtype dtype)
{
    size_t bytes = (size_t)rows * (size_t)cols * dino_dtype_size(dtype);

    return dn_mat(dn_tape_take(tape, bytes), rows, cols, dtype);
}

static inline struct mat dn_tape_mat(struct tape *tape, int rows, int cols)
{
    return dn_tape_place(tape, rows, cols, tape->dtype);
}

static inline struct mat dn_tape_factor(struct tape *tape, int rows, int cols)
{
    return dn_tape_place(tape, rows, cols, tape->factor);
}

/* Two walks that began at the same place share it: go on behind the longer one. */
static inline void dn_tape_join(struct tape *tape, const struct tape *other)
{
    if (other->used > tape->used)
        tape->used = other->used;
}

#endif
