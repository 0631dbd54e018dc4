/*
 * Reading torch.save files, both containers: the zip (a member for the pickle, one for each
 * storage) and the stream of before 1.6 (pickles, then the storages one behind another).
 * Here pickled tensors get names and bytes, and their extents are checked against both.
 */
#include <string.h>

#include <zlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "format/pickle.h"
#include "format/tensors.h"
#include "format/zip_directory.h"

enum {
    DEEPEST = 32,       /* dicts in dicts */
    LONGEST_NAME = 500, /* of a tensor, joined */
    LONGEST_KEY = 80,   /* of a storage; they are numbers */
};

/* ------------------------------------------------------------ from values to tensors */

struct walk {
    struct tensors *tensors;
    char name[LONGEST_NAME + 1];
    size_t visits, most_visits; /* dicts may be shared: the tree can exceed the pickle */
    struct dino_error *err;
};

/* One behind the last element that a tensor's strides reach, from its first. */
static bool extent_of(const struct pickle_tensor *tensor, int64_t *extent)
{
    int64_t last = 0, reach;

    for (int i = 0; i < tensor->dims; i++)
        if (tensor->stride[i] < 0 ||
            __builtin_mul_overflow(tensor->shape[i] - 1, tensor->stride[i], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return false;
    return !__builtin_add_overflow(last, (int64_t)1, extent);
}

static bool add_tensor(struct walk *w, const struct pickle_tensor *from)
{
    const struct pickle_storage *storage = from->storage;
    int64_t size = (int64_t)dino_dtype_size(from->dtype), elements, extent = 0, end;
    int64_t bytes = storage->view_count * (int64_t)dino_dtype_size(storage->dtype);

    if (!dn_shape_elements(from->shape, from->dims, from->dtype, &elements))
        return dn_fail(w->err, DINO_EFORMAT, "tensor '%s' has an absurd shape", w->name);
    if (from->offset < 0 || (elements > 0 && !extent_of(from, &extent)) ||
        __builtin_add_overflow(from->offset, extent, &end) || end > bytes / size ||
        elements > bytes / size)
        return dn_fail(w->err, DINO_EFORMAT,
                       "tensor '%s' reaches outside its storage of %lld elements", w->name,
                       (long long)(bytes / size));
    struct dino_tensor tensor = {
        .name = w->name,
        .dtype = from->dtype,
        .dims = from->dims,
        .data = storage->data + storage->view_first * (int64_t)dino_dtype_size(storage->dtype) +
                from->offset * size,
        .bytes = (size_t)(extent * size),
    };
    memcpy(tensor.shape, from->shape, sizeof tensor.shape);
    memcpy(tensor.stride, from->stride, sizeof tensor.stride);
    return dn_tensors_add(w->tensors, &tensor, w->err);
}

/* Put a dict's key behind the name; *used grows. Keys other than text and numbers: false. */
static bool extend_name(struct walk *w, const struct pickle_value *key, size_t *used)
{
    const char *dot = *used ? "." : "";
    size_t room = sizeof w->name - *used;
    int added = -1;

    if (key->kind == PICKLE_TEXT && key->text.size <= LONGEST_NAME &&
        !memchr(key->text.data, 0, key->text.size))
        added = snprintf(w->name + *used, room, "%s%.*s", dot, (int)key->text.size,
                         (const char *)key->text.data);
    else if (key->kind == PICKLE_INT)
        added = snprintf(w->name + *used, room, "%s%lld", dot, (long long)key->number);
    if (added < 0 || (size_t)added >= room)
        return false;
    *used += (size_t)added;
    return true;
}

static bool walk_dict(struct walk *w, const struct pickle_items *dict, size_t used, int depth)
{
    if (depth > DEEPEST)
        return dn_fail(w->err, DINO_EFORMAT, "dicts are nested more than %d deep", DEEPEST);
    for (size_t i = 0; i + 1 < dict->count; i += 2) {
        const struct pickle_value *value = &dict->at[i + 1];
        size_t longer = used;
        if (++w->visits > w->most_visits)
            return dn_fail(w->err, DINO_EFORMAT, "dicts are shared more than is sensible");
        if (value->kind != PICKLE_TENSOR && value->kind != PICKLE_DICT)
            continue;
        if (!extend_name(w, &dict->at[i], &longer))
            return dn_fail(w->err, DINO_EFORMAT,
                           "a tensor's name is no text, or absurdly long");
        bool ok = value->kind == PICKLE_TENSOR ? add_tensor(w, value->tensor)
                                               : walk_dict(w, value->items, longer, depth + 1);
        if (!ok)
            return false;
        w->name[used] = 0;
    }
    return true;
}

static bool add_values(struct tensors *t, const struct pickle *pickle,
                       const struct pickle_value *root, struct dino_error *err)
{
    struct walk w = {.tensors = t, .most_visits = pickle->values, .err = err};
    size_t before = t->count;

    if (root->kind == PICKLE_TENSOR) {
        snprintf(w.name, sizeof w.name, "tensor");
        return add_tensor(&w, root->tensor);
    }
    if (root->kind == PICKLE_DICT && !walk_dict(&w, root->items, 0, 1))
        return false;
    if (t->count == before)
        return dn_fail(err, DINO_EFORMAT, "the pickle holds no dict of tensors");
    return true;
}

/* ------------------------------------------------------------ the zip */

bool dn_pth_is_zip(struct span file)
{
    return dn_span_starts(file, "PK\x03\x04") || dn_span_starts(file, "PK\x05\x06");
}

/* Everything lies in one directory of any name: find data.pkl, and keep the part before. */
static const struct zip_member *find_pickle(const struct zip_directory *zip, char *root,
                                            struct dino_error *err)
{
    const struct zip_member *found = NULL;

    for (size_t i = 0; i < zip->count; i++) {
        const char *name = zip->members[i].name, *base = dn_path_base(name);
        if (strcmp(base, "data.pkl") != 0)
            continue;
        if (found) {
            dn_fail(err, DINO_EFORMAT, "this zip has '%s' and '%s', wanted one", found->name,
                    name);
            return NULL;
        }
        found = &zip->members[i];
        memcpy(root, name, (size_t)(base - name));
        root[base - name] = 0;
    }
    if (!found)
        dn_fail(err, DINO_EFORMAT, "this zip has no data.pkl: not written by torch.save");
    return found;
}

static bool check_byte_order(const struct zip_directory *zip, const char *root,
                             struct dino_error *err)
{
    char name[1100];

    snprintf(name, sizeof name, "%sbyteorder", root);
    const struct zip_member *member = dn_zip_find(zip, name);
    if (member && !dn_span_equals(member->data, "little"))
        return dn_fail(err, DINO_EUNSUPPORTED, "byteorder is '%.*s', wanted little",
                       (int)(member->data.size < 20 ? member->data.size : 20),
                       (const char *)member->data.data);
    return true;
}

/* Give each storage the bytes of its member root/data/key. */
static bool place_members(const struct zip_directory *zip, const char *root,
                          const struct pickle *pickle, struct dino_error *err)
{
    char name[1100];

    for (struct pickle_storage *s = pickle->storages; s; s = s->previous) {
        size_t wanted = (size_t)s->count * dino_dtype_size(s->dtype);
        if (s->key.size > LONGEST_KEY)
            return dn_fail(err, DINO_EFORMAT, "a storage has a key of %zu bytes", s->key.size);
        snprintf(name, sizeof name, "%sdata/%.*s", root, (int)s->key.size,
                 (const char *)s->key.data);
        const struct zip_member *member = dn_zip_find(zip, name);
        if (!member)
            return dn_fail(err, DINO_EFORMAT, "no zip member '%s' for a storage", name);
        if (member->data.size < wanted)
            return dn_fail(err, DINO_EFORMAT, "zip member '%s' has %zu bytes, wanted %zu", name,
                           member->data.size, wanted);
        s->data = member->data.data;
    }
    return true;
}

static bool read_zip(struct tensors *t, struct span file, struct pickle *pickle,
                     struct dino_error *err)
{
    struct zip_directory zip;
    struct pickle_value root;
    char prefix[1001];

    if (!dn_zip_read(&zip, file, err))
        return false;
    const struct zip_member *member = find_pickle(&zip, prefix, err);
    bool ok = member && check_byte_order(&zip, prefix, err);
    if (ok && crc32_z(0, member->data.data, member->data.size) != member->crc)
        ok = dn_fail(err, DINO_EFORMAT, "'%s' is damaged: its CRC-32 differs", member->name);
    if (ok) {
        struct span bytes = member->data;
        ok = dn_pickle_run(pickle, &bytes, &root, err) &&
             place_members(&zip, prefix, pickle, err) && add_values(t, pickle, &root, err);
    }
    dn_zip_release(&zip);
    return ok;
}

/* ------------------------------------------------------------ the stream */

bool dn_pth_is_stream(struct span file)
{
    /* PROTO 2, LONG1 of ten bytes: 0x1950a86a20f9469cfc6c, STOP */
    return dn_span_starts(file, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
}

static int by_key(const void *left, const void *right)
{
    const struct pickle_storage *const *a = left, *const *b = right;
    struct span x = (*a)->key, y = (*b)->key;
    int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);

    return order ? order : x.size < y.size ? -1 : x.size > y.size;
}

/* The pickle's storages sorted by key, heap; the same key may come many times. */
static struct pickle_storage **sort_storages(const struct pickle *pickle, size_t *count,
                                             struct dino_error *err)
{
    size_t n = 0;

    for (struct pickle_storage *s = pickle->storages; s; s = s->previous)
        n++;
    struct pickle_storage **sorted = dn_calloc(n, sizeof *sorted, "storages", err);
    if (!sorted)
        return NULL;
    *count = n;
    for (struct pickle_storage *s = pickle->storages; s; s = s->previous)
        sorted[--n] = s;
    if (*count)
        qsort(sorted, *count, sizeof *sorted, by_key);
    return sorted;
}

/* The storage `key` begins at the front of bytes: element count, elements. */
static bool place_storage(struct pickle_storage **sorted, size_t count, struct span key,
                          struct span *bytes, struct dino_error *err)
{
    struct pickle_storage wanted = {.key = key};
    struct pickle_storage *pointer = &wanted;
    struct pickle_storage **found =
        count ? bsearch(&pointer, sorted, count, sizeof *sorted, by_key) : NULL;
    struct span data;
    uint64_t elements;

    int shown = (int)(key.size < LONGEST_KEY ? key.size : LONGEST_KEY);
    const char *name = (const char *)key.data;

    if (!found)
        return dn_fail(err, DINO_EFORMAT, "storage '%.*s' belongs to no tensor", shown, name);
    while (found > sorted && by_key(&found[-1], &pointer) == 0)
        found--;
    size_t size = dino_dtype_size((*found)->dtype);
    if (!dn_span_u64(bytes, &elements, NULL) || elements > bytes->size / size ||
        !dn_span_take(bytes, (size_t)elements * size, &data, NULL))
        return dn_fail(err, DINO_EFORMAT, "storage '%.*s' is cut short", shown, name);
    for (; found < sorted + count && by_key(found, &pointer) == 0; found++) {
        if ((*found)->data)
            return dn_fail(err, DINO_EFORMAT, "a storage is there twice");
        if (dino_dtype_size((*found)->dtype) != size || (uint64_t)(*found)->count > elements)
            return dn_fail(err, DINO_EFORMAT, "storage '%.*s' has %llu elements, wanted %lld",
                           shown, name, (unsigned long long)elements,
                           (long long)(*found)->count);
        (*found)->data = data.data;
    }
    return true;
}

/* `keys` is the list of keys in the order in which the storages follow in `bytes`. */
static bool place_stream(const struct pickle *pickle, const struct pickle_value *keys,
                         struct span bytes, struct dino_error *err)
{
    size_t count = 0;
    struct pickle_storage **sorted = sort_storages(pickle, &count, err);
    bool ok = sorted != NULL;

    if (ok && keys->kind != PICKLE_LIST)
        ok = dn_fail(err, DINO_EFORMAT, "the stream has no list of storages");
    for (size_t i = 0; ok && i < keys->items->count; i++) {
        const struct pickle_value *key = &keys->items->at[i];
        ok = key->kind == PICKLE_TEXT
                 ? place_storage(sorted, count, key->text, &bytes, err)
                 : dn_fail(err, DINO_EFORMAT, "the stream has no list of storages");
    }
    for (size_t i = 0; ok && i < count; i++)
        if (!sorted[i]->data)
            ok = dn_fail(err, DINO_EFORMAT, "a storage of %lld elements is missing",
                         (long long)sorted[i]->count);
    free(sorted);
    return ok;
}

static bool read_stream(struct tensors *t, struct span file, struct pickle *pickle,
                        struct dino_error *err)
{
    enum { PROTOCOL = 1001 };
    struct pickle_value magic, protocol, system, root, keys;
    struct span rest = file;

    if (!dn_pickle_run(pickle, &rest, &magic, err) ||
        !dn_pickle_run(pickle, &rest, &protocol, err))
        return false;
    if (protocol.kind != PICKLE_INT || protocol.number != PROTOCOL)
        return dn_fail(err, DINO_EUNSUPPORTED, "torch.save protocol is not %d", PROTOCOL);
    if (!dn_pickle_run(pickle, &rest, &system, err))
        return false;
    const struct pickle_value *little = dn_pickle_get(&system, "little_endian");
    if (!little || little->kind != PICKLE_BOOL || !little->number)
        return dn_fail(err, DINO_EUNSUPPORTED, "the stream is not little-endian");
    return dn_pickle_run(pickle, &rest, &root, err) &&
           dn_pickle_run(pickle, &rest, &keys, err) && place_stream(pickle, &keys, rest, err) &&
           add_values(t, pickle, &root, err);
}

bool dn_pth_read(struct tensors *t, size_t map, const char *name, struct dino_error *err)
{
    struct span file = t->maps[map].bytes;
    struct pickle pickle;

    dn_pickle_init(&pickle);
    bool ok = dn_pth_is_zip(file) ? read_zip(t, file, &pickle, err)
                                  : read_stream(t, file, &pickle, err);
    if (!ok)
        dn_fail_prefix(err, name);
    dn_pickle_release(&pickle);
    return ok;
}
