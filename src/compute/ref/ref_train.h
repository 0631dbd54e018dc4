/* The training operations of the device "ref": the contracts of ops_train.h as plain loops. */
#ifndef COMPUTE_REF_TRAIN_H
#define COMPUTE_REF_TRAIN_H

#include "compute/device.h"

/* count zeros, to be freed; NULL and a failed queue without memory. */
double *dn_ref_scratch(struct queue *q, size_t count);

/* ref_train.c */
void dn_ref_matmul(struct queue *q, const struct op_matmul *op);
void dn_ref_sum_columns(struct queue *q, const struct op_sum_columns *op);
void dn_ref_add_rows(struct queue *q, const struct op_add_rows *op);
void dn_ref_norm(struct queue *q, const struct op_norm *op);
void dn_ref_layernorm_back(struct queue *q, const struct op_layernorm_back *op);
void dn_ref_attend_back(struct queue *q, const struct op_attend_back *op);
void dn_ref_swiglu_back(struct queue *q, const struct op_swiglu_back *op);
void dn_ref_residual(struct queue *q, const struct op_residual *op);
void dn_ref_residual_back(struct queue *q, const struct op_residual_back *op);

/* ref_train_loss.c, with the table */
void dn_ref_fill(struct queue *q, const struct op_fill *op);

#endif
