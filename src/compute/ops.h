/*
 * The operations a device must have. Each struct below is one operation's arguments; the
 * comment above it is the contract, and ref/ref_ops.c is the same contract as plain loops.
 *
 * Everywhere
 * - Matrices and vectors live in the device's memory; index arrays live in host memory.
 * - "activation" means f32, or bf16 on a device opened for bf16 or int8 (ref: f32 or f64).
 * - Sums are accumulated in f32 at least (ref: f64), in an order that depends only on the
 *   shapes and the thread count.
 * - Outputs may not overlap inputs unless the contract says so. Shapes are asserted.
 * - Operations return nothing: the first failure sticks to the queue and later operations
 *   do nothing; dn_queue_finish reports it.
 */
#ifndef COMPUTE_OPS_H
#define COMPUTE_OPS_H

#include "compute/mat.h"

struct queue;

enum op_activation { OP_NONE = 0, OP_GELU, OP_SWIGLU };

/*
 * y [m, n] = residual + scale * act(x [m, k] . w^T + bias)
 * w is packed, [n, k], and carries its bias. x and y: activation or f32. act: exact GELU
 * 0.5 v (1 + erf(v / sqrt 2)). scale: f32 [n] or NULL. residual: f32 [m, n], or data NULL;
 * may be the same matrix as y (y f32), or have one row, which is added to every row.
 * scaled_bias: f32 [n], scale * bias, or NULL: what a device that `scales` may add instead, as
 * scale * (x . w^T) + scaled_bias.
 * OP_SWIGLU, on a device that `gates`: y [m, n / 2] = silu(v[:, :n/2]) * v[:, n/2:] where v is
 * x . w^T + bias; w was packed `gated`, and there is neither scale nor residual.
 * Error: |x||w| sums of k products in f32 (or the weight's dtype with f32 accumulation).
 */
struct op_linear {
    struct mat y, x;
    const struct weight *w;
    enum op_activation act;
    const float *scale, *scaled_bias;
    struct mat residual;
};

/*
 * Multi-head attention over packed sequences. qkv [tokens, 3 * dim] as Linear(dim, 3 dim)
 * leaves it: columns [3][heads][dim / heads]. Rows starts[s] .. starts[s + 1] - 1 are sequence
 * s; starts has sequences + 1 entries, starts[0] = 0. For each sequence and head
 * y = softmax(scale * q k^T) v, softmax over keys with the maximum subtracted, in f32.
 * qkv, y [tokens, dim]: activation. Any head width from 1 to 256.
 */
struct op_attend {
    struct mat y, qkv;
    int heads;
    double scale;
    const int *starts;
    int sequences;
};

/* The probabilities of one sequence: y [heads * tokens, tokens] f32 (the rows of head h start
 * at h * tokens) from qkv [tokens, 3 * dim]. */
struct op_attention_map {
    struct mat y, qkv;
    int heads;
    float scale;
};

/* y = (x - mean) / sqrt(var + eps) * weight + bias over each row; biased variance. x f32,
 * y activation or f32, may be x (y f32). weight, bias: f32 [cols]. */
struct op_layernorm {
    struct mat y, x;
    const float *weight, *bias;
    float eps;
};

/* y [m, h] = silu(x[:, :h]) * x[:, h:2h], silu(v) = v / (1 + exp(-v)). Activation. */
struct op_swiglu {
    struct mat y, x;
};

/* y [m, n] = 0.5 x (1 + erf(x / sqrt 2)), any activation or f32; y may be x. */
struct op_gelu {
    struct mat y, x;
};

/*
 * y[to[i], :] = x[from[i], :] + add[i or 0, :], i < count: places class, register and mask
 * tokens, gathers class tokens. to NULL: i. from NULL: i, or 0 where x has one row. add has
 * count rows or one, or no data. All f32; rows named twice in `to` are not allowed.
 */
struct op_put_rows {
    struct mat y, x, add;
    const int *to, *from;
    int count;
};

/* y [m, n] = x [m, n], converted between f32, f64, bf16 and f16 with round to nearest even. */
struct op_copy {
    struct mat y, x;
};

/* y [sequences, cols] f32 = mean of rows starts[s] + skip .. starts[s + 1] - 1 of x (f32). */
struct op_mean_rows {
    struct mat y, x;
    const int *starts;
    int sequences, skip;
};

/* One picture on its way into patches: planes (host or device f32 [channels, height, width]),
 * or 8-bit pixels (host, [height, width, 3]), which are normalised. */
struct op_picture {
    const float *planes;
    const uint8_t *pixels;
    int height, width;
    float mean[3], std[3];
};

/*
 * The patches of pictures of any sizes, one picture behind another: of each (height / patch) *
 * (width / patch) rows, row-major over its grid. y [all of them, channels * patch * patch],
 * columns in the order of the patch weight (channel, row, column). Pixels become ((v / 255) -
 * mean) / std in f32, one rounding an operation, as torchvision does. What is left of a size
 * after whole patches is dropped. y: activation or f32.
 */
struct op_patchify {
    struct mat y;
    const struct op_picture *pictures; /* [count] */
    int count, channels, patch;
};

/*
 * The tokens that enter the network. Rows starts[i] .. starts[i + 1] - 1 of y are picture i's:
 * cls [dim], registers [registers, dim], and its rows of x plus positions[i] [rows, dim]. x
 * [rows of all pictures, dim]: embedded patches, one picture behind another. y, x: f32 (ref:
 * f32 or f64); the vectors: f32 in device memory. Other rows of y stay.
 */
struct op_place_tokens {
    struct mat y, x;
    const float *cls, *registers;
    const float *const *positions; /* [count] */
    const int *starts;             /* [count + 1] */
    int count, register_count;
};

void dn_linear(struct queue *q, struct op_linear op);
void dn_attend(struct queue *q, struct op_attend op);
void dn_attention_map(struct queue *q, struct op_attention_map op);
void dn_layernorm(struct queue *q, struct op_layernorm op);
void dn_swiglu(struct queue *q, struct op_swiglu op);
void dn_gelu(struct queue *q, struct op_gelu op);
void dn_put_rows(struct queue *q, struct op_put_rows op);
void dn_copy(struct queue *q, struct op_copy op);
void dn_mean_rows(struct queue *q, struct op_mean_rows op);
void dn_patchify(struct queue *q, struct op_patchify op);
void dn_place_tokens(struct queue *q, struct op_place_tokens op);

#endif
