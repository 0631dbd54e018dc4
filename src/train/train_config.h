/*
 * The settings of a training run, laid out as the official YAML files (ssl_default_config.yaml)
 * lay them out: the section and key `optim.base_lr` is the field optim.base_lr. One table
 * (train_config_keys.c) says for each key its type, default and limits; reading, overriding,
 * checking and writing are made from it. A config holds no pointers: it is copied by =.
 *
 * Order of precedence: defaults < preset < file < key.path=value.
 */
#ifndef TRAIN_TRAIN_CONFIG_H
#define TRAIN_TRAIN_CONFIG_H

#include "base/span.h"
#include "base/str.h"
#include "model/vit_config.h"

enum { CONFIG_TEXT = 1024, CONFIG_WORD = 24 };

enum train_centering { CENTERING_SOFTMAX, CENTERING_SINKHORN };
enum train_arch { ARCH_SMALL, ARCH_BASE, ARCH_LARGE, ARCH_GIANT2, ARCH_TINY };

/* FSDP's settings of one module: kept and written back. That of the student's backbone says
 * what to compute in (dn_train_config_dtype); the others are without effect here. */
struct train_precision {
    char sharding_strategy[CONFIG_WORD];
    char param_dtype[CONFIG_WORD], reduce_dtype[CONFIG_WORD], buffer_dtype[CONFIG_WORD];
};

struct train_head {
    double loss_weight;
    int prototypes, bottleneck, layers, hidden;
};

struct train_config {
    char weights[CONFIG_TEXT]; /* MODEL.WEIGHTS */

    struct {
        bool grad_scaler; /* counts in f16 */
        struct {
            struct train_precision backbone, dino_head, ibot_head;
        } teacher, student;
    } compute_precision;

    struct {
        struct train_head head;
        double koleo_loss_weight;
        bool koleo_loss_distributed;
    } dino;

    struct {
        struct train_head head; /* only loss_weight counts unless separate_head */
        double mask_sample_probability;
        double mask_ratio_min_max[2];
        bool separate_head;
    } ibot;

    struct {
        int batch_size; /* batch_size_per_gpu */
        char dataset_path[CONFIG_TEXT], output_dir[CONFIG_TEXT];
        int saveckp_freq, num_workers, epoch_length; /* OFFICIAL_EPOCH_LENGTH */
        int64_t seed;
        bool cache_dataset;
        int centering; /* enum train_centering */
    } train;

    struct {
        int arch; /* enum train_arch; the sizes below replace its own where they are not 0 */
        int embed_dim, depth, num_heads;
        int patch_size, num_register_tokens, block_chunks;
        double drop_path_rate, layerscale, interpolate_offset;
        bool drop_path_uniform, interpolate_antialias;
        bool qkv_bias, proj_bias, ffn_bias;
        char pretrained_weights[CONFIG_TEXT];
        int ffn;          /* enum dino_ffn */
        bool cosine_init; /* our own: how patches and positions begin */
    } student;

    struct {
        double momentum, final_momentum; /* momentum_teacher, final_momentum_teacher */
        double warmup_temp, temp;        /* warmup_teacher_temp, teacher_temp */
        int warmup_temp_epochs;          /* warmup_teacher_temp_epochs */
    } teacher;

    struct {
        char teacher[CONFIG_TEXT]; /* a network that is not trained; empty: no distillation */
        int crop_epochs;           /* the crops of so many epochs come again; 0: always new */
    } distillation;

    struct {
        int epochs, warmup_epochs, freeze_last_layer_epochs, freeze_backbone_epochs;
        double weight_decay, weight_decay_end;
        double base_lr, lr, min_lr; /* lr is not read: it is base_lr scaled by the batch */
        double clip_grad, patch_embed_lr_mult, layerwise_decay;
        double adamw_beta1, adamw_beta2;
        int scaling_rule; /* 0: sqrt_wrt_1024, the only one */
    } optim;

    struct {
        double global_scale[2], local_scale[2]; /* global_crops_scale, local_crops_scale */
        int local_number, global_size, local_size;
        double blur_most; /* blur_max_sigma, our own */
    } crops;

    struct {
        int period; /* evaluation.eval_period_iterations */
    } evaluation;
};

void dn_train_config_defaults(struct train_config *config);

/* The settings of YAML text over those in config; `name` is for messages. On failure config is
 * as it was, as in the functions below. */
bool dn_train_config_parse(struct train_config *config, struct span yaml, const char *name,
                           struct dino_error *err);
bool dn_train_config_read(struct train_config *config, const char *path,
                          struct dino_error *err);
/* One "key.path=value"; the value is YAML: 0.5, true, [0.1, 0.5], 'text'. */
bool dn_train_config_override(struct train_config *config, const char *assignment,
                              struct dino_error *err);

/* What no single key can tell: sizes that must divide, warm-ups that must fit. */
bool dn_train_config_check(const struct train_config *config, struct dino_error *err);

/* All settings as YAML that this module and the official code read. */
void dn_train_config_text(const struct train_config *config, struct str *yaml);
bool dn_train_config_write(const struct train_config *config, const char *path,
                           struct dino_error *err);

/* "vitt14", "vits14_reg", "vitg14"...: letter, patch and registers of the student, with the
 * FFN and positions that the official network of that name has. False: no such name. */
bool dn_train_config_arch(struct train_config *config, const char *name);

/* What compute_precision.student.backbone says to compute in: f32, f16, or DINO_AUTO, which
 * bf16 is where there is bf16. */
enum dino_dtype dn_train_config_dtype(const struct train_config *config);
/* Steps of an epoch, at least one: OFFICIAL_EPOCH_LENGTH, or where that is 0 one pass. */
int64_t dn_train_config_epoch(const struct train_config *config, int64_t pictures,
                              int processes);

/* The student's backbone, with the position grid of the global crops. */
bool dn_train_config_vit(const struct train_config *config, struct vit_config *vit,
                         struct dino_error *err);

/* The inverse for all but the grid: settings of a student with that backbone. What they cannot
 * say (an odd hidden width) stays as it is. */
void dn_train_config_take_vit(struct train_config *config, const struct vit_config *vit);

/*
 * Presets: a name, the size of data it is meant for, and overrides. Their values are first
 * guesses from the published recipes; they are to be tuned by measurement.
 */
struct train_preset {
    const char *name, *about;
    const char *const *overrides; /* ends with NULL */
};
/* The index-th; NULL behind the last. */
const struct train_preset *dn_train_preset(int index);
bool dn_train_config_preset(struct train_config *config, const char *name,
                            struct dino_error *err);

/* Over a preset or an earlier run's settings: what training needs that begins with a trained
 * backbone, and with its heads or with new ones. */
bool dn_train_config_continue(struct train_config *config, bool heads, struct dino_error *err);
/* For a last stage with the heads of the run before, on global crops that stand in config: its
 * schedules, a twentieth as long, and a quarter of its rate. A run of under 20,000 steps leaves
 * more to learn, and gets the stage that taught the model that ships (docs/performance.md,
 * "Learning from little data"): two fifths as long, 0.64 of the rate, larger local crops. */
void dn_train_config_shorten(struct train_config *config, int64_t pictures);

#endif
