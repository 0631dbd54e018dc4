/* attend and attention_map on every device against the reference. */
#include <math.h>
#include <stdlib.h>

#include "ops/testing_ops.h"

struct attend_case {
    int width, heads, pad;
    float spread; /* of q, k and v: large ones make sharp probabilities */
    bool aligned;
    int lengths[6];
};

static void check_attend(struct bench *b, const struct attend_case *t)
{
    int starts[7] = {0}, sequences = 0, dim = t->width * t->heads;
    char what[100];

    while (sequences < 6 && t->lengths[sequences] >= 0) {
        starts[sequences + 1] = starts[sequences] + t->lengths[sequences];
        sequences++;
    }
    int tokens = starts[sequences];
    struct guarded (*random)(int, int, int, enum dino_dtype, float, uint64_t) =
        t->aligned ? ops_aligned : ops_random;
    struct guarded qkv = random(tokens, 3 * dim, t->pad, b->dtype, t->spread, 11);
    struct guarded y = random(tokens, dim, 2 * t->pad, b->dtype, 1, 12);
    struct mat truth = ops_truth(tokens, dim);
    struct op_attend op = {.y = y.mat,
                           .qkv = qkv.mat,
                           .heads = t->heads,
                           .scale = 1 / sqrtf((float)t->width),
                           .starts = starts,
                           .sequences = sequences};

    snprintf(what, sizeof what, "width %d heads %d tokens %d sequences %d pad %d spread %g",
             t->width, t->heads, tokens, sequences, t->pad, (double)t->spread);
    dn_attend(b->queue, op);
    op.y = truth;
    dn_attend(b->ref_queue, op);
    ops_finish(b);
    ops_check(t->spread > 2 ? "attend sharp" : "attend", b->dtype, &y, truth, what);
    ops_check_guards(&qkv);
    ops_free(&qkv);
    ops_free(&y);
    free(truth.data);
}

static void check_all(const struct attend_case *cases, size_t count)
{
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (size_t i = 0; i < count; i++)
            check_attend(&b, &cases[i]);
        ops_close(&b);
    }
}

TEST(every_head_width_agrees_with_the_reference)
{
    static const int widths[] = {1, 7, 8, 16, 24, 32, 48, 63, 64, 65, 80, 96, 128, 192, 256};
    struct attend_case cases[15];

    for (size_t i = 0; i < 15; i++)
        cases[i] = (struct attend_case){
            .width = widths[i], .heads = 2, .spread = 2, .lengths = {31, 17, -1}};
    check_all(cases, 15);
}

TEST(every_sequence_length_agrees_with_the_reference)
{
    static const int lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 257};
    struct attend_case cases[14];

    for (size_t i = 0; i < 14; i++)
        cases[i] = (struct attend_case){
            .width = 64, .heads = 3, .spread = 2, .lengths = {lengths[i], -1}};
    check_all(cases, 14);
}

TEST(packed_sequences_do_not_see_each_other)
{
    static const struct attend_case cases[] = {
        {.width = 64, .heads = 2, .spread = 2, .lengths = {257, 50, 1, 50, 33, -1}},
        {.width = 64, .heads = 2, .spread = 2, .pad = 5, .lengths = {1, 1, 2, 1, -1}},
        {.width = 32, .heads = 3, .spread = 2, .lengths = {0, 17, 0, 5, 0, -1}},
        {.width = 7, .heads = 1, .spread = 2, .pad = 1, .lengths = {16, 15, 17, -1}},
    };
    check_all(cases, sizeof cases / sizeof *cases);
}

TEST(the_longest_usual_sequence_agrees_with_the_reference)
{
    static const struct attend_case cases[] = {
        {.width = 64, .heads = 1, .spread = 2, .lengths = {1370, -1}},
        {.width = 64, .heads = 1, .spread = 2, .pad = 3, .lengths = {600, 700, -1}},
    };
    check_all(cases, sizeof cases / sizeof *cases);
}

TEST(keys_beyond_the_second_level_cache_agree_with_the_reference)
{
    static const struct attend_case cases[] = {
        {.width = 256, .heads = 1, .spread = 2, .pad = 3, .lengths = {520, 40, -1}},
    };
    check_all(cases, sizeof cases / sizeof *cases);
}

TEST(strides_and_unaligned_rows_change_nothing)
{
    static const struct attend_case cases[] = {
        {.width = 64, .heads = 2, .spread = 2, .pad = 1, .lengths = {50, 40, -1}},
        {.width = 64, .heads = 2, .spread = 2, .pad = 64, .lengths = {50, 40, -1}},
        {.width = 24, .heads = 5, .spread = 2, .pad = 7, .lengths = {50, 40, -1}},
    };
    check_all(cases, sizeof cases / sizeof *cases);
}

/* Where addresses allow it, devices have other paths. */
TEST(aligned_rows_agree_with_the_reference)
{
    static const struct attend_case cases[] = {
        {.width = 64,
         .heads = 2,
         .spread = 2,
         .aligned = true,
         .lengths = {1, 257, 64, 50, -1}},
        {.width = 64, .heads = 3, .spread = 2, .pad = 8, .aligned = true, .lengths = {65, -1}},
        {.width = 64, .heads = 1, .spread = 60, .aligned = true, .lengths = {33, 130, -1}},
    };
    check_all(cases, sizeof cases / sizeof *cases);
}

TEST(scores_of_any_size_neither_overflow_nor_lose_rows)
{
    static const struct attend_case cases[] = {
        {.width = 64, .heads = 2, .spread = 0, .lengths = {33, 17, -1}},
        {.width = 64, .heads = 2, .spread = 8, .lengths = {33, 17, -1}},
        {.width = 64, .heads = 2, .spread = 60, .lengths = {33, 65, -1}},
    };
    check_all(cases, sizeof cases / sizeof *cases);
}

TEST(attention_maps_agree_with_the_reference_and_sum_to_one)
{
    static const int tokens[] = {1, 16, 31, 65, 257}, widths[] = {1, 24, 64, 65, 128};
    int devices = ops_devices();

    for (int d = 0; d < devices; d++) {
        struct bench b = ops_open(d);
        for (int i = 0; i < 25; i++) {
            int n = tokens[i / 5], width = widths[i % 5], heads = 3;
            struct guarded qkv = ops_random(n, 3 * heads * width, i % 3, b.dtype, 2, 21);
            struct guarded y = ops_random(heads * n, n, i % 2 * 3, DINO_F32, 1, 22);
            struct mat truth = ops_truth(heads * n, n);
            struct op_attention_map op = {
                .y = y.mat, .qkv = qkv.mat, .heads = heads, .scale = 1 / sqrtf((float)width)};

            dn_attention_map(b.queue, op);
            op.y = truth;
            dn_attention_map(b.ref_queue, op);
            ops_finish(&b);
            ops_check("attention_map", DINO_F32, &y, truth, "");
            for (int r = 0; r < heads * n; r++) {
                double sum = 0;
                for (int t = 0; t < n; t++)
                    sum += ops_get(y.mat, r, t);
                CHECK(fabs(sum - 1) < 1e-5);
            }
            ops_free(&qkv);
            ops_free(&y);
            free(truth.data);
        }
        ops_close(&b);
    }
}
