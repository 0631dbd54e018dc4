/* The golden training cases c0 .. c3 and what it takes to run them. */
#ifndef TESTING_STEP_H
#define TESTING_STEP_H

#include "format/json.h"
#include "train/ssl_step.h"
#include "train/testing_train.h"

struct golden_case {
    const char *name;
    enum dino_ffn ffn;
    int hidden, registers;
    bool separate;
    enum train_centering centering;
    double koleo;
    double last_lr[2]; /* steps 1 and 2 */
};

static const struct golden_case golden_cases[] = {
    {"c0", DINO_FFN_MLP, 256, 0, false, CENTERING_SINKHORN, 0, {0, 0}},
    {"c1", DINO_FFN_MLP, 256, 0, false, CENTERING_SINKHORN, 0.1, {1e-3, 1e-3}},
    {"c2", DINO_FFN_MLP, 256, 0, true, CENTERING_SOFTMAX, 0.1, {0, 1e-3}},
    {"c3", DINO_FFN_SWIGLU, 176, 4, true, CENTERING_SINKHORN, 0.1, {1e-3, 1e-3}},
};
enum { GOLDEN_CASES = 4 };

struct golden_run {
    const struct golden_case *info;
    struct trainer_bench *b;
    struct params_table table;
    struct train_blocks blocks;
    struct ssl_step step;
    struct ssl_batch batch;
    float *global, *local;
    int masked[128];
    json_t *meta;
};

static inline struct net_config golden_net(const struct golden_case *c)
{
    struct head_config head = {
        .in = 64, .layers = 3, .hidden = 48, .bottleneck = 24, .prototypes = 96};
    struct net_config net = {
        .backbone = {.dim = 64,
                     .depth = 3,
                     .heads = 4,
                     .hidden = c->hidden,
                     .patch = 14,
                     .channels = 3,
                     .registers = c->registers,
                     .grid_rows = 4,
                     .grid_cols = 4,
                     .ffn = c->ffn,
                     .positions =
                         c->registers ? DINO_POSITIONS_ANTIALIAS : DINO_POSITIONS_OFFSET,
                     .norm_eps = 1e-6F,
                     .layer_scale = true,
                     .mask_token = true,
                     .qkv_bias = true,
                     .proj_bias = true,
                     .ffn_bias = true},
        .dino = head,
        .separate_ibot = c->separate,
    };

    if (c->separate)
        net.ibot = head;
    return net;
}

static inline const char *golden_file(const struct golden_case *c, const char *name)
{
    char path[80];

    snprintf(path, sizeof path, "train/%s/%s", c->name, name);
    return testing_golden(path);
}

/* bench->file becomes this file of the case. */
static inline void golden_use(struct golden_run *r, const char *name)
{
    struct dino_error err = {0};

    if (r->b->file.path)
        dn_tensors_release(&r->b->file);
    CHECK_OK(dn_tensors_open(&r->b->file, golden_file(r->info, name), &err), err);
    r->b->op = "";
}

/* Fill `block` from tensors PREFIX.NAME of the current file. */
static inline void golden_fill(struct golden_run *r, void *block, const char *prefix)
{
    for (int i = 0; i < r->table.count; i++) {
        char name[200];
        snprintf(name, sizeof name, "%s.%s", prefix, r->table.items[i].name);
        train_fill(r->b, dn_params_vector(&r->table, block, r->b->dtype, i), name);
    }
}

static inline void golden_images(struct golden_run *r)
{
    struct dino_error err = {0};
    struct tensors file;
    size_t count;

    CHECK_OK(dn_tensors_open(&file, testing_golden("train/images.safetensors"), &err), err);
    r->global = testing_tensor(&file, "global_crops", NULL);
    r->local = testing_tensor(&file, "local_crops", NULL);
    dn_tensors_release(&file);
    CHECK_OK(dn_tensors_open(&file, golden_file(r->info, "masks.safetensors"), &err), err);
    float *masked = testing_tensor(&file, "mask_indices", &count);
    for (size_t i = 0; i < count; i++)
        r->masked[i] = (int)masked[i];
    free(masked);
    dn_tensors_release(&file);
    r->batch = (struct ssl_batch){r->global, r->local, r->masked, (int)count};
}

static inline struct ssl_config golden_config(const struct golden_case *c)
{
    return (struct ssl_config){
        .images = 4,
        .micro = 4,
        .global_size = 56,
        .local_size = 28,
        .local_crops = 4,
        .most_masked = 64,
        .centering = c->centering,
        .centre_momentum = 0.9,
        .student_temperature = 0.1,
        .dino_weight = 1,
        .ibot_weight = 1,
        .koleo_weight = c->koleo,
    };
}

/* Everything as before step 1, with `config` (golden_config, changed or not). */
static inline void golden_open(struct golden_run *r, struct trainer_bench *b,
                               const struct golden_case *c, const struct ssl_config *config)
{
    struct dino_error err = {0};
    struct net_config net = golden_net(c);

    *r = (struct golden_run){.info = c, .b = b};
    CHECK_OK(dn_params_table_init(&r->table, &net, &err), err);
    CHECK_OK(dn_train_blocks_init(&r->blocks, b->queue, &r->table, NULL, &err), err);
    CHECK_OK(dn_ssl_step_init(&r->step, b->queue, &r->table, config, &err), err);
    golden_images(r);
    golden_use(r, "init.safetensors");
    golden_fill(r, r->blocks.student, "student");
    golden_fill(r, r->blocks.teacher, "teacher");
    train_fill(b, r->step.dino_centre, "dino_loss.center");
    if (dn_tensors_find(&b->file, "ibot_patch_loss.center"))
        train_fill(b, r->step.ibot_centre, "ibot_patch_loss.center");
    r->meta = json_load_file(golden_file(c, "meta.json"), 0, NULL);
    CHECK(r->meta);
}

static inline void golden_close(struct golden_run *r)
{
    dn_ssl_step_release(&r->step);
    dn_train_blocks_release(&r->blocks, r->b->device, &r->table);
    dn_params_table_release(&r->table);
    free(r->global);
    free(r->local);
    json_decref(r->meta);
}

static inline void golden_gradient(struct golden_run *r, struct ssl_losses *losses)
{
    struct dino_error err = {0};

    dn_zero_grads(r->b->queue, &r->table, &r->blocks);
    CHECK_OK(dn_ssl_step_run(&r->step, &r->blocks, &r->batch, 0.05, 1, losses, &err), err);
}

/* Clip, AdamW and the teacher, as step 1 or 2 of the case. */
static inline void golden_update(struct golden_run *r, int step, struct clipping *clip)
{
    struct dino_error err = {0};
    struct param_rate rates[128];
    struct group_rule rule = {.layerwise_decay = 0.9, .patch_embed_lr_mult = 0.2};

    CHECK(r->table.count <= 128);
    CHECK_OK(dn_clip(r->b->queue, &r->table, &r->blocks, 3, clip, &err), err);
    struct schedule_values at = {.lr = 1e-3,
                                 .backbone_lr = 1e-3,
                                 .last_layer_lr = r->info->last_lr[step - 1],
                                 .weight_decay = 0.04};
    dn_param_rates(&r->table, &rule, &at, rates);
    struct adamw_options options = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = step, .rates = rates};
    dn_optimizer_step(r->b->queue, &r->table, &r->blocks, clip, &options);
    dn_teacher_follow(r->b->queue, &r->table, &r->blocks, 0.992);
    dn_ssl_step_follow(&r->step);
    CHECK_OK(dn_queue_finish(r->b->queue, &err), err);
}

#endif
