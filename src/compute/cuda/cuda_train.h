/* The training operations of the device "cuda", and the kernels that only they launch. */
#ifndef COMPUTE_CUDA_TRAIN_H
#define COMPUTE_CUDA_TRAIN_H

#include "compute/cuda/cuda_device.h"
#include "compute/cuda/cuda_train_kernels.h"

extern const struct train_ops dn_cuda_train_ops; /* cuda_train_loss.c */

/* cuda_train.c */
void dn_cuda_matmul(struct queue *q, const struct op_matmul *op);
void dn_cuda_sum_columns(struct queue *q, const struct op_sum_columns *op);
void dn_cuda_add_rows(struct queue *q, const struct op_add_rows *op);
void dn_cuda_norm(struct queue *q, const struct op_norm *op);
void dn_cuda_layernorm_back(struct queue *q, const struct op_layernorm_back *op);
void dn_cuda_attend_back(struct queue *q, const struct op_attend_back *op);
void dn_cuda_swiglu_back(struct queue *q, const struct op_swiglu_back *op);
void dn_cuda_residual(struct queue *q, const struct op_residual *op);
void dn_cuda_residual_back(struct queue *q, const struct op_residual_back *op);

extern const struct peers_ops dn_cuda_peers_ops; /* cuda_peers.c */

/* Kernels; only their addresses are used here. */
void dn_sum_columns_kernel(void);
void dn_join_columns_kernel(void);
void dn_layernorm_stats_kernel(void);
void dn_layernorm_back_kernel(void);
void dn_residual_back_kernel(void);
void dn_add_rows_kernel(void);
void dn_l2norm_kernel(void);
void dn_l2norm_back_kernel(void);
void dn_softmax_kernel(void);
void dn_cross_entropy_kernel(void);
void dn_sinkhorn_kernel(void);
void dn_gelu_back_kernel(void);
void dn_swiglu_back_kernel(void);
void dn_residual_kernel(void);
void dn_exponential_kernel(void);
void dn_adamw_kernel(void);
void dn_lerp_kernel(void);
void dn_sum_squares_kernel(void);
void dn_join_sums_kernel(void);
void dn_largest_kernel(void);
void dn_join_largest_kernel(void);
void dn_nearest_kernel(void);
void dn_koleo_losses_kernel(void);
void dn_koleo_back_kernel(void);
void dn_attend_back_queries_64_kernel(void);
void dn_attend_back_keys_64_kernel(void);
void dn_attend_back_queries_256_kernel(void);
void dn_attend_back_keys_256_kernel(void);
void dn_attend_back_queries_mma_bf16_kernel(void);
void dn_attend_back_keys_mma_bf16_kernel(void);
void dn_attend_back_queries_mma_f16_kernel(void);
void dn_attend_back_keys_mma_f16_kernel(void);
void dn_join_parts_kernel(void);

#endif
