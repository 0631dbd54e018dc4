#include "task/embed_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

enum { COMMIT_SHARE = 20, COPY_BYTES = 1 << 20 };

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool write_at(int fd, const void *data, size_t size, uint64_t at)
{
    const uint8_t *p = data;

    while (size) {
        ssize_t put = pwrite(fd, p, size, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        p += put;
        at += (uint64_t)put;
        size -= (size_t)put;
    }
    return true;
}

/* What the user can do about a failed write is always the same. */
static bool fail_write(struct embed_store *store, struct dino_error *err)
{
    return dn_fail_errno(err, "%s: cannot write the part (%lld rows are kept for resuming)",
                         store->output, (long long)store->marked.rows);
}

bool dn_embed_journal_write(struct embed_store *store, const char *line, size_t size,
                            struct dino_error *err)
{
    if (write_at(store->journal, line, size, store->journal_size) &&
        fdatasync(store->journal) == 0) {
        store->journal_size += size;
        return true;
    }
    fail_write(store, err);
    if (ftruncate(store->journal, (off_t)store->journal_size) != 0)
        return false; /* a torn last line is skipped by the reader */
    return false;
}

/* The marked state as a line of the journal. */
static void add_commit(struct str *line, const struct embed_store *store)
{
    const struct embed_mark *mark = &store->marked;

    dn_str_addf(line, "{\"next\":%lld,\"rows\":%lld,\"grid\":[%d,%d],\"bytes\":[",
                (long long)mark->next, (long long)mark->rows, mark->grid[0], mark->grid[1]);
    for (int i = 0; i < store->files; i++)
        dn_str_addf(line, "%s%llu", i ? "," : "", (unsigned long long)mark->bytes[i]);
    dn_str_add(line, "],\"skipped\":[");
    for (size_t i = store->skips_logged; i < mark->skips; i++) {
        dn_str_addf(line, "%s[%lld,", i > store->skips_logged ? "," : "",
                    (long long)store->skips[i].index);
        dn_str_add_json(line, store->skips[i].why);
        dn_str_add(line, "]");
    }
    dn_str_add(line, "]}\n");
}

/* Data first, then the line that counts them. */
static bool commit(struct embed_store *store, struct dino_error *err)
{
    struct str line = {0};
    double start = now_seconds();
    bool ok = true;

    if (store->logged == store->marked.next)
        return true;
    for (int i = 0; i < store->files && ok; i++)
        if (fdatasync(store->fds[i]) != 0)
            ok = fail_write(store, err);
    add_commit(&line, store);
    if (ok && line.failed)
        ok = dn_fail_memory(err, line.size, "a journal line");
    ok = ok && dn_embed_journal_write(store, line.text, line.size, err);
    if (ok) {
        store->logged = store->marked.next;
        store->skips_logged = store->marked.skips;
    }
    dn_str_release(&line);
    store->logged_at = now_seconds();
    store->log_cost = store->logged_at - start;
    return ok;
}

bool dn_embed_store_append(struct embed_store *store, int file, const void *data, size_t size,
                           struct dino_error *err)
{
    uint64_t *bytes = &store->now.bytes[file];

    if (!write_at(store->fds[file], data, size, *bytes + (file == 0 ? store->head : 0)))
        return fail_write(store, err);
    *bytes += size;
    return true;
}

void dn_embed_store_row(struct embed_store *store, int grid_rows, int grid_cols)
{
    int *grid = store->now.grid;

    if (store->now.rows++ == 0) {
        grid[0] = grid_rows;
        grid[1] = grid_cols;
    } else if (grid[0] != grid_rows || grid[1] != grid_cols) {
        grid[0] = grid[1] = -1;
    }
}

bool dn_embed_store_skip(struct embed_store *store, int64_t index, const char *why,
                         struct dino_error *err)
{
    if (!dn_grow(&store->skips, &store->skip_room, store->now.skips + 1, sizeof *store->skips,
                 "skipped pictures", err))
        return false;
    char *copy = dn_strdup(why, err);
    if (!copy)
        return false;
    store->skips[store->now.skips++] = (struct embed_skip){index, copy};
    return true;
}

static void copy_mark(struct embed_store *store)
{
    uint64_t *bytes = store->marked.bytes;

    memcpy(bytes, store->now.bytes, (size_t)store->files * sizeof *bytes);
    store->marked = store->now;
    store->marked.bytes = bytes;
}

bool dn_embed_store_mark(struct embed_store *store, int64_t next, struct dino_error *err)
{
    store->now.next = next;
    copy_mark(store);
    if (now_seconds() - store->logged_at < COMMIT_SHARE * store->log_cost)
        return true;
    return commit(store, err);
}

bool dn_embed_store_head(struct embed_store *store, uint64_t at, const void *data, size_t size,
                         struct dino_error *err)
{
    return write_at(store->fds[0], data, size, at) || fail_write(store, err);
}

bool dn_embed_store_join(struct embed_store *store, int from, struct dino_error *err)
{
    uint64_t left = store->now.bytes[from], at = 0;
    uint8_t *block = dn_calloc(COPY_BYTES, 1, "a copy", err);
    bool ok = block;

    while (ok && left) {
        size_t want = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
        ssize_t got = pread(store->fds[from], block, want, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : EIO;
            ok = dn_fail_errno(err, "%s", store->paths[from]);
        } else {
            ok = dn_embed_store_append(store, 0, block, (size_t)got, err);
            left -= ok ? (uint64_t)got : 0;
            at += (uint64_t)got;
        }
    }
    free(block);
    return ok;
}

/* A name is durable when its directory is; not all file systems can, and then that is that. */
static void sync_folder(const char *path)
{
    char *folder = dn_strdup(path, NULL);
    char *slash = folder ? strrchr(folder, '/') : NULL;

    if (slash)
        slash[slash == folder ? 1 : 0] = 0;
    int fd = folder ? open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

static void remove_parts(const struct embed_store *store)
{
    for (int i = 0; i < store->files; i++)
        unlink(store->paths[i]);
}

static void remove_all(const struct embed_store *store)
{
    remove_parts(store);
    unlink(store->journal_path);
}

bool dn_embed_store_finish(struct embed_store *store, embed_sidecar_fn sidecar, void *context,
                           struct dino_error *err)
{
    static const char done[] = "{\"done\":true}\n";

    if (!commit(store, err))
        return false;
    if (fsync(store->fds[0]) != 0)
        return fail_write(store, err);
    if (!dn_embed_journal_write(store, done, sizeof done - 1, err) || !sidecar(context, err))
        return false;
    if (rename(store->paths[0], store->output) != 0)
        return dn_fail_errno(err, "%s: cannot put the finished file in place", store->output);
    sync_folder(store->output);
    remove_all(store);
    store->finished = true;
    return true;
}

/* Open and lock the journal; `created` if it was not there. */
static bool lock_journal(struct embed_store *store, bool *created, struct dino_error *err)
{
    struct stat mine, there;

    for (int attempt = 0; attempt < 8; attempt++) {
        *created = !dn_exists(store->journal_path);
        store->journal = open(store->journal_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (store->journal < 0)
            return dn_fail_errno(err, "%s: cannot begin to write", store->output);
        if (flock(store->journal, LOCK_EX | LOCK_NB) != 0 && errno != EWOULDBLOCK)
            return dn_fail_errno(err, "%s: cannot lock", store->journal_path);
        if (flock(store->journal, LOCK_EX | LOCK_NB) != 0)
            break;
        /* The run that held it may have finished and removed it meanwhile. */
        if (fstat(store->journal, &mine) == 0 && stat(store->journal_path, &there) == 0 &&
            mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
            return true;
        close(store->journal);
        store->journal = -1;
    }
    return dn_fail(err, DINO_EIO, "%s: another run is writing it", store->output);
}

static bool begin(struct embed_store *store, const struct embed_store_options *options,
                  int batch, struct dino_error *err)
{
    char *request = json_dumps(options->request, JSON_COMPACT | JSON_SORT_KEYS);
    struct str line = {0};
    bool ok = false;

    if (!request) {
        dn_fail_memory(err, 0, "a journal");
        return false;
    }
    dn_str_addf(&line,
                "{\"dino_embed\":1,\"batch\":%d,\"files\":%d,\"head\":%llu,\"request\":", batch,
                store->files, (unsigned long long)store->head);
    dn_str_add(&line, request);
    dn_str_add(&line, "}\n");
    store->journal_size = 0;
    if (line.failed)
        dn_fail_memory(err, line.size, "a journal");
    else if (ftruncate(store->journal, 0) != 0)
        fail_write(store, err);
    else
        ok = dn_embed_journal_write(store, line.text, line.size, err);
    free(request);
    dn_str_release(&line);
    return ok;
}

static bool open_parts(struct embed_store *store, int flags, struct dino_error *err)
{
    for (int i = 0; i < store->files; i++) {
        store->fds[i] = open(store->paths[i], O_RDWR | O_CLOEXEC | flags, 0666);
        if (store->fds[i] < 0 && !(errno == ENOENT && !flags))
            return dn_fail_errno(err, "%s", store->paths[i]);
    }
    return true;
}

static void close_parts(struct embed_store *store)
{
    for (int i = 0; i < store->files; i++) {
        if (store->fds[i] >= 0)
            close(store->fds[i]);
        store->fds[i] = -1;
    }
}

static bool name_paths(struct embed_store *store, struct dino_error *err)
{
    size_t room = strlen(store->output) + 32;

    store->journal_path = dn_calloc(room, 1, "a path", err);
    if (!store->journal_path)
        return false;
    snprintf(store->journal_path, room, "%s.part.json", store->output);
    for (int i = 0; i < store->files; i++) {
        store->paths[i] = dn_calloc(room, 1, "a path", err);
        if (!store->paths[i])
            return false;
        if (i)
            snprintf(store->paths[i], room, "%s.part.%d", store->output, i);
        else
            snprintf(store->paths[i], room, "%s.part", store->output);
    }
    return true;
}

static bool allocate(struct embed_store *store, const struct embed_store_options *options,
                     struct dino_error *err)
{
    size_t files = (size_t)options->files;

    *store = (struct embed_store){
        .files = options->files, .head = options->head, .journal = -1, .logged = -1};
    store->output = dn_output_target(options->output, err);
    store->paths = dn_calloc(files, sizeof *store->paths, "part files", err);
    store->fds = dn_calloc(files, sizeof *store->fds, "part files", err);
    store->now.bytes = dn_calloc(files, sizeof *store->now.bytes, "part files", err);
    store->marked.bytes = dn_calloc(files, sizeof *store->marked.bytes, "part files", err);
    for (size_t i = 0; store->fds && i < files; i++)
        store->fds[i] = -1;
    return store->output && store->paths && store->fds && store->now.bytes &&
           store->marked.bytes && name_paths(store, err);
}

/* With the journal locked: go on from what is there, or begin. */
static bool open_locked(struct embed_store *store, const struct embed_store_options *options,
                        int *batch, int default_batch, struct dino_error *err)
{
    bool empty = true;

    if (options->fresh) {
        remove_parts(store);
        if (ftruncate(store->journal, 0) != 0)
            return fail_write(store, err);
    }
    if (!open_parts(store, 0, err) ||
        !dn_embed_journal_read(store, options, batch, &empty, err))
        return false;
    copy_mark(store);
    if (!empty || store->finished)
        return true;
    close_parts(store);
    remove_parts(store); /* first: parts without a journal would be somebody's work */
    *batch = *batch ? *batch : default_batch;
    if (begin(store, options, *batch, err) && open_parts(store, O_CREAT | O_TRUNC, err))
        return true;
    remove_all(store);
    return false;
}

bool dn_embed_store_open(struct embed_store *store, const struct embed_store_options *options,
                         int *batch, int default_batch, struct dino_error *err)
{
    bool created = false;

    if (dn_is_dir(options->output)) {
        *store = (struct embed_store){.journal = -1};
        return dn_fail(err, DINO_EIO, "%s: is a directory, wanted a file to write",
                       options->output);
    }
    if (dn_is_stream(options->output)) {
        *store = (struct embed_store){.journal = -1};
        return dn_fail(err, DINO_EIO, "%s: is a device or pipe, wanted a file to write",
                       options->output);
    }
    if (!allocate(store, options, err) || !lock_journal(store, &created, err))
        goto fail;
    if (!open_locked(store, options, batch, default_batch, err)) {
        if (created) /* ours, and of no use to anybody */
            unlink(store->journal_path);
        goto fail;
    }
    return true;
fail:
    store->finished = true; /* whatever lies there is not ours to remove */
    dn_embed_store_close(store, false);
    return false;
}

void dn_embed_store_close(struct embed_store *store, bool discard)
{
    if (!store->finished && (discard || store->marked.next == 0))
        remove_all(store);
    else if (!store->finished)
        commit(store, NULL);
    if (store->fds)
        close_parts(store);
    if (store->journal >= 0)
        close(store->journal);
    for (size_t i = 0; i < store->now.skips; i++)
        free(store->skips[i].why);
    for (int i = 0; store->paths && i < store->files; i++)
        free(store->paths[i]);
    free(store->skips);
    free(store->paths);
    free(store->fds);
    free(store->now.bytes);
    free(store->marked.bytes);
    free(store->journal_path);
    free(store->output);
    *store = (struct embed_store){.journal = -1};
}
