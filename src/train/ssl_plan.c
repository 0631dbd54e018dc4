/* The memory of a training step: everything is placed here, before the first one. */
#include <limits.h>
#include <string.h>

#include "train/ssl_step.h"

static int patches_of(const struct ssl_step *s)
{
    int grid = s->config.global_size / s->table->config.backbone.patch;

    return grid * grid;
}

/* Masked patches that one part can have. */
static int part_masked(const struct ssl_step *s)
{
    double all = 2.0 * s->config.micro * patches_of(s);

    return all < s->config.most_masked ? (int)all : s->config.most_masked;
}

/* Rows that go through the heads in one part. */
static int part_rows(const struct ssl_step *s)
{
    return (2 + s->config.local_crops) * s->config.micro + part_masked(s);
}

static bool config_good(const struct ssl_config *c, const struct net_config *net,
                        struct dino_error *err)
{
    const struct vit_config *vit = &net->backbone;

    if (c->images < 1 || c->micro < 1 || c->micro > c->images || c->local_crops < 0 ||
        c->most_masked < 0)
        return dn_fail(err, DINO_EARG,
                       "a batch of %d images in parts of %d with %d local crops and %d masked "
                       "patches",
                       c->images, c->micro, c->local_crops, c->most_masked);
    if ((2.0 + c->local_crops) * c->all_images + c->most_masked > INT_MAX / 2)
        return dn_fail(err, DINO_EARG, "a batch of %d images is too large", c->all_images);
    if (c->most_masked > 0 && !c->show_masked && !vit->mask_token)
        return dn_fail(err, DINO_EARG, "masked patches, but the backbone has no mask token");
    if (!(c->student_temperature > 0) || !(c->drop_path >= 0 && c->drop_path < 1))
        return dn_fail(err, DINO_EARG, "student temperature %g, drop path %g",
                       c->student_temperature, c->drop_path);
    return true;
}

/* Student and teacher are asked about the same patches and answer with the same prototypes. */
static bool teacher_fits(const struct net_config *teacher, const struct net_config *student,
                         struct dino_error *err)
{
    int patch = teacher->backbone.patch, channels = teacher->backbone.channels;

    if (patch != student->backbone.patch || channels != student->backbone.channels)
        return dn_fail(err, DINO_EARG,
                       "the teacher has patches of %d with %d channels, the student %d with %d",
                       patch, channels, student->backbone.patch, student->backbone.channels);
    if (teacher->separate_ibot != student->separate_ibot)
        return dn_fail(err, DINO_EARG, "the teacher has %s iBOT head, the student %s",
                       teacher->separate_ibot ? "a separate" : "no separate",
                       student->separate_ibot ? "a separate one" : "none");
    if (teacher->dino.prototypes != student->dino.prototypes ||
        (teacher->separate_ibot && teacher->ibot.prototypes != student->ibot.prototypes))
        return dn_fail(err, DINO_EARG,
                       "the teacher has %d and %d prototypes, the student %d and %d",
                       teacher->dino.prototypes, teacher->ibot.prototypes,
                       student->dino.prototypes, student->ibot.prototypes);
    return true;
}

/* ---- layout ---- */

static void layout_batch(struct ssl_step *s, struct tape *tape)
{
    const struct net_config *net = &s->table->config;
    int crops = 2 * s->config.images, dim = net->backbone.dim;

    if (tape->factor != tape->dtype) {
        size_t size = dino_dtype_size(tape->factor);
        s->student_factors = dn_tape_take(tape, s->table->elements * size);
        s->teacher_factors = dn_tape_take(tape, s->teacher_table->elements * size);
    }
    dn_backbone_layout_fixed(&s->teacher, tape);
    dn_backbone_layout_fixed(&s->student, tape);
    s->teacher_rows =
        dn_tape_mat(tape, crops + s->config.most_masked, s->teacher_table->config.backbone.dim);
    if (net->separate_ibot) {
        s->dino_targets = dn_tape_mat(tape, crops, net->dino.prototypes);
        s->ibot_targets = dn_tape_mat(tape, s->config.most_masked, net->ibot.prototypes);
    } else {
        s->dino_targets =
            dn_tape_mat(tape, crops + s->config.most_masked, net->dino.prototypes);
        s->ibot_targets = dn_mat_rows(s->dino_targets, crops, s->config.most_masked);
        s->dino_targets.rows = crops;
    }
    size_t centres = (size_t)s->dino_targets.cols + (size_t)s->ibot_targets.cols;
    s->centres = dn_tape_take(tape, centres * dino_dtype_size(tape->dtype));
    dn_targets_layout(&s->dino_scratch, tape, net->dino.prototypes);
    dn_targets_layout(&s->ibot_scratch, tape, s->ibot_targets.cols);
    s->class_rows = dn_tape_mat(tape, 2 * s->repelled, dim);
    s->unit_rows = dn_tape_mat(tape, 2 * s->repelled, dim);
    s->d_class = dn_tape_mat(tape, 2 * s->repelled, dim);
    s->koleo_losses = dn_tape_mat(tape, 2 * s->repelled, 1);
    s->nearest = dn_tape_take(tape, 2 * (size_t)s->repelled * sizeof(int));
}

static void layout_teacher(struct ssl_step *s, struct tape *tape)
{
    int crops = 2 * s->config.images, masked = s->config.most_masked;
    bool separate = s->table->config.separate_ibot;
    struct tape heads = *tape;

    dn_backbone_layout(&s->teacher, tape); /* done before the heads begin */
    dn_head_layout(&s->teacher_dino, &heads, separate ? crops : crops + masked, false);
    if (separate)
        dn_head_layout(&s->teacher_ibot, &heads, masked, false);
    dn_tape_join(tape, &heads);
}

static void layout_student(struct ssl_step *s, struct tape *tape)
{
    const struct net_config *net = &s->table->config;
    int rows = part_rows(s), masked = part_masked(s), dim = net->backbone.dim;
    bool separate = net->separate_ibot;
    int dino_rows = separate ? rows - masked : rows;

    dn_backbone_layout(&s->student, tape);
    s->rows_x = dn_tape_mat(tape, rows, dim);
    s->rows = dn_tape_mat(tape, rows, dim);
    s->d_rows = dn_tape_mat(tape, rows, dim);
    s->d_x = dn_tape_mat(tape, s->student.most_tokens, dim);
    s->losses = dn_tape_mat(tape, rows, 1);
    s->dino_logits = dn_tape_mat(tape, dino_rows, net->dino.prototypes);
    dn_head_layout(&s->dino, tape, dino_rows, true);
    if (!separate)
        return;
    s->ibot_logits = dn_tape_mat(tape, masked, net->ibot.prototypes);
    dn_head_layout(&s->ibot, tape, masked, true);
}

/* Teacher and student take turns in the same memory. */
static size_t layout(struct ssl_step *s, char *base)
{
    const struct device *device = s->queue->device;
    struct tape tape = {
        .base = base, .dtype = dn_train_dtype(device), .factor = device->activation};

    layout_batch(s, &tape);
    struct tape student = tape;
    layout_teacher(s, &tape);
    layout_student(s, &student);
    dn_tape_join(&tape, &student);
    return tape.used;
}

/* ---- allocation ---- */

static bool init_backbones(struct ssl_step *s, struct dino_error *err)
{
    const struct ssl_config *c = &s->config;
    struct view_group groups[] = {
        {c->global_size, c->global_size, 2 * c->micro},
        {c->local_size, c->local_size, c->local_crops * c->micro},
    };
    int samples = (c->local_crops > 2 ? c->local_crops : 2) * c->all_images;

    return dn_backbone_init(&s->teacher, s->queue, s->teacher_table, groups, 1, samples,
                            KEEP_NOTHING, err) &&
           dn_backbone_init(&s->student, s->queue, s->table, groups, c->local_crops ? 2 : 1,
                            samples, c->checkpointing ? KEEP_INPUTS : KEEP_TAPE, err);
}

static bool init_host(struct ssl_step *s, struct dino_error *err)
{
    const char *what = "the plan of a training step";
    size_t rows = (size_t)part_rows(s), masked = (size_t)s->config.most_masked;
    size_t views = (size_t)(2 + s->config.local_crops) * (size_t)s->config.micro;
    size_t crops = 2 * (size_t)s->config.images, most = rows > crops ? rows : crops;

    s->views = dn_calloc(views, sizeof *s->views, what, err);
    s->mask_first = dn_calloc(crops + 1, sizeof *s->mask_first, what, err);
    s->mask_patch = dn_calloc(masked + 1, sizeof *s->mask_patch, what, err);
    s->from = dn_calloc(rows, sizeof *s->from, what, err);
    s->to = dn_calloc(rows, sizeof *s->to, what, err);
    s->target_rows = dn_calloc(2 * rows, sizeof *s->target_rows, what, err);
    s->weights = dn_calloc(rows, sizeof *s->weights, what, err);
    s->host_losses = dn_calloc(most, sizeof *s->host_losses, what, err);
    s->share_starts = dn_calloc((size_t)dino_comm_size(s->config.comm) + 1,
                                sizeof *s->share_starts, what, err);
    return s->views && s->mask_first && s->mask_patch && s->from && s->to && s->target_rows &&
           s->weights && s->host_losses && s->share_starts;
}

static void begin_centres(struct ssl_step *s)
{
    int dino = s->dino_targets.cols, ibot = s->ibot_targets.cols;
    struct mat both = dn_mat(s->centres, 1, dino + ibot, dn_train_dtype(s->queue->device));

    dn_fill(s->queue, (struct op_fill){.y = both});
    s->dino_centre = dn_mat_cols(both, 0, dino);
    s->ibot_centre = dn_mat_cols(both, dino, ibot);
}

static bool init_device(struct ssl_step *s, struct dino_error *err)
{
    const struct device *device = s->queue->device;

    s->memory = device->ops->alloc(device, s->bytes, err);
    if (!s->memory)
        return false;
    layout(s, s->memory);

    begin_centres(s);
    return dn_backbone_prepare(&s->teacher, err) && dn_backbone_prepare(&s->student, err);
}

bool dn_ssl_step_count(struct ssl_step *s, struct queue *queue,
                       const struct params_table *table, const struct ssl_config *config,
                       struct dino_error *err)
{
    const struct params_table *teacher = config->frozen.table ? config->frozen.table : table;
    enum dino_dtype dtype = queue->device->dtype;

    *s = (struct ssl_step){
        .config = *config, .table = table, .teacher_table = teacher, .queue = queue};
    if (config->all_images == 0)
        s->config.all_images = config->images;
    s->repelled = config->koleo_distributed ? s->config.all_images : config->images;
    s->first_repelled = config->koleo_distributed ? config->first_image : 0;
    s->dino = (struct head_pass){.queue = queue, .table = table, .module = MODULE_DINO_HEAD};
    s->ibot = (struct head_pass){.queue = queue, .table = table, .module = MODULE_IBOT_HEAD};
    s->teacher_dino = s->dino;
    s->teacher_ibot = s->ibot;
    s->teacher_dino.table = s->teacher_ibot.table = teacher;
    if (dtype == DINO_I8)
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "training in %s on device %s, wanted f32, bf16 or f16",
                       dino_dtype_name(dtype), queue->device->name);
    if (config_good(&s->config, &table->config, err) &&
        teacher_fits(&teacher->config, &table->config, err) && init_backbones(s, err)) {
        s->bytes = layout(s, NULL);
        return true;
    }
    dn_ssl_step_release(s);
    return false;
}

bool dn_ssl_step_pretend(struct ssl_step *s, struct queue *queue,
                         const struct params_table *table, const struct ssl_config *config,
                         void *base, struct dino_error *err)
{
    if (!dn_ssl_step_count(s, queue, table, config, err))
        return false;
    if (init_host(s, err)) {
        layout(s, base);
        begin_centres(s);
        return true;
    }
    dn_ssl_step_release(s);
    return false;
}

bool dn_ssl_step_init(struct ssl_step *s, struct queue *queue, const struct params_table *table,
                      const struct ssl_config *config, struct dino_error *err)
{
    if (!dn_ssl_step_count(s, queue, table, config, err))
        return false;
    if (init_host(s, err) && init_device(s, err))
        return true;
    dn_ssl_step_release(s);
    return false;
}

void dn_ssl_step_release(struct ssl_step *s)
{
    const struct device *device = s->queue ? s->queue->device : NULL;

    dn_backbone_release(&s->teacher);
    dn_backbone_release(&s->student);
    if (s->memory)
        device->ops->free(device, s->memory, s->bytes);
    free(s->views);
    free(s->mask_first);
    free(s->mask_patch);
    free(s->from);
    free(s->to);
    free(s->target_rows);
    free(s->weights);
    free(s->host_losses);
    free(s->share_starts);
    *s = (struct ssl_step){0};
}
