/* Sources: which pictures, in which order, under which names. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "tar_of_pictures.h"
#include "task/source.h"

/* A file under the scratch folder, with the folders it lies in; its path, in turn one of
 * eight. */
static const char *put(const char *name, const char *text)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    struct dino_error err = {0};
    struct output out;

    snprintf(path, sizeof paths[0], "%s/%s", testing_scratch(), name);
    CHECK_OK(dn_make_parents(path, &err), err);
    CHECK_OK(dn_output_open(&out, path, &err), err);
    CHECK_OK(dn_output_write(&out, text, strlen(text), &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    return path;
}

static const char *under(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", testing_scratch(), name);
    return path;
}

/* The names, without the scratch folder, joined by blanks. */
static const char *listed(const struct dino_source *source)
{
    static char text[4096];
    size_t skip = strlen(testing_scratch()) + 1;

    text[0] = 0;
    for (int64_t i = 0; i < dino_source_count(source); i++) {
        const char *name = dino_source_name(source, i);
        if (strncmp(name, testing_scratch(), skip - 1) == 0)
            name += skip;
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", name);
    }
    return text;
}

static void check_listed(const char *const *paths, int count, bool flat, const char *wanted)
{
    struct dino_error err = {0};
    struct dino_source_options options = {.size = sizeof options, .flat = flat};
    struct dino_source *source = dino_source_open(paths, count, &options, &err);

    CHECK_OK(source, err);
    assert_string_equal(listed(source), wanted);
    CHECK(dino_source_name(source, -1) == NULL);
    CHECK(dino_source_name(source, dino_source_count(source)) == NULL);
    dino_source_close(source);
}

static void check_refused(const char *const *paths, int count, enum dino_code code,
                          const char *words)
{
    struct dino_error err = {0};

    CHECK(dino_source_open(paths, count, NULL, &err) == NULL);
    if (err.code != code || !strstr(err.message, words))
        fail_msg("\"%s\" (code %d), wanted \"%s\"", err.message, err.code, words);
}

TEST(a_folder_gives_its_pictures_and_those_of_folders_in_it_by_byte_value)
{
    put("tree/b.jpg", "");
    put("tree/a.PNG", "");
    put("tree/a/z.jpeg", "");
    put("tree/a-b/y.webp", "");
    put("tree/B.JPG", "");
    put("tree/notes.txt", "");
    put("tree/jpg", "");
    put("tree/.hidden.jpg", "");
    put("tree/.git/c.jpg", "");
    const char *tree = under("tree");

    check_listed(&tree, 1, false,
                 "tree/B.JPG tree/a-b/y.webp tree/a.PNG tree/a/z.jpeg tree/b.jpg");
    check_listed(&tree, 1, true, "tree/B.JPG tree/a.PNG tree/b.jpg");
    tree = under("tree/"); /* a trailing slash is not doubled */
    check_listed(&tree, 1, true, "tree/B.JPG tree/a.PNG tree/b.jpg");
}

TEST(paths_keep_the_order_they_were_given_in)
{
    put("two/2.jpg", "");
    put("two/1.jpg", "");
    const char *paths[] = {put("z.png", ""), under("two"), put("any.name", "a picture?")};

    check_listed(paths, 3, false, "z.png two/1.jpg two/2.jpg any.name");
}

TEST(links_are_followed_and_loops_of_them_are_not)
{
    put("loop/in/1.jpg", "");
    put("elsewhere/2.jpg", "");
    CHECK(symlink("..", under("loop/in/up")) == 0);
    CHECK(symlink("../elsewhere", under("loop/other")) == 0);
    CHECK(symlink("in/1.jpg", under("loop/same.jpg")) == 0);
    CHECK(symlink("/nowhere", under("loop/dead.jpg")) == 0);
    const char *path = under("loop");

    check_listed(&path, 1, false, "loop/dead.jpg loop/in/1.jpg loop/other/2.jpg loop/same.jpg");
}

TEST(a_list_gives_its_lines_and_does_not_look_for_the_pictures)
{
    char text[512], at[256];

    put("three/3.jpg", "");
    snprintf(text, sizeof text, "/no/b.jpg\r\n\n/no/a.jpg\n/no/c with blank.png\n%s",
             under("three"));
    snprintf(at, sizeof at, "@%s", put("list.txt", text));
    const char *path = at;
    check_listed(&path, 1, false, "/no/b.jpg /no/a.jpg /no/c with blank.png three/3.jpg");
}

TEST(a_dash_is_a_list_on_standard_input)
{
    int kept = dup(STDIN_FILENO);

    CHECK(freopen(put("stdin.txt", "/no/1.jpg\n/no/2.jpg"), "r", stdin) != NULL);
    const char *dash = "-";
    check_listed(&dash, 1, false, "/no/1.jpg /no/2.jpg");
    dup2(kept, STDIN_FILENO);
    close(kept);
}

TEST(what_cannot_be_a_source_is_refused_with_its_name)
{
    const char *path = "/no/cat.jpg";
    check_refused(&path, 1, DINO_EIO, "/no/cat.jpg: No such file");
    path = "@/no/list.txt";
    check_refused(&path, 1, DINO_EIO, "/no/list.txt: No such file");
    put("empty/readme.txt", "");
    path = under("empty");
    check_refused(&path, 1, DINO_EARG, "empty: no pictures, wanted .jpg");
    check_refused(NULL, 0, DINO_EARG, "nothing given: no pictures");

    char at[256];
    snprintf(at, sizeof at, "@%s", put("blank.txt", "\n\r\n"));
    path = at;
    check_refused(&path, 1, DINO_EARG, "no pictures");
}

TEST(an_unreadable_folder_is_an_error_that_names_it)
{
    uid_t user = geteuid();

    put("locked/in/1.jpg", "");
    CHECK(chmod(under("locked/in"), 0) == 0 && chmod(testing_scratch(), 0711) == 0);
    if (user == 0) /* root may read every folder: be nobody for a while */
        CHECK(seteuid(65534) == 0);
    const char *path = under("locked");
    check_refused(&path, 1, DINO_EIO, "locked/in: cannot read this folder: Permission denied");
    CHECK(seteuid(user) == 0);
    chmod(under("locked/in"), 0700);
}

TEST(a_line_with_a_zero_byte_is_refused_with_its_number)
{
    struct dino_error err = {0};
    struct output out;
    char at[256];
    const char *path = at;

    snprintf(at, sizeof at, "@%s", under("zero.txt"));
    CHECK_OK(dn_output_open(&out, at + 1, &err), err);
    CHECK_OK(dn_output_write(&out, "a.jpg\nb\0.jpg\n", 13, &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    check_refused(&path, 1, DINO_EFORMAT, "zero.txt: line 2 has a zero byte");
}

TEST(a_picture_given_twice_is_refused_with_both_places)
{
    put("twice/1.jpg", "");
    const char *paths[] = {put("other.jpg", ""), under("twice"), under("twice/1.jpg")};
    check_refused(paths, 3, DINO_EARG, "twice/1.jpg: given twice, as picture 2 and 3");
}

TEST(files_are_read_whole)
{
    const char *path = put("whole.jpg", "the bytes");
    struct dino_error err = {0};
    struct dino_source *source = dino_source_open(&path, 1, NULL, &err);
    uint8_t *data = NULL;
    size_t size = 0;

    CHECK_OK(source, err);
    CHECK(!dn_source_in_order(source, 0));
    CHECK_OK(dn_source_read(source, 0, &data, &size, &err), err);
    CHECK(size == 9 && memcmp(data, "the bytes", 9) == 0);
    free(data);
    dino_source_close(source);
}

TEST(a_tar_gives_its_pictures_under_its_own_name)
{
    for (int compressed = 0; compressed < 2; compressed++) {
        const char *shard = under(compressed ? "s.tgz" : "s.tar");
        const char *paths[] = {put("before.png", "x"), shard, put("zz.webp", "y")};
        struct dino_error err = {0};
        char wanted[256];

        write_tar_of_pictures(shard, 2, compressed);
        const char *base = strrchr(shard, '/') + 1;
        snprintf(wanted, sizeof wanted,
                 "before.png %s:0000.jpg %s:0000.webp %s:0001.jpg %s:0001.webp zz.webp", base,
                 base, base, base);
        check_listed(paths, 3, false, wanted);

        struct dino_source *source = dino_source_open(paths, 3, NULL, &err);
        CHECK_OK(source, err);
        for (int64_t i = 0; i < 6; i++) {
            static const size_t sizes[] = {1, 4620, 2206, 4620, 2206, 1};
            uint8_t *data = NULL;
            size_t size = 0;
            CHECK(dn_source_in_order(source, i) == (compressed && i > 0 && i < 5));
            CHECK_OK(dn_source_read(source, i, &data, &size, &err), err);
            assert_int_equal(size, sizes[i]);
            free(data);
        }
        dino_source_close(source);
    }
}

TEST(a_million_names_cost_little_more_than_their_letters)
{
    enum { NAMES = 1000000 };
    struct str text = {0};
    struct dino_error err = {0};
    struct output out;
    char at[256];
    const char *path = at;

    for (int i = 0; i < NAMES; i++)
        dn_str_addf(&text, "/no/folder/%d.jpg\n", (int)(i * 7919LL % NAMES));
    snprintf(at, sizeof at, "@%s", under("million.txt"));
    CHECK_OK(dn_output_open(&out, at + 1, &err), err);
    CHECK_OK(dn_output_write(&out, text.text, text.size, &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    dn_str_release(&text);

    struct dino_source *source = dino_source_open(&path, 1, NULL, &err);
    CHECK_OK(source, err);
    CHECK(dino_source_count(source) == NAMES);
    assert_string_equal(dino_source_name(source, 0), "/no/folder/0.jpg");
    assert_string_equal(dino_source_name(source, NAMES - 1), "/no/folder/992081.jpg");
    dino_source_close(source);
    unlink(at + 1);
}
