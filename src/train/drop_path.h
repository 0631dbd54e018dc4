/* Stochastic depth in its batch-subset form: which rows of a packed pass each branch sees. */
#ifndef TRAIN_DROP_PATH_H
#define TRAIN_DROP_PATH_H

#include "train/backbone_train.h"

/* How many of `samples` a branch keeps, in double arithmetic as the official code does. */
int dn_drop_path_kept(int samples, double rate);

/* Fill b->branches for the pass whose starts are set. */
void dn_drop_path_plan(struct backbone *b, const struct view *views,
                       const struct drop_path *drop);

#endif
