/*
 * A start for little data, not in the official code: the patch product begins as cosines and
 * the positions as sines, so that the first steps are not spent on finding out what
 * neighbouring pixels have in common. Measured in docs/performance.md.
 */
#ifndef TRAIN_COSINE_WEIGHTS_H
#define TRAIN_COSINE_WEIGHTS_H

#include "train/params_block.h"

/* Over values [table->elements] that dn_first_weights filled: patch filters are replaced where
 * pictures have three channels and there are at most twice as many filters as pixels in a
 * patch, positions are added to. No random numbers. */
void dn_cosine_weights(const struct params_table *table, float *values);

#endif
