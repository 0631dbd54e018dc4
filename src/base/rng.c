#include "base/rng.h"

static const uint64_t GOLDEN = 0x9E3779B97F4A7C15u;

uint64_t dn_splitmix64(uint64_t x)
{
    x += GOLDEN;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t dn_fnv1a64(const char *text)
{
    uint64_t h = 0xCBF29CE484222325u;

    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001B3u;
    return h;
}

uint64_t dn_random_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    return dn_splitmix64(dn_splitmix64(dn_splitmix64(seed) ^ stream) ^ index);
}

double dn_random_f64(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(dn_random_u64(seed, stream, index) >> 11) * 0x1p-53;
}

void dn_formula_fill(float *out, size_t first, size_t count, const char *name, uint64_t seed,
                     double a, double s)
{
    uint64_t start = seed ^ dn_fnv1a64(name);

    for (size_t i = 0; i < count; i++) {
        uint64_t z = dn_splitmix64(start + (first + i) * GOLDEN);
        double u = (double)(z >> 40) * 0x1p-24;
        double product = s * (2 * u - 1); /* two roundings: -ffp-contract=off */
        out[i] = (float)(a + product);
    }
}
