/*
 * The inside of the resampler: what one axis of a resize needs, and the two passes that exist
 * in several instruction sets. All is integer arithmetic without rounding until the last
 * shift, so every version gives the same bytes.
 */
#ifndef IMAGE_RESAMPLE_H
#define IMAGE_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

enum {
    RESAMPLE_BITS = 22, /* weights are w * 2^22, and |w| < 1.5 */
    RESAMPLE_GROUP = 4, /* taps come in fours, and rows of a horizontal pass too */
    RESAMPLE_SLACK = 4, /* readable bytes that the horizontal pass wants behind each row */
};

/*
 * Output i is the sum of weights[i * taps + t] * input[first[i] + t], t < taps. taps is a
 * multiple of RESAMPLE_GROUP; surplus weights are zero. Four outputs behind the last one can
 * be read: they repeat its place with zero weights.
 */
struct resample_axis {
    int in, out; /* elements that are read and written */
    int taps;
    int *first;       /* [out + 4], counted from the first element that is read */
    int32_t *weights; /* [out + 4, taps]; after `pack` in the form that the kernels like */
};

struct resample_kernels {
    /* Rearrange the weights, four at a time, inside their 16 bytes; or NULL. */
    void (*pack)(int32_t *weights, size_t groups);
    /* Four rows of axis->in RGB pixels to four rows of axis->out. Needs axis->in >= taps, so
     * that first[i] + taps <= in, and RESAMPLE_SLACK. The same row may be given twice. */
    void (*across)(const struct resample_axis *axis, uint8_t *const to[RESAMPLE_GROUP],
                   const uint8_t *const from[RESAMPLE_GROUP]);
    /* One row of `bytes` bytes from `taps` rows with a weight each. */
    void (*down)(uint8_t *to, const uint8_t *const *from, const int32_t *weights, int taps,
                 size_t bytes);
};

extern const struct resample_kernels dn_resample_c;
/* Only where DN_X86. */
extern const struct resample_kernels dn_resample_avx2;
extern const struct resample_kernels dn_resample_avx512; /* wants VNNI too */

/* The best that this processor and DINO_ISA allow. */
const struct resample_kernels *dn_resample_kernels(void);

/* dn_image_resize_box with given kernels. */
bool dn_resample_with(const struct resample_kernels *kernels, const struct dino_image *from,
                      struct dino_image *to, const struct resize_box *box,
                      struct dino_error *err);

static inline uint8_t dn_resample_round(int32_t sum)
{
    int32_t value = (sum + (1 << (RESAMPLE_BITS - 1))) >> RESAMPLE_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

#endif
