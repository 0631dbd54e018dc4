/* Tar shards: plain ones at random, compressed ones in order, damaged ones not at all. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "format/shards.h"

enum { MEMBERS = 40 };

/* Name and bytes of member i: some names need more than a plain header, sizes vary. */
static void member(int i, char name[400], uint8_t *bytes, size_t *size)
{
    snprintf(name, 400, "%0*d/\xc3\xa4/%04d.jpg", i % 5 == 0 ? 260 : 3, i, i);
    *size = i == 3 ? 0 : (size_t)(i * i * 37 % 5000) + 1;
    for (size_t k = 0; k < *size; k++)
        bytes[k] = (uint8_t)(k * 7 + (size_t)i);
}

static void write_tar(const char *path, int format, int filter)
{
    struct archive *a = archive_write_new();
    uint8_t bytes[6000];
    char name[400];
    size_t size;

    archive_write_set_format(a, format);
    archive_write_add_filter(a, filter);
    CHECK(archive_write_open_filename(a, path) == ARCHIVE_OK);
    for (int i = 0; i < MEMBERS; i++) {
        struct archive_entry *entry = archive_entry_new();
        member(i, name, bytes, &size);
        archive_entry_set_pathname(entry, i == 7 ? "folder" : name);
        archive_entry_set_filetype(entry, i == 7 ? AE_IFDIR : AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_size(entry, i == 7 ? 0 : (la_int64_t)size);
        CHECK(archive_write_header(a, entry) >= ARCHIVE_WARN);
        if (i != 7 && size)
            CHECK(archive_write_data(a, bytes, size) == (la_ssize_t)size);
        archive_entry_free(entry);
    }
    CHECK(archive_write_close(a) == ARCHIVE_OK);
    archive_write_free(a);
}

static void check_member(const struct shard *shard, size_t index)
{
    struct dino_error err = {0};
    uint8_t bytes[6000], *read;
    char name[400];
    size_t size, got;

    member((int)(index < 7 ? index : index + 1), name, bytes, &size);
    assert_string_equal(shard->entries[index].name, name);
    assert_int_equal(shard->entries[index].size, size);
    CHECK_OK(dn_shard_read(shard, index, &read, &got, &err), err);
    assert_int_equal(got, size);
    assert_memory_equal(read, bytes, size);
    free(read);
}

static const struct {
    const char *name;
    int format, filter;
} kinds[] = {
    {"ustar.tar", ARCHIVE_FORMAT_TAR_PAX_RESTRICTED, ARCHIVE_FILTER_NONE},
    {"pax.tar", ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FILTER_NONE},
    {"gnu.tar", ARCHIVE_FORMAT_TAR_GNUTAR, ARCHIVE_FILTER_NONE},
    {"pax.tar.gz", ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FILTER_GZIP},
    {"gnu.tar.zst", ARCHIVE_FORMAT_TAR_GNUTAR, ARCHIVE_FILTER_ZSTD},
};

static const char *make(size_t kind)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", testing_scratch(), kinds[kind].name);
    write_tar(path, kinds[kind].format, kinds[kind].filter);
    return path;
}

TEST(every_kind_of_tar_gives_its_members_in_any_order)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct dino_error err = {0};
        struct shard shard;
        const char *path = make(k);

        CHECK(dn_shard_is(path));
        CHECK_OK(dn_shard_open(&shard, path, &err), err);
        CHECK(shard.plain == (kinds[k].filter == ARCHIVE_FILTER_NONE));
        assert_int_equal(shard.count, MEMBERS - 1);
        for (size_t i = 0; i < shard.count; i++)
            check_member(&shard, i);
        for (size_t i = 0; i < shard.count; i += 3)
            check_member(&shard, shard.count - 1 - i);
        dn_shard_release(&shard);
    }
}

/* The first `size` bytes of a file, into another. */
static void cut(const char *from, const char *to, size_t size)
{
    struct dino_error err = {0};
    struct output out;
    uint8_t *bytes;
    size_t all;

    CHECK_OK(dn_read_all(from, 1 << 24, &bytes, &all, &err), err);
    CHECK_OK(dn_output_open(&out, to, &err), err);
    CHECK_OK(dn_output_write(&out, bytes, size < all ? size : all, &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    free(bytes);
}

TEST(a_tar_cut_anywhere_is_refused_or_shorter)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct mapping map;
        struct dino_error err = {0};
        char path[320];
        const char *whole = make(k);

        CHECK_OK(dn_map_open(&map, whole, &err), err);
        size_t size = map.bytes.size;
        dn_map_close(&map);
        snprintf(path, sizeof path, "%s.cut", whole);
        for (size_t part = 1; part < 24; part++) {
            struct shard shard;
            cut(whole, path, size * part / 24);
            if (!dn_shard_open(&shard, path, &err)) {
                CHECK(err.code == DINO_EFORMAT && strstr(err.message, ".cut: "));
                continue;
            }
            CHECK(shard.count < MEMBERS - 1 || part > 20); /* zeros at the end may lack */
            for (size_t i = 0; i < shard.count; i++)
                check_member(&shard, i);
            dn_shard_release(&shard);
        }
    }
}

TEST(other_files_are_no_shards)
{
    struct dino_error err = {0};
    struct output out;
    char path[300];

    snprintf(path, sizeof path, "%s/other", testing_scratch());
    CHECK(!dn_shard_is(path));
    CHECK(!dn_shard_is(testing_scratch()));
    CHECK_OK(dn_output_open(&out, path, &err), err);
    CHECK_OK(dn_output_write(&out, "\x1f\x8b\x08 not a tar, not even gzip", 28, &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    CHECK(!dn_shard_is(path));

    /* but a compressed file with a tar's name is one that is damaged */
    char named[320];
    struct shard shard;
    snprintf(named, sizeof named, "%s.tar.gz", path);
    CHECK(rename(path, named) == 0);
    CHECK(dn_shard_is(named));
    CHECK(!dn_shard_open(&shard, named, &err));
    CHECK(err.code == DINO_EFORMAT && strstr(err.message, "other.tar.gz: damaged tar"));
}

TEST(a_shard_that_shrinks_after_it_was_opened_is_noticed)
{
    for (size_t k = 1; k < sizeof kinds / sizeof *kinds; k += 2) { /* a plain, a gzipped */
        struct dino_error err = {0};
        struct shard shard;
        uint8_t *data;
        size_t size;
        char other[320];
        const char *path = make(k);

        CHECK_OK(dn_shard_open(&shard, path, &err), err);
        snprintf(other, sizeof other, "%s.short", path);
        cut(path, other, 1024);
        CHECK(rename(other, path) == 0);
        CHECK(!dn_shard_read(&shard, shard.count - 1, &data, &size, &err));
        CHECK(err.code == DINO_EFORMAT && err.message[0]);
        dn_shard_release(&shard);
    }
}
