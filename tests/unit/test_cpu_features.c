/* base/cpu_features: what is detected, and what DINO_ISA makes of it. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu_features.h"

/* Features under a cap; the environment is as before afterwards. */
static struct cpu_features capped_at(const char *cap)
{
    const char *had = getenv("DINO_ISA");
    char *before = had ? strdup(had) : NULL;

    if (cap)
        setenv("DINO_ISA", cap, 1);
    else
        unsetenv("DINO_ISA");
    struct cpu_features features = dn_cpu_features();
    if (before)
        setenv("DINO_ISA", before, 1);
    else
        unsetenv("DINO_ISA");
    free(before);
    return features;
}

TEST(names_of_instruction_sets_are_parsed_back)
{
    for (int i = 0; i < DN_ISA_COUNT; i++) {
        enum dn_isa isa = DN_ISA_COUNT;
        CHECK(dn_isa_parse(dn_isa_name((enum dn_isa)i), &isa) && (int)isa == i);
    }
    enum dn_isa isa = DN_ISA_AMX;
    CHECK(!dn_isa_parse("sse9", &isa) && !dn_isa_parse("", &isa) && isa == DN_ISA_AMX);
}

TEST(without_a_cap_the_best_detected_set_is_used)
{
    struct cpu_features features = capped_at(NULL);

    CHECK(features.isa == features.detected && !features.capped);
}

TEST(a_cap_lowers_and_never_raises)
{
    enum dn_isa detected = capped_at(NULL).detected;

    for (int cap = 0; cap < DN_ISA_COUNT; cap++) {
        struct cpu_features features = capped_at(dn_isa_name((enum dn_isa)cap));
        int wanted = cap < (int)detected ? cap : (int)detected;
        CHECK((int)features.isa == wanted && features.detected == detected);
        CHECK(features.capped == (cap < (int)detected));
        CHECK(features.vnni == false || features.isa >= DN_ISA_AVX512);
    }
}

TEST(an_unknown_cap_changes_nothing)
{
    CHECK(capped_at("turbo").isa == capped_at(NULL).isa);
    CHECK(capped_at("").isa == capped_at(NULL).isa);
}

TEST(there_is_at_least_one_core_and_no_more_than_the_machine_has)
{
    CHECK(dn_cpu_cores() >= 1 && dn_cpu_cores() <= sysconf(_SC_NPROCESSORS_CONF));
}

TEST(the_processor_has_a_name_of_one_line)
{
    char name[64];

    dn_cpu_name(name);
    CHECK(name[0] && !strchr(name, '\n'));
}
