#include "task/embed_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "format/npy.h"
#include "format/safetensors.h"

enum { HEAD_ALIGN = 64 };
static const uint64_t MOST_HEADER = 100000000; /* what readers of safetensors accept */

static bool has_grids(const struct embed_plan *plan)
{
    return plan->format == EMBED_SAFETENSORS && (plan->tokens & DINO_TOKENS_PATCHES);
}

/* ---- the safetensors header ---- */

struct header {
    struct str text;
    uint64_t offset;
};

static void declare(struct header *h, const char *name, enum dino_dtype dtype,
                    const int64_t *shape, int dims)
{
    uint64_t bytes = dino_dtype_size(dtype);

    dn_str_add(&h->text, ",");
    dn_str_add_json(&h->text, name);
    dn_str_addf(&h->text, ":{\"dtype\":\"%s\",\"shape\":[", dn_safetensors_dtype(dtype));
    for (int i = 0; i < dims; i++) {
        dn_str_addf(&h->text, "%s%lld", i ? "," : "", (long long)shape[i]);
        bytes *= (uint64_t)shape[i];
    }
    dn_str_addf(&h->text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)h->offset,
                (unsigned long long)(h->offset + bytes));
    h->offset += bytes;
}

/* grid: of all pictures, or -1 where they differ and patches are packed. */
static void build_header(struct header *h, const struct embed_plan *plan, int64_t rows,
                         int64_t packed, const int grid[2])
{
    bool equal = grid[0] >= 0;

    *h = (struct header){0};
    dn_str_addf(&h->text, "{\"__metadata__\":{\"format\":\"pt\",\"dino\":\"%s\"}",
                dino_version());
    if (has_grids(plan)) {
        declare(h, "patches.starts", DINO_I64, (int64_t[]){rows + 1}, 1);
        declare(h, "patches.grid", DINO_I64, (int64_t[]){rows, 2}, 2);
    }
    for (int i = 0; i < plan->stream_count; i++) {
        const struct embed_stream *s = &plan->streams[i];
        if (s->token == DINO_TOKENS_REGISTERS)
            declare(h, s->name, plan->dtype, (int64_t[]){rows, s->vectors, plan->dim}, 3);
        else if (s->token != DINO_TOKENS_PATCHES)
            declare(h, s->name, plan->dtype, (int64_t[]){rows, plan->dim}, 2);
        else if (equal)
            declare(h, s->name, plan->dtype,
                    (int64_t[]){rows, (int64_t)grid[0] * grid[1], plan->dim}, 3);
        else
            declare(h, s->name, plan->dtype, (int64_t[]){packed, plan->dim}, 2);
    }
    dn_str_add(&h->text, "}");
}

/* ---- the layout ---- */

/* Room for the longest header and for the integers in front of the first array. */
static bool safetensors_head(const struct embed_plan *plan, uint64_t *head,
                             struct dino_error *err)
{
    static const int largest[2] = {99999, 99999};
    int64_t digits =
        INT64_MAX / 1000 / plan->dim / 99999 / 99999; /* no overflow, many digits */
    struct header h;
    size_t integers = 0, pictures = (size_t)plan->pictures;

    build_header(&h, plan, digits, 0, largest);
    bool ok = !h.text.failed;
    uint64_t text = h.text.size + 64 * ((uint64_t)plan->stream_count + 2); /* longer numbers */
    dn_str_release(&h.text);
    if (!ok)
        return dn_fail_memory(err, (size_t)text, "a header");
    if (has_grids(plan) &&
        (!dn_size_mul(pictures, 24, &integers) || !dn_size_add(integers, 8, &integers)))
        return dn_fail_memory(err, SIZE_MAX, "a header");
    *head = (8 + text + integers + HEAD_ALIGN - 1) / HEAD_ALIGN * HEAD_ALIGN;
    return true;
}

bool dn_embed_layout_init(struct embed_layout *layout, const struct embed_plan *plan,
                          struct dino_error *err)
{
    bool arrays = plan->format != EMBED_JSONL;

    *layout = (struct embed_layout){.files = arrays ? plan->stream_count : 1};
    layout->files += has_grids(plan) ? 1 : 0;
    layout->row_bytes =
        dn_calloc((size_t)layout->files, sizeof *layout->row_bytes, "a layout", err);
    if (!layout->row_bytes)
        return false;
    for (int i = 0; arrays && i < plan->stream_count; i++)
        layout->row_bytes[i] = (uint64_t)plan->streams[i].vectors * (uint64_t)plan->dim *
                               dino_dtype_size(plan->dtype);
    if (has_grids(plan))
        layout->row_bytes[plan->stream_count] = 2 * sizeof(int64_t);
    if (plan->format == EMBED_NPY)
        layout->head = DN_NPY_HEADER;
    if (plan->format != EMBED_SAFETENSORS || safetensors_head(plan, &layout->head, err))
        return true;
    dn_embed_layout_release(layout);
    return false;
}

void dn_embed_layout_release(struct embed_layout *layout)
{
    free(layout->row_bytes);
    *layout = (struct embed_layout){0};
}

/* ---- finishing ---- */

static bool finish_npy(const struct embed_plan *plan, struct embed_store *store,
                       struct dino_error *err)
{
    const struct embed_stream *s = &plan->streams[0];
    const struct embed_mark *now = &store->now;
    uint8_t header[DN_NPY_HEADER];
    int64_t shape[3] = {now->rows, plan->dim};
    int dims = 2;

    if (s->token == DINO_TOKENS_PATCHES || s->token == DINO_TOKENS_REGISTERS) {
        dims = 3;
        shape[1] = s->vectors ? s->vectors : (int64_t)now->grid[0] * now->grid[1];
        shape[2] = plan->dim;
    }
    return dn_npy_header(header, plan->dtype, shape, dims, err) &&
           dn_embed_store_head(store, 0, header, sizeof header, err);
}

/* integers: starts [rows + 1], then grid [rows, 2] as the part file has it. */
static bool read_grids(const struct embed_plan *plan, const struct embed_store *store,
                       int64_t *integers, struct dino_error *err)
{
    size_t rows = (size_t)store->now.rows;
    uint8_t *to = (uint8_t *)(integers + rows + 1);
    size_t left = rows * 2 * sizeof *integers, at = 0;
    int file = plan->stream_count;

    while (left) {
        ssize_t got = pread(store->fds[file], to + at, left, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : EIO;
            return dn_fail_errno(err, "%s", store->paths[file]);
        }
        at += (size_t)got;
        left -= (size_t)got;
    }
    const int64_t *grid = integers + rows + 1;
    for (size_t i = 0; i < rows; i++)
        integers[i + 1] = integers[i] + grid[2 * i] * grid[2 * i + 1];
    if (store->now.bytes[0] ==
        (uint64_t)integers[rows] * (uint64_t)plan->dim * dino_dtype_size(plan->dtype))
        return true;
    return dn_fail(err, DINO_EFORMAT, "%s: its grids do not fit %s: start fresh",
                   store->paths[file], store->paths[0]);
}

/* The header, padded with blanks, and the integers end where the first array begins. */
static bool put_header(const struct embed_plan *plan, struct embed_store *store,
                       const int64_t *integers, size_t integer_bytes, struct dino_error *err)
{
    int64_t rows = store->now.rows;
    struct header h;
    uint8_t size[8];

    build_header(&h, plan, rows, integers ? integers[rows] : 0, store->now.grid);
    uint64_t room = store->head - 8 - integer_bytes;
    bool ok = !h.text.failed && h.text.size <= room;
    if (!ok)
        dn_fail_memory(err, h.text.size, "a header");
    if (ok && room > MOST_HEADER)
        ok = dn_fail(err, DINO_EUNSUPPORTED,
                     "%s: a header of %llu bytes: too many pictures "
                     "were skipped",
                     store->output, (unsigned long long)room);
    while (ok && h.text.size < room) {
        static const char blanks[] = "                                                    ";
        uint64_t left = room - h.text.size;
        dn_str_add_bytes(&h.text, blanks,
                         left < sizeof blanks - 1 ? (size_t)left : sizeof blanks - 1);
        ok = !h.text.failed || dn_fail_memory(err, (size_t)room, "a header");
    }
    for (int i = 0; i < 8; i++)
        size[i] = (uint8_t)(room >> 8 * i);
    ok = ok && dn_embed_store_head(store, 0, size, sizeof size, err) &&
         dn_embed_store_head(store, 8, h.text.text, h.text.size, err) &&
         dn_embed_store_head(store, 8 + room, integers, integer_bytes, err);
    dn_str_release(&h.text);
    return ok;
}

static bool finish_safetensors(const struct embed_plan *plan, struct embed_store *store,
                               struct dino_error *err)
{
    size_t count = has_grids(plan) ? 3 * (size_t)store->now.rows + 1 : 0;
    int64_t *integers = NULL;
    bool ok = false;

    if (count) {
        integers = dn_calloc(count, sizeof *integers, "grids", err);
        if (!integers || !read_grids(plan, store, integers, err))
            goto done;
    }
    if (!put_header(plan, store, integers, count * sizeof *integers, err))
        goto done;
    for (int i = 1; i < plan->stream_count; i++)
        if (!dn_embed_store_join(store, i, err))
            goto done;
    ok = true;
done:
    free(integers);
    return ok;
}

/* ---- the sidecar ---- */

struct sidecar {
    const struct embed_plan *plan;
    const struct embed_store *store;
    const struct embed_names *names;
    const char *source;
};

static bool flush(struct str *text, struct output *out, struct dino_error *err)
{
    bool ok = text->failed ? dn_fail_memory(err, text->size, "a sidecar")
                           : dn_output_write(out, text->text, text->size, err);
    dn_str_clear(text);
    return ok;
}

/* Reals are shortest forms of floats, of nine digits at most: 0.485, not 0.48499999999999999.
 */
enum { FLOAT_DIGITS = JSON_REAL_PRECISION(9) };

/* Everything that is known but the pictures: the request and where the model came from. */
static void add_request(struct str *text, const struct sidecar *s)
{
    const int *grid = s->store->now.grid;
    json_t *request = s->plan->request;

    dn_str_add(text, "{\n");
    for (void *at = json_object_iter(request); at; at = json_object_iter_next(request, at)) {
        char *value = json_dumps(json_object_iter_value(at), JSON_ENCODE_ANY | FLOAT_DIGITS);
        text->failed = text->failed || !value;
        dn_str_add(text, " ");
        dn_str_add_json(text, json_object_iter_key(at));
        dn_str_addf(text, ": %s,\n", value ? value : "");
        free(value);
    }
    dn_str_add(text, " \"source\": ");
    dn_str_add_json(text, s->source);
    if (s->plan->tokens & DINO_TOKENS_PATCHES && grid[0] > 0)
        dn_str_addf(text, ",\n \"grid\": [%d, %d]", grid[0], grid[1]);
    dn_str_addf(text, ",\n \"rows\": %lld,\n \"paths\": [", (long long)s->store->now.rows);
}

static bool add_paths(struct str *text, const struct sidecar *s, struct output *out,
                      struct dino_error *err)
{
    const struct embed_store *store = s->store;
    size_t skip = 0;
    const char *comma = "\n  ";

    for (int64_t i = 0; i < s->names->count; i++) {
        if (skip < store->now.skips && store->skips[skip].index == i) {
            skip++;
            continue;
        }
        dn_str_add(text, comma);
        dn_str_add_json(text, s->names->name(s->names->context, i));
        comma = ",\n  ";
        if (text->size > 65536 && !flush(text, out, err))
            return false;
    }
    comma = "\n  ";
    dn_str_add(text, "],\n \"skipped\": [");
    for (size_t i = 0; i < store->now.skips; i++) {
        dn_str_addf(text, "%s{\"path\": ", comma);
        dn_str_add_json(text, s->names->name(s->names->context, store->skips[i].index));
        dn_str_add(text, ", \"why\": ");
        dn_str_add_json(text, store->skips[i].why);
        dn_str_add(text, "}");
        comma = ",\n  ";
        if (text->size > 65536 && !flush(text, out, err))
            return false;
    }
    dn_str_add(text, "]\n}\n");
    return true;
}

static bool write_sidecar(void *context, struct dino_error *err)
{
    const struct sidecar *s = context;
    struct str path = {0}, text = {0};
    struct output out = {0};
    bool ok = false;

    dn_str_addf(&path, "%s.json", s->store->output);
    if (path.failed) {
        dn_fail_memory(err, path.size, "a path");
        goto done;
    }
    if (!dn_output_open(&out, path.text, err))
        goto done;
    add_request(&text, s);
    ok = add_paths(&text, s, &out, err) && flush(&text, &out, err) &&
         dn_output_commit(&out, err);
    dn_output_release(&out);
done:
    dn_str_release(&text);
    dn_str_release(&path);
    return ok;
}

bool dn_embed_file_finish(const struct embed_plan *plan, struct embed_store *store,
                          const struct embed_names *names, const char *source,
                          struct dino_error *err)
{
    struct sidecar sidecar = {plan, store, names, source};
    bool ok = true;

    if (plan->format == EMBED_NPY)
        ok = finish_npy(plan, store, err);
    else if (plan->format == EMBED_SAFETENSORS)
        ok = finish_safetensors(plan, store, err);
    return ok && dn_embed_store_finish(store, write_sidecar, &sidecar, err);
}
