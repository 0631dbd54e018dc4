#include "train/sharding.h"

#include <string.h>

#include "base/alloc.h"

enum { ALIGN = 16 }; /* elements: slices begin on a cache line */

/* ---- ranges ---- */

struct param_range dn_range_of_module(const struct params_table *t, enum net_module module)
{
    int from = t->module_items[module], to = t->module_items[module + 1];

    if (from == to)
        return (struct param_range){0, 0};
    return (struct param_range){t->items[from].first,
                                to < t->count ? t->items[to].first : t->elements};
}

/* Where the parameters of a block begin: blocks stand one behind the other. */
static size_t block_begins(const struct params_table *t, int block)
{
    int i = 0;

    while (t->items[i].ref.block != block)
        i++;
    return t->items[i].first;
}

struct param_range dn_range_of_block(const struct params_table *t, int block)
{
    int last = t->config.backbone.depth - 1;
    struct param_range all = dn_range_of_module(t, MODULE_BACKBONE);

    if (block >= 0)
        all.first = block_begins(t, block);
    if (block < last)
        all.end = block_begins(t, block + 1);
    return all;
}

/* ---- pieces ---- */

/* The slice of one rank. */
static struct shard slice_of(const struct shard_piece *p, int rank, int size)
{
    size_t lines = (p->count + ALIGN - 1) / ALIGN, ranks = (size_t)size, r = (size_t)rank;
    size_t first = lines * r / ranks * ALIGN, end = lines * (r + 1) / ranks * ALIGN;

    if (end > p->count)
        end = p->count;
    return (struct shard){.first = p->first + first, .count = end - first};
}

static bool add_range(struct shards *s, size_t *room, struct param_range range, size_t most,
                      struct dino_error *err)
{
    for (size_t at = range.first; at < range.end; at += most) {
        size_t count = range.end - at < most ? range.end - at : most;
        if (!dn_grow(&s->pieces, room, (size_t)s->count + 1, sizeof *s->pieces,
                     "the shards of processes", err))
            return false;
        struct shard_piece *p = &s->pieces[s->count++];
        *p = (struct shard_piece){.first = at, .count = count};
        p->own = slice_of(p, dino_comm_rank(s->comm), dino_comm_size(s->comm));
        p->own.place = s->own;
        s->own += p->own.count;
    }
    return true;
}

bool dn_shards_init(struct shards *s, struct dino_comm *comm, const struct params_table *table,
                    struct dino_error *err)
{
    size_t room = 0, size = (size_t)dino_comm_size(comm), most = dn_comm_piece(comm);
    bool ok;

    *s = (struct shards){.comm = comm, .table = table};
    s->starts = dn_calloc(size + 1, sizeof *s->starts, "the shards of processes", err);
    if (s->starts && size == 1) {
        ok =
            add_range(s, &room, (struct param_range){0, table->elements}, table->elements, err);
    } else {
        ok = s->starts != NULL;
        for (int m = MODULE_DINO_HEAD; ok && m < MODULE_COUNT; m++)
            ok = add_range(s, &room, dn_range_of_module(table, (enum net_module)m), most, err);
        for (int b = table->config.backbone.depth - 1; ok && b >= -1; b--)
            ok = add_range(s, &room, dn_range_of_block(table, b), most, err);
    }
    if (!ok)
        dn_shards_release(s);
    return ok;
}

void dn_shards_release(struct shards *s)
{
    free(s->pieces);
    free(s->starts);
    *s = (struct shards){0};
}

struct shard dn_shard_within(struct shard own, size_t first, size_t count)
{
    size_t from = own.first > first ? own.first : first;
    size_t end = own.first + own.count < first + count ? own.first + own.count : first + count;

    if (from >= end)
        return (struct shard){.first = from};
    return (struct shard){from, end - from, own.place + from - own.first};
}

/* ---- transfers ---- */

/* s->starts: bytes of each rank's share of [first, first + count), which lies in the piece. */
static const size_t *share_out(const struct shards *s, const struct shard_piece *p,
                               size_t first, size_t count, enum dino_dtype dtype)
{
    int size = dino_comm_size(s->comm);

    s->starts[0] = 0;
    for (int r = 0; r < size; r++) {
        struct shard part = dn_shard_within(slice_of(p, r, size), first, count);
        s->starts[r + 1] = s->starts[r] + part.count * dino_dtype_size(dtype);
    }
    return s->starts;
}

static void *at(void *block, size_t element, enum dino_dtype dtype)
{
    return (char *)block + element * dino_dtype_size(dtype);
}

void dn_shards_sum(const struct shards *s, void *grads, enum dino_dtype dtype,
                   struct param_range range)
{
    for (int i = 0; i < s->count; i++) {
        const struct shard_piece *p = &s->pieces[i];
        if (p->first >= range.first && p->first + p->count <= range.end)
            dn_comm_device_reduce_scatter(s->comm, at(grads, p->first, dtype),
                                          share_out(s, p, p->first, p->count, dtype), dtype);
    }
}

void dn_shards_spread(const struct shards *s, void *block, enum dino_dtype dtype)
{
    for (int i = 0; i < s->count; i++) {
        const struct shard_piece *p = &s->pieces[i];
        dn_comm_device_all_gather(s->comm, at(block, p->first, dtype),
                                  share_out(s, p, p->first, p->count, dtype));
    }
}

void dn_shards_gather(const struct shards *s, const void *own, enum dino_dtype dtype,
                      size_t first, size_t count, void *to)
{
    size_t width = dino_dtype_size(dtype);

    for (int i = 0; i < s->count; i++) {
        const struct shard_piece *p = &s->pieces[i];
        struct shard whole = {.first = p->first, .count = p->count};
        struct shard all = dn_shard_within(whole, first, count);
        struct shard mine = dn_shard_within(p->own, first, count);
        if (all.count)
            dn_comm_device_gather(s->comm, to ? (char *)to + (all.first - first) * width : NULL,
                                  (const char *)own + mine.place * width,
                                  share_out(s, p, all.first, all.count, dtype));
    }
}
