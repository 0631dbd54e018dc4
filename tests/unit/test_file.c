/* base/file: mapping, whole reads, and outputs that appear whole or not at all. */
#include "testing.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static const char *in_scratch(const char *name)
{
    static char paths[4][300];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", testing_scratch(), name);
    return path;
}

static const char *write_file(const char *name, const void *bytes, size_t size)
{
    const char *path = in_scratch(name);
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    CHECK(fwrite(bytes, 1, size, file) == size);
    CHECK(fclose(file) == 0);
    return path;
}

/* Files in the folder of the tests whose name begins so. */
static int count_files(const char *prefix)
{
    DIR *folder = opendir(testing_scratch());
    int count = 0;

    for (struct dirent *entry; (entry = readdir(folder));)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(folder);
    return count;
}

TEST(a_mapped_file_has_its_bytes_even_after_its_pages_were_dropped)
{
    static uint8_t bytes[100001];
    struct mapping map;
    struct dino_error err = {0};

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 >> 3);
    const char *path = write_file("mapped", bytes, sizeof bytes);
    CHECK_OK(dn_map_open(&map, path, &err), err);
    CHECK(map.bytes.size == sizeof bytes);
    assert_memory_equal(map.bytes.data, bytes, sizeof bytes);
    dn_map_drop(&map, map.bytes.data + 5000, 50000);
    dn_map_want(&map, map.bytes.data, map.bytes.size);
    dn_map_drop(&map, map.bytes.data + map.bytes.size, 1); /* outside: no effect */
    dn_map_drop(&map, bytes, 1);
    assert_memory_equal(map.bytes.data, bytes, sizeof bytes);
    dn_map_close(&map);
    assert_null(map.bytes.data);
    dn_map_close(&map);
}

TEST(what_cannot_be_mapped_is_named_with_the_reason)
{
    struct mapping map;
    struct dino_error err = {0};

    CHECK(!dn_map_open(&map, in_scratch("missing"), &err) && err.code == DINO_EIO);
    assert_non_null(strstr(err.message, "missing: No such file"));
    CHECK(!dn_map_open(&map, testing_scratch(), &err) && err.code == DINO_EIO);
    assert_non_null(strstr(err.message, "a directory"));
    CHECK(!dn_map_open(&map, "/dev/null", &err) && err.code == DINO_EIO);
    CHECK(!dn_map_open(&map, write_file("empty", "", 0), &err) && err.code == DINO_EFORMAT);
    assert_non_null(strstr(err.message, "is empty"));
}

TEST(a_whole_read_takes_all_and_stops_at_its_limit)
{
    static uint8_t bytes[200000];
    struct dino_error err = {0};
    uint8_t *data = NULL;
    size_t size = 0;

    memset(bytes, 'q', sizeof bytes);
    const char *path = write_file("whole", bytes, sizeof bytes);
    CHECK_OK(dn_read_all(path, sizeof bytes, &data, &size, &err), err);
    CHECK(size == sizeof bytes && memcmp(data, bytes, size) == 0);
    free(data);
    data = NULL;
    CHECK(!dn_read_all(path, sizeof bytes - 1, &data, &size, &err) && !data);
    CHECK(err.code == DINO_EFORMAT);
    CHECK(!dn_read_all(in_scratch("missing"), 10, &data, &size, &err) && err.code == DINO_EIO);
    CHECK(!dn_read_all(testing_scratch(), 10, &data, &size, &err) && err.code == DINO_EIO);
}

TEST(folders_on_the_way_are_made_and_may_be_there)
{
    struct dino_error err = {0};
    const char *path = in_scratch("one/two/three.npy");

    CHECK_OK(dn_make_parents(path, &err), err);
    CHECK_OK(dn_make_parents(path, &err), err);
    CHECK(dn_is_dir(in_scratch("one/two")) && !dn_exists(path));
    write_file("blocker", "x", 1);
    CHECK(!dn_make_parents(in_scratch("blocker/in/the/way"), &err) && err.code == DINO_EIO);
}

TEST(an_output_appears_only_when_it_is_committed)
{
    struct dino_error err = {0};
    struct output out;
    const char *path = write_file("result", "old", 3);
    uint8_t *data;
    size_t size;

    CHECK_OK(dn_output_open(&out, path, &err), err);
    CHECK_OK(dn_output_write(&out, "brand new", 9, &err), err);
    CHECK_OK(dn_read_all(path, 100, &data, &size, &err), err);
    CHECK(size == 3 && memcmp(data, "old", 3) == 0);
    free(data);
    CHECK_OK(dn_output_commit(&out, &err), err);
    CHECK_OK(dn_read_all(path, 100, &data, &size, &err), err);
    CHECK(size == 9 && memcmp(data, "brand new", 9) == 0);
    free(data);
    CHECK(count_files("result") == 1);
}

TEST(an_output_that_is_dropped_leaves_nothing)
{
    struct dino_error err = {0};
    struct output out;

    CHECK_OK(dn_output_open(&out, in_scratch("dropped"), &err), err);
    CHECK_OK(dn_output_write(&out, "half", 4, &err), err);
    CHECK(count_files("dropped") == 1);
    dn_output_release(&out);
    CHECK(count_files("dropped") == 0);
    dn_output_release(&out);
}

TEST(an_output_goes_where_a_link_leads)
{
    struct dino_error err = {0};
    struct output out;
    const char *real = write_file("behind", "old", 3), *link = in_scratch("pointer");
    uint8_t *data;
    size_t size;
    struct stat info;

    CHECK(symlink(real, link) == 0);
    CHECK_OK(dn_output_open(&out, link, &err), err);
    CHECK_OK(dn_output_write(&out, "newer", 5, &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    CHECK(lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
    CHECK_OK(dn_read_all(real, 100, &data, &size, &err), err);
    CHECK(size == 5 && memcmp(data, "newer", 5) == 0);
    free(data);
}

TEST(an_output_into_a_pipe_leaves_the_pipe)
{
    struct dino_error err = {0};
    struct output out;
    const char *path = in_scratch("outlet");
    char got[8] = "";

    CHECK(mkfifo(path, 0600) == 0 && dn_is_stream(path) && !dn_is_stream(testing_scratch()));
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    CHECK(reader >= 0);
    CHECK_OK(dn_output_open(&out, path, &err), err);
    CHECK_OK(dn_output_write(&out, "through", 7, &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    CHECK(read(reader, got, sizeof got) == 7 && memcmp(got, "through", 7) == 0);
    close(reader);
    CHECK(dn_is_stream(path) && count_files("outlet") == 1);
    CHECK_OK(dn_output_open(&out, "/dev/null", &err), err);
    dn_output_release(&out);
    CHECK(dn_is_stream("/dev/null"));
}

TEST(an_output_that_cannot_be_written_says_so_and_leaves_nothing)
{
    struct dino_error err = {0};
    struct output out;

    CHECK(!dn_output_open(&out, testing_scratch(), &err) && err.code == DINO_EIO);
    assert_non_null(strstr(err.message, "is a directory"));
    CHECK(!dn_output_open(&out, in_scratch("no/such/folder"), &err) && err.code == DINO_EIO);
    assert_non_null(strstr(err.message, "no/such/folder"));
}

TEST(a_full_disk_is_reported_at_the_latest_on_commit)
{
    struct dino_error err = {0};
    struct output out;
    static uint8_t bytes[1 << 16];

    CHECK_OK(dn_output_open(&out, in_scratch("full"), &err), err);
    FILE *full = freopen("/dev/full", "wb", out.stream);
    if (!full)
        SKIP("/dev/full is not here");
    out.stream = full;
    bool ok = true;
    for (int i = 0; i < 4 && ok; i++)
        ok = dn_output_write(&out, bytes, sizeof bytes, &err);
    if (ok)
        ok = dn_output_commit(&out, &err);
    else
        dn_output_release(&out);
    CHECK(!ok && err.code == DINO_EIO);
    assert_non_null(strstr(err.message, "No space left"));
    CHECK(count_files("full") == 0);
}

TEST(one_file_is_known_under_every_name)
{
    char path[256], other[256];
    struct dino_error err = {0};
    struct mapping map;
    struct output out;

    snprintf(path, sizeof path, "%s/known", testing_scratch());
    snprintf(other, sizeof other, "%s/alias", testing_scratch());
    CHECK_OK(dn_output_open(&out, path, &err), err);
    CHECK_OK(dn_output_write(&out, "x", 1, &err) && dn_output_commit(&out, &err), err);
    dn_output_release(&out);
    CHECK(symlink(path, other) == 0);
    CHECK_OK(dn_map_open(&map, other, &err), err);
    CHECK(dn_map_is(&map, path) && dn_map_is(&map, other));
    CHECK(!dn_map_is(&map, testing_scratch()) && !dn_map_is(&map, "/nowhere"));
    CHECK(dn_same_file(path, other) && !dn_same_file(path, testing_scratch()));
    CHECK(!dn_same_file("/nowhere", "/nowhere"));
    dn_map_close(&map);
    CHECK(!dn_map_is(&map, path));
}

TEST(a_pipe_is_refused_without_waiting_for_a_writer)
{
    char path[256];
    struct dino_error err = {0};
    struct mapping map;

    snprintf(path, sizeof path, "%s/pipe", testing_scratch());
    CHECK(mkfifo(path, 0600) == 0);
    CHECK(!dn_map_open(&map, path, &err));
    CHECK(err.code == DINO_EIO && strstr(err.message, "is a device or pipe"));
}
