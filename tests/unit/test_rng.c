/* base/rng: the worked values of the formula that fixes every formula weight. */
#include "testing.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

static const struct {
    const char *name;
    size_t index;
    double a, s;
    uint64_t hash, state, mixed;
    uint32_t bits;
} worked[] = {
    {"cls_token", 0, 0.0, 0.5, 0x4121142b781a9599u, 0x4121142b781a9598u, 0x770d78dcfa343c03u,
     0xbd0f2880u},
    {"blocks.0.attn.qkv.weight", 12345, 0.0, 0.08838834764831845, 0xb8eed840ed199670u,
     0x5a1bba6c3bf3271eu, 0xf0afea11efdaf66bu, 0x3d9f5d1cu},
    {"blocks.11.ls2.gamma", 383, 0.2, 0.1, 0xee535aa1d29f0d31u, 0xa3527727430eb09bu,
     0xc06655b408a5b161u, 0x3e8028efu},
    {"image", 1, 0.0, 2.0, 0x2ab612888528489au, 0xc8ed8c420472c4b0u, 0x94b6b300bb21d4a0u,
     0x3ea5b598u},
};
enum { WORKED = sizeof worked / sizeof *worked };

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

TEST(names_hash_to_the_worked_values)
{
    for (int i = 0; i < WORKED; i++)
        CHECK(dn_fnv1a64(worked[i].name) == worked[i].hash);
    CHECK(dn_fnv1a64("") == 0xCBF29CE484222325u);
}

TEST(splitmix_gives_the_worked_values)
{
    for (int i = 0; i < WORKED; i++)
        CHECK(dn_splitmix64(worked[i].state) == worked[i].mixed);
}

TEST(formula_weights_have_the_worked_bits)
{
    for (int i = 0; i < WORKED; i++) {
        float value;
        dn_formula_fill(&value, worked[i].index, 1, worked[i].name, 1, worked[i].a,
                        worked[i].s);
        CHECK(bits_of(value) == worked[i].bits);
    }
}

TEST(any_slice_of_a_tensor_is_the_same_as_the_whole)
{
    float whole[1000], slice[100];

    dn_formula_fill(whole, 0, 1000, "norm.weight", 7, 1.0, 0.1);
    dn_formula_fill(slice, 437, 100, "norm.weight", 7, 1.0, 0.1);
    assert_memory_equal(slice, whole + 437, sizeof slice);
}

TEST(another_seed_or_name_is_another_tensor)
{
    float a[64], b[64];

    dn_formula_fill(a, 0, 64, "norm.bias", 1, 0, 1);
    dn_formula_fill(b, 0, 64, "norm.bias", 2, 0, 1);
    assert_memory_not_equal(a, b, sizeof a);
    dn_formula_fill(b, 0, 64, "norm.biaz", 1, 0, 1);
    assert_memory_not_equal(a, b, sizeof a);
}

TEST(random_numbers_are_even_over_the_unit_interval)
{
    enum { COUNT = 100000, BINS = 10 };
    int bins[BINS] = {0};

    for (uint64_t i = 0; i < COUNT; i++) {
        double v = dn_random_f64(3, 5, i);
        CHECK(v >= 0 && v < 1);
        bins[(int)(v * BINS)]++;
    }
    for (int b = 0; b < BINS; b++) /* standard deviation 95 */
        CHECK(bins[b] > 9500 && bins[b] < 10500);
}

TEST(streams_and_indices_do_not_repeat_each_other)
{
    CHECK(dn_random_u64(1, 2, 3) == dn_random_u64(1, 2, 3));
    CHECK(dn_random_u64(1, 2, 3) != dn_random_u64(1, 3, 2));
    CHECK(dn_random_u64(1, 2, 3) != dn_random_u64(2, 1, 3));
    CHECK(dn_random_u64(1, 2, 3) != dn_random_u64(1, 2, 4));
}
