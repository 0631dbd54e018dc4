/*
 * Every setting of a training run. Paths, order and defaults are those of the official
 * ssl_default_config.yaml; student.embed_dim, depth and num_heads and vit_tiny are this
 * program's own, for networks smaller than the official ones, and so are distillation,
 * student.cosine_init, for little data, crops.blur_max_sigma, for crops much smaller than 224
 * pixels, and optim.freeze_backbone_epochs, while which the heads learn alone.
 * dino.koleo_loss_distributed is DINOv3's name: KoLeo looks for neighbours in the whole batch,
 * unless it is false: then in each process's share, as the official DINOv2 does. An
 * OFFICIAL_EPOCH_LENGTH of 0, which the official code has not, means one pass over the
 * pictures.
 */
#include "train/train_config_keys.h"

#include "train/train_config.h"

static const struct config_word archs[] = {
    {"vit_small", ARCH_SMALL},
    {"vit_base", ARCH_BASE},
    {"vit_large", ARCH_LARGE},
    {"vit_giant2", ARCH_GIANT2},
    {"vit_tiny", ARCH_TINY},
    {"vit_small_memeff", ARCH_SMALL},
    {"vit_base_memeff", ARCH_BASE},
    {"vit_large_memeff", ARCH_LARGE},
    {"vit_giant2_memeff", ARCH_GIANT2},
    {NULL, 0},
};
static const struct config_word ffns[] = {
    {"mlp", DINO_FFN_MLP},
    {"swiglufused", DINO_FFN_SWIGLU},
    {"swiglu", DINO_FFN_SWIGLU},
    {NULL, 0},
};
static const struct config_word centerings[] = {
    {"centering", CENTERING_SOFTMAX},
    {"sinkhorn_knopp", CENTERING_SINKHORN},
    {NULL, 0},
};
static const struct config_word scaling_rules[] = {{"sqrt_wrt_1024", 0}, {NULL, 0}};

enum { MANY = 1 << 30, WIDE = 1 << 16 };

#define AT(field) offsetof(struct train_config, field), sizeof((struct train_config *)0)->field
#define TEXT(path, field, text)                                \
    {                                                          \
        path, CONFIG_STRING, AT(field), text, NULL, 0, 0, NULL \
    }
#define FLAG(path, field, text)                              \
    {                                                        \
        path, CONFIG_BOOL, AT(field), text, NULL, 0, 0, NULL \
    }
#define CHOICE(path, field, text, words)                        \
    {                                                           \
        path, CONFIG_CHOICE, AT(field), text, NULL, 0, 0, words \
    }
#define WHOLE(path, field, text, low, high)                      \
    {                                                            \
        path, CONFIG_INT, AT(field), text, NULL, low, high, NULL \
    }
#define REAL(path, field, text, low, high)                        \
    {                                                             \
        path, CONFIG_REAL, AT(field), text, NULL, low, high, NULL \
    }
#define PAIR(path, field, first, second)                        \
    {                                                           \
        path, CONFIG_PAIR, AT(field), first, second, 0, 1, NULL \
    }
#define PRECISION(path, field, reduce)                                          \
    TEXT(path ".sharding_strategy", field.sharding_strategy, "SHARD_GRAD_OP"),  \
        TEXT(path ".mixed_precision.param_dtype", field.param_dtype, "fp16"),   \
        TEXT(path ".mixed_precision.reduce_dtype", field.reduce_dtype, reduce), \
        TEXT(path ".mixed_precision.buffer_dtype", field.buffer_dtype, "fp32")

const struct config_key dn_config_keys[] = {
    TEXT("MODEL.WEIGHTS", weights, ""),
    FLAG("compute_precision.grad_scaler", compute_precision.grad_scaler, "true"),
    PRECISION("compute_precision.teacher.backbone", compute_precision.teacher.backbone, "fp16"),
    PRECISION("compute_precision.teacher.dino_head", compute_precision.teacher.dino_head,
              "fp16"),
    PRECISION("compute_precision.teacher.ibot_head", compute_precision.teacher.ibot_head,
              "fp16"),
    PRECISION("compute_precision.student.backbone", compute_precision.student.backbone, "fp16"),
    PRECISION("compute_precision.student.dino_head", compute_precision.student.dino_head,
              "fp32"),
    PRECISION("compute_precision.student.ibot_head", compute_precision.student.ibot_head,
              "fp32"),
    REAL("dino.loss_weight", dino.head.loss_weight, "1.0", 0, 1e6),
    WHOLE("dino.head_n_prototypes", dino.head.prototypes, "65536", 1, MANY),
    WHOLE("dino.head_bottleneck_dim", dino.head.bottleneck, "256", 1, WIDE),
    WHOLE("dino.head_nlayers", dino.head.layers, "3", 1, 16),
    WHOLE("dino.head_hidden_dim", dino.head.hidden, "2048", 1, WIDE),
    REAL("dino.koleo_loss_weight", dino.koleo_loss_weight, "0.1", 0, 1e6),
    FLAG("dino.koleo_loss_distributed", dino.koleo_loss_distributed, "true"),
    REAL("ibot.loss_weight", ibot.head.loss_weight, "1.0", 0, 1e6),
    REAL("ibot.mask_sample_probability", ibot.mask_sample_probability, "0.5", 0, 1),
    PAIR("ibot.mask_ratio_min_max", ibot.mask_ratio_min_max, "0.1", "0.5"),
    FLAG("ibot.separate_head", ibot.separate_head, "false"),
    WHOLE("ibot.head_n_prototypes", ibot.head.prototypes, "65536", 1, MANY),
    WHOLE("ibot.head_bottleneck_dim", ibot.head.bottleneck, "256", 1, WIDE),
    WHOLE("ibot.head_nlayers", ibot.head.layers, "3", 1, 16),
    WHOLE("ibot.head_hidden_dim", ibot.head.hidden, "2048", 1, WIDE),
    WHOLE("train.batch_size_per_gpu", train.batch_size, "64", 1, 1 << 16),
    TEXT("train.dataset_path", train.dataset_path, "ImageNet:split=TRAIN"),
    TEXT("train.output_dir", train.output_dir, "."),
    WHOLE("train.saveckp_freq", train.saveckp_freq, "20", 0, MANY),
    {"train.seed", CONFIG_INT64, AT(train.seed), "0", NULL, 0, 0x1p53, NULL},
    WHOLE("train.num_workers", train.num_workers, "10", 0, 1024),
    WHOLE("train.OFFICIAL_EPOCH_LENGTH", train.epoch_length, "1250", 0, MANY),
    FLAG("train.cache_dataset", train.cache_dataset, "true"),
    CHOICE("train.centering", train.centering, "centering", centerings),
    CHOICE("student.arch", student.arch, "vit_large", archs),
    WHOLE("student.embed_dim", student.embed_dim, "0", 0, WIDE),
    WHOLE("student.depth", student.depth, "0", 0, 4096),
    WHOLE("student.num_heads", student.num_heads, "0", 0, 4096),
    WHOLE("student.patch_size", student.patch_size, "16", 1, 1024),
    REAL("student.drop_path_rate", student.drop_path_rate, "0.3", 0, 0.999),
    FLAG("student.cosine_init", student.cosine_init, "false"),
    REAL("student.layerscale", student.layerscale, "1e-05", 0, 1e3),
    FLAG("student.drop_path_uniform", student.drop_path_uniform, "true"),
    TEXT("student.pretrained_weights", student.pretrained_weights, ""),
    CHOICE("student.ffn_layer", student.ffn, "mlp", ffns),
    WHOLE("student.block_chunks", student.block_chunks, "0", 0, 4096),
    FLAG("student.qkv_bias", student.qkv_bias, "true"),
    FLAG("student.proj_bias", student.proj_bias, "true"),
    FLAG("student.ffn_bias", student.ffn_bias, "true"),
    WHOLE("student.num_register_tokens", student.num_register_tokens, "0", 0, 1024),
    FLAG("student.interpolate_antialias", student.interpolate_antialias, "false"),
    REAL("student.interpolate_offset", student.interpolate_offset, "0.1", 0, 1),
    REAL("teacher.momentum_teacher", teacher.momentum, "0.992", 0, 1),
    REAL("teacher.final_momentum_teacher", teacher.final_momentum, "1", 0, 1),
    REAL("teacher.warmup_teacher_temp", teacher.warmup_temp, "0.04", 1e-3, 1e3),
    REAL("teacher.teacher_temp", teacher.temp, "0.07", 1e-3, 1e3),
    WHOLE("teacher.warmup_teacher_temp_epochs", teacher.warmup_temp_epochs, "30", 0, MANY),
    TEXT("distillation.teacher", distillation.teacher, ""),
    WHOLE("distillation.crop_epochs", distillation.crop_epochs, "0", 0, MANY),
    WHOLE("optim.epochs", optim.epochs, "100", 1, MANY),
    REAL("optim.weight_decay", optim.weight_decay, "0.04", 0, 1e3),
    REAL("optim.weight_decay_end", optim.weight_decay_end, "0.4", 0, 1e3),
    REAL("optim.base_lr", optim.base_lr, "0.004", 0, 1e3),
    REAL("optim.lr", optim.lr, "0.0", 0, 1e3),
    WHOLE("optim.warmup_epochs", optim.warmup_epochs, "10", 0, MANY),
    REAL("optim.min_lr", optim.min_lr, "1e-06", 0, 1e3),
    REAL("optim.clip_grad", optim.clip_grad, "3.0", 0, 1e6),
    WHOLE("optim.freeze_last_layer_epochs", optim.freeze_last_layer_epochs, "1", 0, MANY),
    WHOLE("optim.freeze_backbone_epochs", optim.freeze_backbone_epochs, "0", 0, MANY),
    CHOICE("optim.scaling_rule", optim.scaling_rule, "sqrt_wrt_1024", scaling_rules),
    REAL("optim.patch_embed_lr_mult", optim.patch_embed_lr_mult, "0.2", 0, 1e3),
    REAL("optim.layerwise_decay", optim.layerwise_decay, "0.9", 0, 1),
    REAL("optim.adamw_beta1", optim.adamw_beta1, "0.9", 0, 0.999999),
    REAL("optim.adamw_beta2", optim.adamw_beta2, "0.999", 0, 0.999999999),
    PAIR("crops.global_crops_scale", crops.global_scale, "0.32", "1.0"),
    WHOLE("crops.local_crops_number", crops.local_number, "8", 0, 64),
    PAIR("crops.local_crops_scale", crops.local_scale, "0.05", "0.32"),
    REAL("crops.blur_max_sigma", crops.blur_most, "2.0", 0.1, 100),
    WHOLE("crops.global_crops_size", crops.global_size, "224", 1, 4096),
    WHOLE("crops.local_crops_size", crops.local_size, "96", 1, 4096),
    WHOLE("evaluation.eval_period_iterations", evaluation.period, "12500", 0, MANY),
};
const size_t dn_config_key_count = sizeof dn_config_keys / sizeof *dn_config_keys;
