/*
 * The dialect of src/compute/cuda/cuda_dialect.h as C for the processor: included before a .cu
 * file (-include), it stands in for that header. Threads of a block are fibers; what a warp or
 * block does together happens when the last of them arrives, and all must arrive at the same
 * call. Shared memory is as large as the launch said, and full of NaN. Asynchronous copies are
 * made as late as they may be.
 */
#ifndef EMULATE_H
#define EMULATE_H
#define COMPUTE_CUDA_DIALECT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/half.h"

/* Where the running fiber is. */
struct emulated_thread {
    int thread, block[2], grid;
    unsigned char *shared;
};
const struct emulated_thread *emulated(void);

/* Wait for all lanes of the warp; the last one calls together(each lane's data) for all. */
void emulate_warp(void (*together)(void *const lanes[32]), void *mine);
void emulate_block(void);

/* The program ends with a line that names the kernel, block and thread. */
_Noreturn void emulate_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
void emulate_aligned(const void *address, size_t bytes);

void emulate_copy_start(void *shared, const void *global, int real);
void emulate_copy_group(void);
void emulate_copy_wait(int left);

/* Called with NULL a kernel only tells how large its arguments are. */
#define KERNEL(name, args, threads)            \
    static void name##_body(const args a);     \
    size_t name(const void *given);            \
    size_t name(const void *given)             \
    {                                          \
        if (given)                             \
            name##_body(*(const args *)given); \
        return sizeof(args);                   \
    }                                          \
    static void name##_body(const args a)

#define DEVICE static inline __attribute__((unused))
#define SHARED(type, name) type *name = (type *)emulated()->shared
#define UNROLL

DEVICE int thread_x(void)
{
    return emulated()->thread;
}

DEVICE int block_x(void)
{
    return emulated()->block[0];
}

DEVICE int block_y(void)
{
    return emulated()->block[1];
}

DEVICE int grid_x(void)
{
    return emulated()->grid;
}

DEVICE void block_sync(void)
{
    emulate_block();
}

float lane_xor(float value, int mask);

DEVICE uint32_t load4(const void *from)
{
    uint32_t v;
    emulate_aligned(from, 4);
    memcpy(&v, from, 4);
    return v;
}

DEVICE void load8(uint32_t to[2], const void *from)
{
    emulate_aligned(from, 8);
    memcpy(to, from, 8);
}

DEVICE void load16(uint32_t to[4], const void *from)
{
    emulate_aligned(from, 16);
    memcpy(to, from, 16);
}

DEVICE void store4(void *to, uint32_t v)
{
    emulate_aligned(to, 4);
    memcpy(to, &v, 4);
}

DEVICE void store8(void *to, const uint32_t v[2])
{
    emulate_aligned(to, 8);
    memcpy(to, v, 8);
}

DEVICE void store16(void *to, const uint32_t v[4])
{
    emulate_aligned(to, 16);
    memcpy(to, v, 16);
}

DEVICE void copy16_start(void *shared, const void *global, int real)
{
    emulate_copy_start(shared, global, real);
}

DEVICE void copy16_group(void)
{
    emulate_copy_group();
}

DEVICE void copy16_wait(int left)
{
    emulate_copy_wait(left);
}

DEVICE float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

DEVICE uint32_t bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

DEVICE float f16_to_float(uint16_t h)
{
    return dn_f16_to_f32(h);
}

DEVICE uint16_t float_to_f16(float f)
{
    return dn_f32_to_f16(f);
}

DEVICE uint32_t bf16_pair(float low, float high)
{
    return (uint32_t)dn_f32_to_bf16(high) << 16 | dn_f32_to_bf16(low);
}

DEVICE uint32_t f16_pair(float low, float high)
{
    return (uint32_t)dn_f32_to_f16(high) << 16 | dn_f32_to_f16(low);
}

void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]);
void mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2]);
void matrix_load4(uint32_t to[4], const void *row);
void matrix_load4_turned(uint32_t to[4], const void *row);

#endif
