/* What a run leaves on disk: checkpoints, the teacher, and a line a step. */
#include "train/trainer.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "train/export.h"

static struct run_numbers numbers_of(const struct trainer *t)
{
    return (struct run_numbers){t->queue, &t->table, &t->blocks, &t->step};
}

static bool write_teacher(const struct trainer *t, const char *path, struct dino_error *err)
{
    return !dn_trainer_first(t) ||
           dn_export_teacher(path, t->queue, &t->table, &t->blocks, err);
}

bool dn_trainer_save(struct trainer *t, struct dino_error *err)
{
    struct run_numbers numbers = numbers_of(t);
    char *path = dn_checkpoint_path(t->checkpoints, t->state.step, err);
    bool ok = dn_comm_agree(t->comm, path != NULL, err) &&
              dn_checkpoint_write(path, &numbers, &t->state, dn_str_text(&t->settings), err);

    free(path);
    if (!ok || !dn_comm_agree(t->comm, write_teacher(t, t->teacher_path, err), err))
        return false;
    if (dn_trainer_first(t))
        dn_checkpoint_prune(t->checkpoints, t->options->keep > 0 ? t->options->keep : 3);
    t->saved_step = t->state.step;
    t->saved_at = dn_trainer_seconds();
    return true;
}

bool dn_trainer_save_best(struct trainer *t, struct dino_error *err)
{
    struct run_numbers numbers = numbers_of(t);

    return dn_checkpoint_write(t->best_path, &numbers, &t->state, dn_str_text(&t->settings),
                               err) &&
           dn_comm_agree(t->comm, write_teacher(t, t->best_teacher_path, err), err);
}

/* "teacher.pth.tmp-123" is what an unfinished teacher.pth left. */
static bool is_left_of(const char *name, const char *path)
{
    const char *base = dn_path_base(path);
    size_t size = strlen(base);

    return strncmp(name, base, size) == 0 && dn_starts_with(name + size, ".tmp-");
}

static bool is_left_over(const struct trainer *t, const char *name)
{
    const char *const paths[] = {
        t->config_path, t->metrics_path, t->teacher_path, t->best_teacher_path,
        t->folder_path, t->heads_path,   "knn.pth"};

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (is_left_of(name, paths[i]))
            return true;
    return false;
}

/* Of the run's folder only what is known: people put things of their own into it. */
static void sweep(const struct trainer *t, const char *folder)
{
    DIR *dir = opendir(folder);

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        bool ours = folder == t->checkpoints ? strstr(entry->d_name, ".tmp-") != NULL
                                             : is_left_over(t, entry->d_name);
        char *path = ours ? dn_path_join(folder, entry->d_name, NULL) : NULL;
        if (path && unlink(path) != 0)
            dn_export_remove(path);
        free(path);
    }
    if (dir)
        closedir(dir);
}

void dn_trainer_sweep(const struct trainer *t)
{
    sweep(t, t->options->output);
    sweep(t, t->checkpoints);
}

/* The bytes of `text` up to the line of iteration `step`. */
static size_t lines_before(const char *text, size_t size, int64_t step)
{
    size_t at = 0;
    long long iteration;

    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        if (!end || sscanf(text + at, "{\"iteration\": %lld", &iteration) != 1 ||
            iteration >= step)
            break;
        at = (size_t)(end + 1 - text);
    }
    return at;
}

bool dn_trainer_open_metrics(struct trainer *t, struct dino_error *err)
{
    uint8_t *text = NULL;
    size_t size = 0;
    struct output out = {0};
    bool ok = true;

    if (dn_exists(t->metrics_path)) {
        if (!dn_read_all(t->metrics_path, SIZE_MAX / 2, &text, &size, err))
            return false;
        size_t kept = 0;
        char *copy = dn_calloc(size + 1, 1, "training_metrics.json", err);
        if (copy) {
            memcpy(copy, text, size);
            kept = lines_before(copy, size, t->state.step);
        }
        ok = copy && dn_output_open(&out, t->metrics_path, err) &&
             dn_output_write(&out, copy, kept, err) && dn_output_commit(&out, err);
        dn_output_release(&out);
        free(copy);
        free(text);
    }
    if (!ok)
        return false;
    t->metrics = fopen(t->metrics_path, "a");
    return t->metrics || dn_fail_errno(err, "%s", t->metrics_path);
}
