/* How a run begins: settings, pictures, network, memory, and the checkpoint it goes on from. */
#include "train/trainer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "train/cosine_weights.h"
#include "train/first_weights.h"
#include "train/run_memory.h"
#include "train/run_settings.h"

/* ---- settings ---- */

/* Each process's share of a batch; and what the batch decides. */
static bool share_batch(struct trainer *t, struct dino_error *err)
{
    enum { MOST = 1 << 16 };
    struct train_config whole = t->config;
    int64_t images = t->config.train.batch_size, all = images * dino_comm_size(t->comm);

    if (all > MOST)
        return dn_fail(err, DINO_EARG, "a batch of %lld pictures, at most %d are possible",
                       (long long)all, MOST);
    t->part = (struct batch_part){
        .all = (int)all, .first = (int)images * dino_comm_rank(t->comm), .count = (int)images};
    t->dataset.seed = (uint64_t)t->config.train.seed;
    t->epoch_length =
        dn_train_config_epoch(&t->config, t->dataset.count, dino_comm_size(t->comm));
    t->steps = t->epoch_length * t->config.optim.epochs;
    dn_schedules_init(&t->schedules, &t->config, t->part.all, t->epoch_length);
    /* a run may go on with other processes, as long as its batch stays */
    whole.train.batch_size = t->part.all;
    dn_train_config_text(&whole, &t->settings);
    return !t->settings.failed || dn_fail_memory(err, t->settings.size, "the settings");
}

bool dn_trainer_decide(struct trainer *t, struct dino_error *err)
{
    struct run_settings settings;
    bool ok = dn_run_settings(&settings, t->options, t->dataset.count, err);

    t->from = settings.start;
    t->from.weights.tensors = &t->from.tensors; /* they have moved */
    t->from_heads = settings.heads;
    t->distil = settings.distil;
    t->distil.file.weights.tensors = &t->distil.file.tensors;
    t->config = settings.config;
    t->preset = settings.preset;
    if (!ok || !share_batch(t, err))
        return false;
    t->distil.period = t->epoch_length * t->config.distillation.crop_epochs;
    return !t->distil.on || dino_comm_size(t->comm) == 1 ||
           dn_fail(err, DINO_EUNSUPPORTED, "distillation by %d processes, wanted one",
                   dino_comm_size(t->comm));
}

static uint64_t names_of(const struct dataset *dataset)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < dataset->count; i++)
        sum = dn_splitmix64(sum ^ dn_fnv1a64(dino_source_name(dataset->source, i)));
    return sum;
}

/* Everyone must mean the same run. */
static bool same_run(struct trainer *t, struct dino_error *err)
{
    uint64_t own[] = {(uint64_t)t->dataset.count, t->state.names,
                      dn_fnv1a64(dn_str_text(&t->settings))};
    uint64_t first[3];

    memcpy(first, own, sizeof own);
    dn_comm_broadcast(t->comm, first, sizeof first, 0);
    if (own[0] != first[0] || own[1] != first[1])
        return dn_fail(err, DINO_EARG, "finds %lld pictures, process 0 finds %lld%s",
                       (long long)own[0], (long long)first[0],
                       own[0] == first[0] ? " of other names" : "");
    return own[2] == first[2] || dn_fail(err, DINO_EARG, "has other settings than process 0");
}

/* ---- the folder ---- */

static bool make_folder(const char *path, bool *made, struct dino_error *err)
{
    *made = mkdir(path, 0777) == 0;
    if (*made || (errno == EEXIST && dn_is_dir(path)))
        return true;
    return dn_fail_errno(err, "%s: cannot make the folder", path);
}

/* Of a run that was refused before it wrote anything, no folder is left. */
static void undo_folders(const struct trainer *t)
{
    if (t->made_checkpoints && !dn_exists(t->config_path))
        rmdir(t->checkpoints);
    if (t->made_run)
        rmdir(t->options->output); /* does nothing where something lies in it */
}

/* A run's folder, or one with nothing in it: what else lies there is not ours to write over. */
static bool folder_is_ours(const char *path, const char *checkpoints, struct dino_error *err)
{
    DIR *dir = dn_is_dir(checkpoints) ? NULL : opendir(path);
    bool empty = true;

    for (struct dirent *entry; dir && empty && (entry = readdir(dir));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (dir)
        closedir(dir);
    return empty ||
           dn_fail(err, DINO_EARG,
                   "%s: is not empty and no run of dino train, wanted a new folder", path);
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

static bool name_paths(struct trainer *t, struct dino_error *err)
{
    const char *run = t->options->output;

    t->checkpoints = dn_path_join(run, "checkpoints", err);
    t->config_path = dn_path_join(run, "config.yaml", err);
    t->metrics_path = dn_path_join(run, "training_metrics.json", err);
    t->teacher_path = dn_path_join(run, t->distil.on ? "student.pth" : "teacher.pth", err);
    t->folder_path = dn_path_join(run, t->distil.on ? "student" : "teacher", err);
    t->best_teacher_path = dn_path_join(run, "best.pth", err);
    t->heads_path = dn_path_join(
        run, t->distil.on ? "student_checkpoint.pth" : "teacher_checkpoint.pth", err);
    if (!t->checkpoints || !t->config_path || !t->metrics_path || !t->teacher_path ||
        !t->folder_path || !t->best_teacher_path || !t->heads_path)
        return false;
    t->best_path = dn_path_join(t->checkpoints, "best.safetensors", err);
    return t->best_path != NULL;
}

/* The first process's business. */
static bool take_folder(struct trainer *t, struct dino_error *err)
{
    const char *run = t->options->output;

    if (!dn_make_parents(run, err) || !make_folder(run, &t->made_run, err) ||
        !lock_folder(t, err) || !folder_is_ours(run, t->checkpoints, err) ||
        !make_folder(t->checkpoints, &t->made_checkpoints, err))
        return false;
    dn_trainer_sweep(t);
    return true;
}

/* Which checkpoint, the first process decides: others may see the folder as it was. */
static bool find_checkpoint(struct trainer *t, struct dino_error *err)
{
    int64_t latest = dn_trainer_first(t) ? dn_checkpoint_latest(t->checkpoints) : 0;

    dn_comm_broadcast(t->comm, &latest, sizeof latest, 0);
    if (latest < 0)
        return true;
    t->resumed = dn_checkpoint_path(t->checkpoints, latest, err);
    return t->resumed != NULL;
}

/* ---- the network ---- */

/* What auto stands for: of a config that was named, its precision, where the device has it;
 * else, and in its place, what the device likes best. */
static struct device *open_named(struct trainer *t, const char *name, enum dino_dtype dtype,
                                 int threads, struct dino_error *err)
{
    t->dtype_asked = dtype;
    if (dtype == DINO_AUTO && t->options->config)
        t->dtype_asked = dn_train_config_dtype(&t->config);
    if (dtype != DINO_AUTO || t->dtype_asked == DINO_AUTO)
        return dn_device_open(name, dtype, threads, err);
    struct dino_error refused = {0};
    struct device *opened = dn_device_open(name, t->dtype_asked, threads, &refused);
    if (opened || refused.code == DINO_EUNSUPPORTED)
        return opened ? opened : dn_device_open(name, DINO_AUTO, threads, err);
    *err = refused;
    return NULL;
}

/* Of the processes on a machine each takes the GPU of its place among them; one that sees fewer
 * has been given its own. */
static void choose_device(const struct trainer *t, char name[24])
{
    const char *wish = t->options->device;
    bool many = dino_comm_size(t->comm) > 1;
    int gpus = wish && many && strcmp(wish, "cuda") == 0 ? dn_device_gpus(NULL) : 0;

    snprintf(name, 24, "%.20s", wish ? wish : "auto");
    if (gpus > 0)
        snprintf(name, 24, "cuda:%d", t->comm->local % gpus);
}

static bool open_device(struct trainer *t, enum dino_dtype dtype, struct dino_error *err)
{
    int threads = t->options->threads ? t->options->threads : dn_comm_cores(t->comm);
    char name[24];

    choose_device(t, name);
    t->device = open_named(t, name, dtype, threads, err);
    if (!t->device)
        return false;
    if (!t->device->ops->train)
        return dn_fail(err, DINO_EUNSUPPORTED, "device %s cannot train", t->device->name);
    t->queue = dn_queue_new(t->device, threads, err);
    return t->queue != NULL;
}

bool dn_trainer_open_table(struct trainer *t, enum dino_dtype dtype, struct dino_error *err)
{
    struct net_config net;

    if (!dn_run_net(&t->config, &net, err) || (!t->device && !open_device(t, dtype, err)))
        return false;
    t->state.dtype = t->device->activation;
    return dn_params_table_init(&t->table, &net, err) &&
           (!t->distil.on || dn_distil_load(&t->distil, t->queue, &t->config, err));
}

static bool open_blocks(struct trainer *t, struct dino_error *err)
{
    return dn_train_blocks_init(&t->blocks, t->queue, &t->table, t->comm, err) &&
           (t->rates = dn_calloc((size_t)t->table.count, sizeof *t->rates, "rates", err));
}

struct ssl_config dn_trainer_ssl(const struct trainer *t)
{
    const struct train_config *c = &t->config;

    struct ssl_config config = {
        .images = t->part.count,
        .all_images = t->part.all,
        .first_image = t->part.first,
        .comm = t->comm,
        .global_size = c->crops.global_size,
        .local_size = c->crops.local_size,
        .local_crops = c->crops.local_number,
        .most_masked = dn_masks_most(c, t->part),
        .centering = (enum train_centering)c->train.centering,
        .centre_momentum = 0.9,     /* as DINOLoss and iBOTPatchLoss are made */
        .student_temperature = 0.1, /* the same */
        .dino_weight = c->dino.head.loss_weight,
        .ibot_weight = c->ibot.head.loss_weight,
        .koleo_weight = c->dino.koleo_loss_weight,
        .koleo_distributed = c->dino.koleo_loss_distributed,
        .drop_path = c->student.drop_path_rate,
        .checkpointing = t->options->checkpointing,
    };
    if (t->distil.on)
        dn_distil_plan(&t->distil, &config);
    return config;
}

/* The largest part that fits, unless the size is given. Memory that is not there is promised
 * all the same, and who uses it killed: so it is counted before. */
static bool open_net(struct trainer *t, int micro, struct dino_error *err)
{
    struct ssl_config config = dn_trainer_ssl(t);
    struct run_room room;
    struct step_bytes bytes;
    int processes = dino_comm_size(t->comm);
    size_t blocks = dn_blocks_bytes(&t->table, dn_train_dtype(t->device), processes) +
                    dn_comm_bucket_bytes(t->device, processes) + t->distil.bytes;

    room = dn_run_room(t->device, dn_comm_nearby(t->comm));
    if (!dn_choose_parts(t->queue, &t->table, &config, micro, room.plan - (double)blocks,
                         &bytes, err))
        return false;
    t->state.micro = config.micro;
    t->scratch = bytes.scratch;
    return dn_check_memory(room.left, blocks, bytes, config.micro, err);
}

/* Parts of one size in all processes: that of the one with the least memory. */
static bool open_step(struct trainer *t, struct dino_error *err)
{
    struct ssl_config config = dn_trainer_ssl(t);
    double least = -t->state.micro;

    dn_comm_largest(t->comm, &least, 1, DINO_F64);
    config.micro = t->state.micro = (int)-least;
    t->step_ready =
        open_blocks(t, err) && dn_ssl_step_init(&t->step, t->queue, &t->table, &config, err);
    return t->step_ready;
}

/* ---- where it begins ---- */

static bool begin(struct trainer *t, struct dino_error *err)
{
    size_t count = t->table.elements;
    float *values = dn_calloc(count, sizeof *values, "the first weights", err);

    if (!values)
        return false;
    dn_first_weights(&t->table, t->config.student.layerscale, t->dataset.seed, values);
    if (t->config.student.cosine_init)
        dn_cosine_weights(&t->table, values);
    bool ok = (!t->from.path ||
               dn_warm_start_read(&t->from, &t->table, t->from_heads, values, err)) &&
              dn_params_upload(t->queue, t->blocks.student, values, count, err) &&
              dn_params_upload(t->queue, t->blocks.teacher, values, count, err);
    free(values);
    return ok;
}

static bool same_teacher(const struct trainer *t, struct dino_error *err)
{
    struct run_state was;

    if (!dn_checkpoint_peek(t->resumed, &was, NULL, err))
        return false;
    if (was.teacher == t->distil.whole)
        return true;
    return dn_fail(err, DINO_EARG,
                   "%s: was trained %s, now there is %s: a run keeps its teacher", t->resumed,
                   was.teacher ? "by a frozen teacher" : "without one",
                   !t->distil.on ? "none"
                   : was.teacher ? "another"
                                 : "a frozen teacher");
}

static bool resume(struct trainer *t, struct dino_error *err)
{
    uint64_t names = t->state.names;
    struct run_numbers numbers = {t->queue, &t->table, &t->blocks, &t->step};

    if (!same_teacher(t, err) ||
        !dn_checkpoint_read(t->resumed, &numbers, &t->state, t->settings.text, err))
        return false;
    if (t->state.pictures != t->dataset.count || t->state.names != names)
        return dn_fail(err, DINO_EARG,
                       "%s: was trained with %lld pictures, now there are %lld%s: a run keeps "
                       "its pictures, or wants a folder of its own",
                       t->resumed, (long long)t->state.pictures, (long long)t->dataset.count,
                       t->state.pictures == t->dataset.count ? " of other names" : "");
    return true;
}

/* Parts and dtype decide how sums round: a run keeps to those it began with. */
static bool how_it_began(const struct trainer *t, int *micro, enum dino_dtype *dtype,
                         struct dino_error *err)
{
    const struct dino_train_options *o = t->options;
    struct run_state state;

    *micro = o->micro;
    *dtype = o->dtype;
    if (o->dtype != DINO_AUTO && o->dtype != DINO_F32 && o->dtype != DINO_BF16 &&
        o->dtype != DINO_F16)
        return dn_fail(err, DINO_EARG, "training in %s, wanted auto, f32, bf16 or f16",
                       dino_dtype_name(o->dtype));
    if (!t->resumed)
        return true;
    if (!dn_checkpoint_peek(t->resumed, &state, NULL, err))
        return false;
    if (*micro == 0 && state.micro <= t->part.count)
        *micro = state.micro;
    if (o->dtype != DINO_AUTO && o->dtype != state.dtype)
        return dn_fail(err, DINO_EARG,
                       "%s: was trained in %s, now it is %s: take the run's own dtype, or "
                       "another folder for a new run",
                       t->resumed, dino_dtype_name(state.dtype), dino_dtype_name(o->dtype));
    *dtype = state.dtype;
    return true;
}

/* What the teacher says is kept, if that is wanted, and its heads are made, if it has none. */
static bool open_teacher(struct trainer *t, struct dino_error *err)
{
    return dn_distil_keep(&t->distil, &t->step, &t->config, &t->dataset, t->state.names,
                          t->options->cache, t->steps, err) &&
           (!t->distil.makes_heads || dn_trainer_make_heads(t, err));
}

static bool open_crops(struct trainer *t, struct dino_error *err)
{
    struct loader_options options = {
        .threads = t->options->readers ? t->options->readers : dn_comm_cores(t->comm),
        .part = t->part,
        .first_step = t->state.step,
        .period = t->distil.period,
        .skipped = t->options->skipped,
        .context = t->options->context,
    };

    if (t->distil.on && !open_teacher(t, err))
        return false;
    t->loader = dn_loader_open(&t->dataset, &t->config, &options, err);
    return t->loader != NULL;
}

static bool wishes_good(const struct dino_train_options *o, struct dino_error *err)
{
    if (!o->output || !*o->output)
        return dn_fail(err, DINO_EARG, "a run wants a folder to write to");
    if (o->micro < 0 || (!o->knn_train) != (!o->knn_val))
        return dn_fail(err, DINO_EARG,
                       o->micro < 0 ? "a negative number of pictures at a time"
                                    : "k-NN wants two folders, for train and val");
    return true;
}

static bool open_pictures(struct trainer *t, struct dino_error *err)
{
    const struct dino_train_options *o = t->options;

    if (!dn_dataset_open(&t->dataset, o->pictures, o->picture_count, 0, err))
        return false;
    t->dataset_open = true;
    if (t->dataset.count < 1)
        return dn_fail(err, DINO_EARG, "no picture to learn from");
    t->state.best = -1;
    t->state.pictures = t->dataset.count;
    t->state.names = names_of(&t->dataset);
    return dn_trainer_decide(t, err);
}

static bool open_files(struct trainer *t, struct dino_error *err)
{
    return dn_train_config_write(&t->config, t->config_path, err) &&
           dn_trainer_open_metrics(t, err);
}

/* Where one process may fail alone, all hear of it before they go on. */
static bool open_all(struct trainer *t, struct dino_error *err)
{
    struct dino_comm *c = t->comm;
    bool first = dn_trainer_first(t);
    enum dino_dtype dtype;
    int micro;

    if (!dn_comm_agree(c, wishes_good(t->options, err) && open_pictures(t, err), err) ||
        !dn_comm_agree(c, same_run(t, err), err) ||
        !dn_comm_agree(c, name_paths(t, err) && (!first || take_folder(t, err)), err) ||
        !dn_comm_agree(c, find_checkpoint(t, err), err) ||
        !dn_comm_agree(
            c, how_it_began(t, &micro, &dtype, err) && dn_trainer_open_table(t, dtype, err),
            err) ||
        !dn_comm_attach(c, t->queue, err) || !dn_comm_agree(c, open_net(t, micro, err), err) ||
        !dn_comm_agree(c, open_step(t, err), err))
        return false;
    t->state.teacher = t->distil.whole;
    if (t->state.dtype == DINO_F16 && t->config.compute_precision.grad_scaler)
        t->state.scale = dn_loss_scale_first();
    if (!dn_comm_agree(c, t->resumed ? resume(t, err) : begin(t, err), err))
        return false;
    t->first_step = t->saved_step = t->state.step;
    return dn_comm_agree(c, open_crops(t, err) && (!first || open_files(t, err)), err);
}

bool dn_trainer_first(const struct trainer *t)
{
    return dino_comm_rank(t->comm) == 0;
}

bool dn_trainer_open(struct trainer *t, const struct dino_train_options *options,
                     struct dino_error *err)
{
    *t = (struct trainer){
        .options = options, .comm = options->comm, .knn = -1, .first_knn = -1, .lock = -1};
    if (open_all(t, err))
        return true;
    undo_folders(t);
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
    dn_distil_release(&t->distil, t->device);
    dn_comm_detach(t->comm);
    if (t->queue)
        dn_queue_free(t->queue);
    if (t->device)
        dn_device_close(t->device);
    if (t->dataset_open)
        dn_dataset_close(&t->dataset);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        free(paths[i]);
    free(t->rates);
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
        .batch = t->part.all,
        .micro = t->state.micro,
        .processes = dino_comm_size(t->comm),
        .epochs = t->config.optim.epochs,
        .epoch_length = t->epoch_length,
        .steps = t->steps,
        .first_step = t->state.step,
        .lr = t->schedules.lr.base,
        .bytes =
            t->step.bytes + t->scratch + t->distil.bytes + dn_train_blocks_bytes(&t->blocks),
        .device = t->device->name,
        .exchange = t->comm && t->comm->queue ? t->comm->exchange : NULL,
        .dtype = t->state.dtype,
        .dtype_asked = t->dtype_asked,
        .threads = t->queue->threads,
        .readers = t->options->readers,
        .checkpoint = t->resumed,
        .from = t->from.path,
        .from_grid = t->from.net.backbone.grid_rows,
        .grid = vit->grid_rows,
        .from_heads = t->from_heads,
        .frozen_epochs = t->config.optim.freeze_backbone_epochs,
        .teacher = t->distil.on ? t->distil.file.path : NULL,
        .teacher_dim = t->distil.table.config.backbone.dim,
        .teacher_depth = t->distil.table.config.backbone.depth,
        .teacher_has_heads = !t->distil.makes_heads,
        .cache = t->distil.cache.path,
        .cache_record = t->distil.row_bytes,
        .cache_steps = t->distil.cache.steps,
        .cache_made = t->distil.cache.made,
    };
}
