/*
 * Training on the device "cpu": products in cpu_product.c, what works on rows in cpu_train.c,
 * the backward of attention in cpu_train_attend.c, losses and the optimizer in
 * cpu_train_loss.c. Each result is one thread's, and long sums are taken in pieces whose
 * borders do not depend on the number of threads.
 */
#ifndef COMPUTE_CPU_TRAIN_H
#define COMPUTE_CPU_TRAIN_H

#include "compute/cpu/cpu_device.h"
#include "compute/cpu/train_kernels.h"

extern const struct train_ops dn_cpu_train_ops;

/* Numbers that are summed in f32 before they join a sum in f64. */
enum { TRAIN_PIECE = 1024 };

static inline const struct train_kernels *dn_cpu_train_kernels(struct queue *q)
{
    return dn_train_kernels_choose(dn_cpu_queue(q)->device->features.isa);
}

static inline float *dn_train_row(struct mat m, int row)
{
    return (float *)m.data + (ptrdiff_t)row * m.stride;
}

/* cpu_product.c */
void dn_cpu_matmul(struct queue *q, const struct op_matmul *op);

/* cpu_train.c */
void dn_cpu_sum_columns(struct queue *q, const struct op_sum_columns *op);
void dn_cpu_add_rows(struct queue *q, const struct op_add_rows *op);
void dn_cpu_norm(struct queue *q, const struct op_norm *op);
void dn_cpu_layernorm_back(struct queue *q, const struct op_layernorm_back *op);
void dn_cpu_swiglu_back(struct queue *q, const struct op_swiglu_back *op);
void dn_cpu_residual(struct queue *q, const struct op_residual *op);
void dn_cpu_residual_back(struct queue *q, const struct op_residual_back *op);
void dn_cpu_l2norm(struct queue *q, const struct op_l2norm *op);
void dn_cpu_l2norm_back(struct queue *q, const struct op_l2norm_back *op);

/* cpu_train_attend.c */
void dn_cpu_attend_back(struct queue *q, const struct op_attend_back *op);

#endif
