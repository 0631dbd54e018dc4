/* The operations of the device "ref": the contracts of ops.h as plain loops in f64. */
#ifndef COMPUTE_REF_OPS_H
#define COMPUTE_REF_OPS_H

#include "compute/device.h"

struct ref_weight {
    struct weight base;
    double *values; /* [rows, cols] */
    double *bias;   /* [rows], zeros without one */
};

void dn_ref_linear(struct queue *q, const struct op_linear *op);
void dn_ref_attend(struct queue *q, const struct op_attend *op);
void dn_ref_attention_map(struct queue *q, const struct op_attention_map *op);
void dn_ref_layernorm(struct queue *q, const struct op_layernorm *op);
void dn_ref_swiglu(struct queue *q, const struct op_swiglu *op);
void dn_ref_gelu(struct queue *q, const struct op_gelu *op);
void dn_ref_put_rows(struct queue *q, const struct op_put_rows *op);
void dn_ref_copy(struct queue *q, const struct op_copy *op);
void dn_ref_mean_rows(struct queue *q, const struct op_mean_rows *op);
void dn_ref_patchify(struct queue *q, const struct op_patchify *op);
void dn_ref_place_tokens(struct queue *q, const struct op_place_tokens *op);

#endif
