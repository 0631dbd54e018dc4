#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_TESTS = 400 };
static struct CMUnitTest tests[MOST_TESTS];
static size_t test_count;
static char scratch[64];

void testing_register(const char *name, CMUnitTestFunction function)
{
    if (test_count == MOST_TESTS)
        abort();
    tests[test_count++] = (struct CMUnitTest){name, function, NULL, NULL, NULL};
}

static const char *path_under(const char *folder, const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s/%s", SOURCE_DIR, folder, name);
    return path;
}

const char *testing_data(const char *name)
{
    return path_under("tests/data", name);
}

static const char *shared(const char *folder, const char *name)
{
    const char *path = path_under(folder, name);
    if (access(path, R_OK) != 0)
        SKIP("%s is not here", name);
    return path;
}

const char *testing_golden(const char *name)
{
    return shared("../shared/golden", name);
}

const char *testing_pictures(const char *name)
{
    return shared("../shared/data", name);
}

static void remove_scratch(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    if (system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", scratch);
}

const char *testing_scratch(void)
{
    if (!scratch[0]) {
        snprintf(scratch, sizeof scratch, "/tmp/dino-test-XXXXXX");
        if (!mkdtemp(scratch))
            abort();
        atexit(remove_scratch);
    }
    return scratch;
}

double testing_max_abs(const float *a, const float *b, size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - b[i]);
        if (isnan(d))
            return INFINITY;
        worst = d > worst ? d : worst;
    }
    return worst;
}

double testing_rel_l2(const float *a, const float *b, size_t count)
{
    double difference = 0, truth = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - b[i];
        difference += d * d;
        truth += (double)b[i] * b[i];
    }
    double ratio = sqrt(difference) / sqrt(truth);
    return isnan(ratio) ? INFINITY : ratio;
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests(name ? name + 1 : argv[0], tests, test_count, NULL, NULL);
}

const char *testing_device(void)
{
    return getenv("DINO_TEST_DEVICE");
}
