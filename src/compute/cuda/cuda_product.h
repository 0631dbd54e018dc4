/* Matrix products by a library. cuda_cublaslt.c is the one in use; the tests put plain loops
 * in its place. */
#ifndef COMPUTE_CUDA_PRODUCT_H
#define COMPUTE_CUDA_PRODUCT_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * y [m, n] = scale * (x . w^T) + bias + residual, accumulated in f32. x is [m, k], or [k, m]
 * with x_turned; w is [n, k], or [k, n] with w_turned; both are of in_dtype. residual: as y
 * (and may be y), or NULL. bias comes twice: f32, and in y's dtype where that has 16 bits, for
 * a library that wants it so (cuBLASLt's table of types). scale wants y in f32 and a plan that
 * the library offered. Zeroed before it is filled: lists of commands are compared byte by byte.
 */
struct product {
    void *y;
    const void *x, *w, *residual;
    const float *scale;     /* [n] or NULL */
    const float *bias;      /* [n] or NULL */
    const uint16_t *bias16; /* [n] or NULL: bias */
    int64_t y_stride, x_stride, w_stride, residual_stride;
    int32_t m, n, k;
    int32_t y_dtype, in_dtype;
    int32_t x_turned, w_turned;
    int32_t tf32; /* f32 may be multiplied as TF32 */
};

struct product_engine;

struct product_engine *dn_product_open(struct dino_error *err);
void dn_product_close(struct product_engine *e);
/* Has the library an algorithm for this shape, layout and alignment? Remembers it. */
bool dn_product_plan(struct product_engine *e, const struct product *p);
/* Memory of the GPU that an engine takes when it first runs something. */
size_t dn_product_bytes(void);
/* Run what was planned. false with a line of why in err. */
bool dn_product_run(struct product_engine *e, const struct product *p, cudaStream_t stream,
                    struct dino_error *err);
/* "cublaslt 13.1" */
const char *dn_product_name(void);

#endif
