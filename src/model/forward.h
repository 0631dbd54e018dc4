/*
 * The forward pass over a packed batch: all tokens of all pictures are the rows of one matrix,
 * and a list of starts says which rows belong together.
 */
#ifndef MODEL_FORWARD_H
#define MODEL_FORWARD_H

#include "model/vit.h"

/* A linear classifier on the class tokens of the last `layers` blocks and the patch mean. */
struct linear_head {
    struct weight *weight; /* NULL: none; [classes, (1 + layers) * dim] */
    int layers, classes;
};

/* Patch positions of one grid size, in device memory; [rows * cols, dim]. */
struct position_grid {
    int rows, cols;
    const float *data;
};

struct forward {
    const struct vit *vit;
    const struct linear_head *head;
    struct queue *queue;

    /* the batch */
    const struct dino_input *inputs;
    int count;
    const struct dino_request *request; /* layers are set */
    int *starts;                        /* [count + 1] first row of each picture */
    struct position_grid *positions;    /* [count] */
    int *index;                         /* host scratch [patches of the largest picture] */
    struct op_picture *pictures;        /* host scratch [count] */
    const float **grids;                /* host scratch [count] */

    /* device memory, placed by dn_forward_layout */
    struct mat x;        /* [tokens, dim] f32: the residual stream */
    struct mat normed;   /* [tokens, dim] activation: LayerNorm or attention output */
    struct mat wide;     /* [tokens, 3 dim] activation: q, k, v */
    struct mat patches;  /* [rows of a group, channels * patch^2], shares wide's memory */
    struct mat embedded; /* [the same, dim], behind them */
    struct mat hidden;   /* [ffn_rows, hidden], shares wide's memory */
    struct mat both; /* [ffn_rows, 2 hidden]: SwiGLU's halves, where the device has no gates */
    int ffn_rows;    /* rows that pass the FFN together */
    struct mat *layers; /* [layer_count] f32 [tokens, dim]: what was asked for */
    struct mat embeddings;
    float **maps; /* [attention_count] f32, each [count] pictures' maps one behind another */
    struct mat gathered; /* [count, dim] class tokens */
    struct mat summary;  /* [count, (1 + head layers) * dim] */
    struct mat logits;   /* [count, classes] */
};

/* Floats of picture i's attention map, and where it begins in its block's array. */
size_t dn_forward_map_size(const struct forward *f, int i);

/* Bytes of what the caller gets and of what only the pass needs. */
struct forward_bytes {
    size_t results, scratch;
};

/* Place every matrix in these two blocks (NULL: only count); returns what they need. */
struct forward_bytes dn_forward_layout(struct forward *f, char *results, char *scratch);

/* Queue everything. Failures stick to the queue. */
void dn_forward(struct forward *f);

#endif
