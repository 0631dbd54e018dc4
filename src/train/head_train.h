/*
 * A projection head forward, keeping what backward reads, and backward. Rows do not see each
 * other, so that class and patch tokens may pass together.
 */
#ifndef TRAIN_HEAD_TRAIN_H
#define TRAIN_HEAD_TRAIN_H

#include "compute/device.h"
#include "train/params_block.h"
#include "train/tape.h"

enum { HEAD_MOST_LAYERS = 16 };

struct head_pass {
    struct queue *queue;
    const struct params_table *table;
    enum net_module module;
    struct mat hidden[HEAD_MOST_LAYERS]; /* [rows, hidden] before GELU */
    struct mat active, other;            /* [rows, hidden] GELU of them, in turns */
    struct mat z, u;                     /* [rows, bottleneck]: before and at unit length */
    struct mat prototypes;               /* [prototypes, bottleneck] g v / |v| */
    struct mat d_prototypes, d_u, d_hidden, d_other;
};

/* Room for `rows` rows, with what backward needs or without. */
void dn_head_layout(struct head_pass *h, struct tape *tape, int rows, bool backward);

/* logits [rows, prototypes] from x [rows, in]. */
void dn_head_forward(struct head_pass *h, struct net_params params, struct mat x,
                     struct mat logits);
/* d_x from d_logits; gradients accumulate in the block `grads`. Reads everything that forward
 * kept, and x. */
void dn_head_backward(struct head_pass *h, struct net_params params, void *grads, struct mat x,
                      struct mat d_logits, struct mat d_x);

#endif
