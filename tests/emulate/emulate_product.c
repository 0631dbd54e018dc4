/* Matrix products as plain loops, in the place of cuda_cublaslt.c. It declines rows at odd
 * addresses, so that the kernel for what a library declines is tested too, and factors on a
 * machine "without-scale". */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "compute/cuda/cuda_product.h"
#include "emulate_fibers.h"

enum { WORKSPACE = 1 << 16 }; /* that nothing needs: it is counted as a library's */

struct product_engine {
    void *workspace;
};

struct product_engine *dn_product_open(struct dino_error *err)
{
    return dn_calloc(1, sizeof(struct product_engine), "an engine", err);
}

void dn_product_close(struct product_engine *e)
{
    if (e)
        cudaFree(e->workspace);
    free(e);
}

size_t dn_product_bytes(void)
{
    return WORKSPACE;
}

bool dn_product_plan(struct product_engine *e, const struct product *p)
{
    (void)e;
    if (p->scale && (p->y_dtype != DINO_F32 || emulate_machine_is("without-scale")))
        return false;
    return (uintptr_t)p->x % 16 == 0 && (uintptr_t)p->y % 4 == 0;
}

static float element(const void *data, int32_t dtype, int64_t at)
{
    float value;

    dn_to_f32(&value, (const char *)data + (size_t)at * dino_dtype_size((enum dino_dtype)dtype),
              (enum dino_dtype)dtype, 1);
    return value;
}

/* 10 bits of mantissa, as tensor cores take f32. */
static float tf32(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffU;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

/* [rows, cols] as f32, whatever way it is stored. */
static float *plain(const void *data, int32_t dtype, int64_t stride, bool turned, int rows,
                    int cols)
{
    float *to = malloc((size_t)rows * (size_t)cols * sizeof *to + 1);

    for (int r = 0; to && r < rows; r++)
        for (int c = 0; c < cols; c++)
            to[(size_t)r * (size_t)cols + (size_t)c] =
                element(data, dtype, turned ? c * stride + r : r * stride + c);
    return to;
}

/* sum of a[i] b[i] in eight chains, as a vector unit would */
static float dot(const float *a, const float *b, int n)
{
    float sums[8] = {0}, sum = 0;
    int i = 0;

    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            sums[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        sums[i % 8] += a[i] * b[i];
    for (int j = 0; j < 8; j++)
        sum += sums[j];
    return sum;
}

static void multiply(const void *args)
{
    const struct product *p = args;
    size_t k = (size_t)p->k, size = dino_dtype_size((enum dino_dtype)p->y_dtype);
    float *x = plain(p->x, p->in_dtype, p->x_stride, p->x_turned, p->m, p->k);
    float *w = plain(p->w, p->in_dtype, p->w_stride, p->w_turned, p->n, p->k);

    for (size_t i = 0; p->tf32 && x && i < (size_t)p->m * k; i++)
        x[i] = tf32(x[i]);
    for (size_t i = 0; p->tf32 && w && i < (size_t)p->n * k; i++)
        w[i] = tf32(w[i]);
    for (int r = 0; x && w && r < p->m; r++)
        for (int c = 0; c < p->n; c++) {
            float sum = dot(x + (size_t)r * k, w + (size_t)c * k, p->k);
            if (p->scale)
                sum *= p->scale[c];
            if (p->bias) /* as the library has it for results of 16 bits */
                sum += p->bias16 ? element(p->bias16, p->y_dtype, c) : p->bias[c];
            if (p->residual)
                sum += element(p->residual, p->y_dtype, r * p->residual_stride + c);
            dn_from_f32((char *)p->y + (size_t)(r * p->y_stride + c) * size,
                        (enum dino_dtype)p->y_dtype, &sum, 1);
        }
    free(x);
    free(w);
}

bool dn_product_run(struct product_engine *e, const struct product *p, cudaStream_t stream,
                    struct dino_error *err)
{
    if (!e->workspace && cudaMalloc(&e->workspace, WORKSPACE) != cudaSuccess)
        return dn_fail(err, DINO_ENOMEM, "no memory for an emulated product");
    cudaError_t result = emulate_work(stream, multiply, p, sizeof *p);

    return result == cudaSuccess ||
           dn_fail(err, DINO_EDEVICE, "a product: %s", cudaGetErrorString(result));
}

const char *dn_product_name(void)
{
    return "plain loops";
}
