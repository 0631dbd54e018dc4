/* How a run begins: settings, pictures, network, memory, and the checkpoint it goes on from. */
#include "train/trainer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/memory_room.h"
#include "base/rng.h"
#include "train/cosine_weights.h"
#include "train/first_weights.h"
#include "train/run_memory.h"
#include "train/run_settings.h"

/* ---- settings ---- */

bool dn_trainer_decide(struct trainer *t, struct dino_error *err)
{
    struct run_settings settings;
    bool ok = dn_run_settings(&settings, t->options, t->dataset.count, err);

    t->from = settings.start;
    t->from.weights.tensors = &t->from.tensors; /* they have moved */
    t->from_heads = settings.heads;
    t->config = settings.config;
    t->preset = settings.preset;
    if (!ok)
        return false;
    t->dataset.seed = (uint64_t)t->config.train.seed;
    t->epoch_length = t->config.train.epoch_length;
    if (t->epoch_length == 0)
        t->epoch_length = t->dataset.count / t->config.train.batch_size;
    if (t->epoch_length < 1)
        t->epoch_length = 1;
    t->steps = t->epoch_length * t->config.optim.epochs;
    dn_schedules_init(&t->schedules, &t->config, t->config.train.batch_size, t->epoch_length);
    dn_train_config_text(&t->config, &t->settings);
    return !t->settings.failed || dn_fail_memory(err, t->settings.size, "the settings");
}

static uint64_t names_of(const struct dataset *dataset)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < dataset->count; i++)
        sum = dn_splitmix64(sum ^ dn_fnv1a64(dino_source_name(dataset->source, i)));
    return sum;
}

/* ---- the folder ---- */

static bool make_folder(const char *path, struct dino_error *err)
{
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && dn_is_dir(path)))
        return true;
    return dn_fail_errno(err, "%s: cannot make the folder", path);
}

/* Two processes on one run would write over each other. The lock ends with the process. */
static bool lock_folder(struct trainer *t, struct dino_error *err)
{
    t->lock = open(t->options->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->lock < 0)
        return dn_fail_errno(err, "%s", t->options->output);
    if (flock(t->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return dn_fail(err, DINO_EIO, "%s: is being trained by another process",
                       t->options->output);
    return true; /* some file systems have no locks */
}

static bool find_folder(struct trainer *t, struct dino_error *err)
{
    const char *run = t->options->output;

    if (!dn_make_parents(run, err) || !make_folder(run, err) || !lock_folder(t, err))
        return false;
    t->checkpoints = dn_path_join(run, "checkpoints", err);
    t->config_path = dn_path_join(run, "config.yaml", err);
    t->metrics_path = dn_path_join(run, "training_metrics.json", err);
    t->teacher_path = dn_path_join(run, "teacher.pth", err);
    t->folder_path = dn_path_join(run, "teacher", err);
    t->best_teacher_path = dn_path_join(run, "best.pth", err);
    t->heads_path = dn_path_join(run, "teacher_checkpoint.pth", err);
    if (!t->checkpoints || !t->config_path || !t->metrics_path || !t->teacher_path ||
        !t->folder_path || !t->best_teacher_path || !t->heads_path ||
        !make_folder(t->checkpoints, err))
        return false;
    t->best_path = dn_path_join(t->checkpoints, "best.safetensors", err);
    if (!t->best_path)
        return false;
    dn_trainer_sweep(t);
    int64_t latest = dn_checkpoint_latest(t->checkpoints);
    if (latest < 0)
        return true;
    t->resumed = dn_checkpoint_path(t->checkpoints, latest, err);
    return t->resumed != NULL;
}

/* ---- the network ---- */

bool dn_trainer_open_table(struct trainer *t, struct dino_error *err)
{
    struct net_config net;

    if (!dn_run_net(&t->config, &net, err))
        return false;
    t->device = dn_device_open(t->options->device, DINO_F32, t->options->threads, err);
    if (!t->device)
        return false;
    if (!t->device->ops->train)
        return dn_fail(err, DINO_EUNSUPPORTED, "device %s cannot train", t->device->name);
    t->queue = dn_queue_new(t->device, t->options->threads, err);
    return t->queue && dn_params_table_init(&t->table, &net, err);
}

static bool open_blocks(struct trainer *t, struct dino_error *err)
{
    return dn_train_blocks_init(&t->blocks, t->queue, &t->table, t->comm, err) &&
           (t->rates = dn_calloc((size_t)t->table.count, sizeof *t->rates, "rates", err));
}

static bool most_masked(const struct train_config *config, int *most, struct dino_error *err)
{
    int images = config->train.batch_size;
    struct batch_part part = {images, 0, images};
    struct masks masks;

    if (!dn_masks_init(&masks, config, part, err))
        return false;
    dn_masks_make(&masks, config, part, 0, 0);
    *most = masks.upperbound;
    dn_masks_release(&masks);
    return true;
}

bool dn_trainer_ssl(const struct trainer *t, struct ssl_config *config, struct dino_error *err)
{
    const struct train_config *c = &t->config;

    *config = (struct ssl_config){
        .images = c->train.batch_size,
        .global_size = c->crops.global_size,
        .local_size = c->crops.local_size,
        .local_crops = c->crops.local_number,
        .centering = (enum train_centering)c->train.centering,
        .centre_momentum = 0.9,     /* as DINOLoss and iBOTPatchLoss are made */
        .student_temperature = 0.1, /* the same */
        .dino_weight = c->dino.head.loss_weight,
        .ibot_weight = c->ibot.head.loss_weight,
        .koleo_weight = c->dino.koleo_loss_weight,
        .drop_path = c->student.drop_path_rate,
        .checkpointing = t->options->checkpointing,
    };
    return most_masked(c, &config->most_masked, err);
}

/* The largest part that leaves half of the memory to others, unless the size is given. Memory
 * that is not there is promised all the same, and who uses it killed: so it is counted before.
 */
static bool open_net(struct trainer *t, int micro, struct dino_error *err)
{
    struct ssl_config config;
    size_t bytes;

    if (!dn_trainer_open_table(t, err) || !dn_trainer_ssl(t, &config, err))
        return false;
    size_t blocks = dn_blocks_bytes(&t->table, t->device->activation, dino_comm_size(t->comm));
    if (!dn_choose_parts(t->queue, &t->table, &config, micro,
                         dn_memory_all() / 2 - (double)blocks, &bytes, err) ||
        !dn_check_memory(dn_memory_room(), blocks, bytes, config.micro, err) ||
        !open_blocks(t, err))
        return false;
    t->state.micro = config.micro;
    t->step_ready = dn_ssl_step_init(&t->step, t->queue, &t->table, &config, err);
    return t->step_ready;
}

/* ---- where it begins ---- */

static bool begin(struct trainer *t, struct dino_error *err)
{
    size_t count = t->table.elements, width = dino_dtype_size(t->blocks.dtype);
    float *values = dn_calloc(count, sizeof *values, "the first weights", err);
    double *wide = width == 8 ? dn_calloc(count, sizeof *wide, "the first weights", err) : NULL;
    bool ok = values && (width == 4 || wide);

    if (ok) {
        dn_first_weights(&t->table, t->config.student.layerscale, t->dataset.seed, values);
        if (t->config.student.cosine_init)
            dn_cosine_weights(&t->table, values);
        ok = !t->from.path ||
             dn_warm_start_read(&t->from, &t->table, t->from_heads, values, err);
    }
    if (ok) {
        const struct device_ops *ops = t->device->ops;
        for (size_t i = 0; wide && i < count; i++)
            wide[i] = (double)values[i];
        const void *from = wide ? (const void *)wide : values;
        ops->upload(t->queue, t->blocks.student, from, count * width);
        ops->upload(t->queue, t->blocks.teacher, from, count * width);
        ok = dn_queue_finish(t->queue, err);
    }
    free(wide);
    free(values);
    return ok;
}

static bool resume(struct trainer *t, uint64_t names, struct dino_error *err)
{
    struct run_numbers numbers = {t->queue, &t->table, &t->blocks, &t->step};

    if (!dn_checkpoint_read(t->resumed, &numbers, &t->state, t->settings.text, err))
        return false;
    if (t->state.pictures != t->dataset.count || t->state.names != names)
        return dn_fail(err, DINO_EARG,
                       "%s: was trained with %lld pictures, now there are %lld%s: a run keeps "
                       "its pictures, or wants a folder of its own",
                       t->resumed, (long long)t->state.pictures, (long long)t->dataset.count,
                       t->state.pictures == t->dataset.count ? " of other names" : "");
    return true;
}

/* Parts decide how sums round, so that a run keeps to the size it began with. */
static bool parts_of(const struct trainer *t, int *micro, struct dino_error *err)
{
    struct run_state state;

    *micro = t->options->micro;
    if (!t->resumed || *micro > 0)
        return true;
    if (!dn_checkpoint_peek(t->resumed, &state, NULL, err))
        return false;
    *micro = state.micro <= t->config.train.batch_size ? state.micro : 0;
    return true;
}

/* (v / 255 - mean) / std, as the official transform normalises. */
static void fill_byte_values(struct trainer *t)
{
    static const float mean[] = {0.485F, 0.456F, 0.406F}, std[] = {0.229F, 0.224F, 0.225F};

    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            t->byte_value[c][v] = ((float)v / 255.0F - mean[c]) / std[c];
}

static bool open_crops(struct trainer *t, struct dino_error *err)
{
    const struct ssl_config *c = &t->step.config;
    size_t global = 2 * (size_t)c->images, local = (size_t)c->local_crops * (size_t)c->images;
    size_t side = (size_t)c->global_size, small = (size_t)c->local_size;
    struct loader_options options = {
        .threads = t->options->readers,
        .first_step = t->state.step,
        .skipped = t->options->skipped,
        .context = t->options->context,
    };

    fill_byte_values(t);
    t->global = dn_calloc(global * 3, side * side * sizeof *t->global, "crops", err);
    t->local = dn_calloc(local * 3 + 1, small * small * sizeof *t->local, "crops", err);
    if (!t->global || !t->local)
        return false;
    t->loader = dn_loader_open(&t->dataset, &t->config, &options, err);
    return t->loader != NULL;
}

static bool open_all(struct trainer *t, struct dino_error *err)
{
    const struct dino_train_options *o = t->options;
    int micro;

    if (!o->output || !*o->output)
        return dn_fail(err, DINO_EARG, "a run wants a folder to write to");
    if (o->micro < 0 || (!o->knn_train) != (!o->knn_val))
        return dn_fail(err, DINO_EARG,
                       o->micro < 0 ? "a negative number of pictures at a time"
                                    : "k-NN wants two folders, for train and val");
    if (!dn_dataset_open(&t->dataset, o->pictures, o->picture_count, 0, err))
        return false;
    t->dataset_open = true;
    if (t->dataset.count < 1)
        return dn_fail(err, DINO_EARG, "no picture to learn from");
    if (!dn_trainer_decide(t, err) || !find_folder(t, err) || !parts_of(t, &micro, err) ||
        !open_net(t, micro, err))
        return false;
    uint64_t names = names_of(&t->dataset);
    t->state.best = -1;
    t->state.pictures = t->dataset.count;
    t->state.names = names;
    if (!(t->resumed ? resume(t, names, err) : begin(t, err)))
        return false;
    t->first_step = t->saved_step = t->state.step;
    return dn_train_config_write(&t->config, t->config_path, err) &&
           dn_trainer_open_metrics(t, err) && open_crops(t, err);
}

bool dn_trainer_open(struct trainer *t, const struct dino_train_options *options,
                     struct dino_error *err)
{
    *t = (struct trainer){.options = options, .knn = -1, .first_knn = -1, .lock = -1};
    if (open_all(t, err))
        return true;
    dn_trainer_release(t);
    return false;
}

void dn_trainer_release(struct trainer *t)
{
    char *const paths[] = {t->checkpoints,  t->config_path,       t->metrics_path,
                           t->teacher_path, t->folder_path,       t->best_path,
                           t->resumed,      t->best_teacher_path, t->heads_path};

    dn_loader_close(t->loader);
    if (t->metrics)
        fclose(t->metrics);
    if (t->lock >= 0)
        close(t->lock);
    if (t->step_ready)
        dn_ssl_step_release(&t->step);
    if (t->blocks.student)
        dn_train_blocks_release(&t->blocks, t->device, &t->table);
    dn_params_table_release(&t->table);
    dn_warm_start_release(&t->from);
    if (t->queue)
        dn_queue_free(t->queue);
    if (t->device)
        dn_device_close(t->device);
    if (t->dataset_open)
        dn_dataset_close(&t->dataset);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        free(paths[i]);
    free(t->rates);
    free(t->global);
    free(t->local);
    dn_str_release(&t->settings);
    *t = (struct trainer){0};
}

void dn_trainer_plan(const struct trainer *t, struct dino_train_plan *plan)
{
    const struct vit_config *vit = &t->table.config.backbone;

    *plan = (struct dino_train_plan){
        .preset = t->preset,
        .arch = dn_vit_config_name(vit),
        .dim = vit->dim,
        .depth = vit->depth,
        .heads = vit->heads,
        .patch = vit->patch,
        .registers = vit->registers,
        .prototypes = t->config.dino.head.prototypes,
        .global_size = t->config.crops.global_size,
        .local_size = t->config.crops.local_size,
        .local_crops = t->config.crops.local_number,
        .parameters = dn_vit_config_parameters(vit),
        .pictures = t->dataset.count,
        .batch = t->config.train.batch_size,
        .micro = t->state.micro,
        .epochs = t->config.optim.epochs,
        .epoch_length = t->epoch_length,
        .steps = t->steps,
        .first_step = t->state.step,
        .lr = t->schedules.lr.base,
        .bytes = t->step.bytes + 5 * t->table.elements * dino_dtype_size(t->blocks.dtype),
        .device = t->device->name,
        .threads = t->queue->threads,
        .readers = t->options->readers,
        .checkpoint = t->resumed,
        .from = t->from.path,
        .from_grid = t->from.net.backbone.grid_rows,
        .grid = vit->grid_rows,
        .from_heads = t->from_heads,
        .frozen_epochs = t->config.optim.freeze_backbone_epochs,
    };
}
