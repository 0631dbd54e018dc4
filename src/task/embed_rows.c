#include "task/embed_rows.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

void dn_embed_rows_release(struct embed_rows *rows)
{
    free(rows->values);
    free(rows->halves);
    dn_str_release(&rows->line);
}

/* x [count, dim], each row to length 1; rows of zeros stay. */
static void scale_rows(float *x, size_t count, size_t dim)
{
    for (size_t r = 0; r < count; r++, x += dim) {
        double square = 0;
        for (size_t j = 0; j < dim; j++)
            square += (double)x[j] * x[j];
        double scale = square > 0 ? 1 / sqrt(square) : 0;
        for (size_t j = 0; j < dim; j++)
            x[j] = (float)(x[j] * scale);
    }
}

static void mean_rows(float *mean, const float *x, size_t count, size_t dim)
{
    for (size_t j = 0; j < dim; j++) {
        double sum = 0;
        for (size_t r = 0; r < count; r++)
            sum += x[r * dim + j];
        mean[j] = (float)(sum / (double)count);
    }
}

/* The vectors of one array: [vectors, dim]; taken from the features or made in rows->values. */
static const float *gather(struct embed_rows *rows, const struct embed_stream *stream,
                           const struct dino_features *f, size_t *vectors,
                           struct dino_error *err)
{
    size_t dim = (size_t)f->dim, patches = (size_t)f->rows * (size_t)f->cols;
    const float *layer = f->layer[stream->layer];
    const float *first_patch = layer + (1 + (size_t)f->registers) * dim;
    const float *from = layer;
    bool mean = stream->token == DINO_TOKENS_MEAN;

    *vectors = stream->vectors ? (size_t)stream->vectors : patches;
    if (stream->token == DINO_TOKENS_PATCHES)
        from = first_patch;
    else if (stream->token == DINO_TOKENS_REGISTERS)
        from = layer + dim;
    if (!mean && !rows->plan->l2)
        return from;
    if (!dn_grow(&rows->values, &rows->value_room, *vectors * dim, sizeof(float), "features",
                 err))
        return NULL;
    if (mean)
        mean_rows(rows->values, first_patch, patches, dim);
    else
        memcpy(rows->values, from, *vectors * dim * sizeof *from);
    if (rows->plan->l2)
        scale_rows(rows->values, *vectors, dim);
    return rows->values;
}

static bool put_binary(struct embed_rows *rows, struct embed_store *store, int file,
                       const float *values, size_t count, struct dino_error *err)
{
    if (rows->plan->dtype == DINO_F32)
        return dn_embed_store_append(store, file, values, count * sizeof *values, err);
    if (!dn_grow(&rows->halves, &rows->half_room, count, sizeof *rows->halves, "features", err))
        return false;
    dn_from_f32(rows->halves, DINO_F16, values, count);
    return dn_embed_store_append(store, file, rows->halves, count * sizeof *rows->halves, err);
}

/* Shortest of fixed length that reads back as the same number; JSON has no NaN. */
static void add_number(struct str *line, float value, enum dino_dtype dtype)
{
    char text[32];

    if (dtype == DINO_F16)
        value = dn_f16_to_f32(dn_f32_to_f16(value));
    if (!isfinite(value)) {
        dn_str_add(line, "null");
        return;
    }
    int size = snprintf(text, sizeof text, dtype == DINO_F16 ? "%.5g" : "%.9g", (double)value);
    char *comma = strchr(text, ','); /* the caller's locale */
    if (comma)
        *comma = '.';
    dn_str_add_bytes(line, text, (size_t)size);
}

static void add_array(struct str *line, const float *values, size_t vectors, size_t dim,
                      bool nested, enum dino_dtype dtype)
{
    dn_str_add(line, nested ? "[[" : "[");
    for (size_t v = 0; v < vectors; v++) {
        if (v)
            dn_str_add(line, "],[");
        for (size_t j = 0; j < dim; j++) {
            if (j)
                dn_str_add(line, ",");
            add_number(line, values[v * dim + j], dtype);
        }
    }
    dn_str_add(line, nested ? "]]" : "]");
}

static bool put_line(struct embed_rows *rows, struct embed_store *store, const char *name,
                     const struct dino_features *f, struct dino_error *err)
{
    const struct embed_plan *plan = rows->plan;
    struct str *line = &rows->line;
    size_t vectors;

    dn_str_clear(line);
    dn_str_add(line, "{\"path\":");
    dn_str_add_json(line, name);
    if (plan->tokens & DINO_TOKENS_PATCHES)
        dn_str_addf(line, ",\"grid\":[%d,%d]", f->rows, f->cols);
    for (int i = plan->stream_count - 1; i >= 0; i--) { /* the small ones first */
        const struct embed_stream *stream = &plan->streams[i];
        const float *values = gather(rows, stream, f, &vectors, err);
        if (!values)
            return false;
        dn_str_addf(line, ",\"%s\":", stream->name);
        bool nested = stream->token & (DINO_TOKENS_PATCHES | DINO_TOKENS_REGISTERS);
        add_array(line, values, vectors, (size_t)plan->dim, nested, plan->dtype);
    }
    dn_str_add(line, "}\n");
    if (line->failed)
        return dn_fail_memory(err, line->size, "a line of features");
    return dn_embed_store_append(store, 0, line->text, line->size, err);
}

static bool put_arrays(struct embed_rows *rows, struct embed_store *store,
                       const struct dino_features *f, struct dino_error *err)
{
    const struct embed_plan *plan = rows->plan;
    int64_t grid[2] = {f->rows, f->cols};
    size_t vectors;

    for (int i = 0; i < plan->stream_count; i++) {
        const float *values = gather(rows, &plan->streams[i], f, &vectors, err);
        if (!values || !put_binary(rows, store, i, values, vectors * (size_t)plan->dim, err))
            return false;
    }
    bool grids = plan->format == EMBED_SAFETENSORS && (plan->tokens & DINO_TOKENS_PATCHES);
    return !grids || dn_embed_store_append(store, plan->stream_count, grid, sizeof grid, err);
}

bool dn_embed_rows_put(struct embed_rows *rows, struct embed_store *store, const char *name,
                       const struct dino_features *f, struct dino_error *err)
{
    const struct embed_plan *plan = rows->plan;
    const int *grid = store->now.grid;

    if (plan->format == EMBED_NPY && (plan->tokens & DINO_TOKENS_PATCHES) && store->now.rows &&
        (grid[0] != f->rows || grid[1] != f->cols))
        return dn_fail(err, DINO_EARG,
                       "%s: %dx%d patches, but %dx%d before: .npy holds one shape: write "
                       ".safetensors, or use a view of one size",
                       name, f->rows, f->cols, grid[0], grid[1]);
    bool ok = plan->format == EMBED_JSONL ? put_line(rows, store, name, f, err)
                                          : put_arrays(rows, store, f, err);
    if (ok)
        dn_embed_store_row(store, f->rows, f->cols);
    return ok;
}
