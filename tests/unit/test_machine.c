/* What the program says about the machine. */
#include <stdlib.h>
#include <string.h>

#include "base/cpu_features.h"
#include "testing.h"

static bool find_fact(const char *wanted, char value[256])
{
    char key[64];

    for (int i = 0; dino_machine_fact(i, key, value); i++)
        if (strcmp(key, wanted) == 0)
            return true;
    return false;
}

TEST(facts_name_the_processor_the_libraries_and_a_kernel_for_every_op)
{
    char value[256];

    CHECK(find_fact("dino", value) && strcmp(value, dino_version()) == 0);
    CHECK(find_fact("processor", value) && *value);
    CHECK(find_fact("jpeg", value) && strstr(value, "libjpeg"));
    CHECK(find_fact("cpu f32 linear", value) && strcmp(value, "none") != 0);
    CHECK(find_fact("cpu f32 attend", value) && strcmp(value, "none") != 0);
    CHECK(find_fact("cpu f32 mean_rows", value) && strcmp(value, "none") != 0);
    CHECK(!find_fact("no such fact", value));
}

TEST(every_dtype_has_a_kernel_for_each_op_or_one_line_that_says_why_not)
{
    static const char *const dtypes[] = {"f32", "bf16", "int8"};
    char key[64], value[256], wanted[16];

    for (int d = 0; d < 3; d++) {
        int ops = 0, refusals = 0;
        size_t size = (size_t)snprintf(wanted, sizeof wanted, "cpu %s", dtypes[d]);
        for (int i = 0; dino_machine_fact(i, key, value); i++) {
            if (strncmp(key, wanted, size) != 0)
                continue;
            ops += key[size] == ' ';
            if (key[size] == 0 && strncmp(value, "not available: ", 15) == 0)
                refusals++;
        }
        CHECK(refusals == 1 ? ops == 0 : refusals == 0 && ops == 11);
    }
}

TEST(the_list_of_facts_ends)
{
    char key[64], value[256];
    int count = 0;

    while (dino_machine_fact(count, key, value))
        count++;
    CHECK(count > 20 && count < 100);
    CHECK(!dino_machine_fact(-1, key, value));
}

TEST(automatic_arithmetic_is_bf16_only_where_the_processor_multiplies_it)
{
    char value[256];

    setenv("DINO_ISA", "avx2", 1);
    CHECK(find_fact("compute auto", value) && strcmp(value, "f32") == 0);
    unsetenv("DINO_ISA");
    CHECK(find_fact("compute auto", value));
    bool bf16 = dn_cpu_features().isa >= DN_ISA_AVX512BF16;
    assert_string_equal(value, bf16 ? "bf16" : "f32");
}

TEST(a_cap_on_the_instruction_set_is_said)
{
    char value[256];

    setenv("DINO_ISA", "c", 1);
    CHECK(find_fact("instructions", value));
    CHECK(strstr(value, "capped") || strcmp(value, "c") == 0);
    unsetenv("DINO_ISA");
}
