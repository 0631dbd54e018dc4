/* Reading the journal of an interrupted embed job: how far is what lies there good? */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "task/embed_store.h"

enum { MOST_BATCH = 1 << 20 };
static const size_t MOST_BYTES = (size_t)1 << 32;

struct reading {
    struct embed_store *store;
    const struct embed_store_options *options;
    uint64_t *sizes; /* [files] of data that the files really hold */
    int line;
    bool done;
};

static bool broken(const struct reading *r, const char *what, struct dino_error *err)
{
    return dn_fail(err, DINO_EFORMAT, "%s: line %d %s: start fresh to throw the part away",
                   r->store->journal_path, r->line, what);
}

/* The first key of a whose value b does not have, or NULL. */
static const char *missing_in(json_t *b, json_t *a)
{
    for (void *at = json_object_iter(a); at; at = json_object_iter_next(a, at)) {
        const char *key = json_object_iter_key(at);
        if (!json_equal(json_object_iter_value(at), json_object_get(b, key)))
            return key;
    }
    return NULL;
}

/* Line 1: the request that the part answers. */
static bool read_request(struct reading *r, const json_t *line, int *batch,
                         struct dino_error *err)
{
    struct embed_store *store = r->store;
    json_int_t recorded = json_integer_value(json_object_get(line, "batch"));
    json_t *request = json_object_get(line, "request");

    if (json_integer_value(json_object_get(line, "dino_embed")) != 1 ||
        !json_is_object(request) || recorded < 1 || recorded > MOST_BATCH)
        return broken(r, "is not the request of an embed job", err);
    const char *key = missing_in(request, r->options->request);
    key = key ? key : missing_in(r->options->request, request);
    if (key)
        return dn_fail(err, DINO_EARG,
                       "%s: an interrupted run left a part of another request (%s differs): "
                       "repeat that one, or start fresh",
                       store->output, key);
    if (json_integer_value(json_object_get(line, "files")) != store->files ||
        json_integer_value(json_object_get(line, "head")) != (json_int_t)store->head)
        return broken(r, "counts other files", err);
    *batch = *batch ? *batch : (int)recorded;
    return true;
}

static bool read_skips(struct reading *r, const json_t *skipped, struct dino_error *err)
{
    struct embed_store *store = r->store;

    for (size_t i = 0; i < json_array_size(skipped); i++) {
        const json_t *pair = json_array_get(skipped, i);
        const char *why = json_string_value(json_array_get(pair, 1));
        json_int_t index = json_integer_value(json_array_get(pair, 0));
        size_t n = store->now.skips;
        if (!why || index < (n ? store->skips[n - 1].index + 1 : 0) ||
            index >= r->options->count)
            return broken(r, "has a broken list of skipped pictures", err);
        if (!dn_embed_store_skip(store, index, why, err))
            return false;
    }
    return true;
}

/* bytes [files] of a commit; fits: the files hold that much. */
static bool read_bytes(struct reading *r, const json_t *list, int64_t rows, uint64_t *bytes,
                       bool *fits, struct dino_error *err)
{
    struct embed_store *store = r->store;

    *fits = true;
    if (json_array_size(list) != (size_t)store->files)
        return broken(r, "counts other files", err);
    for (int i = 0; i < store->files; i++) {
        json_int_t value = json_integer_value(json_array_get(list, (size_t)i));
        uint64_t each = r->options->row_bytes[i];
        if (value < 0 || (uint64_t)value < store->now.bytes[i] ||
            (each && (uint64_t)value != each * (uint64_t)rows))
            return broken(r, "counts bytes that do not fit its rows", err);
        bytes[i] = (uint64_t)value;
        *fits = *fits && bytes[i] <= r->sizes[i];
    }
    return true;
}

/* A later line: a state that was on disk. */
static bool read_commit(struct reading *r, const json_t *line, bool *fits,
                        struct dino_error *err)
{
    struct embed_store *store = r->store;
    struct embed_mark *now = &store->now;
    json_int_t next = json_integer_value(json_object_get(line, "next"));
    json_int_t rows = json_integer_value(json_object_get(line, "rows"));
    const json_t *grid = json_object_get(line, "grid");
    const json_t *skipped = json_object_get(line, "skipped");

    if (next <= now->next || next > r->options->count || rows < now->rows ||
        json_array_size(grid) != 2 ||
        (size_t)(next - rows) != now->skips + json_array_size(skipped))
        return broken(r, "does not go on from the line before", err);
    if (!read_bytes(r, json_object_get(line, "bytes"), rows, store->marked.bytes, fits, err))
        return false;
    if (!*fits)
        return true;
    if (!read_skips(r, skipped, err))
        return false;
    now->next = next;
    now->rows = rows;
    for (int i = 0; i < 2; i++)
        now->grid[i] = (int)json_integer_value(json_array_get(grid, (size_t)i));
    memcpy(now->bytes, store->marked.bytes, (size_t)store->files * sizeof *now->bytes);
    return true;
}

/* Every whole line up to the last one whose data are there. */
static bool read_lines(struct reading *r, struct span text, int *batch, struct dino_error *err)
{
    struct embed_store *store = r->store;
    struct span line;
    uint64_t taken = 0;
    bool fits = true, ok = true;

    while (ok && dn_span_until(&text, '\n', &line, NULL)) {
        r->line++;
        taken += line.size + 1;
        json_t *json =
            json_loadb((const char *)line.data, line.size, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(json))
            ok = broken(r, "is no JSON object", err);
        else if (r->line == 1)
            ok = read_request(r, json, batch, err);
        else if (json_is_true(json_object_get(json, "done")))
            r->done = true;
        else if (fits)
            ok = read_commit(r, json, &fits, err);
        json_decref(json);
        if (ok && fits && !r->done)
            store->journal_size = taken;
    }
    return ok;
}

static bool measure(struct reading *r, bool *some, struct dino_error *err)
{
    struct embed_store *store = r->store;
    struct stat info;

    *some = false;
    for (int i = 0; i < store->files; i++) {
        if (store->fds[i] < 0)
            continue;
        if (fstat(store->fds[i], &info) != 0)
            return dn_fail_errno(err, "%s", store->paths[i]);
        if (!S_ISREG(info.st_mode))
            return dn_fail(err, DINO_EIO, "%s: is no regular file", store->paths[i]);
        uint64_t head = i ? 0 : store->head, size = (uint64_t)info.st_size;
        r->sizes[i] = size > head ? size - head : 0;
        *some = true;
    }
    return true;
}

/* Cut the journal and the files to the state that was read. */
static bool cut(struct embed_store *store, struct dino_error *err)
{
    for (int i = 0; i < store->files; i++) {
        uint64_t size = store->now.bytes[i] + (i ? 0 : store->head);
        if (store->fds[i] < 0) /* no row was written to it yet */
            store->fds[i] = open(store->paths[i], O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (store->fds[i] < 0 || ftruncate(store->fds[i], (off_t)size) != 0)
            return dn_fail_errno(err, "%s", store->paths[i]);
    }
    if (ftruncate(store->journal, (off_t)store->journal_size) != 0)
        return dn_fail_errno(err, "%s", store->journal_path);
    store->logged = store->now.next;
    store->skips_logged = store->now.skips;
    return true;
}

bool dn_embed_journal_read(struct embed_store *store, const struct embed_store_options *options,
                           int *batch, bool *empty, struct dino_error *err)
{
    struct reading r = {.store = store, .options = options};
    uint8_t *text = NULL;
    size_t size = 0;
    bool some, ok = false;

    r.sizes = dn_calloc((size_t)store->files, sizeof *r.sizes, "part files", err);
    if (!r.sizes || !measure(&r, &some, err) ||
        !dn_read_all(store->journal_path, MOST_BYTES, &text, &size, err))
        goto done;
    if (!size && some) {
        dn_fail(err, DINO_EFORMAT,
                "%s: is there without its journal: start fresh to replace it", store->paths[0]);
        goto done;
    }
    if (!read_lines(&r, (struct span){text, size}, batch, err))
        goto done;
    *empty = store->now.next == 0;
    if (r.done && store->fds[0] < 0 && dn_exists(store->output)) {
        store->finished = true;
        for (int i = 1; i < store->files; i++)
            unlink(store->paths[i]);
        unlink(store->journal_path);
    }
    ok = *empty || store->finished || cut(store, err);
done:
    free(text);
    free(r.sizes);
    return ok;
}
