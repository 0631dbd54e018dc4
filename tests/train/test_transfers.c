/* What processes send each other, of the host's memory and of a device's; see testing_world.h.
 */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "train/testing_train.h"
#include "train/testing_world.h"

/* ---- of the host ---- */

/* What rank r has at place i: sums of these are exact in any order, and in f32. */
static double value(int rank, size_t i)
{
    return (double)((i * 7 + (size_t)rank * 13) % 1000) - 300;
}

static double sum_of_values(int size, size_t i)
{
    double sum = 0;

    for (int r = 0; r < size; r++)
        sum += value(r, i);
    return sum;
}

static struct mat values(size_t count, enum dino_dtype dtype)
{
    struct trainer_bench b = {.dtype = dtype};
    struct mat m = train_zeros(&b, 1, (int)count);

    for (size_t i = 0; i < count; i++)
        train_set(m, i, value(dino_comm_rank(world()), i));
    return m;
}

TEST(ranks_are_counted_as_they_were_started)
{
    const char *wanted = getenv("OMPI_COMM_WORLD_SIZE");

    CHECK(dino_comm_size(world()) == (wanted ? strtol(wanted, NULL, 10) : 1));
    CHECK(dino_comm_rank(world()) >= 0 && dino_comm_rank(world()) < dino_comm_size(world()));
    CHECK(dino_comm_rank(NULL) == 0 && dino_comm_size(NULL) == 1);
    CHECK(dn_comm_cores(world()) >= 1);
}

/* Few numbers and many, a number a process at most, and no number at all. */
static const size_t counts[] = {0, 1, 2, 3, 1000, 70001, 3000003};
enum { COUNTS = sizeof counts / sizeof *counts };

TEST(a_sum_is_that_of_all_processes)
{
    for (int i = 0; i < 2 * COUNTS; i++) {
        struct mat m = values(counts[i / 2], i % 2 ? DINO_F64 : DINO_F32);
        dn_comm_sum(world(), m.data, (size_t)m.cols, m.dtype);
        for (size_t k = 0; k < (size_t)m.cols; k++)
            CHECK(train_get(m, k) == sum_of_values(dino_comm_size(world()), k));
        free(m.data);
    }
}

TEST(sums_of_rounded_numbers_have_the_same_bits_everywhere)
{
    enum { COUNT = 200000 };
    struct mat m = values(COUNT, DINO_F32);
    float *first = malloc(COUNT * sizeof *first);

    for (int i = 0; i < COUNT; i++)
        ((float *)m.data)[i] =
            (float)dn_random_f64(3, (uint64_t)dino_comm_rank(world()), (uint64_t)i);
    dn_comm_sum(world(), m.data, COUNT, DINO_F32);
    memcpy(first, m.data, COUNT * sizeof *first);
    dn_comm_broadcast(world(), first, COUNT * sizeof *first, 0);
    CHECK(memcmp(first, m.data, COUNT * sizeof *first) == 0);
    free(first);
    free(m.data);
}

TEST(the_largest_is_that_of_all_processes_and_no_number_stays_none)
{
    double x[2] = {dino_comm_rank(world()), 5};
    float y = dino_comm_rank(world()) == 0 ? NAN : 1;

    dn_comm_largest(world(), x, 2, DINO_F64);
    dn_comm_largest(world(), &y, 1, DINO_F32);
    CHECK(x[0] == dino_comm_size(world()) - 1 && x[1] == 5);
    CHECK(isnan(y));
}

/* Shares of unequal size: rank r has r numbers more than a third of `count`. */
static size_t *uneven_shares(size_t count, size_t width)
{
    int size = dino_comm_size(world());
    size_t *starts = calloc((size_t)size + 1, sizeof *starts);

    CHECK(starts);
    for (int r = 1; r < size; r++)
        starts[r] = count * (size_t)r * (size_t)r / (size_t)(size * size) * width;
    starts[size] = count * width;
    return starts;
}

TEST(a_reduce_scatter_leaves_each_process_the_sum_of_its_part)
{
    int rank = dino_comm_rank(world()), size = dino_comm_size(world());

    for (int i = 0; i < COUNTS; i++) {
        struct mat a = values(counts[i], DINO_F32), b = values(counts[i], DINO_F64);
        size_t *narrow = uneven_shares(counts[i], 4), *wide = uneven_shares(counts[i], 8);
        for (int turn = 0; turn < 4; turn++) { /* more than may be on their way at once */
            dn_comm_reduce_scatter(world(), a.data, narrow, DINO_F32);
            dn_comm_reduce_scatter(world(), b.data, wide, DINO_F64);
            dn_comm_wait(world());
            dn_comm_all_gather(world(), a.data, narrow);
            dn_comm_all_gather(world(), b.data, wide);
            dn_comm_wait(world());
            for (size_t k = 0; k < counts[i]; k++) {
                CHECK(train_get(a, k) == sum_of_values(size, k));
                CHECK(train_get(b, k) == sum_of_values(size, k));
                train_set(a, k, value(rank, k));
                train_set(b, k, value(rank, k));
            }
        }
        free(a.data);
        free(b.data);
        free(narrow);
        free(wide);
    }
}

TEST(a_gather_brings_all_parts_to_the_first_process)
{
    enum { COUNT = 100003 };
    size_t *starts = uneven_shares(COUNT, 8);
    int rank = dino_comm_rank(world());
    size_t first = starts[rank] / 8, own = (starts[rank + 1] - starts[rank]) / 8;
    double *all = rank == 0 ? calloc(COUNT, sizeof *all) : NULL;
    double *part = calloc(own + 1, sizeof *part);

    for (size_t i = 0; i < own; i++)
        part[i] = (double)(first + i);
    dn_comm_gather(world(), all, part, starts);
    for (size_t i = 0; all && i < COUNT; i++)
        CHECK(all[i] == (double)i);
    free(all);
    free(part);
    free(starts);
}

TEST(one_failure_fails_all_with_its_own_words)
{
    int size = dino_comm_size(world()), last = size - 1;
    bool mine = dino_comm_rank(world()) == last;
    struct dino_error err = {0};

    CHECK(dn_comm_agree(world(), true, &err) && err.code == DINO_OK);
    if (mine)
        dn_fail(&err, DINO_EFORMAT, "the disk is wet");
    CHECK(!dn_comm_agree(world(), !mine, &err));
    CHECK(err.code == DINO_EFORMAT && strstr(err.message, "the disk is wet"));
    CHECK(!strstr(err.message, "process") == (last == 0));
    CHECK(dn_comm_any(world(), mine) && !dn_comm_any(world(), false));
}

/* ---- of a device ---- */

/* Device memory with the numbers of `m`; what lies there comes back into `m`. */
static void *put_there(const struct trainer_bench *b, struct mat m)
{
    struct dino_error err = {0};
    size_t bytes = (size_t)m.cols * sizeof(float);
    void *there = b->device->ops->alloc(b->device, bytes + 1, &err);

    CHECK_OK(there, err);
    b->device->ops->upload(b->queue, there, m.data, bytes);
    return there;
}

static void take_back(const struct trainer_bench *b, struct mat m, void *there)
{
    size_t bytes = (size_t)m.cols * sizeof(float);

    b->device->ops->download(b->queue, m.data, there, bytes);
    b->device->ops->free(b->device, there, bytes + 1);
}

/* What the queue does before and after a transfer is done in that order. */
static void check_transfers(const struct trainer_bench *b, size_t count)
{
    int rank = dino_comm_rank(world()), size = dino_comm_size(world());
    size_t *starts = uneven_shares(count, 4), *even = calloc((size_t)size + 1, sizeof *even);
    struct mat m = values(count, DINO_F32), top = values(1, DINO_F32), all = m;
    char *sum, *largest = put_there(b, top), *parts = put_there(b, m);

    all.data = sum = put_there(b, m);
    dn_fill(b->queue, (struct op_fill){.y = dn_mat(sum, 1, 1, DINO_F32), .value = rank});
    dn_comm_device_sum(world(), all);
    dn_fill(b->queue,
            (struct op_fill){.y = dn_mat(sum + 4 * (count - 1), 1, 1, DINO_F32), .value = 7});
    dn_comm_device_largest(world(), dn_mat(largest, 1, 1, DINO_F32));
    take_back(b, m, sum);
    take_back(b, top, largest);
    for (size_t i = 0; i < count; i++)
        CHECK(train_get(m, i) == (i == count - 1 ? 7
                                  : i == 0       ? size * (size - 1) / 2
                                                 : sum_of_values(size, i)));
    CHECK(train_get(top, 0) == value(size - 1, 0));

    dn_comm_device_reduce_scatter(world(), parts, starts, DINO_F32);
    dn_comm_device_wait(world());
    dn_comm_device_all_gather(world(), parts, starts);
    dn_comm_device_wait(world());
    for (int r = 0; r <= size; r++) /* once more, in parts of one size */
        even[r] = (size_t)r * (count / (size_t)size) * 4;
    dn_comm_device_all_gather(world(), parts, even);
    dn_comm_device_wait(world());
    take_back(b, m, parts);
    for (size_t i = 0; i < count; i++)
        CHECK(train_get(m, i) == sum_of_values(size, i));
    free(m.data);
    free(top.data);
    free(starts);
    free(even);
}

TEST(numbers_in_device_memory_travel_as_those_of_the_host)
{
    struct trainer_bench b = train_open(1, NULL);
    struct dino_error err = {0};

    CHECK_OK(dn_comm_attach(world(), b.queue, &err), err);
    for (int i = 1; i < COUNTS; i++)
        check_transfers(&b, counts[i]);
    dn_comm_detach(world());
    train_close(&b);
}
