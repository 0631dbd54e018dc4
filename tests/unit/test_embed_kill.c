/*
 * A job that is killed again and again ends with the bytes of one that was not. Each run is a
 * process of its own; this one never computes, as threads do not survive a fork.
 */
#include "testing.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"

enum { PICTURES = 60 };

static const char *in_scratch(const char *name)
{
    static char path[8][300];
    static unsigned number;
    char *to = path[number++ % 8];
    snprintf(to, sizeof path[0], "%s/%s", testing_scratch(), name);
    return to;
}

static void make_pictures(const char *folder)
{
    struct dino_error err = {0};
    char path[400];

    if (mkdir(folder, 0777) != 0)
        return;
    for (int i = 0; i < PICTURES; i++) {
        struct dino_image image = {0};
        CHECK_OK(dino_image_alloc(&image, 30 + 14 * (i % 4), 30 + 14 * (i % 3), &err), err);
        for (int j = 0; j < image.width * image.height * 3; j++)
            image.pixels[j] = (uint8_t)dn_random_u64(2, (uint64_t)i, (uint64_t)j);
        snprintf(path, sizeof path, "%s/%02d.png", folder, i);
        CHECK_OK(dino_image_write(&image, path, &err), err);
        dino_image_release(&image);
        if (i % 13 == 6)
            CHECK(truncate(path, 60) == 0);
    }
}

static bool dawdle(void *context, const struct dino_progress *progress)
{
    (void)context;
    (void)progress;
    usleep(2000);
    return true;
}

/* In a child: the whole job. */
static void work(const char *folder, const char *output)
{
    struct dino_model_options model_options = {.size = sizeof model_options, .threads = 1};
    struct dino_embed_options options = {.size = sizeof options,
                                         .output = output,
                                         .tokens = DINO_TOKENS_CLS | DINO_TOKENS_PATCHES,
                                         .batch = 3,
                                         .progress = dawdle};
    struct dino_model *model =
        dino_model_open(testing_data("tiny_cls_hf"), &model_options, NULL);
    struct dino_session *session = model ? dino_session_new(model, NULL, NULL) : NULL;
    struct dino_source *source = dino_source_open(&folder, 1, NULL, NULL);
    struct dino_error err = {0};

    if (!session || !source || !dino_view_named(&options.view, "native", 0, model, &err) ||
        !dino_embed(session, source, &options, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
    _exit(0);
}

static int run(const char *folder, const char *output, useconds_t kill_after)
{
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0)
        work(folder, output);
    if (kill_after) {
        usleep(kill_after);
        kill(child, SIGKILL);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return status;
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

static void kill_until_done(const char *extension)
{
    const char *folder = in_scratch("pictures");
    char whole[320], killed[320];
    int status = 1, kills = 0;

    make_pictures(folder);
    snprintf(whole, sizeof whole, "%s%s", in_scratch("whole"), extension);
    snprintf(killed, sizeof killed, "%s%s", in_scratch("killed"), extension);
    CHECK(run(folder, whole, 0) == 0);
    for (int i = 0; i < 200; i++) {
        uint64_t most = 60000 * (1 + (uint64_t)i / 8);
        status = run(
            folder, killed,
            (useconds_t)(5000 + dn_random_u64(4, (uint64_t)extension[1], (uint64_t)i) % most));
        if (WIFEXITED(status))
            break;
        kills++;
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0 && kills > 1);
    check_equal_files(whole, killed);
    snprintf(whole, sizeof whole, "%s%s.json", in_scratch("whole"), extension);
    snprintf(killed, sizeof killed, "%s%s.json", in_scratch("killed"), extension);
    check_equal_files(whole, killed);
}

TEST(a_job_killed_at_random_ends_with_the_same_safetensors)
{
    kill_until_done(".safetensors");
}

TEST(a_job_killed_at_random_ends_with_the_same_lines)
{
    kill_until_done(".jsonl");
}
