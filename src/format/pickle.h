/*
 * The pickles that torch.save writes, read without executing anything: a stack machine whose
 * only calls are a handful of known ones, all of which build plain values. Any other name is
 * refused. What a call means is torch_objects.c's business.
 */
#ifndef FORMAT_PICKLE_H
#define FORMAT_PICKLE_H

#include "base/arena.h"
#include "base/span.h"

enum pickle_kind {
    PICKLE_OTHER, /* None, floats, bytes, sets, ...: leaves that nobody asks for */
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_TEXT,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_GLOBAL,
    PICKLE_STORAGE,
    PICKLE_TENSOR,
};

struct pickle_value {
    enum pickle_kind kind;
    union {
        int64_t number;
        struct span text; /* in the pickle itself */
        struct pickle_items *items;
        const struct torch_global *global;
        struct pickle_storage *storage;
        struct pickle_tensor *tensor;
    };
};

/* Of a tuple or list; a dict has keys and values in turn. */
struct pickle_items {
    struct pickle_value *at;
    size_t count, room;
};

/* A persistent id: elements that lie somewhere else in the file. */
struct pickle_storage {
    struct span key;
    enum dino_dtype dtype;
    int64_t count;                   /* elements of the whole storage */
    int64_t view_first, view_count;  /* of the part that is meant: usually all */
    const uint8_t *data;             /* filled in by the reader of the container */
    struct pickle_storage *previous; /* in the order of the pickle */
};

struct pickle_tensor {
    struct pickle_storage *storage;
    enum dino_dtype dtype;
    int dims;
    int64_t shape[DINO_MAX_DIMS], stride[DINO_MAX_DIMS];
    int64_t offset; /* elements */
};

/* One file's pickles; the values live until release. Zeroed is empty. */
struct pickle {
    struct arena memory;
    struct pickle_storage *storages; /* the last one */
    size_t values;                   /* work so far: values made */
};

void dn_pickle_init(struct pickle *p);
void dn_pickle_release(struct pickle *p);

/* Run the pickle at the front of `bytes` up to its STOP, and eat it. */
bool dn_pickle_run(struct pickle *p, struct span *bytes, struct pickle_value *result,
                   struct dino_error *err);

/* The value of a text key, or NULL. */
const struct pickle_value *dn_pickle_get(const struct pickle_value *dict, const char *key);

/* New, empty items; and one more item behind them. */
struct pickle_items *dn_pickle_items(struct pickle *p, struct dino_error *err);
bool dn_pickle_append(struct pickle *p, struct pickle_items *items, struct pickle_value value,
                      struct dino_error *err);

#endif
