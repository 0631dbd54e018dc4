/*
 * For the tests of training arithmetic: the devices that train, matrices of golden tensors in
 * the dtype of a device, and comparison by the largest difference over the largest value.
 */
#ifndef TESTING_TRAIN_H
#define TESTING_TRAIN_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/device.h"
#include "ops/testing_ops.h"
#include "testing.h"

struct trainer_bench {
    struct device *device;
    struct queue *queue;
    enum dino_dtype dtype;
    double bar; /* of a difference over the largest value of the truth */
    struct tensors file;
    const char *op; /* prefix of names */
};

/* ref in f64 is held to the rounding of the stored f32 values, cpu in f32 to the bar of
 * TRAINING.md, section 2. Where DINO_TEST_DEVICE names a GPU it stands for cpu. */
static const struct {
    const char *name;
    enum dino_dtype dtype;
    double bar;
} train_devices[] = {{"ref", DINO_F64, 1e-7},
                     {"cpu", DINO_F32, 1e-5},
                     {"cpu", DINO_BF16, 3e-2},
                     {"cpu", DINO_F16, 4e-3}};
/* those that do every operation in their dtype; the others mix two and have whole steps only,
 * f16 on a GPU */
enum { TRAIN_DEVICES = 2, TRAIN_BF16 = 2, TRAIN_F16 = 3 };

static inline struct trainer_bench train_open(int i, const char *golden)
{
    struct trainer_bench b = {.dtype = train_devices[i].dtype, .bar = train_devices[i].bar};
    const char *wish = testing_device(), *name = train_devices[i].name;
    struct dino_error err = {0};

    if (wish && strcmp(name, "cpu") == 0)
        name = wish;
    b.device = dn_device_open(name, b.dtype, 0, &err);
    CHECK_OK(b.device, err);
    if (getenv("DINO_TEST_MIRROR"))
        b.device = ops_mirror(b.device);
    b.dtype = dn_train_dtype(b.device);
    b.queue = dn_queue_new(b.device, 0, &err);
    CHECK_OK(b.queue, err);
    if (golden)
        CHECK_OK(dn_tensors_open(&b.file, testing_golden(golden), &err), err);
    return b;
}

static inline void train_close(struct trainer_bench *b)
{
    struct dino_error err = {0};

    CHECK_OK(dn_queue_finish(b->queue, &err), err);
    if (b->file.path)
        dn_tensors_release(&b->file);
    dn_queue_free(b->queue);
    dn_device_close(b->device);
}

static inline double train_get(struct mat m, size_t i)
{
    return m.dtype == DINO_F64 ? ((double *)m.data)[i] : (double)((float *)m.data)[i];
}

static inline void train_set(struct mat m, size_t i, double value)
{
    if (m.dtype == DINO_F64)
        ((double *)m.data)[i] = value;
    else
        ((float *)m.data)[i] = (float)value;
}

/* A matrix of zeros on the heap; free its data. */
static inline struct mat train_zeros(const struct trainer_bench *b, int rows, int cols)
{
    void *data = calloc((size_t)rows * (size_t)cols + 1, sizeof(double));

    CHECK(data);
    return dn_mat(data, rows, cols, b->dtype);
}

/* Values of the golden tensor OP.NAME; cols 0: one row. */
static inline void train_fill(const struct trainer_bench *b, struct mat m, const char *name)
{
    char full[320];
    size_t count;

    snprintf(full, sizeof full, "%s%s%s", b->op, *b->op ? "." : "", name);
    float *values = testing_tensor(&b->file, full, &count);
    if (count != (size_t)m.rows * (size_t)m.cols)
        fail_msg("%s has %zu values, wanted %d x %d", full, count, m.rows, m.cols);
    for (size_t i = 0; i < count; i++)
        train_set(m, i, (double)values[i]);
    free(values);
}

static inline struct mat train_load(const struct trainer_bench *b, const char *name, int cols)
{
    char full[320];

    snprintf(full, sizeof full, "%s%s%s", b->op, *b->op ? "." : "", name);
    const struct dino_tensor *t = dn_tensors_find(&b->file, full);
    if (!t)
        fail_msg("no tensor %s", full);
    int count = (int)dn_tensor_elements(t);
    struct mat m = train_zeros(b, cols ? count / cols : 1, cols ? cols : count);
    train_fill(b, m, name);
    return m;
}

/* m against OP.NAME: the largest difference over the largest value is at most bar, and
 * anything below `absolute` is no difference. */
static inline void train_check_bar(const struct trainer_bench *b, struct mat m,
                                   const char *name, double bar, double absolute)
{
    char full[320];
    size_t count;
    double worst = 0, most = 0;
    struct dino_error err = {0};

    CHECK_OK(dn_queue_finish(b->queue, &err), err);
    snprintf(full, sizeof full, "%s%s%s", b->op, *b->op ? "." : "", name);
    float *truth = testing_tensor(&b->file, full, &count);
    if (count != (size_t)m.rows * (size_t)m.cols)
        fail_msg("%s has %zu values, not %d x %d", full, count, m.rows, m.cols);
    for (size_t i = 0; i < count; i++) {
        double d = fabs(train_get(m, i) - (double)truth[i]);
        worst = d <= worst ? worst : d; /* NaN stays */
        most = fmax(most, fabs((double)truth[i]));
    }
    free(truth);
    if (getenv("DINO_TEST_MEASURE"))
        print_message("MEASURE %s %s %.2e of %.2e\n", b->device->name, full,
                      most > 0 ? worst / most : worst, most);
    if (!(worst <= bar * most + absolute))
        fail_msg("%s on %s: off by %.3g of %.3g, allowed %.3g", full, b->device->name, worst,
                 most, bar * most + absolute);
}

static inline void train_check(const struct trainer_bench *b, struct mat m, const char *name)
{
    train_check_bar(b, m, name, b->bar, 0);
}

#endif
