/* Feeds: every picture once, in order, whatever the threads, batches and moments of stopping.
 */
#include "testing.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "image/image.h"
#include "tar_of_pictures.h"

enum { DRAWN = 14, ROUNDS = 6, LISTED = DRAWN * ROUNDS };

/* The drawn pictures under several names each, with an unreadable one among each round. */
static struct dino_source *many(void)
{
    static char paths[LISTED][400];
    const char *given[LISTED];
    struct dino_error err = {0};
    struct dirent **names;
    int found = scandir(testing_data("pictures"), &names, NULL, alphasort), count = 0;

    CHECK(found == DRAWN + 2);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < found; i++) {
            if (names[i]->d_name[0] == '.')
                continue;
            char *path = paths[count];
            snprintf(path, sizeof paths[0], "%s/%d-%s", testing_scratch(), round,
                     names[i]->d_name);
            unlink(path);
            char target[512];
            snprintf(target, sizeof target, "%s/%s", testing_data("pictures"),
                     i == 5 ? "../../testing.h" : names[i]->d_name);
            CHECK(symlink(target, path) == 0);
            given[count++] = path;
        }
    for (int i = 0; i < found; i++)
        free(names[i]);
    free(names);
    CHECK(count == LISTED);
    struct dino_source *source = dino_source_open(given, count, NULL, &err);
    CHECK_OK(source, err);
    return source;
}

static bool is_bad(int64_t index)
{
    return index % DRAWN == 3; /* the sixth name of the folder, behind "." and ".." */
}

static struct dino_view view(void)
{
    struct dino_view v = {0};
    struct dino_error err = {0};
    CHECK_OK(dino_view_named(&v, "classify", 56, NULL, &err), err);
    return v;
}

/* What reading and viewing by hand gives. */
static void check_picture(const struct dino_source *source, const struct dino_picture *p,
                          bool original)
{
    struct dino_image photo = {0}, seen = {0};
    struct dino_error err = {0};
    struct dino_view v = view();

    assert_string_equal(p->name, dino_source_name(source, p->index));
    CHECK(p->ok == !is_bad(p->index));
    if (!p->ok) {
        CHECK(p->error.code == DINO_EFORMAT && strstr(p->error.message, p->name));
        CHECK(p->image.pixels == NULL && p->original.pixels == NULL);
        return;
    }
    CHECK_OK(dino_image_read(&photo, p->name, NULL, &err), err);
    CHECK_OK(dino_view_apply(&v, &photo, &seen, &err), err);
    CHECK(p->image.width == 56 && p->image.height == 56);
    assert_memory_equal(p->image.pixels, seen.pixels, 56 * 56 * 3);
    CHECK((p->original.pixels != NULL) == original);
    if (original)
        assert_memory_equal(p->original.pixels, photo.pixels, 121 * 93 * 3);
    dino_image_release(&photo);
    dino_image_release(&seen);
}

/* All pictures from `first` on, in batches of growing and shrinking size. */
static void drain(const struct dino_source *source, struct dino_feed_options options,
                  const int *batches, int batch_count)
{
    struct dino_picture pictures[LISTED];
    struct dino_error err = {0};
    struct dino_view v = view();
    struct dino_feed *feed = dino_feed_open(source, &v, &options, &err);
    int64_t next = options.first;

    CHECK_OK(feed, err);
    for (int b = 0;; b++) {
        int wanted = batches[b % batch_count];
        int got = dino_feed_next(feed, pictures, wanted);
        int64_t left = dino_source_count(source) - next;
        assert_int_equal(got, left < wanted ? left : wanted);
        if (got == 0)
            break;
        for (int i = 0; i < got; i++) {
            assert_int_equal(pictures[i].index, next + i);
            check_picture(source, &pictures[i], options.keep_original);
        }
        next += got;
    }
    CHECK(next == dino_source_count(source));
    CHECK(dino_feed_next(feed, pictures, 1) == 0); /* and stays at the end */
    dino_feed_close(feed);
}

TEST(every_picture_comes_once_and_in_order)
{
    static const int ones[] = {1}, mixed[] = {3, 17, 1, 40, 2}, large[] = {LISTED};
    struct dino_source *source = many();

    for (int threads = 1; threads <= 5; threads += 2) {
        struct dino_feed_options options = {.size = sizeof options, .threads = threads};
        drain(source, options, ones, 1);
        drain(source, options, mixed, 5);
        drain(source, options, large, 1);
        options.ahead = 1;
        drain(source, options, mixed, 5);
        options.ahead = 1000;
        drain(source, options, ones, 1);
    }
    dino_source_close(source);
}

TEST(originals_are_kept_on_request)
{
    static const int batch[] = {8};
    struct dino_source *source = many();

    drain(source, (struct dino_feed_options){.keep_original = true, .threads = 2}, batch, 1);
    dino_source_close(source);
}

TEST(a_feed_begins_where_it_is_told)
{
    static const int batch[] = {7};
    struct dino_source *source = many();

    drain(source, (struct dino_feed_options){.first = 50}, batch, 1);
    drain(source, (struct dino_feed_options){.first = LISTED}, batch, 1);
    dino_source_close(source);
}

TEST(decoding_options_reach_the_pictures)
{
    const char *path = testing_data("pictures/gen_exif.jpg");
    struct dino_error err = {0};
    struct dino_source *source = dino_source_open(&path, 1, NULL, &err);
    struct dino_feed_options options = {.decode = {.exif = true}};
    struct dino_view same = {0};
    struct dino_picture picture;
    struct dino_image turned = {0};

    CHECK_OK(source, err);
    struct dino_feed *feed = dino_feed_open(source, &same, &options, &err);
    CHECK_OK(feed, err);
    CHECK(dino_feed_next(feed, &picture, 1) == 1 && picture.ok);
    CHECK_OK(dino_image_read(&turned, path, &options.decode, &err), err);
    assert_memory_equal(picture.image.pixels, turned.pixels, 121 * 93 * 3);
    dino_image_release(&turned);
    dino_feed_close(feed);
    dino_source_close(source);
}

TEST(a_feed_may_be_closed_at_any_moment)
{
    struct dino_source *source = many();
    struct dino_error err = {0};
    struct dino_view v = view();
    struct dino_picture pictures[8];

    for (int taken = 0; taken < 12; taken++) {
        struct dino_feed_options options = {.threads = 1 + taken % 4};
        struct dino_feed *feed = dino_feed_open(source, &v, &options, &err);
        CHECK_OK(feed, err);
        for (int i = 0; i < taken; i++)
            CHECK(dino_feed_next(feed, pictures, 1 + i % 8) > 0);
        dino_feed_close(feed);
    }
    dino_feed_close(NULL);
    dino_source_close(source);
}

TEST(missing_files_are_pictures_that_are_not_ok)
{
    char list[256], at[300];
    const char *path = at;
    struct dino_error err = {0};
    struct dino_view v = view();
    struct dino_picture pictures[3];
    struct output out;

    snprintf(list, sizeof list, "%s/list.txt", testing_scratch());
    snprintf(at, sizeof at, "@%s", list);
    CHECK_OK(dn_output_open(&out, list, &err), err);
    CHECK_OK(dn_output_write(&out, "/no/1.jpg\n/no/2.jpg\n", 20, &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    struct dino_source *source = dino_source_open(&path, 1, NULL, &err);
    CHECK_OK(source, err);
    struct dino_feed *feed = dino_feed_open(source, &v, NULL, &err);
    CHECK_OK(feed, err);
    CHECK(dino_feed_next(feed, pictures, 3) == 2);
    CHECK(!pictures[0].ok && pictures[0].error.code == DINO_EIO);
    CHECK(strstr(pictures[1].error.message, "/no/2.jpg: No such file"));
    dino_feed_close(feed);
    dino_source_close(source);
}

TEST(shards_are_fed_in_order_whether_compressed_or_not)
{
    enum { ROUNDS_IN_TAR = 40 };

    for (int compressed = 0; compressed < 2; compressed++) {
        char path[256];
        const char *given = path;
        struct dino_error err = {0};
        struct dino_view same = {0};
        struct dino_feed_options options = {.threads = 4};
        struct dino_picture p[6];
        int64_t next = 0;

        snprintf(path, sizeof path, "%s/%s", testing_scratch(),
                 compressed ? "feed.tar.gz" : "feed.tar");
        write_tar_of_pictures(path, ROUNDS_IN_TAR, compressed);
        struct dino_source *source = dino_source_open(&given, 1, NULL, &err);
        CHECK_OK(source, err);
        struct dino_feed *feed = dino_feed_open(source, &same, &options, &err);
        CHECK_OK(feed, err);
        for (int got; (got = dino_feed_next(feed, p, 6)) > 0; next += got)
            for (int i = 0; i < got; i++) {
                char wanted[320];
                snprintf(wanted, sizeof wanted, "%s:%04d.%s", path, (int)(next + i) / 2,
                         (next + i) % 2 ? "webp" : "jpg");
                assert_string_equal(p[i].name, wanted);
                CHECK_OK(p[i].ok, p[i].error);
                CHECK(p[i].image.width == 121 && p[i].image.height == 93);
            }
        CHECK(next == 2 * ROUNDS_IN_TAR);
        dino_feed_close(feed);
        dino_source_close(source);
    }
}
