/* A small tar of the drawn pictures, as a WebDataset shard has them. */
#ifndef TAR_OF_PICTURES_H
#define TAR_OF_PICTURES_H

#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/file.h"
#include "testing.h"

static inline void tar_member(struct archive *a, const char *name, const void *bytes,
                              size_t size)
{
    struct archive_entry *entry = archive_entry_new();

    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)size);
    CHECK(archive_write_header(a, entry) == ARCHIVE_OK);
    CHECK(archive_write_data(a, bytes, size) == (la_ssize_t)size);
    archive_entry_free(entry);
}

/* Under the scratch folder: `rounds` times 0000.jpg 0000.cls 0000.webp 0001.jpg ... from two
 * drawn pictures and a class; compressed or plain. */
static inline void write_tar_of_pictures(const char *path, int rounds, bool compressed)
{
    static const char *const files[] = {"gen_exif.jpg", "gen_lossy.webp"};
    static const char *const endings[] = {"jpg", "webp"};
    struct archive *a = archive_write_new();
    struct dino_error err = {0};

    archive_write_set_format(a, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
    archive_write_add_filter(a, compressed ? ARCHIVE_FILTER_GZIP : ARCHIVE_FILTER_NONE);
    CHECK(archive_write_open_filename(a, path) == ARCHIVE_OK);
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < 2; i++) {
            char name[32], drawn[64];
            uint8_t *data;
            size_t size;

            snprintf(drawn, sizeof drawn, "pictures/%s", files[i]);
            CHECK_OK(dn_read_all(testing_data(drawn), 1 << 20, &data, &size, &err), err);
            snprintf(name, sizeof name, "%04d.%s", round, endings[i]);
            tar_member(a, name, data, size);
            free(data);
            snprintf(name, sizeof name, "%04d.cls", round);
            if (i == 0)
                tar_member(a, name, "7\n", 2);
        }
    CHECK(archive_write_close(a) == ARCHIVE_OK);
    archive_write_free(a);
}

#endif
