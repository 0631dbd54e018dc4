/*
 * Heads for a teacher that has none, made from its own features: a linear layer that brings
 * each dimension to mean 0 and deviation 1, and as prototypes the directions of features that
 * were met. Logits are then cosines between a feature and those of other pictures, so that the
 * targets say which of them it resembles; the losses are those of any other teacher.
 */
#ifndef TRAIN_MADE_HEADS_H
#define TRAIN_MADE_HEADS_H

#include "train/params_block.h"

/* A head of that kind for features of `dim` numbers. */
struct head_config dn_made_head(int dim, int prototypes);

/* Fill the module's part of values, a block of the table in f32, from rows [count, dim], of
 * which `prototypes` become prototypes, evenly chosen; count is at least as many. */
void dn_made_head_fill(const struct params_table *table, enum net_module module,
                       const float *rows, int count, float *values);

#endif
