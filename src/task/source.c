/*
 * Sources: from the paths a user names to an ordered list of pictures. All names lie in one
 * block of text, a few bytes a picture beside their own length, so that lists of many millions
 * fit. Links to folders are followed, loops of them are not.
 */
#include "task/source.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/str.h"
#include "format/shards.h"
#include "image/image.h"

#define MOST_FILE ((size_t)1 << 31) /* bytes of a picture */
#define MOST_LIST ((size_t)1 << 36) /* bytes of a list of names */

/* Pictures [first, first + count) are members of a shard, in the order of `members`. */
struct shard_rows {
    struct shard shard;
    int64_t first, count;
    uint32_t *members;
    pthread_mutex_t *stream; /* of a compressed shard: one reads at a time */
};

struct dino_source {
    struct str names; /* NUL-terminated names, one after the other */
    uint64_t *starts; /* [count] into names */
    size_t count, room;
    struct shard_rows *shards; /* ascending */
    size_t shard_count, shard_room;
    bool flat;
};

static const char *name_at(const struct dino_source *s, size_t index)
{
    return s->names.text + s->starts[index];
}

static bool add_name(struct dino_source *s, const char *name, struct dino_error *err)
{
    if (!dn_grow(&s->starts, &s->room, s->count + 1, sizeof *s->starts, "a list of pictures",
                 err))
        return false;
    s->starts[s->count] = s->names.size;
    dn_str_add_bytes(&s->names, name, strlen(name) + 1);
    if (s->names.failed)
        return dn_fail_memory(err, s->names.size, "a list of pictures");
    s->count++;
    return true;
}

static int compare_names(const void *a, const void *b, void *text)
{
    const char *names = text;
    return strcmp(names + *(const uint64_t *)a, names + *(const uint64_t *)b);
}

/* The folders between the one a user named and the one being read. */
struct folder {
    const struct folder *parent;
    dev_t device;
    ino_t file;
};

static bool is_loop(const struct folder *folder)
{
    for (const struct folder *p = folder->parent; p; p = p->parent)
        if (p->device == folder->device && p->file == folder->file)
            return true;
    return false;
}

static bool walk(struct dino_source *s, const char *path, const struct folder *parent,
                 struct dino_error *err);

/* One entry of a folder. Hidden files (thumbnails, version control) are nobody's pictures. */
static bool walk_entry(struct dino_source *s, const char *folder_path,
                       const struct folder *folder, const struct dirent *entry,
                       struct dino_error *err)
{
    bool picture = dn_image_named(entry->d_name), ok = true;
    struct stat info;

    if (entry->d_name[0] == '.' || (entry->d_type == DT_REG && !picture))
        return true;
    char *path = dn_path_join(folder_path, entry->d_name, err);
    if (!path)
        return false;
    bool is_folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN)
        is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    if (is_folder)
        ok = s->flat || walk(s, path, folder, err);
    else if (picture)
        ok = add_name(s, path, err);
    free(path);
    return ok;
}

static bool walk(struct dino_source *s, const char *path, const struct folder *parent,
                 struct dino_error *err)
{
    struct folder folder = {.parent = parent};
    struct dirent *entry = NULL;
    struct stat info;
    bool ok = true;
    DIR *dir = opendir(path);

    if (!dir || fstat(dirfd(dir), &info) != 0) {
        dn_fail_errno(err, "%s: cannot read this folder", path);
        if (dir)
            closedir(dir);
        return false;
    }
    folder.device = info.st_dev;
    folder.file = info.st_ino;
    while (ok && !is_loop(&folder)) {
        errno = 0;
        entry = readdir(dir);
        if (!entry && errno)
            ok = dn_fail_errno(err, "%s: cannot read this folder", path);
        if (!entry)
            break;
        ok = walk_entry(s, path, &folder, entry, err);
    }
    closedir(dir);
    return ok;
}

static bool add_folder(struct dino_source *s, const char *path, struct dino_error *err)
{
    size_t first = s->count;

    if (!walk(s, path, NULL, err))
        return false;
    if (s->count > first)
        qsort_r(s->starts + first, s->count - first, sizeof *s->starts, compare_names,
                s->names.text);
    return true;
}

static bool add_members(struct dino_source *s, struct shard_rows *rows, struct dino_error *err)
{
    struct str name = {0};
    bool ok = true;

    rows->first = (int64_t)s->count;
    if (!rows->shard.plain) {
        rows->stream = dn_calloc(1, sizeof *rows->stream, "a shard", err);
        if (!rows->stream)
            return false;
        pthread_mutex_init(rows->stream, NULL);
    }
    rows->members =
        dn_calloc(rows->shard.count, sizeof *rows->members, "the members of a shard", err);
    if (!rows->members)
        return false;
    for (size_t i = 0; ok && i < rows->shard.count; i++) {
        if (!dn_image_named(rows->shard.entries[i].name))
            continue;
        dn_str_clear(&name);
        dn_str_addf(&name, "%s:%s", rows->shard.path, rows->shard.entries[i].name);
        ok = name.failed ? dn_fail_memory(err, name.size, "the members of a shard")
                         : add_name(s, dn_str_text(&name), err);
        rows->members[rows->count++] = (uint32_t)i;
    }
    dn_str_release(&name);
    return ok;
}

static bool add_shard(struct dino_source *s, const char *path, struct dino_error *err)
{
    if (!dn_grow(&s->shards, &s->shard_room, s->shard_count + 1, sizeof *s->shards,
                 "a list of shards", err))
        return false;
    struct shard_rows *rows = &s->shards[s->shard_count];
    *rows = (struct shard_rows){0};
    if (!dn_shard_open(&rows->shard, path, err))
        return false;
    s->shard_count++; /* released with the source from here on */
    if (rows->shard.count > UINT32_MAX)
        return dn_fail(err, DINO_EUNSUPPORTED, "%s: more than 2^32 members", path);
    return add_members(s, rows, err);
}

/* A path from the command line or from a list; only the former has to exist. */
static bool add_path(struct dino_source *s, const char *path, bool listed,
                     struct dino_error *err)
{
    struct stat info;

    if (listed && dn_image_named(path))
        return add_name(s, path, err); /* the feed will tell; a million stats would not */
    if (stat(path, &info) != 0)
        return listed ? add_name(s, path, err) : dn_fail_errno(err, "%s", path);
    if (S_ISDIR(info.st_mode))
        return add_folder(s, path, err);
    if (S_ISREG(info.st_mode) && !dn_image_named(path) && dn_shard_is(path))
        return add_shard(s, path, err);
    return add_name(s, path, err);
}

/* One path a line; blank lines and the \r of \r\n do not count. */
static bool add_list(struct dino_source *s, const char *path, struct dino_error *err)
{
    uint8_t *data = NULL;
    size_t size = 0, line = 0;
    bool ok = true;

    if (!dn_read_all(path, MOST_LIST, &data, &size, err))
        return false;
    uint8_t *ended = dn_realloc(data, size + 1, 1, "a list", err);
    if (!ended) {
        free(data);
        return false;
    }
    data = ended;
    for (size_t at = 0; ok && at < size; line++) {
        char *text = (char *)data + at;
        char *end = memchr(text, '\n', size - at);
        size_t length = end ? (size_t)(end - text) : size - at;

        at += length + 1;
        text[length] = 0;
        if (strlen(text) != length)
            ok = dn_fail(err, DINO_EFORMAT, "%s: line %zu has a zero byte, wanted a path", path,
                         line + 1);
        if (length > 0 && text[length - 1] == '\r')
            text[--length] = 0;
        if (ok && length > 0)
            ok = add_path(s, text, true, err);
    }
    free(data);
    return ok;
}

/* Rows are told apart by name (an interrupted run goes on by it), so a name may come once. */
static bool check_unique(const struct dino_source *s, struct dino_error *err)
{
    size_t slots = 64;
    bool ok = true;

    while (slots < s->count * 2)
        slots *= 2;
    uint64_t *table = dn_calloc(slots, sizeof *table, "a table of names", err);
    if (!table)
        return false;
    for (size_t i = 0; ok && i < s->count; i++) {
        size_t at = dn_fnv1a64(name_at(s, i)) & (slots - 1);
        while (table[at] && strcmp(name_at(s, table[at] - 1), name_at(s, i)) != 0)
            at = (at + 1) & (slots - 1);
        if (table[at])
            ok = dn_fail(err, DINO_EARG, "%s: given twice, as picture %zu and %zu",
                         name_at(s, i), (size_t)table[at], i + 1);
        table[at] = i + 1;
    }
    free(table);
    return ok;
}

static bool add_argument(struct dino_source *s, const char *path, struct dino_error *err)
{
    if (strcmp(path, "-") == 0)
        return add_list(s, path, err);
    if (path[0] == '@' && path[1])
        return add_list(s, path + 1, err);
    return add_path(s, path, false, err);
}

struct dino_source *dino_source_open(const char *const *paths, int count,
                                     const struct dino_source_options *options,
                                     struct dino_error *err)
{
    struct dino_source *s = dn_calloc(1, sizeof *s, "a source", err);
    bool ok = s != NULL;

    if (!s)
        return NULL;
    s->flat = options && options->flat;
    for (int i = 0; ok && i < count; i++)
        ok = add_argument(s, paths[i], err);
    bool one_folder = count == 1 && s->shard_count == 0 && dn_is_dir(paths[0]);
    if (ok && !one_folder)
        ok = check_unique(s, err);
    if (ok && s->count == 0)
        ok = dn_fail(
            err, DINO_EARG, "%s%s: no pictures, wanted .jpg, .jpeg, .png or .webp files",
            count > 0 ? paths[0] : "nothing given", count > 1 ? " and the others" : "");
    if (ok)
        return s;
    dino_source_close(s);
    return NULL;
}

void dino_source_close(struct dino_source *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->shard_count; i++) {
        dn_shard_release(&s->shards[i].shard);
        free(s->shards[i].members);
        if (s->shards[i].stream)
            pthread_mutex_destroy(s->shards[i].stream);
        free(s->shards[i].stream);
    }
    free(s->shards);
    free(s->starts);
    dn_str_release(&s->names);
    free(s);
}

int64_t dino_source_count(const struct dino_source *source)
{
    return (int64_t)source->count;
}

const char *dino_source_name(const struct dino_source *source, int64_t index)
{
    if (index < 0 || index >= dino_source_count(source))
        return NULL;
    return name_at(source, (size_t)index);
}

/* The shard that holds this picture, or NULL for a file. */
static const struct shard_rows *shard_of(const struct dino_source *s, int64_t index)
{
    size_t low = 0, high = s->shard_count;

    while (low < high) { /* the first shard that ends behind index */
        size_t middle = low + (high - low) / 2;
        if (s->shards[middle].first + s->shards[middle].count <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->shard_count && s->shards[low].first <= index ? &s->shards[low] : NULL;
}

bool dn_source_in_order(const struct dino_source *source, int64_t index)
{
    const struct shard_rows *rows = shard_of(source, index);
    return rows && !rows->shard.plain;
}

bool dn_source_unpack(struct dino_source *source, struct dino_error *err)
{
    const char *folder = getenv("TMPDIR");

    for (size_t i = 0; i < source->shard_count; i++) {
        struct shard_rows *rows = &source->shards[i];
        if (!dn_shard_unpack(&rows->shard, folder && *folder ? folder : "/var/tmp", err))
            return false;
        if (rows->stream)
            pthread_mutex_destroy(rows->stream);
        free(rows->stream);
        rows->stream = NULL;
    }
    return true;
}

bool dn_source_read(const struct dino_source *source, int64_t index, uint8_t **data,
                    size_t *size, struct dino_error *err)
{
    const struct shard_rows *rows = shard_of(source, index);

    if (!rows)
        return dn_read_all(dino_source_name(source, index), MOST_FILE, data, size, err);
    if (rows->stream)
        pthread_mutex_lock(rows->stream);
    bool ok = dn_shard_read(&rows->shard, rows->members[index - rows->first], data, size, err);
    if (rows->stream)
        pthread_mutex_unlock(rows->stream);
    return ok;
}
