/* gemm_vec.h in plain C: GCC's vector types, so that Arm and old x86 get four lanes. */
#ifndef COMPUTE_CPU_GEMM_VEC_PLAIN_H
#define COMPUTE_CPU_GEMM_VEC_PLAIN_H

enum { VL = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));

VEC_INLINE vf vf_set1(float x)
{
    return (vf){x, x, x, x};
}
VEC_INLINE vf vf_load(const void *p)
{
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}
VEC_INLINE void vf_store(void *p, vf x)
{
    memcpy(p, &x, sizeof x);
}
VEC_INLINE vf vf_load_n(const float *p, int n)
{
    vf x = {0};
    for (int i = 0; i < n; i++)
        x[i] = p[i];
    return x;
}
VEC_INLINE void vf_store_n(float *p, vf x, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = x[i];
}
VEC_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return a * b + c;
}
/* The second where either is NaN, as the x86 instructions do. */
VEC_INLINE vf vf_max(vf a, vf b)
{
    vi first = a > b;
    return (vf)((first & (vi)a) | (~first & (vi)b));
}
VEC_INLINE vf vf_min(vf a, vf b)
{
    vi first = a < b;
    return (vf)((first & (vi)a) | (~first & (vi)b));
}
/* |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction. */
VEC_INLINE vf vf_round(vf x)
{
    return (x + 12582912.0F) - 12582912.0F;
}
VEC_INLINE vi vi_from_f32(vf x)
{
    return __builtin_convertvector(vf_round(x), vi);
}
VEC_INLINE vf vf_scale2(vf x, vf n)
{
    vi power = vi_from_f32(n) + 127;
    return x * (vf)((power & (power > 0)) << 23);
}
VEC_INLINE vi vi_load(const void *p)
{
    vi x;
    memcpy(&x, p, sizeof x);
    return x;
}
VEC_INLINE vi vi_set1(int32_t x)
{
    return (vi){x, x, x, x};
}
VEC_INLINE vf vf_from_i32(vi x)
{
    return __builtin_convertvector(x, vf);
}
VEC_INLINE vi vi_add(vi a, vi b)
{
    return a + b;
}
VEC_INLINE vi vi_sub(vi a, vi b)
{
    return a - b;
}
VEC_INLINE vi vi_mul(vi a, vi b)
{
    return a * b;
}
VEC_INLINE void vi_store_bytes(void *p, vi x, int n)
{
    for (int i = 0; i < (n >= VL ? VL : n); i++)
        ((uint8_t *)p)[i] = (uint8_t)x[i];
}
VEC_INLINE vf vf_load_bf16_n(const uint16_t *p, int n)
{
    vf x = {0};
    for (int i = 0; i < n; i++)
        x[i] = dn_bf16_to_f32(p[i]);
    return x;
}
VEC_INLINE vf vf_load_bf16(const uint16_t *p)
{
    return vf_load_bf16_n(p, VL);
}
VEC_INLINE void vf_store_bf16_n(uint16_t *p, vf x, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = dn_f32_to_bf16(x[i]);
}
VEC_INLINE void vf_store_bf16(uint16_t *p, vf x)
{
    vf_store_bf16_n(p, x, VL);
}
VEC_INLINE float vf_sum(vf x)
{
    return (x[0] + x[2]) + (x[1] + x[3]);
}
VEC_INLINE float vf_top(vf x)
{
    float a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
}

VEC_INLINE vf vf_pick_n(vf x, vf y, int n)
{
    for (int i = n; i < VL; i++)
        x[i] = y[i];
    return x;
}
VEC_INLINE void vf_transpose(vf row[VL])
{
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < i; j++) {
            float t = row[i][j];
            row[i][j] = row[j][i];
            row[j][i] = t;
        }
}

#endif
