/* Runs that overlap: bits, order, and what failures in the middle leave behind. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { BATCHES = 9, LARGEST = 4, SIDE = 84 };

/* Batches that grow and shrink, of one size and of several. */
static const struct shape {
    int count, height, width;
} shapes[BATCHES] = {{1, 28, 28}, {2, 42, 28}, {4, 28, 28}, {1, 84, 70}, {3, 42, 42},
                     {4, 28, 28}, {4, 28, 28}, {4, 70, 70}, {1, 14, 14}};

struct world {
    struct dino_model *model;
    struct dino_session *session;
    uint8_t *pixels; /* of one batch; written over as soon as it was taken */
    struct dino_input inputs[LARGEST];
    float *wanted[BATCHES]; /* what single runs give */
    int left;               /* operations until the session is told to stop */
};

static bool count_down(void *context)
{
    int *left = context;

    return --*left >= 0;
}

static int show(struct world *w, int batch)
{
    const struct shape *shape = &shapes[batch];

    for (size_t i = 0; i < (size_t)LARGEST * SIDE * SIDE * 3; i++)
        w->pixels[i] = (uint8_t)dn_random_u64(5, (uint64_t)batch, i);
    for (int i = 0; i < shape->count; i++)
        w->inputs[i] = (struct dino_input){.pixels = w->pixels + (size_t)i * SIDE * SIDE * 3,
                                           .height = shape->height,
                                           .width = shape->width + (i == 2 ? 14 : 0)};
    return shape->count;
}

/* All tokens of the run that ended last, as one block. */
static size_t gather(struct world *w, int count, float *to)
{
    size_t floats = 0;

    for (int i = 0; i < count; i++) {
        const struct dino_features *f = dino_result(w->session, i);
        CHECK(f);
        size_t more = (size_t)f->tokens * (size_t)f->dim;
        if (to)
            memcpy(to + floats, f->layer[0], more * sizeof *to);
        floats += more;
    }
    CHECK(!dino_result(w->session, count));
    return floats;
}

static void check_result(struct world *w, int batch)
{
    size_t floats = gather(w, shapes[batch].count, NULL);
    float *got = malloc(floats * sizeof *got);

    gather(w, shapes[batch].count, got);
    if (memcmp(got, w->wanted[batch], floats * sizeof *got) != 0)
        fail_msg("batch %d has other bits", batch);
    free(got);
}

static void begin(struct world *w, int batch)
{
    struct dino_error err = {0};
    int count = show(w, batch);

    CHECK_OK(dino_run_begin(w->session, w->inputs, count, NULL, &err), err);
    memset(w->pixels, 0xaa, (size_t)LARGEST * SIDE * SIDE * 3);
    memset(w->inputs, 0xaa, sizeof w->inputs);
}

static void end(struct world *w, int batch)
{
    struct dino_error err = {0};

    CHECK_OK(dino_run_end(w->session, &err), err);
    check_result(w, batch);
}

static void open_world(struct world *w)
{
    struct dino_model_options options = {
        .size = sizeof options, .device = testing_device(), .threads = 2};
    struct dino_session_options session = {
        .size = sizeof session, .keep_going = count_down, .context = &w->left};
    struct dino_error err = {0};

    *w = (struct world){.left = 1 << 30};
    w->pixels = malloc((size_t)LARGEST * SIDE * SIDE * 3);
    w->model = dino_model_open(testing_data("tiny_cls_hf"), &options, &err);
    CHECK_OK(w->model, err);
    for (int b = 0; b < BATCHES; b++) { /* a session each: nothing is left from the last */
        w->session = dino_session_new(w->model, NULL, &err);
        CHECK_OK(w->session, err);
        int count = show(w, b);
        CHECK_OK(dino_run(w->session, w->inputs, count, NULL, &err), err);
        w->wanted[b] = malloc(gather(w, count, NULL) * sizeof *w->wanted[b]);
        gather(w, count, w->wanted[b]);
        dino_session_free(w->session);
    }
    w->session = dino_session_new(w->model, &session, &err);
    CHECK_OK(w->session, err);
}

static void close_world(struct world *w)
{
    dino_session_free(w->session);
    for (int b = 0; b < BATCHES; b++)
        free(w->wanted[b]);
    dino_model_free(w->model);
    free(w->pixels);
}

TEST(two_runs_under_way_give_the_bits_of_single_ones_in_order)
{
    struct world w;

    open_world(&w);
    for (int round = 0; round < 3; round++) { /* new, captured, as graphs */
        begin(&w, 0);
        for (int b = 1; b < BATCHES; b++) {
            begin(&w, b);
            end(&w, b - 1);
        }
        end(&w, BATCHES - 1);
    }
    CHECK(dino_session_overlaps(w.session) ==
          (strcmp(dino_model_info(w.model)->device, "cpu") != 0));
    close_world(&w);
}

TEST(a_session_says_what_two_runs_cost)
{
    struct world w;
    size_t bytes[4], results = (4 * (1 + 25) + 5) * sizeof(float);

    open_world(&w);
    for (int round = 0; round < 4; round++) {
        bool both = round == 1 || round == 2;
        begin(&w, 7);
        if (both)
            begin(&w, 7);
        end(&w, 7);
        if (both)
            end(&w, 7);
        bytes[round] = dino_session_bytes(w.session);
    }
    CHECK(bytes[1] >= bytes[0] + results * (size_t)dino_model_info(w.model)->dim);
    CHECK(bytes[1] < 2 * bytes[0]);
    CHECK(bytes[2] == bytes[1] && bytes[3] == bytes[1]);
    close_world(&w);
}

TEST(more_grids_than_are_kept_do_not_take_those_in_use)
{
    enum { SIZES = 20 };
    struct world w;
    struct dino_error err = {0};
    float first[SIZES];

    open_world(&w);
    for (int way = 0; way < 2; way++)
        for (int i = 0; i <= SIZES; i++) {
            bool more = i < SIZES;
            show(&w, 0);
            w.inputs[0].height = 14 * (1 + i % 5);
            w.inputs[0].width = 14 * (1 + i / 5);
            if (more)
                CHECK_OK(dino_run_begin(w.session, w.inputs, 1, NULL, &err), err);
            if (more && way == 0) {
                CHECK_OK(dino_run_end(w.session, &err), err);
                first[i] = dino_result(w.session, 0)->cls[3];
            } else if (way == 1 && i > 0) {
                CHECK_OK(dino_run_end(w.session, &err), err);
                CHECK(dino_result(w.session, 0)->cls[3] == first[i - 1]);
            }
        }
    close_world(&w);
}

TEST(what_fails_to_begin_leaves_the_run_under_way_as_it_was)
{
    struct world w;
    struct dino_error err = {0};

    open_world(&w);
    CHECK(!dino_run_end(w.session, &err) && err.code == DINO_EARG);
    begin(&w, 4);
    show(&w, 1);
    w.inputs[1].width = 5;
    CHECK(!dino_run_begin(w.session, w.inputs, 2, NULL, &err) && err.code == DINO_EARG);
    CHECK(!dino_run(w.session, w.inputs, 1, NULL, &err));
    assert_string_equal(err.message, "a run is under way: end it first");
    begin(&w, 5);
    show(&w, 1);
    CHECK(!dino_run_begin(w.session, w.inputs, 1, NULL, &err) && err.code == DINO_EARG);
    assert_string_equal(err.message, "2 runs are under way: end one first");
    CHECK(!dino_result(w.session, 0));
    end(&w, 4);
    end(&w, 5);
    close_world(&w);
}

TEST(a_run_that_is_stopped_while_it_begins_leaves_the_one_under_way_as_it_was)
{
    struct world w;
    struct dino_error err = {0};

    open_world(&w);
    for (int stop = 0; stop < 30; stop += 3) {
        begin(&w, 2);
        w.left = stop;
        int count = show(&w, 3);
        CHECK(!dino_run_begin(w.session, w.inputs, count, NULL, &err));
        CHECK(err.code == DINO_ECANCELLED);
        w.left = 1 << 30;
        end(&w, 2);
    }
    begin(&w, 3);
    begin(&w, 6);
    end(&w, 3);
    close_world(&w); /* with one under way */
}

TEST(two_sessions_of_a_model_overlap_without_meeting)
{
    struct world w, other;
    struct dino_error err = {0};

    open_world(&w);
    other = w;
    other.session = dino_session_new(w.model, NULL, &err);
    CHECK_OK(other.session, err);
    for (int b = 0; b + 1 < BATCHES; b++) {
        begin(&w, b);
        begin(&other, b + 1);
        begin(&w, b + 1);
        end(&other, b + 1);
        end(&w, b);
        end(&w, b + 1);
    }
    dino_session_free(other.session);
    close_world(&w);
}
