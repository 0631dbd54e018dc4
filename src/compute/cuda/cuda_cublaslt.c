/*
 * Products by cuBLASLt. It multiplies column-major matrices, so a product is asked for
 * transposed: y^T [n, m] = w x^T, for which row-major y, x and w are what they are. The
 * algorithm is the first that its heuristics name for the shape, layout and alignment; partial
 * sums across the depth meet in the workspace in a fixed order, so the same call gives the same
 * bits.
 */
#include <cublasLt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "compute/cuda/cuda_product.h"

enum { PLANS = 512, WORKSPACE = 32 << 20 };

/* What decides the algorithm: everything but the addresses. */
struct plan_key {
    int64_t y_stride, x_stride, w_stride, residual_stride;
    int32_t m, n, k, y_dtype, in_dtype, x_turned, w_turned, tf32;
    int32_t has_scale, has_bias, has_residual, x_align, w_align, y_align;
};

struct plan {
    struct plan_key key;
    bool offered, narrow_bias; /* in y's dtype instead of f32 */
    cublasLtMatmulDesc_t what;
    cublasLtMatrixLayout_t w, x, residual, y;
    cublasLtMatmulAlgo_t algo;
};

struct product_engine {
    cublasLtHandle_t handle;
    void *workspace;
    struct plan *plans; /* [PLANS] hashed by key */
    int count;
};

struct product_engine *dn_product_open(struct dino_error *err)
{
    struct product_engine *e = dn_calloc(1, sizeof *e, "cuBLASLt", err);

    if (!e)
        return NULL;
    e->plans = dn_calloc(PLANS, sizeof *e->plans, "plans of products", err);
    if (!e->plans)
        goto failed;
    cublasStatus_t status = cublasLtCreate(&e->handle);
    if (status == CUBLAS_STATUS_SUCCESS)
        return e;
    dn_fail(err, DINO_EDEVICE, "cuBLASLt: %s", cublasLtGetStatusString(status));
failed:
    dn_product_close(e);
    return NULL;
}

static void plan_release(struct plan *p)
{
    if (p->what)
        cublasLtMatmulDescDestroy(p->what);
    if (p->w)
        cublasLtMatrixLayoutDestroy(p->w);
    if (p->x)
        cublasLtMatrixLayoutDestroy(p->x);
    if (p->residual)
        cublasLtMatrixLayoutDestroy(p->residual);
    if (p->y)
        cublasLtMatrixLayoutDestroy(p->y);
    *p = (struct plan){0};
}

static void forget_plans(struct product_engine *e)
{
    for (int i = 0; i < PLANS; i++)
        plan_release(&e->plans[i]);
    e->count = 0;
}

void dn_product_close(struct product_engine *e)
{
    if (!e)
        return;
    if (e->plans)
        forget_plans(e);
    if (e->handle)
        cublasLtDestroy(e->handle);
    if (e->workspace)
        cudaFree(e->workspace);
    free(e->plans);
    free(e);
}

/* ---- plans ---- */

/* The power of two, up to 256, that an address and the step between rows are multiples of. */
static int32_t alignment(const void *address, int64_t stride, size_t size)
{
    uintptr_t bits = (uintptr_t)address | (uintptr_t)stride * size | 256;

    return (int32_t)(bits & (~bits + 1));
}

static struct plan_key key_of(const struct product *p)
{
    size_t in = dino_dtype_size((enum dino_dtype)p->in_dtype);
    size_t out = dino_dtype_size((enum dino_dtype)p->y_dtype);
    int32_t y = alignment(p->y, p->y_stride, out);
    int32_t residual = p->residual ? alignment(p->residual, p->residual_stride, out) : y;

    return (struct plan_key){
        .y_stride = p->y_stride,
        .x_stride = p->x_stride,
        .w_stride = p->w_stride,
        .residual_stride = p->residual_stride,
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .y_dtype = p->y_dtype,
        .in_dtype = p->in_dtype,
        .x_turned = p->x_turned,
        .w_turned = p->w_turned,
        .tf32 = p->tf32,
        .has_scale = p->scale != NULL,
        .has_bias = p->bias != NULL,
        .has_residual = p->residual != NULL,
        .x_align = alignment(p->x, p->x_stride, in),
        .w_align = alignment(p->w, p->w_stride, in),
        .y_align = y < residual ? y : residual,
    };
}

static cudaDataType_t type_of(int32_t dtype)
{
    return dtype == DINO_BF16 ? CUDA_R_16BF : dtype == DINO_F16 ? CUDA_R_16F : CUDA_R_32F;
}

static bool set(cublasLtMatmulDesc_t what, cublasLtMatmulDescAttributes_t attribute,
                const void *value, size_t bytes)
{
    return cublasLtMatmulDescSetAttribute(what, attribute, value, bytes) ==
           CUBLAS_STATUS_SUCCESS;
}

/* alpha: one factor for each of the result's rows, as cuBLASLt sees it; beta stays a number. */
static const cublasLtPointerMode_t scaled = CUBLASLT_POINTER_MODE_ALPHA_DEVICE_VECTOR_BETA_HOST;

static bool describe(struct plan *p)
{
    const struct plan_key *key = &p->key;
    cublasComputeType_t compute = key->tf32 && key->in_dtype == DINO_F32
                                      ? CUBLAS_COMPUTE_32F_FAST_TF32
                                      : CUBLAS_COMPUTE_32F;
    cublasOperation_t w = key->w_turned ? CUBLAS_OP_N : CUBLAS_OP_T;
    cublasOperation_t x = key->x_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t bias = CUBLASLT_EPILOGUE_BIAS;
    cudaDataType_t bias_type = p->narrow_bias ? type_of(key->y_dtype) : CUDA_R_32F;

    if (cublasLtMatmulDescCreate(&p->what, compute, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS ||
        !set(p->what, CUBLASLT_MATMUL_DESC_TRANSA, &w, sizeof w) ||
        !set(p->what, CUBLASLT_MATMUL_DESC_TRANSB, &x, sizeof x) ||
        (key->has_scale &&
         !set(p->what, CUBLASLT_MATMUL_DESC_POINTER_MODE, &scaled, sizeof scaled)))
        return false;
    return !key->has_bias ||
           (set(p->what, CUBLASLT_MATMUL_DESC_EPILOGUE, &bias, sizeof bias) &&
            set(p->what, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias_type, sizeof bias_type));
}

/* Column-major, so rows and columns are named the other way round. */
static bool lay_out(cublasLtMatrixLayout_t *layout, int32_t dtype, int cols, int rows,
                    int64_t stride)
{
    return cublasLtMatrixLayoutCreate(layout, type_of(dtype), (uint64_t)cols, (uint64_t)rows,
                                      stride) == CUBLAS_STATUS_SUCCESS;
}

static bool lay_out_all(struct plan *p)
{
    const struct plan_key *k = &p->key;
    int w_cols = k->w_turned ? k->n : k->k, w_rows = k->w_turned ? k->k : k->n;
    int x_cols = k->x_turned ? k->m : k->k, x_rows = k->x_turned ? k->k : k->m;
    int64_t residual = k->has_residual ? k->residual_stride : k->y_stride;

    return lay_out(&p->w, k->in_dtype, w_cols, w_rows, k->w_stride) &&
           lay_out(&p->x, k->in_dtype, x_cols, x_rows, k->x_stride) &&
           lay_out(&p->residual, k->y_dtype, k->n, k->m, residual) &&
           lay_out(&p->y, k->y_dtype, k->n, k->m, k->y_stride);
}

static bool wish(cublasLtMatmulPreference_t wishes, cublasLtMatmulPreferenceAttributes_t which,
                 const void *value, size_t bytes)
{
    return cublasLtMatmulPreferenceSetAttribute(wishes, which, value, bytes) ==
           CUBLAS_STATUS_SUCCESS;
}

/* Does the algorithm itself say that it takes the factors? */
static bool takes_scale(const cublasLtMatmulAlgo_t *algo)
{
    uint32_t modes = 0;
    size_t written = 0;

    return cublasLtMatmulAlgoCapGetAttribute(algo, CUBLASLT_ALGO_CAP_POINTER_MODE_MASK, &modes,
                                             sizeof modes, &written) == CUBLAS_STATUS_SUCCESS &&
           (modes & CUBLASLT_POINTER_MODE_MASK_ALPHA_DEVICE_VECTOR_BETA_HOST);
}

static bool choose(struct product_engine *e, struct plan *p)
{
    const struct plan_key *key = &p->key;
    uint32_t w = (uint32_t)key->w_align, x = (uint32_t)key->x_align;
    uint32_t y = (uint32_t)key->y_align, sums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    size_t workspace = WORKSPACE;
    cublasLtMatmulPreference_t wishes = NULL;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;

    if (cublasLtMatmulPreferenceCreate(&wishes) != CUBLAS_STATUS_SUCCESS)
        return false;
    bool ok =
        wish(wishes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace) &&
        wish(wishes, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums, sizeof sums) &&
        wish(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &w, sizeof w) &&
        wish(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &x, sizeof x) &&
        wish(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &y, sizeof y) &&
        wish(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &y, sizeof y) &&
        cublasLtMatmulAlgoGetHeuristic(e->handle, p->what, p->w, p->x, p->residual, p->y,
                                       wishes, 1, &found, &count) == CUBLAS_STATUS_SUCCESS &&
        count > 0 && found.state == CUBLAS_STATUS_SUCCESS;
    cublasLtMatmulPreferenceDestroy(wishes);
    ok = ok && (!key->has_scale || takes_scale(&found.algo));
    if (ok)
        p->algo = found.algo;
    return ok;
}

static uint32_t hash(const struct plan_key *key)
{
    const unsigned char *bytes = (const unsigned char *)key;
    uint32_t h = 2166136261U;

    for (size_t i = 0; i < sizeof *key; i++)
        h = (h ^ bytes[i]) * 16777619U;
    return h;
}

/* The plan of a product: found, or made in an empty place. */
static struct plan *plan_of(struct product_engine *e, const struct product *product)
{
    struct plan_key key = key_of(product);
    uint32_t at = hash(&key) % PLANS;

    while (e->plans[at].key.m > 0) {
        if (memcmp(&e->plans[at].key, &key, sizeof key) == 0)
            return &e->plans[at];
        at = (at + 1) % PLANS;
    }
    if (e->count == PLANS / 2) {
        forget_plans(e);
        at = hash(&key) % PLANS;
    }
    struct plan *p = &e->plans[at];
    p->key = key;
    p->offered = describe(p) && lay_out_all(p) && choose(e, p);
    if (!p->offered && product->bias16) {
        plan_release(p);
        p->key = key;
        p->narrow_bias = true;
        p->offered = describe(p) && lay_out_all(p) && choose(e, p);
    }
    e->count++;
    return p;
}

bool dn_product_plan(struct product_engine *e, const struct product *p)
{
    return plan_of(e, p)->offered;
}

size_t dn_product_bytes(void)
{
    return WORKSPACE;
}

/* Before a list is captured it has run once, so that this never happens within a capture. */
static bool open_workspace(struct product_engine *e, struct dino_error *err)
{
    if (e->workspace || cudaMalloc(&e->workspace, WORKSPACE) == cudaSuccess)
        return true;
    e->workspace = NULL;
    cudaGetLastError();
    return dn_fail(err, DINO_ENOMEM, "out of memory: wanted %d MiB for products",
                   WORKSPACE >> 20);
}

bool dn_product_run(struct product_engine *e, const struct product *p, cudaStream_t stream,
                    struct dino_error *err)
{
    const float one = 1, beta = p->residual ? 1 : 0;
    const float *alpha = p->scale ? p->scale : &one;
    struct plan *plan = plan_of(e, p);

    const void *bias = plan->narrow_bias ? (const void *)p->bias16 : p->bias;

    if (!open_workspace(e, err))
        return false;
    if (!plan->offered ||
        (bias && !set(plan->what, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias)))
        return dn_fail(err, DINO_EDEVICE, "cuBLASLt refuses what it offered");
    cublasStatus_t status =
        cublasLtMatmul(e->handle, plan->what, alpha, p->w, plan->w, p->x, plan->x, &beta,
                       p->residual ? p->residual : p->y, plan->residual, p->y, plan->y,
                       &plan->algo, e->workspace, WORKSPACE, stream);
    return status == CUBLAS_STATUS_SUCCESS ||
           dn_fail(err, DINO_EDEVICE, "cuBLASLt: a product of %d x %d x %d: %s", p->m, p->n,
                   p->k, cublasLtGetStatusString(status));
}

const char *dn_product_name(void)
{
    return "cublaslt";
}
