/*
 * What kernels are written in: CUDA under names that are also C. A .cu file holds kernels and
 * their helpers, nothing of the host, in the part that C11 and C++ share: no overloading, casts
 * written out. nvcc compiles it for the device through this header; the tests compile it as C
 * through tests/emulate/emulate.h, which stands in for it, and run it against "ref".
 *
 * A kernel takes one struct, which it calls a, and at most one struct in shared memory:
 *
 *     KERNEL(dn_layernorm_kernel, cuda_layernorm, 128) { ... a.cols ... }
 *
 * Everything here that says "all lanes" is called by all 32 lanes of a warp together;
 * block_sync by all threads of the block.
 */
#ifndef COMPUTE_CUDA_DIALECT_H
#define COMPUTE_CUDA_DIALECT_H

#include <cuda_fp16.h>
#include <stdint.h>

#define KERNEL(name, args, threads) \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ args a)

/* A function of the device. */
#define DEVICE static __device__ __forceinline__

/* The block's shared memory as one struct; the launch says how large it is. */
#define SHARED(type, name)                                     \
    extern __shared__ __align__(16) unsigned char block_own[]; \
    type *name = (type *)block_own

/* Loops over arrays in registers must be unrolled, so that every index is a constant. */
#define UNROLL _Pragma("unroll")

/* ---- where we are ---- */

DEVICE int thread_x(void)
{
    return (int)threadIdx.x;
}

DEVICE int block_x(void)
{
    return (int)blockIdx.x;
}

DEVICE int block_y(void)
{
    return (int)blockIdx.y;
}

DEVICE int grid_x(void)
{
    return (int)gridDim.x;
}

/* ---- together ---- */

DEVICE void block_sync(void)
{
    __syncthreads();
}

/* The value of lane ^ mask. */
DEVICE float lane_xor(float value, int mask)
{
    return __shfl_xor_sync(0xffffffffU, value, mask);
}

/* ---- memory, 4, 8 or 16 bytes at an address that is a multiple of as much ---- */

DEVICE uint32_t load4(const void *from)
{
    return *(const uint32_t *)from;
}

DEVICE void load8(uint32_t to[2], const void *from)
{
    uint2 v = *(const uint2 *)from;
    to[0] = v.x;
    to[1] = v.y;
}

DEVICE void load16(uint32_t to[4], const void *from)
{
    uint4 v = *(const uint4 *)from;
    to[0] = v.x;
    to[1] = v.y;
    to[2] = v.z;
    to[3] = v.w;
}

DEVICE void store4(void *to, uint32_t v)
{
    *(uint32_t *)to = v;
}

DEVICE void store8(void *to, const uint32_t v[2])
{
    *(uint2 *)to = make_uint2(v[0], v[1]);
}

DEVICE void store16(void *to, const uint32_t v[4])
{
    *(uint4 *)to = make_uint4(v[0], v[1], v[2], v[3]);
}

/* Start copying 16 bytes from global to shared memory, both aligned; without `real`, zeros. */
DEVICE void copy16_start(void *shared, const void *global, int real)
{
    unsigned to = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global),
                 "r"(real ? 16 : 0)
                 : "memory");
}

/* What this thread started since the last call is one group. */
DEVICE void copy16_group(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait until all but the last `left` (0 or 1) groups of this thread are there. A block_sync
 * after it makes them visible to the others. */
DEVICE void copy16_wait(int left)
{
    if (left)
        asm volatile("cp.async.wait_group 1;" ::: "memory");
    else
        asm volatile("cp.async.wait_group 0;" ::: "memory");
}

/* ---- numbers ---- */

DEVICE float float_of_bits(uint32_t bits)
{
    return __uint_as_float(bits);
}

DEVICE uint32_t bits_of_float(float f)
{
    return __float_as_uint(f);
}

DEVICE float f16_to_float(uint16_t h)
{
    return __half2float(__ushort_as_half(h));
}

DEVICE uint16_t float_to_f16(float f)
{
    return __half_as_ushort(__float2half_rn(f));
}

/* Two floats rounded to nearest even, the first one in the low half. */
DEVICE uint32_t bf16_pair(float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

DEVICE uint32_t f16_pair(float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

/* ---- tensor cores: all lanes; fragments as the PTX manual lays them out ---- */

/* d [16, 8] += a [16, 16] . b [16, 8] in f32; lane l has rows l / 4 and l / 4 + 8 of a and d,
 * columns from 2 (l % 4) on; of b rows from 2 (l % 4) on, column l / 4. */
DEVICE void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices of 16-bit numbers from shared memory; lane l gives the address of row
 * l % 8 of matrix l / 8 and gets of each matrix m row l / 4, columns 2 (l % 4) and the next. */
DEVICE void matrix_load4(uint32_t to[4], const void *row)
{
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

/* The same, each matrix transposed: rows 2 (l % 4) and the next, column l / 4. */
DEVICE void matrix_load4_turned(uint32_t to[4], const void *row)
{
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

#endif
