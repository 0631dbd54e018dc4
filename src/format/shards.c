/* Tar through libarchive; the members of a plain one are then read without it. */
#include "format/shards.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/alloc.h"
#include "base/str.h"

enum { LARGEST_ENTRY = 1 << 30, READ_SIZE = 1 << 18 };

struct shard_stream {
    struct archive *archive; /* NULL: not begun */
    size_t next;             /* index of the entry that comes next */
};

/* ------------------------------------------------------------ libarchive */

static bool fail_archive(struct archive *a, const char *path, struct dino_error *err)
{
    const char *why = archive_error_string(a);
    return dn_fail(err, DINO_EFORMAT, "%s: damaged tar: %s", path,
                   why ? why : "no reason known");
}

static struct archive *open_archive(const char *path, struct dino_error *err)
{
    struct archive *a = archive_read_new();

    if (!a) {
        dn_fail_memory(err, 0, "a tar reader");
        return NULL;
    }
    archive_read_support_format_tar(a);
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_zstd(a);
    if (archive_read_open_filename(a, path, READ_SIZE) != ARCHIVE_OK) {
        fail_archive(a, path, err);
        archive_read_free(a);
        return NULL;
    }
    return a;
}

/* The next regular file's header. 1: there it is, 0: the end, -1: failed. */
static int next_entry(struct archive *a, const char *path, struct archive_entry **entry,
                      struct dino_error *err)
{
    for (;;) {
        int status = archive_read_next_header(a, entry);
        if (status == ARCHIVE_EOF)
            return 0;
        if (status != ARCHIVE_OK && status != ARCHIVE_WARN) {
            fail_archive(a, path, err);
            return -1;
        }
        if (archive_entry_filetype(*entry) == AE_IFREG && !archive_entry_hardlink(*entry))
            return 1;
    }
}

/* The whole of the entry whose header was read last, which should be `size` long. */
static bool read_entry(struct archive *a, const char *path, const struct shard_entry *entry,
                       uint8_t *bytes, struct dino_error *err)
{
    size_t done = 0;

    while (done < entry->size) {
        ssize_t got = archive_read_data(a, bytes + done, (size_t)entry->size - done);
        if (got < 0)
            return fail_archive(a, path, err);
        if (got == 0)
            return dn_fail(err, DINO_EFORMAT, "%s: '%s' ends after %zu of %llu bytes", path,
                           entry->name, done, (unsigned long long)entry->size);
        done += (size_t)got;
    }
    return true;
}

/* ------------------------------------------------------------ the index */

static bool named_as_tar(const char *path)
{
    static const char *const ends[] = {".tgz", ".tar.gz", ".tzst", ".tar.zst"};

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (dn_ends_with(path, ends[i]))
            return true;
    return false;
}

bool dn_shard_is(const char *path)
{
    static const uint8_t zst[4] = {0x28, 0xb5, 0x2f, 0xfd};
    uint8_t head[512] = {0};
    struct archive_entry *entry;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;

    if (fd < 0)
        return false;
    ssize_t got =
        fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? read(fd, head, sizeof head) : -1;
    close(fd);
    if (got < 4)
        return false;
    if (memcmp(head + 257, "ustar", 5) == 0)
        return true;
    if (memcmp(head, "\x1f\x8b", 2) != 0 && memcmp(head, zst, sizeof zst) != 0)
        return false;
    if (named_as_tar(path)) /* one that is cut short is still a tar, but a damaged one */
        return true;
    struct archive *a = open_archive(path, NULL); /* compressed, but is it a tar? */
    bool tar = a && archive_read_next_header(a, &entry) == ARCHIVE_OK;
    archive_read_free(a);
    return tar;
}

static bool add_entry(struct shard *shard, struct archive *a, struct archive_entry *entry,
                      struct dino_error *err)
{
    const char *name = archive_entry_pathname_utf8(entry);
    if (!name)
        name = archive_entry_pathname(entry);
    if (!name)
        return dn_fail(err, DINO_EFORMAT, "%s: a member has no readable name", shard->path);
    if (archive_entry_sparse_count(entry) > 0)
        return dn_fail(err, DINO_EUNSUPPORTED, "%s: '%s' is sparse", shard->path, name);
    if (archive_entry_size(entry) < 0)
        return dn_fail(err, DINO_EFORMAT, "%s: '%s' has no sensible size", shard->path, name);
    if (!dn_grow(&shard->entries, &shard->room, shard->count + 1, sizeof *shard->entries,
                 "a tar's index", err))
        return false;
    char *copy = dn_strdup(name, err);
    if (!copy)
        return false;
    shard->entries[shard->count++] = (struct shard_entry){
        .name = copy,
        .offset = shard->plain ? (uint64_t)archive_filter_bytes(a, 0) : 0,
        .size = (uint64_t)archive_entry_size(entry),
    };
    return true;
}

static bool make_index(struct shard *shard, struct archive *a, struct dino_error *err)
{
    struct archive_entry *entry;
    int status;

    while ((status = next_entry(a, shard->path, &entry, err)) == 1) {
        /* the filters are known once a header was read: code 0 is "none" */
        shard->plain = archive_filter_code(a, 0) == ARCHIVE_FILTER_NONE;
        if (!add_entry(shard, a, entry, err))
            return false;
    }
    return status == 0;
}

/* Members of a plain tar must lie inside the file. */
static bool check_index(const struct shard *shard, struct dino_error *err)
{
    struct stat info;

    if (stat(shard->path, &info) != 0)
        return dn_fail_errno(err, "%s", shard->path);
    uint64_t size = (uint64_t)info.st_size;
    for (size_t i = 0; i < shard->count && shard->plain; i++) {
        const struct shard_entry *entry = &shard->entries[i];
        if (entry->offset > size || entry->size > size - entry->offset)
            return dn_fail(err, DINO_EFORMAT, "%s: '%s' of %llu bytes runs over the end",
                           shard->path, entry->name, (unsigned long long)entry->size);
    }
    return true;
}

bool dn_shard_open(struct shard *shard, const char *path, struct dino_error *err)
{
    struct archive *a = NULL;

    *shard = (struct shard){.path = dn_strdup(path, err)};
    bool ok = shard->path && (a = open_archive(path, err)) != NULL &&
              make_index(shard, a, err) && check_index(shard, err);
    if (ok && !shard->plain) {
        shard->stream = dn_calloc(1, sizeof *shard->stream, "a tar reader", err);
        ok = shard->stream != NULL;
    }
    archive_read_free(a);
    if (!ok)
        dn_shard_release(shard);
    return ok;
}

void dn_shard_release(struct shard *shard)
{
    for (size_t i = 0; i < shard->count; i++)
        free(shard->entries[i].name);
    if (shard->stream)
        archive_read_free(shard->stream->archive);
    if (shard->unpacked)
        fclose(shard->unpacked);
    free(shard->stream);
    free(shard->entries);
    free(shard->path);
    *shard = (struct shard){0};
}

/* ------------------------------------------------------------ unpacking */

static FILE *nameless_file(const char *folder, struct dino_error *err)
{
    char *path = dn_path_join(folder, "dino-shard-XXXXXX", err);
    int fd = path ? mkostemp(path, O_CLOEXEC) : -1;
    FILE *file = fd >= 0 ? fdopen(fd, "w+b") : NULL;

    if (fd >= 0)
        unlink(path);
    if (path && !file) {
        dn_fail_errno(err, "%s", folder);
        if (fd >= 0)
            close(fd);
    }
    free(path);
    return file;
}

/* The entry whose header was read last, to the end of the file. */
static bool copy_entry(struct shard *shard, struct archive *a, struct shard_entry *entry,
                       uint64_t *end, struct dino_error *err)
{
    const void *bytes;
    uint64_t done = 0;
    size_t size;
    la_int64_t at;
    int status;

    while ((status = archive_read_data_block(a, &bytes, &size, &at)) == ARCHIVE_OK) {
        if (fwrite(bytes, 1, size, shard->unpacked) != size)
            return dn_fail_errno(err, "%s: unpacking", shard->path);
        done += size;
    }
    if (status != ARCHIVE_EOF)
        return fail_archive(a, shard->path, err);
    if (done != entry->size)
        return dn_fail(err, DINO_EFORMAT, "%s: '%s' ends after %llu of %llu bytes", shard->path,
                       entry->name, (unsigned long long)done, (unsigned long long)entry->size);
    entry->offset = *end;
    *end += done;
    return true;
}

bool dn_shard_unpack(struct shard *shard, const char *folder, struct dino_error *err)
{
    struct archive_entry *header;
    uint64_t end = 0;
    bool ok = true;

    if (shard->plain)
        return true;
    shard->unpacked = nameless_file(folder, err);
    struct archive *a = shard->unpacked ? open_archive(shard->path, err) : NULL;
    if (!a)
        return false;
    for (size_t i = 0; ok && i < shard->count; i++) {
        int status = next_entry(a, shard->path, &header, err);
        ok = status == 1 && copy_entry(shard, a, &shard->entries[i], &end, err);
        if (status == 0)
            dn_fail(err, DINO_EFORMAT, "%s: is shorter than when it was opened", shard->path);
    }
    if (ok && fflush(shard->unpacked) != 0)
        ok = dn_fail_errno(err, "%s: unpacking", shard->path);
    archive_read_free(a);
    shard->plain = ok;
    return ok;
}

/* ------------------------------------------------------------ reading */

static bool read_plain(const struct shard *shard, const struct shard_entry *entry,
                       uint8_t *bytes, struct dino_error *err)
{
    int fd =
        shard->unpacked ? fileno(shard->unpacked) : open(shard->path, O_RDONLY | O_CLOEXEC);
    uint64_t done = 0;
    bool ok = true;

    if (fd < 0)
        return dn_fail_errno(err, "%s", shard->path);
    while (ok && done < entry->size) {
        ssize_t got = pread(fd, bytes + done, (size_t)(entry->size - done),
                            (off_t)(entry->offset + done));
        if (got < 0 && errno != EINTR)
            ok = dn_fail_errno(err, "%s", shard->path);
        else if (got == 0)
            ok = dn_fail(err, DINO_EFORMAT, "%s: is shorter than when it was opened",
                         shard->path);
        else if (got > 0)
            done += (uint64_t)got;
    }
    if (!shard->unpacked)
        close(fd);
    return ok;
}

/* Wind the stream forward to the entry, from the beginning if it is behind already. */
static bool read_streamed(const struct shard *shard, size_t index, uint8_t *bytes,
                          struct dino_error *err)
{
    struct shard_stream *stream = shard->stream;
    struct archive_entry *entry;

    if (!stream->archive || index < stream->next) {
        archive_read_free(stream->archive);
        stream->archive = open_archive(shard->path, err);
        stream->next = 0;
    }
    while (stream->archive) {
        int status = next_entry(stream->archive, shard->path, &entry, err);
        if (status == 0)
            dn_fail(err, DINO_EFORMAT, "%s: is shorter than when it was opened", shard->path);
        if (status != 1)
            break;
        if (stream->next++ == index) {
            if (read_entry(stream->archive, shard->path, &shard->entries[index], bytes, err))
                return true;
            break;
        }
    }
    archive_read_free(stream->archive);
    stream->archive = NULL;
    return false;
}

bool dn_shard_read(const struct shard *shard, size_t index, uint8_t **data, size_t *size,
                   struct dino_error *err)
{
    const struct shard_entry *entry = &shard->entries[index];

    if (entry->size > LARGEST_ENTRY)
        return dn_fail(err, DINO_EUNSUPPORTED, "%s: '%s' has %llu bytes, at most %d are read",
                       shard->path, entry->name, (unsigned long long)entry->size,
                       LARGEST_ENTRY);
    uint8_t *bytes = dn_calloc((size_t)entry->size, 1, "a member of a tar", err);
    if (!bytes)
        return false;
    if (!(shard->plain ? read_plain(shard, entry, bytes, err)
                       : read_streamed(shard, index, bytes, err))) {
        free(bytes);
        return false;
    }
    *data = bytes;
    *size = (size_t)entry->size;
    return true;
}
