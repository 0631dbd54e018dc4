/* base/half: 16-bit floats against the definition, all 65536 of each kind. */
#include "testing.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

/* The value of a 16-bit pattern by IEEE 754's words: sign, exponent, mantissa. */
static double value_of(unsigned bits, int mantissa_bits, int bias)
{
    int exponent_bits = 15 - mantissa_bits;
    int exponent = (int)(bits >> mantissa_bits & ((1U << exponent_bits) - 1));
    double mantissa = bits & ((1U << mantissa_bits) - 1);
    double sign = bits & 0x8000 ? -1 : 1, one = ldexp(1, mantissa_bits);

    if (exponent == (1 << exponent_bits) - 1)
        return mantissa > 0 ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(one + mantissa, exponent - bias - mantissa_bits);
}

static bool same(float a, double b)
{
    return (isnan(a) && isnan(b)) || ((double)a == b && !signbit(a) == !signbit(b));
}

TEST(every_f16_pattern_has_its_value_and_comes_back)
{
    for (unsigned bits = 0; bits < 65536; bits++) {
        float value = dn_f16_to_f32((uint16_t)bits);
        CHECK(same(value, value_of(bits, 10, 15)));
        if (isnan(value))
            CHECK(isnan(dn_f16_to_f32(dn_f32_to_f16(value))));
        else
            CHECK(dn_f32_to_f16(value) == bits);
    }
}

TEST(every_bf16_pattern_has_its_value_and_comes_back)
{
    for (unsigned bits = 0; bits < 65536; bits++) {
        float value = dn_bf16_to_f32((uint16_t)bits);
        CHECK(same(value, value_of(bits, 7, 127)));
        if (isnan(value))
            CHECK(isnan(dn_bf16_to_f32(dn_f32_to_bf16(value))));
        else
            CHECK(dn_f32_to_bf16(value) == bits);
    }
}

TEST(f16_rounds_to_nearest_and_ties_to_even)
{
    for (unsigned bits = 0; bits < 0x7bff; bits++) { /* each finite value and its successor */
        float low = dn_f16_to_f32((uint16_t)bits), high = dn_f16_to_f32((uint16_t)(bits + 1));
        float middle = low + (high - low) / 2; /* exact in f32 */
        CHECK(dn_f32_to_f16(middle) == bits + (bits & 1));
        CHECK(dn_f32_to_f16(nextafterf(middle, 0)) == bits);
        CHECK(dn_f32_to_f16(nextafterf(middle, INFINITY)) == bits + 1);
        CHECK(dn_f32_to_f16(-middle) == (0x8000 | (bits + (bits & 1))));
    }
}

TEST(bf16_rounds_to_nearest_and_ties_to_even)
{
    for (unsigned bits = 0; bits < 0x7f7f; bits++) {
        uint32_t middle_bits = bits << 16 | 0x8000, below = middle_bits - 1,
                 above = middle_bits + 1;
        float middle, under, over;
        memcpy(&middle, &middle_bits, sizeof middle);
        memcpy(&under, &below, sizeof under);
        memcpy(&over, &above, sizeof over);
        CHECK(dn_f32_to_bf16(middle) == bits + (bits & 1));
        CHECK(dn_f32_to_bf16(under) == bits);
        CHECK(dn_f32_to_bf16(over) == bits + 1);
    }
}

TEST(values_too_large_become_infinite_only_past_the_tie)
{
    CHECK(dn_f32_to_f16(65504.0F) == 0x7bff);
    CHECK(dn_f32_to_f16(nextafterf(65520.0F, 0)) == 0x7bff);
    CHECK(dn_f32_to_f16(65520.0F) == 0x7c00);
    CHECK(dn_f32_to_f16(-1e30F) == 0xfc00);
    CHECK(dn_f32_to_bf16(INFINITY) == 0x7f80);
    CHECK(dn_f32_to_bf16(3.4028235e38F) == 0x7f80);
}

TEST(every_dtype_is_read_by_value_from_an_odd_address)
{
    uint8_t bytes[64] = {0};
    float out;
    double f64 = -2.5;
    int64_t i64 = -3000000000;
    int32_t i32 = -70000;
    int16_t i16 = -300;

    memcpy(bytes + 1, &f64, sizeof f64);
    CHECK(dn_to_f32(&out, bytes + 1, DINO_F64, 1) == 0 && out == -2.5F);
    memcpy(bytes + 1, &i64, sizeof i64);
    CHECK(dn_to_f32(&out, bytes + 1, DINO_I64, 1) == 0 && out == -3e9F);
    memcpy(bytes + 1, &i32, sizeof i32);
    CHECK(dn_to_f32(&out, bytes + 1, DINO_I32, 1) == 0 && out == -70000.0F);
    memcpy(bytes + 1, &i16, sizeof i16);
    CHECK(dn_to_f32(&out, bytes + 1, DINO_I16, 1) == 0 && out == -300.0F);
    bytes[1] = 0xff;
    CHECK(dn_to_f32(&out, bytes + 1, DINO_I8, 1) == 0 && out == -1.0F);
    CHECK(dn_to_f32(&out, bytes + 1, DINO_U8, 1) == 0 && out == 255.0F);
    bytes[1] = 1;
    CHECK(dn_to_f32(&out, bytes + 1, DINO_BOOL, 1) == 0 && out == 1.0F);
}

TEST(bad_values_are_counted_and_kept)
{
    const float from[] = {1, NAN, INFINITY, -INFINITY, 0};
    uint16_t half[5];
    float back[5];

    dn_from_f32(half, DINO_F16, from, 5);
    CHECK(dn_to_f32(back, half, DINO_F16, 5) == 3);
    CHECK(back[0] == 1 && isnan(back[1]) && back[2] == INFINITY && back[3] == -INFINITY);
    dn_from_f32(half, DINO_BF16, from, 5);
    CHECK(dn_to_f32(back, half, DINO_BF16, 5) == 3);
    CHECK(dn_to_f32(back, from, DINO_F32, 5) == 3);
}

TEST(f32_goes_to_f64_and_back_unchanged)
{
    const float from[] = {0.1F, -3e38F, 1e-45F, 0};
    double wide[4];
    float back[4];

    dn_from_f32(wide, DINO_F64, from, 4);
    CHECK(wide[0] == (double)0.1F && dn_to_f32(back, wide, DINO_F64, 4) == 0);
    assert_memory_equal(back, from, sizeof from);
}

TEST(dtype_names_sizes_and_parsing_agree)
{
    for (int d = 0; d < DINO_DTYPE_COUNT; d++) {
        enum dino_dtype parsed = DINO_AUTO;
        CHECK(dino_dtype_parse(dino_dtype_name((enum dino_dtype)d), &parsed));
        CHECK((int)parsed == d && dino_dtype_size(parsed) > 0);
    }
    enum dino_dtype untouched = DINO_I8;
    CHECK(!dino_dtype_parse("float33", &untouched) && untouched == DINO_I8);
    CHECK(dino_dtype_parse("auto", &untouched) && untouched == DINO_AUTO);
    CHECK(dino_dtype_size(DINO_AUTO) == 0 && dino_dtype_size(DINO_DTYPE_COUNT) == 0);
    assert_string_equal(dino_dtype_name((enum dino_dtype)77), "unknown");
}
