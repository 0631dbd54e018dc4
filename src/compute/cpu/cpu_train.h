/*
 * Training on the device "cpu": products and what works on rows in cpu_train.c, the backward
 * of attention in cpu_train_attend.c, losses and the optimizer in cpu_train_loss.c. All
 * numbers are f32. Each result is one thread's, and long sums are taken in pieces whose
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

/* c [m, n] = a . b + keep * c through oneDNN; on one thread inside a parallel region. False if
 * oneDNN refuses. */
struct product_shape {
    int m, n, k;
    bool transpose_a, transpose_b;
    ptrdiff_t a_stride, b_stride, c_stride;
};
bool dn_cpu_product(const struct product_shape *shape, const float *a, const float *b,
                    float keep, float *c);

/* cpu_train.c */
void dn_cpu_matmul(struct queue *q, const struct op_matmul *op);
void dn_cpu_sum_columns(struct queue *q, const struct op_sum_columns *op);
void dn_cpu_add_rows(struct queue *q, const struct op_add_rows *op);
void dn_cpu_norm(struct queue *q, const struct op_norm *op);
void dn_cpu_layernorm_back(struct queue *q, const struct op_layernorm_back *op);
void dn_cpu_gelu_back(struct queue *q, const struct op_gelu_back *op);
void dn_cpu_swiglu_back(struct queue *q, const struct op_swiglu_back *op);
void dn_cpu_residual(struct queue *q, const struct op_residual *op);
void dn_cpu_residual_back(struct queue *q, const struct op_residual_back *op);
void dn_cpu_l2norm(struct queue *q, const struct op_l2norm *op);
void dn_cpu_l2norm_back(struct queue *q, const struct op_l2norm_back *op);

/* cpu_train_attend.c */
void dn_cpu_attend_back(struct queue *q, const struct op_attend_back *op);

#endif
