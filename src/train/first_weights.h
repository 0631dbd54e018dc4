/* The weights that a run begins with, as the official code draws them; the numbers are our
 * own, functions of the seed and of each parameter's place. */
#ifndef TRAIN_FIRST_WEIGHTS_H
#define TRAIN_FIRST_WEIGHTS_H

#include "train/params_block.h"

/* values [table->elements]; padding becomes zero. layer_scale is where gamma begins. */
void dn_first_weights(const struct params_table *table, double layer_scale, uint64_t seed,
                      float *values);

#endif
