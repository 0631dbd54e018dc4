/* Zip directories, honest and lying. */
#include "testing.h"

#include "make_zip.h"

#include "format/zip_directory.h"

static const struct zip_part two[] = {
    {.name = "r/a", .data = "hello", .size = 5},
    {.name = "r/b", .data = "you", .size = 3},
};

TEST(members_are_found_by_name_with_and_without_zip64)
{
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct dino_error err = {0};
        struct zip_directory zip;
        struct str bytes = make_zip(two, 2, zip64);
        struct span file = exact(&bytes);

        CHECK_OK(dn_zip_read(&zip, file, &err), err);
        assert_int_equal(zip.count, 2);
        CHECK(dn_span_equals(dn_zip_find(&zip, "r/a")->data, "hello"));
        CHECK(dn_span_equals(dn_zip_find(&zip, "r/b")->data, "you"));
        CHECK(!dn_zip_find(&zip, "r/c"));
        dn_zip_release(&zip);
        free((void *)(uintptr_t)file.data);
        dn_str_release(&bytes);
    }
}

TEST(a_comment_behind_the_directory_is_allowed)
{
    struct dino_error err = {0};
    struct zip_directory zip;
    struct str bytes = make_zip(two, 2, false);

    bytes.text[bytes.size - 2] = 4;
    dn_str_add(&bytes, "note");
    struct span file = exact(&bytes);
    CHECK_OK(dn_zip_read(&zip, file, &err), err);
    dn_zip_release(&zip);
    free((void *)(uintptr_t)file.data);
    dn_str_release(&bytes);
}

static void refuse(const struct str *bytes, const char *message)
{
    struct dino_error err = {0};
    struct zip_directory zip;
    struct span file = exact(bytes);

    CHECK(!dn_zip_read(&zip, file, &err));
    assert_string_equal(err.message, message);
    CHECK(!zip.members);
    free((void *)(uintptr_t)file.data);
}

static void refuse_parts(const struct zip_part *parts, size_t count, const char *message)
{
    struct str bytes = make_zip(parts, count, false);
    refuse(&bytes, message);
    dn_str_release(&bytes);
}

TEST(lying_entries_are_refused_each_with_its_line)
{
    struct zip_part parts[2];
    char name[1100];

    memcpy(parts, two, sizeof two);
    parts[1].method = 8;
    refuse_parts(parts, 2,
                 "zip member 'r/b' is compressed; torch.save stores members as they are");
    memcpy(parts, two, sizeof two);
    parts[1].flags = 1;
    refuse_parts(parts, 2, "zip member 'r/b' is encrypted");
    memcpy(parts, two, sizeof two);
    parts[1].bytes = 1000;
    refuse_parts(
        parts, 2,
        "zip member 'r/b' of 1000 bytes at 71 ends behind 74, where the directory begins");
    parts[1].bytes = UINT32_MAX - 1;
    refuse_parts(parts, 2,
                 "zip member 'r/b' of 4294967294 bytes at 71 ends behind 74, where the "
                 "directory begins");
    memcpy(parts, two, sizeof two);
    parts[1].offset = 5000;
    refuse_parts(parts, 2, "zip member 'r/b' is not where, or not what, the directory says");
    parts[1].offset = 1;
    refuse_parts(parts, 2, "zip member 'r/b' is not where, or not what, the directory says");
    memcpy(parts, two, sizeof two);
    parts[0].bytes = 7;
    refuse_parts(parts, 2, "zip members 'r/a' and 'r/b' overlap");
    memcpy(parts, two, sizeof two);
    parts[1].name = "r/a";
    refuse_parts(parts, 2, "zip member 'r/a' is there twice");
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    parts[1].name = name;
    refuse_parts(parts, 2, "the zip directory has an absurd name");
}

TEST(a_lying_end_record_is_refused)
{
    struct str bytes = make_zip(two, 2, false);
    size_t end = bytes.size - 22;

    bytes.text[end + 10] = 77;
    refuse(&bytes,
           "zip directory of 77 members in 98 bytes at 74 does not fit the 194 bytes of "
           "the file");
    bytes.text[end + 10] = 1;
    refuse(&bytes, "the zip directory is damaged");
    bytes.text[end + 10] = 2;
    bytes.text[end + 19] = 0x70;
    refuse(&bytes, "zip directory of 2 members in 98 bytes at 1879048266 does not fit the 194 "
                   "bytes of the file");
    memset(bytes.text + end + 16, 0xff, 4);
    refuse(&bytes, "the zip directory has no zip64 end record");
    memset(bytes.text + end + 16, 0, 4);
    refuse(&bytes, "the zip directory is damaged");
    dn_str_release(&bytes);

    bytes = make_zip(two, 2, true);
    memset(bytes.text + bytes.size - 22 - 12, 0xff, 8); /* the locator's offset */
    refuse(&bytes, "the zip directory has no zip64 end record");
    dn_str_release(&bytes);
}

TEST(a_zip_cut_anywhere_is_refused)
{
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct str bytes = make_zip(two, 2, zip64);
        for (; bytes.size > 0; bytes.size--) {
            struct dino_error err = {0};
            struct zip_directory zip;
            struct str part = {.text = bytes.text, .size = bytes.size - 1};
            struct span file = exact(&part);
            CHECK(!dn_zip_read(&zip, file, &err));
            CHECK(err.code == DINO_EFORMAT);
            free((void *)(uintptr_t)file.data);
        }
        dn_str_release(&bytes);
    }
}
