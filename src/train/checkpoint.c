#include "train/checkpoint.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "format/safetensors.h"
#include "format/tensors.h"

enum { BLOCKS = 4, CENTRES = 2 };

static const char *const block_names[] = {"student", "teacher", "first", "second"};
static const char *const centre_names[] = {"centre.dino", "centre.ibot"};
static const char kind[] = "dino training state 1";

static bool is_moment(int block)
{
    return block >= 2;
}

static void *block_of(const struct train_blocks *b, int i)
{
    void *const blocks[] = {b->student, b->teacher, b->first, b->second};

    return blocks[i];
}

static struct mat centre_of(const struct ssl_step *step, int i)
{
    return i == 0 ? step->dino_centre : step->ibot_centre;
}

/* One tensor of a checkpoint, and its numbers on the device: at `data`, or, of a moment that
 * many processes share, in the shards of `moments`. */
struct entry {
    char name[200];
    const int64_t *shape;
    int dims;
    void *data, *moments;
    size_t first, count; /* elements, and which of the block */
    size_t bytes;
};

typedef bool visit_fn(void *context, const struct run_numbers *n, const struct entry *entry,
                      struct dino_error *err);

/* Show all tensors to `visit`, in the order of the file, until it fails. */
static bool each_tensor(const struct run_numbers *n, visit_fn *visit, void *context,
                        struct dino_error *err)
{
    size_t width = dino_dtype_size(n->blocks->dtype);
    bool many = dino_comm_size(n->blocks->shards.comm) > 1;
    struct entry entry;

    for (int b = 0; b < BLOCKS; b++)
        for (int i = 0; i < n->table->count; i++) {
            const struct param_slice *p = &n->table->items[i];
            char *block = block_of(n->blocks, b);
            bool shared = many && is_moment(b);
            entry = (struct entry){.shape = p->shape,
                                   .dims = p->dims,
                                   .data = shared ? NULL : block + p->first * width,
                                   .moments = shared ? block : NULL,
                                   .first = p->first,
                                   .count = p->count,
                                   .bytes = p->count * width};
            snprintf(entry.name, sizeof entry.name, "%s.%s", block_names[b], p->name);
            if (!visit(context, n, &entry, err))
                return false;
        }
    for (int c = 0; c < CENTRES; c++) {
        struct mat m = centre_of(n->step, c);
        int64_t shape[] = {1, m.cols};
        entry = (struct entry){
            .shape = shape, .dims = 2, .data = m.data, .bytes = (size_t)m.cols * width};
        snprintf(entry.name, sizeof entry.name, "%s", centre_names[c]);
        if (!visit(context, n, &entry, err))
            return false;
    }
    return true;
}

/* ---- writing ---- */

static bool write_scale(struct safetensors_writer *w, const struct loss_scale *scale)
{
    char value[32], good[32], skipped[32];

    if (scale->value == 0)
        return true;
    snprintf(value, sizeof value, "%.17g", scale->value);
    snprintf(good, sizeof good, "%lld", (long long)scale->good);
    snprintf(skipped, sizeof skipped, "%lld", (long long)scale->skipped);
    return dn_safetensors_note(w, "loss_scale", value) &&
           dn_safetensors_note(w, "good_steps", good) &&
           dn_safetensors_note(w, "skipped_steps", skipped);
}

static bool write_notes(struct safetensors_writer *w, const struct run_state *state,
                        const char *settings)
{
    char step[32], pictures[32], names[32], micro[32], best[32], teacher[32];

    snprintf(step, sizeof step, "%lld", (long long)state->step);
    snprintf(pictures, sizeof pictures, "%lld", (long long)state->pictures);
    snprintf(names, sizeof names, "%016llx", (unsigned long long)state->names);
    snprintf(micro, sizeof micro, "%d", state->micro);
    snprintf(best, sizeof best, "%.17g", state->best);
    snprintf(teacher, sizeof teacher, "%016llx", (unsigned long long)state->teacher);
    if (state->teacher && !dn_safetensors_note(w, "teacher", teacher))
        return false;
    return write_scale(w, &state->scale) && dn_safetensors_note(w, "kind", kind) &&
           dn_safetensors_note(w, "step", step) &&
           dn_safetensors_note(w, "pictures", pictures) &&
           dn_safetensors_note(w, "names", names) && dn_safetensors_note(w, "micro", micro) &&
           dn_safetensors_note(w, "dtype", dino_dtype_name(state->dtype)) &&
           dn_safetensors_note(w, "best_knn", best) &&
           dn_safetensors_note(w, "config", settings);
}

static bool declare(void *writer, const struct run_numbers *n, const struct entry *entry,
                    struct dino_error *err)
{
    return dn_safetensors_declare(writer, entry->name, n->blocks->dtype, entry->shape,
                                  entry->dims, err);
}

/* What is written is copied to the host first, a tensor at a time, and moments come from all
 * processes: so all walk to the end, even where writing has failed. */
struct copier {
    struct safetensors_writer *writer; /* NULL: of another process */
    char *scratch;                     /* [the largest tensor] */
    bool ok;
};

static bool write_numbers(void *context, const struct run_numbers *n, const struct entry *entry,
                          struct dino_error *err)
{
    struct copier *c = context;

    if (!entry->bytes)
        return true;
    if (entry->moments)
        dn_shards_gather(&n->blocks->shards, entry->moments, n->blocks->dtype, entry->first,
                         entry->count, c->writer ? c->scratch : NULL);
    else if (c->writer)
        n->queue->device->ops->download(n->queue, c->scratch, entry->data, entry->bytes);
    if (c->writer)
        c->ok = c->ok && dn_safetensors_write(c->writer, c->scratch, entry->bytes, err);
    return true;
}

static char *scratch_for(const struct run_numbers *n, struct dino_error *err)
{
    size_t most = 0;

    for (int c = 0; c < CENTRES; c++)
        most = (size_t)centre_of(n->step, c).cols > most ? (size_t)centre_of(n->step, c).cols
                                                         : most;
    for (int i = 0; i < n->table->count; i++)
        most = n->table->items[i].count > most ? n->table->items[i].count : most;
    return dn_calloc(most, dino_dtype_size(n->blocks->dtype), "a copy of a tensor", err);
}

bool dn_checkpoint_write(const char *path, const struct run_numbers *n,
                         const struct run_state *state, const char *settings,
                         struct dino_error *err)
{
    struct dino_comm *comm = n->blocks->shards.comm;
    bool first = dino_comm_rank(comm) == 0;
    struct safetensors_writer w = {0};
    struct copier copier = {.ok = true};

    if (first) {
        copier.writer = &w;
        copier.scratch = scratch_for(n, err);
        copier.ok = copier.scratch && dn_safetensors_create(&w, path, err) &&
                    (write_notes(&w, state, settings) ||
                     dn_fail_memory(err, strlen(settings), "the notes of a checkpoint")) &&
                    each_tensor(n, declare, &w, err);
    }
    if (dn_comm_agree(comm, copier.ok, err)) {
        each_tensor(n, write_numbers, &copier, err);
        bool ok = copier.ok && dn_queue_finish(n->queue, err) &&
                  (!first || dn_safetensors_commit(&w, err));
        copier.ok = dn_comm_agree(comm, ok, err);
    } else {
        copier.ok = false;
    }
    if (first)
        dn_safetensors_release(&w);
    free(copier.scratch);
    return copier.ok;
}

/* ---- reading ---- */

/* What has no note does not scale its losses. */
static bool read_scale(const struct tensors *t, struct loss_scale *scale,
                       struct dino_error *err)
{
    const char *value = dn_tensors_note(t, "loss_scale");
    const char *good = dn_tensors_note(t, "good_steps");
    const char *skipped = dn_tensors_note(t, "skipped_steps");

    *scale = (struct loss_scale){0};
    if (!value)
        return true;
    scale->value = strtod(value, NULL);
    if (scale->value > 0 && scale->value <= 0x1p100 && good && skipped &&
        dn_parse_int(good, 0, INT64_MAX, &scale->good) &&
        dn_parse_int(skipped, 0, INT64_MAX, &scale->skipped))
        return true;
    return dn_fail(err, DINO_EFORMAT, "%s: its notes of the loss's scale are damaged", t->path);
}

static bool read_state(const struct tensors *t, struct run_state *state, struct dino_error *err)
{
    const char *what = dn_tensors_note(t, "kind"), *step = dn_tensors_note(t, "step");
    const char *pictures = dn_tensors_note(t, "pictures"), *names = dn_tensors_note(t, "names");
    const char *micro = dn_tensors_note(t, "micro"), *best = dn_tensors_note(t, "best_knn");
    const char *dtype = dn_tensors_note(t, "dtype");
    const char *teacher = dn_tensors_note(t, "teacher"); /* of a run that distils */
    int64_t parts;

    state->dtype = DINO_F32; /* what has no note is older than bf16 */
    if (!what || strcmp(what, kind) != 0)
        return dn_fail(err, DINO_EFORMAT, "%s: is no checkpoint of a training run (%s)",
                       t->path, kind);
    if (!step || !pictures || !names || !micro || !best || !dn_tensors_note(t, "config") ||
        !dn_parse_int(step, 0, INT64_MAX, &state->step) ||
        !dn_parse_int(pictures, 0, INT64_MAX, &state->pictures) ||
        !dn_parse_int(micro, 1, 1 << 16, &parts) ||
        sscanf(names, "%llx", &(unsigned long long){0}) != 1 ||
        (dtype && !dino_dtype_parse(dtype, &state->dtype)))
        return dn_fail(err, DINO_EFORMAT, "%s: its notes of step and pictures are damaged",
                       t->path);
    state->micro = (int)parts;
    state->names = strtoull(names, NULL, 16);
    state->best = strtod(best, NULL);
    state->teacher = teacher ? strtoull(teacher, NULL, 16) : 0;
    return read_scale(t, &state->scale, err);
}

/* Settings in the words of today; false if they cannot be understood. */
static bool reread(const char *text, const char *name, struct train_config *config,
                   struct str *now, struct dino_error *err)
{
    struct span yaml = {(const uint8_t *)text, strlen(text)};

    dn_train_config_defaults(config);
    if (!dn_train_config_parse(config, yaml, name, err))
        return false;
    dn_train_config_text(config, now);
    return !now->failed || dn_fail_memory(err, now->size, "the settings");
}

static bool differ(const struct tensors *t, const char *kept, const char *settings,
                   struct dino_error *err)
{
    char was[DN_LINE], now[DN_LINE];

    dn_lines_differ(kept, settings, was, now);
    return dn_fail(err, DINO_EARG,
                   "%s: was trained with '%s', now it is '%s': take the run's own settings, or "
                   "another folder for a new run",
                   t->path, was, now);
}

static bool same_settings(const struct tensors *t, const char *settings, struct dino_error *err)
{
    const char *kept = dn_tensors_note(t, "config");
    struct train_config was, now;
    struct str before = {0}, today = {0};

    if (strcmp(kept, settings) == 0)
        return true;
    bool ok = reread(kept, t->path, &was, &before, err) &&
              reread(settings, t->path, &now, &today, err);
    if (ok) { /* where a teacher lies does not count: who it is, its sum says */
        memcpy(was.distillation.teacher, now.distillation.teacher,
               sizeof was.distillation.teacher);
        dn_str_clear(&before);
        dn_train_config_text(&was, &before);
        ok = !before.failed || dn_fail_memory(err, before.size, "the settings");
    }
    if (ok && was.train.batch_size != now.train.batch_size)
        ok = dn_fail(err, DINO_EARG,
                     "%s: its steps take %d pictures, now they would take %d: "
                     "train.batch_size_per_gpu times the number of processes must stay",
                     t->path, was.train.batch_size, now.train.batch_size);
    else if (ok && strcmp(before.text, today.text) != 0)
        ok = differ(t, before.text, today.text, err);
    dn_str_release(&before);
    dn_str_release(&today);
    return ok;
}

/* Is the tensor there, as it was written? */
static bool check(void *tensors, const struct run_numbers *n, const struct entry *entry,
                  struct dino_error *err)
{
    const struct tensors *t = tensors;
    const struct dino_tensor *tensor = dn_tensors_find(t, entry->name);
    char text[128];

    if (!tensor)
        return dn_fail(err, DINO_EFORMAT, "%s: has no tensor %s", t->path, entry->name);
    bool same = tensor->dims == entry->dims && tensor->dtype == n->blocks->dtype;
    for (int i = 0; same && i < entry->dims; i++)
        same = tensor->shape[i] == entry->shape[i];
    if (same && dn_tensor_contiguous(tensor))
        return true;
    dn_tensor_shape_text(tensor, text);
    return dn_fail(err, DINO_EFORMAT, "%s: %s is %s %s, not what its settings say", t->path,
                   entry->name, dino_dtype_name(tensor->dtype), text);
}

/* Padding between slices is zero in every block, and stays so. Of moments, each process takes
 * its shards. */
static bool load(void *tensors, const struct run_numbers *n, const struct entry *entry,
                 struct dino_error *err)
{
    const char *data = dn_tensors_find(tensors, entry->name)->data;
    const struct shards *s = &n->blocks->shards;
    size_t width = dino_dtype_size(n->blocks->dtype);

    (void)err; /* the queue remembers */
    if (entry->data && entry->bytes)
        n->queue->device->ops->upload(n->queue, entry->data, data, entry->bytes);
    for (int i = 0; entry->moments && i < s->count; i++) {
        struct shard own = dn_shard_within(s->pieces[i].own, entry->first, entry->count);
        if (own.count)
            n->queue->device->ops->upload(n->queue, (char *)entry->moments + own.place * width,
                                          data + (own.first - entry->first) * width,
                                          own.count * width);
    }
    return true;
}

bool dn_checkpoint_peek(const char *path, struct run_state *state, char **settings,
                        struct dino_error *err)
{
    struct tensors t;

    if (!dn_tensors_open(&t, path, err))
        return false;
    bool ok = read_state(&t, state, err);
    if (ok && settings)
        ok = (*settings = dn_strdup(dn_tensors_note(&t, "config"), err)) != NULL;
    dn_tensors_release(&t);
    return ok;
}

bool dn_checkpoint_read(const char *path, const struct run_numbers *n, struct run_state *state,
                        const char *settings, struct dino_error *err)
{
    struct run_state found = {0};
    struct tensors t;

    if (!dn_tensors_open(&t, path, err))
        return false;
    bool ok = read_state(&t, &found, err) && same_settings(&t, settings, err) &&
              each_tensor(n, check, &t, err) && each_tensor(n, load, &t, err) &&
              dn_queue_finish(n->queue, err);
    if (ok)
        *state = found;
    dn_tensors_release(&t);
    return ok;
}

/* ---- the folder ---- */

static int64_t step_of(const char *name)
{
    long long step;
    int end = 0;

    if (sscanf(name, "step-%lld.safetensors%n", &step, &end) != 1 || !end || name[end])
        return -1;
    return step;
}

char *dn_checkpoint_path(const char *folder, int64_t step, struct dino_error *err)
{
    char name[64];

    snprintf(name, sizeof name, "step-%08lld.safetensors", (long long)step);
    return dn_path_join(folder, name, err);
}

/* The largest step below `limit`. */
static int64_t latest_below(const char *folder, int64_t limit)
{
    int64_t latest = -1;
    DIR *dir = opendir(folder);

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int64_t step = step_of(entry->d_name);
        if (step < limit && step > latest)
            latest = step;
    }
    if (dir)
        closedir(dir);
    return latest;
}

int64_t dn_checkpoint_latest(const char *folder)
{
    return latest_below(folder, INT64_MAX);
}

void dn_checkpoint_prune(const char *folder, int keep)
{
    int64_t step = INT64_MAX;

    for (int kept = 0; (step = latest_below(folder, step)) >= 0; kept++) {
        char *path = kept < keep ? NULL : dn_checkpoint_path(folder, step, NULL);
        if (path)
            unlink(path);
        free(path);
    }
}
