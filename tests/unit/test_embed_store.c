/* Rows survive interruptions: nothing is lost, nothing comes twice, nothing else is touched. */
#include "testing.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "task/embed_store.h"

enum { PICTURES = 500, BATCH = 4, HEAD = 64, WIDE = 100, NARROW = 8 };
static const uint64_t ROW_BYTES[2] = {WIDE, NARROW};

static const char *fresh_output(void)
{
    static char path[256];
    static int number;
    snprintf(path, sizeof path, "%s/rows-%d.bin", testing_scratch(), number++);
    return path;
}

static json_t *request(int view)
{
    return json_pack("{s:i,s:{s:f}}", "view", view, "model", "eps", 1e-6);
}

static struct embed_store_options options_for(const char *output, json_t *asked)
{
    return (struct embed_store_options){.output = output,
                                        .files = 2,
                                        .head = HEAD,
                                        .row_bytes = ROW_BYTES,
                                        .request = asked,
                                        .count = PICTURES};
}

static bool is_skipped(int64_t i)
{
    return i % 7 == 3;
}

static void fill_row(uint8_t row[WIDE], int64_t i, uint64_t stream)
{
    for (int j = 0; j < WIDE; j++)
        row[j] = (uint8_t)dn_random_u64(3, stream, (uint64_t)(i * WIDE + j));
}

static bool write_picture(struct embed_store *store, int64_t i, struct dino_error *err)
{
    uint8_t row[WIDE];
    char why[64];

    if (is_skipped(i)) {
        snprintf(why, sizeof why, "picture %lld is \"bad\"", (long long)i);
        return dn_embed_store_skip(store, i, why, err);
    }
    fill_row(row, i, 0);
    if (!dn_embed_store_append(store, 0, row, WIDE, err))
        return false;
    fill_row(row, i, 1);
    if (!dn_embed_store_append(store, 1, row, NARROW, err))
        return false;
    dn_embed_store_row(store, 4, i == 100 ? 5 : 4);
    return true;
}

/* Write pictures up to `stop`, in batches. */
static bool go_on(struct embed_store *store, int64_t stop, struct dino_error *err)
{
    for (int64_t i = store->now.next; i < stop;) {
        int64_t end = i + BATCH < stop ? i + BATCH : stop;
        for (; i < end; i++)
            if (!write_picture(store, i, err))
                return false;
        if (!dn_embed_store_mark(store, end, err))
            return false;
    }
    return true;
}

static bool no_sidecar(void *context, struct dino_error *err)
{
    (void)err;
    ++*(int *)context;
    return true;
}

static bool finish(struct embed_store *store, struct dino_error *err)
{
    static const uint8_t head[HEAD] = "head";
    int sidecars = 0;

    return dn_embed_store_join(store, 1, err) &&
           dn_embed_store_head(store, 0, head, HEAD, err) &&
           dn_embed_store_finish(store, no_sidecar, &sidecars, err) && sidecars == 1;
}

static void check_output(const char *output)
{
    struct dino_error err = {0};
    uint8_t *data, row[WIDE];
    size_t size, at = HEAD;
    char leftover[300];

    CHECK_OK(dn_read_all(output, 1 << 24, &data, &size, &err), err);
    CHECK(memcmp(data, "head", 5) == 0);
    for (int file = 0; file < 2; file++)
        for (int64_t i = 0; i < PICTURES; i++) {
            if (is_skipped(i))
                continue;
            fill_row(row, i, (uint64_t)file);
            CHECK(at + ROW_BYTES[file] <= size);
            CHECK(memcmp(data + at, row, ROW_BYTES[file]) == 0);
            at += ROW_BYTES[file];
        }
    CHECK(at == size);
    free(data);
    static const char *const parts[] = {"part", "part.1", "part.json"};
    for (int i = 0; i < 3; i++) {
        snprintf(leftover, sizeof leftover, "%s.%s", output, parts[i]);
        CHECK(!dn_exists(leftover));
    }
}

TEST(an_uninterrupted_job_leaves_the_output_and_nothing_else)
{
    const char *output = fresh_output();
    struct dino_error err = {0};
    json_t *asked = request(1);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store;
    int batch = 0;

    CHECK_OK(dn_embed_store_open(&store, &options, &batch, BATCH, &err), err);
    CHECK(batch == BATCH && store.now.next == 0);
    CHECK_OK(go_on(&store, PICTURES, &err), err);
    CHECK(store.now.grid[0] == -1); /* picture 100 has another */
    CHECK_OK(finish(&store, &err), err);
    dn_embed_store_close(&store, false);
    check_output(output);
    json_decref(asked);
}

/* In a process of its own: work until killed. Returns only when the job is done. */
static void work(const char *output)
{
    struct dino_error err = {0};
    json_t *asked = request(1);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store;
    int batch = 0;

    if (!dn_embed_store_open(&store, &options, &batch, BATCH, &err)) {
        fprintf(stderr, "%s\n", err.message);
        _exit(3);
    }
    while (!store.finished && store.now.next < PICTURES) {
        int64_t stop = store.now.next + BATCH;
        if (!go_on(&store, stop < PICTURES ? stop : PICTURES, &err))
            _exit(4);
        usleep(200);
    }
    if (!store.finished && !finish(&store, &err))
        _exit(5);
    dn_embed_store_close(&store, false);
    json_decref(asked);
    _exit(0);
}

TEST(killed_at_any_moment_the_job_ends_with_the_same_bytes)
{
    for (int job = 0; job < 4; job++) {
        const char *output = fresh_output();
        int killed = 0, status = 1;
        for (int run = 0; run < 400; run++) {
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0)
                work(output);
            /* The time grows, so that a slow machine gets to the end as well. */
            uint64_t most = 4000 * (1 + (uint64_t)run / 8);
            usleep((useconds_t)(500 + dn_random_u64(11, (uint64_t)job, (uint64_t)run) % most));
            kill(child, SIGKILL);
            CHECK(waitpid(child, &status, 0) == child);
            if (WIFEXITED(status))
                break;
            killed++;
        }
        CHECK(WIFEXITED(status));
        if (WEXITSTATUS(status))
            fail_msg("job %d stopped with %d after %d kills", job, WEXITSTATUS(status), killed);
        CHECK(killed > 0);
        check_output(output);
    }
}

/* Leave a part with `rows` pictures done. */
static void leave_part(const char *output, int view, int64_t stop)
{
    struct dino_error err = {0};
    json_t *asked = request(view);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store;
    int batch = 0;

    CHECK_OK(dn_embed_store_open(&store, &options, &batch, BATCH, &err), err);
    CHECK_OK(go_on(&store, stop, &err), err);
    dn_embed_store_close(&store, false);
    json_decref(asked);
}

/* Open again, expecting to go on from `next`, and finish the job. */
static void resume_from(const char *output, int64_t next)
{
    struct dino_error err = {0};
    json_t *asked = request(1);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store;
    int batch = 0;

    CHECK_OK(dn_embed_store_open(&store, &options, &batch, 77, &err), err);
    CHECK(store.now.next == next);
    CHECK(next == 0 || batch == BATCH);
    for (size_t i = 0; i < store.now.skips; i++)
        CHECK(is_skipped(store.skips[i].index) && strstr(store.skips[i].why, "\"bad\""));
    CHECK_OK(go_on(&store, PICTURES, &err), err);
    CHECK_OK(finish(&store, &err), err);
    dn_embed_store_close(&store, false);
    json_decref(asked);
    check_output(output);
}

static void expect_refusal(const char *output, int view, const char *why)
{
    struct dino_error err = {0};
    json_t *asked = request(view);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store;
    int batch = 0;

    CHECK(!dn_embed_store_open(&store, &options, &batch, BATCH, &err));
    if (!strstr(err.message, why))
        fail_msg("'%s' does not say '%s'", err.message, why);
    options.fresh = true;
    CHECK_OK(dn_embed_store_open(&store, &options, &batch, BATCH, &err), err);
    CHECK(store.now.next == 0);
    dn_embed_store_close(&store, false);
    json_decref(asked);
}

static void append_to(const char *output, const char *suffix, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s.%s", output, suffix);
    FILE *file = fopen(path, "ab");
    CHECK(file);
    fputs(text, file);
    fclose(file);
}

static void shorten(const char *output, const char *suffix, off_t by)
{
    char path[300];
    struct stat info;
    snprintf(path, sizeof path, "%s.%s", output, suffix);
    CHECK(stat(path, &info) == 0 && truncate(path, info.st_size - by) == 0);
}

TEST(a_stopped_job_goes_on_where_it_stopped)
{
    const char *output = fresh_output();
    leave_part(output, 1, 200);
    resume_from(output, 200);
}

TEST(a_torn_last_line_and_half_a_row_are_cut_off)
{
    const char *output = fresh_output();
    leave_part(output, 1, 200);
    append_to(output, "part", "half a row");
    append_to(output, "part.1", "more");
    append_to(output, "part.json", "{\"next\":204,\"ro");
    resume_from(output, 200);
}

TEST(a_part_shorter_than_its_journal_goes_back_to_what_is_there)
{
    const char *output = fresh_output();
    leave_part(output, 1, 40);
    leave_part(output, 1, 80);
    shorten(output, "part.1", 1);
    struct dino_error err = {0};
    json_t *asked = request(1);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store;
    int batch = 0;
    CHECK_OK(dn_embed_store_open(&store, &options, &batch, BATCH, &err), err);
    CHECK(store.now.next >= 40 && store.now.next < 80);
    dn_embed_store_close(&store, false);
    json_decref(asked);

    char path[300];
    snprintf(path, sizeof path, "%s.part", output);
    CHECK(unlink(path) == 0);
    resume_from(output, 0);
}

TEST(another_request_is_refused_by_name_and_fresh_begins_anew)
{
    const char *output = fresh_output();
    leave_part(output, 1, 40);
    expect_refusal(output, 2, "view differs");
}

TEST(a_lying_journal_is_refused_with_its_line)
{
    static const struct {
        const char *line, *why;
    } lies[] = {
        {"not json\n", "is no JSON object"},
        {"{\"next\":10,\"rows\":1,\"grid\":[1,1],\"bytes\":[0,0],\"skipped\":[]}\n",
         "does not go on"},
        {"{\"next\":501,\"rows\":400,\"grid\":[1,1],\"bytes\":[0,0],\"skipped\":[]}\n",
         "does not go on"},
        {"{\"next\":44,\"rows\":38,\"grid\":[1,1],\"bytes\":[3800,305],\"skipped\":[]}\n",
         "bytes that do not fit"},
        {"{\"next\":44,\"rows\":38,\"grid\":[1,1],\"bytes\":[3800],\"skipped\":[]}\n",
         "other files"},
        {"{\"next\":41,\"rows\":34,\"grid\":[1,1],\"bytes\":[3400,272],\"skipped\":[[3,"
         "\"x\"]]}\n",
         "broken list"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const char *output = fresh_output();
        leave_part(output, 1, 40); /* 34 rows, 6 skipped */
        append_to(output, "part.json", lies[i].line);
        expect_refusal(output, 1, lies[i].why);
    }
}

TEST(a_part_without_its_journal_is_not_overwritten)
{
    const char *output = fresh_output();
    append_to(output, "part", "somebody's work");
    expect_refusal(output, 1, "without its journal");
}

TEST(nothing_is_left_when_nothing_was_done)
{
    const char *output = fresh_output();
    char path[300];
    leave_part(output, 1, 0);
    snprintf(path, sizeof path, "%s.part", output);
    CHECK(!dn_exists(path));
    snprintf(path, sizeof path, "%s.part.json", output);
    CHECK(!dn_exists(path));
}

TEST(a_second_run_on_the_same_output_is_kept_away)
{
    const char *output = fresh_output();
    struct dino_error err = {0};
    json_t *asked = request(1);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store, second;
    int batch = 0;

    CHECK_OK(dn_embed_store_open(&store, &options, &batch, BATCH, &err), err);
    CHECK(!dn_embed_store_open(&second, &options, &batch, BATCH, &err));
    CHECK(strstr(err.message, "another run"));
    CHECK_OK(go_on(&store, PICTURES, &err), err);
    CHECK_OK(finish(&store, &err), err);
    dn_embed_store_close(&store, false);
    check_output(output);
    json_decref(asked);
}

TEST(a_full_disk_keeps_whole_rows_for_the_next_run)
{
    const char *output = fresh_output();
    struct dino_error err = {0};
    json_t *asked = request(1);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store;
    struct rlimit before, small;
    int batch = 0;

    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = before;
    small.rlim_cur = HEAD + 30 * WIDE + 50; /* the disk ends inside row 30 */
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHECK_OK(dn_embed_store_open(&store, &options, &batch, BATCH, &err), err);
    bool whole = go_on(&store, PICTURES, &err);
    dn_embed_store_close(&store, false);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(!whole && err.code == DINO_EIO && strstr(err.message, "rows are kept"));
    json_decref(asked);
    resume_from(output, 32); /* 28 rows of 32 pictures; row 30 lies in the batch after */
}

TEST(after_the_rename_only_leftovers_are_removed)
{
    const char *output = fresh_output();
    char part[300];
    leave_part(output, 1, 40);
    append_to(output, "part.json", "{\"done\":true}\n");
    snprintf(part, sizeof part, "%s.part", output);
    CHECK(rename(part, output) == 0);

    struct dino_error err = {0};
    json_t *asked = request(1);
    struct embed_store_options options = options_for(output, asked);
    struct embed_store store;
    int batch = 0;
    CHECK_OK(dn_embed_store_open(&store, &options, &batch, BATCH, &err), err);
    CHECK(store.finished);
    dn_embed_store_close(&store, false);
    json_decref(asked);
    CHECK(dn_exists(output));
    snprintf(part, sizeof part, "%s.part.1", output);
    CHECK(!dn_exists(part));
}

TEST(folders_and_missing_folders_are_refused_at_once)
{
    struct dino_error err = {0};
    json_t *asked = request(1);
    struct embed_store_options options = options_for("/nonexistent/x.npy", asked);
    struct embed_store store;
    int batch = 0;

    CHECK(!dn_embed_store_open(&store, &options, &batch, BATCH, &err));
    CHECK(err.code == DINO_EIO && strstr(err.message, "/nonexistent/x.npy"));
    options.output = testing_scratch();
    CHECK(!dn_embed_store_open(&store, &options, &batch, BATCH, &err));
    CHECK(strstr(err.message, "is a directory"));
    json_decref(asked);
}
