/*
 * Tests are written as sentences:
 *
 *     TEST(a_short_header_is_refused_and_nothing_is_consumed) { CHECK(...); }
 *
 * They register themselves; testing.c holds main and runs them under cmocka. A test that
 * cannot run (no golden data, no such instruction set) calls SKIP with the reason.
 */
#ifndef TESTING_H
#define TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "format/tensors.h"

#define TEST(name)                                                 \
    static void name(void **state);                                \
    __attribute__((constructor)) static void register_##name(void) \
    {                                                              \
        testing_register(#name, name);                             \
    }                                                              \
    static void name(void **state __attribute__((unused)))

#define CHECK(condition) assert_true(condition)

/* Fails with the library's own message. */
#define CHECK_OK(call, err)                           \
    do {                                              \
        if (!(call))                                  \
            fail_msg("%s: %s", #call, (err).message); \
    } while (0)

#define SKIP(...)                               \
    do {                                        \
        print_message("SKIPPED: " __VA_ARGS__); \
        print_message("\n");                    \
        skip();                                 \
    } while (0)

void testing_register(const char *name, CMUnitTestFunction function);

/* tests/data/NAME (committed); static buffers, four at a time. */
const char *testing_data(const char *name);
/* ../shared/golden/NAME; skips the test with a line where the golden data is not there. */
const char *testing_golden(const char *name);
/* ../shared/data/NAME; the same. */
const char *testing_pictures(const char *name);
/* A fresh directory for this test program, removed at exit. */
const char *testing_scratch(void);

/* The device that tests of models and operations use: $DINO_TEST_DEVICE, or NULL. */
const char *testing_device(void);

/* Largest absolute difference, and ||a - b|| / ||b||; infinite when a NaN is met. */
double testing_max_abs(const float *a, const float *b, size_t count);
double testing_rel_l2(const float *a, const float *b, size_t count);

/* A tensor of a result file as heap f32 [count]; fails the test if it is missing. */
float *testing_tensor(const struct tensors *file, const char *name, size_t *count);

#endif
