#include "train/feature_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/str.h"

enum { BLOCK = 4096 };

static const char magic[] = "dino features 1\n";

/* ---- bytes at a place ---- */

/* Less than size only at the end of the file. */
static ssize_t read_at(int file, void *to, size_t size, int64_t at)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(file, (char *)to + done, size - done, (off_t)at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -1 : (ssize_t)done;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static bool write_at(int file, const void *from, size_t size, int64_t at)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n =
            pwrite(file, (const char *)from + done, size - done, (off_t)at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* Of whole words and of which step they are; never 0, which is what a hole holds. */
static uint64_t sum_of(const void *rows, size_t size, int64_t step)
{
    const char *bytes = rows;
    uint64_t sum = dn_splitmix64((uint64_t)step ^ size), word = 0;

    for (size_t i = 0; i + 8 <= size; i += 8) {
        memcpy(&word, bytes + i, 8);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15U;
        sum ^= sum >> 29;
    }
    word = 0;
    memcpy(&word, bytes + size / 8 * 8, size % 8);
    sum = dn_splitmix64(sum ^ word);
    return sum ? sum : 1;
}

static int64_t place_of(const struct feature_cache *c, int64_t step)
{
    return c->head + step * (int64_t)(sizeof(uint64_t) + c->record);
}

/* ---- the head ---- */

static void write_head(struct str *head, const char *facts, size_t record)
{
    dn_str_add(head, magic);
    dn_str_addf(head, "%srecord: %zu bytes\n", facts, record);
    dn_str_add_bytes(head, "", 1);
    while (head->size % BLOCK && !head->failed)
        dn_str_add_bytes(head, "", 1);
}

static bool begin(const char *path, const struct str *head, struct dino_error *err)
{
    struct output out = {0};
    bool ok = dn_output_open(&out, path, err) &&
              dn_output_write(&out, head->text, head->size, err) && dn_output_commit(&out, err);

    dn_output_release(&out);
    return ok;
}

static bool check_head(const struct feature_cache *c, const struct str *wanted,
                       struct dino_error *err)
{
    char was[DN_LINE], now[DN_LINE];
    char *found = dn_calloc(wanted->size + 1, 1, "the head of a cache", err);
    ssize_t size = found ? read_at(c->file, found, wanted->size, 0) : -1;
    bool ok = false;

    if (size < 0) {
        if (found)
            dn_fail_errno(err, "%s", c->path);
    } else if (strncmp(found, magic, strlen(magic)) != 0) {
        dn_fail(err, DINO_EFORMAT, "%s: is no cache of a teacher's features", c->path);
    } else if ((size_t)size < wanted->size || memcmp(found, wanted->text, wanted->size) != 0) {
        dn_lines_differ(found, wanted->text, was, now);
        dn_fail(err, DINO_EARG,
                "%s: was made with '%s', now it is '%s': take another folder, or what it was "
                "made with",
                c->path, was, now);
    } else {
        ok = true;
    }
    free(found);
    return ok;
}

/* ---- room ---- */

/* How many records have a sum. What it says is checked when they are read. */
static bool count_made(struct feature_cache *c, struct dino_error *err)
{
    for (int64_t step = 0; step < c->steps; step++) {
        uint64_t sum = 0;
        ssize_t n = read_at(c->file, &sum, sizeof sum, place_of(c, step));
        if (n < 0)
            return dn_fail_errno(err, "%s", c->path);
        if (n == 0)
            break;
        c->made += n == (ssize_t)sizeof sum && sum != 0;
    }
    return true;
}

static bool room_left(const struct feature_cache *c, struct dino_error *err)
{
    double wanted = (double)(c->steps - c->made) * (double)(c->record + sizeof(uint64_t));
    struct statvfs disk;

    if (fstatvfs(c->file, &disk) != 0)
        return true; /* nobody knows: writing will say */
    double left = (double)disk.f_bavail * (double)disk.f_frsize;
    if (wanted <= left)
        return true;
    return dn_fail(err, DINO_EIO,
                   "%s: wants %.1f GB for %lld steps, the disk has %.1f: lower "
                   "distillation.crop_epochs, or take another folder",
                   c->path, wanted / 1e9, (long long)(c->steps - c->made), left / 1e9);
}

/* ---- the door ---- */

bool dn_feature_cache_open(struct feature_cache *c, const char *folder, const char *facts,
                           int64_t steps, size_t record, struct dino_error *err)
{
    struct str head = {0};
    bool ok = false;

    *c = (struct feature_cache){.file = -1, .steps = steps, .record = record};
    write_head(&head, facts, record);
    c->head = (int64_t)head.size;
    c->path = dn_path_join(folder, "features.cache", err);
    if (!c->path || (head.failed && !dn_fail_memory(err, head.size, "the head of a cache")) ||
        !dn_make_parents(c->path, err))
        goto done;
    if (!dn_exists(c->path) && !begin(c->path, &head, err))
        goto done;
    c->file = open(c->path, O_RDWR | O_CLOEXEC);
    if (c->file < 0) {
        dn_fail_errno(err, "%s", c->path);
        goto done;
    }
    ok = check_head(c, &head, err) && count_made(c, err) && room_left(c, err);
done:
    dn_str_release(&head);
    if (!ok)
        dn_feature_cache_close(c);
    return ok;
}

void dn_feature_cache_close(struct feature_cache *c)
{
    if (c->path && c->file >= 0)
        close(c->file);
    free(c->path);
    *c = (struct feature_cache){0};
}

bool dn_feature_cache_read(const struct feature_cache *c, int64_t step, void *rows, bool *found,
                           struct dino_error *err)
{
    int64_t at = place_of(c, step);
    uint64_t sum = 0;

    *found = false;
    ssize_t n = read_at(c->file, &sum, sizeof sum, at);
    if (n == (ssize_t)sizeof sum && sum != 0) {
        n = read_at(c->file, rows, c->record, at + (int64_t)sizeof sum);
        *found = n == (ssize_t)c->record && sum_of(rows, c->record, step) == sum;
    }
    return n >= 0 || dn_fail_errno(err, "%s", c->path);
}

/* The rows first, then the sum that makes them count. */
bool dn_feature_cache_write(const struct feature_cache *c, int64_t step, const void *rows,
                            struct dino_error *err)
{
    uint64_t sum = sum_of(rows, c->record, step);
    int64_t at = place_of(c, step);

    return (write_at(c->file, rows, c->record, at + (int64_t)sizeof sum) &&
            write_at(c->file, &sum, sizeof sum, at)) ||
           dn_fail_errno(err, "%s: step %lld of a teacher's features", c->path,
                         (long long)step);
}
