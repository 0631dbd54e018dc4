/* The whole embed job with a tiny model: right features in the right rows, skips, resuming. */
#include "testing.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"

enum { PICTURES = 23, BROKEN_A = 5, BROKEN_B = 17, ROWS = PICTURES - 2 };

static const char *in_scratch(const char *name)
{
    static char path[8][300];
    static unsigned number;
    char *to = path[number++ % 8];
    snprintf(to, sizeof path[0], "%s/%s", testing_scratch(), name);
    return to;
}

/* Pictures of changing sizes, two of them torn. */
static struct dino_source *make_pictures(void)
{
    const char *folder = in_scratch("pictures");
    struct dino_error err = {0};
    char path[400];

    if (mkdir(folder, 0777) == 0)
        for (int i = 0; i < PICTURES; i++) {
            struct dino_image image = {0};
            CHECK_OK(dino_image_alloc(&image, 40 + 7 * (i % 4), 33 + 11 * (i % 3), &err), err);
            for (int j = 0; j < image.width * image.height * 3; j++)
                image.pixels[j] = (uint8_t)dn_random_u64(2, (uint64_t)i, (uint64_t)j);
            snprintf(path, sizeof path, "%s/%02d.png", folder, i);
            CHECK_OK(dino_image_write(&image, path, &err), err);
            dino_image_release(&image);
            if (i == BROKEN_A || i == BROKEN_B)
                CHECK(truncate(path, 60) == 0);
        }
    struct dino_source *source = dino_source_open(&folder, 1, NULL, &err);
    CHECK_OK(source, err);
    CHECK(dino_source_count(source) == PICTURES);
    return source;
}

struct world {
    struct dino_model *model;
    struct dino_session *session;
    struct dino_source *source;
    struct dino_embed_options options;
    int skips, calls, stop_after; /* 0: never */
    int64_t last_done;
};

static void note_skip(void *context, const char *name, const struct dino_error *why)
{
    struct world *w = context;
    w->skips++;
    CHECK(strstr(name, "05.png") || strstr(name, "17.png"));
    CHECK(why->code != DINO_OK && why->message[0]);
}

static bool note_progress(void *context, const struct dino_progress *progress)
{
    struct world *w = context;
    CHECK(progress->done >= w->last_done && progress->total == PICTURES);
    w->last_done = progress->done;
    return !w->stop_after || ++w->calls <= w->stop_after;
}

static void open_world(struct world *w, const char *output, const char *view, int size)
{
    struct dino_model_options options = {
        .size = sizeof options, .device = testing_device(), .threads = 2};
    struct dino_error err = {0};

    *w = (struct world){.options = {.size = sizeof w->options}};
    w->model = dino_model_open(testing_data("tiny_cls_hf"), &options, &err);
    CHECK_OK(w->model, err);
    w->session = dino_session_new(w->model, NULL, &err);
    CHECK_OK(w->session, err);
    w->source = make_pictures();
    CHECK_OK(dino_view_named(&w->options.view, view, size, w->model, &err), err);
    w->options.output = in_scratch(output);
    w->options.progress = note_progress;
    w->options.skipped = note_skip;
    w->options.context = w;
    w->options.batch = 4;
}

static void close_world(struct world *w)
{
    dino_source_close(w->source);
    dino_session_free(w->session);
    dino_model_free(w->model);
}

/* Features of one picture, by itself. */
static const struct dino_features *alone(struct world *w, int64_t index, const int *layers,
                                         int count)
{
    struct dino_image photo = {0}, seen = {0};
    struct dino_error err = {0};
    struct dino_request request = {
        .size = sizeof request, .layers = layers, .layer_count = count};

    CHECK_OK(dino_image_read(&photo, dino_source_name(w->source, index), NULL, &err), err);
    CHECK_OK(dino_view_apply(&w->options.view, &photo, &seen, &err), err);
    struct dino_input input = {
        .pixels = seen.pixels, .height = seen.height, .width = seen.width};
    CHECK_OK(dino_run(w->session, &input, 1, &request, &err), err);
    dino_image_release(&seen);
    dino_image_release(&photo);
    return dino_result(w->session, 0);
}

TEST(each_row_holds_its_pictures_features_and_torn_pictures_are_skipped)
{
    struct world w;
    struct dino_error err = {0};
    struct dino_embed_result result = {0};
    struct tensors file = {0};
    size_t n;

    open_world(&w, "rows.npy", "classify", 28);
    CHECK_OK(dino_embed(w.session, w.source, &w.options, &result, &err), err);
    CHECK(result.rows == ROWS && result.skipped == 2 && result.resumed == 0 && w.skips == 2);
    CHECK(w.last_done == PICTURES);
    CHECK_OK(dn_tensors_open(&file, w.options.output, &err), err);
    float *rows = testing_tensor(&file, "array", &n);
    int dim = dino_model_info(w.model)->dim;
    CHECK(n == (size_t)(ROWS * dim));
    for (int64_t i = 0, row = 0; i < PICTURES; i++) {
        if (i == BROKEN_A || i == BROKEN_B)
            continue;
        const struct dino_features *f = alone(&w, i, NULL, 0);
        CHECK(testing_max_abs(rows + row * dim, f->cls, (size_t)dim) < 1e-5);
        row++;
    }
    free(rows);
    dn_tensors_release(&file);
    close_world(&w);
}

TEST(pictures_of_their_own_sizes_share_a_job)
{
    static const int layers[] = {0, 2};
    struct world w;
    struct dino_error err = {0};
    struct dino_embed_result result = {0};
    struct tensors file = {0};
    size_t n;

    open_world(&w, "native.safetensors", "native", 0);
    w.options.tokens = DINO_TOKENS_PATCHES | DINO_TOKENS_MEAN;
    w.options.layers = layers;
    w.options.layer_count = 2;
    w.options.batch = 0;
    CHECK_OK(dino_embed(w.session, w.source, &w.options, &result, &err), err);
    CHECK(result.rows == ROWS);
    CHECK_OK(dn_tensors_open(&file, w.options.output, &err), err);
    float *patches = testing_tensor(&file, "patches.layer2", &n);
    const struct dino_tensor *starts = dn_tensors_find(&file, "patches.starts");
    CHECK(starts && starts->dtype == DINO_I64);
    const int64_t *start = starts->data;
    int dim = dino_model_info(w.model)->dim;
    for (int64_t i = 0, row = 0; i < PICTURES; i++) {
        if (i == BROKEN_A || i == BROKEN_B)
            continue;
        const struct dino_features *f = alone(&w, i, layers, 2);
        size_t count = (size_t)(f->rows * f->cols);
        CHECK(start[row + 1] - start[row] == (int64_t)count);
        CHECK(testing_max_abs(patches + start[row] * dim, f->layer[1] + dim,
                              count * (size_t)dim) < 1e-5);
        row++;
    }
    free(patches);
    dn_tensors_release(&file);
    close_world(&w);
}

static void check_equal_files(const char *a, const char *b)
{
    struct dino_error err = {0};
    uint8_t *x, *y;
    size_t n, m;
    CHECK_OK(dn_read_all(a, 1 << 26, &x, &n, &err), err);
    CHECK_OK(dn_read_all(b, 1 << 26, &y, &m, &err), err);
    CHECK(n == m && memcmp(x, y, n) == 0);
    free(x);
    free(y);
}

TEST(a_stopped_job_resumes_to_the_same_bytes_and_the_same_sidecar)
{
    struct world w;
    struct dino_error err = {0};
    struct dino_embed_result result = {0};
    const char *whole = in_scratch("whole.safetensors");
    char stopped[300];

    open_world(&w, "stopped.safetensors", "native", 0);
    w.options.tokens = DINO_TOKENS_PATCHES | DINO_TOKENS_CLS;
    snprintf(stopped, sizeof stopped, "%s", w.options.output);
    w.options.output = whole;
    CHECK_OK(dino_embed(w.session, w.source, &w.options, &result, &err), err);

    w.options.output = stopped;
    for (int run = 0; run < 4; run++) {
        w.calls = 0;
        w.last_done = 0;
        w.stop_after = 1; /* the call before the first batch */
        CHECK(!dino_embed(w.session, w.source, &w.options, &result, &err));
        CHECK(err.code == DINO_ECANCELLED);
        CHECK(!dn_exists(stopped));
    }
    w.stop_after = 0;
    w.last_done = 0;
    CHECK_OK(dino_embed(w.session, w.source, &w.options, &result, &err), err);
    CHECK(result.rows == ROWS && result.skipped == 2 && result.resumed >= 14);
    check_equal_files(whole, stopped);
    char sidecars[2][310];
    snprintf(sidecars[0], sizeof sidecars[0], "%s.json", whole);
    snprintf(sidecars[1], sizeof sidecars[1], "%s.json", stopped);
    check_equal_files(sidecars[0], sidecars[1]);
    close_world(&w);
}

TEST(another_view_is_not_mixed_into_a_part_and_fresh_starts_over)
{
    struct world w;
    struct dino_error err = {0};
    struct dino_embed_result result = {0};

    open_world(&w, "mixed.npy", "classify", 28);
    w.stop_after = 1;
    CHECK(!dino_embed(w.session, w.source, &w.options, &result, &err));
    w.stop_after = 0;
    w.options.view.crop_width = 42;
    w.last_done = 0;
    CHECK(!dino_embed(w.session, w.source, &w.options, &result, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "view differs"));
    w.options.fresh = true;
    CHECK_OK(dino_embed(w.session, w.source, &w.options, &result, &err), err);
    CHECK(result.rows == ROWS && result.resumed == 0);
    close_world(&w);
}

TEST(strict_stops_at_the_first_torn_picture_and_keeps_the_rows_before_it)
{
    struct world w;
    struct dino_error err = {0};
    struct dino_embed_result result = {0};

    open_world(&w, "strict.npy", "classify", 28);
    w.options.strict = true;
    CHECK(!dino_embed(w.session, w.source, &w.options, &result, &err));
    CHECK(strstr(err.message, "05.png"));
    w.options.strict = false;
    w.last_done = 0;
    CHECK_OK(dino_embed(w.session, w.source, &w.options, &result, &err), err);
    CHECK(result.resumed == 4 && result.rows == ROWS && result.skipped == 2);
    close_world(&w);
}

TEST(when_no_picture_can_be_read_nothing_is_left)
{
    struct world w;
    struct dino_error err = {0};
    struct dino_embed_result result = {0};
    const char *torn = in_scratch("pictures/05.png");
    char path[310];

    open_world(&w, "torn.npy", "classify", 28);
    dino_source_close(w.source);
    w.source = dino_source_open(&torn, 1, NULL, &err);
    CHECK_OK(w.source, err);
    w.options.progress = NULL;
    CHECK(!dino_embed(w.session, w.source, &w.options, &result, &err));
    CHECK(err.code == DINO_EFORMAT && strstr(err.message, "none of 1 pictures"));
    CHECK(!dn_exists(w.options.output));
    static const char *const leftovers[] = {"part", "part.json", "json"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s.%s", w.options.output, leftovers[i]);
        CHECK(!dn_exists(path));
    }
    close_world(&w);
}

TEST(registers_of_a_model_without_any_are_refused)
{
    struct world w;
    struct dino_error err = {0};

    open_world(&w, "none.npy", "classify", 28);
    w.options.tokens = DINO_TOKENS_REGISTERS;
    CHECK(!dino_embed(w.session, w.source, &w.options, NULL, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "no registers"));
    w.options.tokens = DINO_TOKENS_CLS;
    w.options.output = "/nonexistent/folder/x.npy";
    CHECK(!dino_embed(w.session, w.source, &w.options, NULL, &err));
    CHECK(err.code == DINO_EIO && strstr(err.message, "/nonexistent/folder/x.npy"));
    w.options.size = 8;
    CHECK(!dino_embed(w.session, w.source, &w.options, NULL, &err));
    CHECK(err.code == DINO_EARG);
    close_world(&w);
}
