/*
 * One transformer block forward, keeping what backward reads, and backward:
 *     middle = x + scale gamma1 attention(norm1(x)),  y = middle + scale gamma2
 * ffn(norm2(middle)) over packed sequences. Stochastic depth lets a branch see some of the
 * sequences only (dinov2/layers/block.py, drop_add_residual_stochastic_depth_list).
 */
#ifndef TRAIN_BLOCK_TRAIN_H
#define TRAIN_BLOCK_TRAIN_H

#include "compute/device.h"
#include "train/params_block.h"
#include "train/tape.h"

enum { MOST_GROUPS = 2 }; /* sizes of crops in one pass */

/* The parameters of a block, or their gradients; absent ones have no data. */
struct block_params {
    struct mat norm1_weight, norm1_bias, qkv, qkv_bias, proj, proj_bias, ls1;
    struct mat norm2_weight, norm2_bias, in, in_bias, out, out_bias, ls2;
};

struct block_params dn_block_params(const struct params_table *table, struct net_params params,
                                    int block);

/* The sequences that one branch sees. */
struct branch_rows {
    const int *rows; /* [count] rows of the stream, NULL: all */
    int count;
    const int *starts; /* [sequences + 1] in the branch's own rows */
    int sequences;
    struct {
        int first, count; /* of rows */
        double scale;
    } parts[MOST_GROUPS]; /* the groups of crops, each with its scale */
    int part_count;       /* 0: all rows with scale 1 */
};

/* What forward keeps for backward. */
struct block_tape {
    struct mat x;         /* [tokens, dim] the stream on entry; placed by the caller */
    struct mat qkv;       /* [rows, 3 dim] */
    struct mat attended;  /* [rows, dim] */
    struct mat attention; /* [rows, dim] the branch before gamma */
    struct mat middle;    /* [tokens, dim] the stream between the branches */
    struct mat hidden;    /* [rows, hidden, SwiGLU: twice] before the nonlinearity */
    struct mat ffn;       /* [rows, dim] the branch before gamma */
};

/* What passes through and is not kept. The second half is for backward only. */
struct block_scratch {
    struct mat normed, active;
    struct mat d_branch, d_wide, d_active;
};

void dn_block_tape_layout(struct block_tape *t, struct tape *tape, const struct vit_config *c,
                          int tokens);
void dn_block_scratch_layout(struct block_scratch *s, struct tape *tape,
                             const struct vit_config *c, int tokens, bool backward);

struct block_pass {
    struct queue *queue;
    const struct vit_config *config;
    struct block_params p, d; /* d: gradients, which accumulate */
    struct branch_rows attention, ffn;
    struct block_tape *tape; /* matrices have room for all tokens; rows are cut as needed */
    const struct block_scratch *scratch;
    int tokens;
};

/* y [tokens, dim] from tape->x. */
void dn_block_forward(const struct block_pass *b, struct mat y);
/* d_x [tokens, dim]: the gradient of y on entry, of x on return. Reads all of the tape. */
void dn_block_backward(const struct block_pass *b, struct mat d_x);

#endif
