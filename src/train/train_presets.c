/*
 * Presets. vitt14-small-data was found by measuring (docs/performance.md, "Learning from little
 * data"); the other two for small data are guesses from it and the published recipes, not
 * measured; the rest are the published configurations. Every run writes down what it used.
 */
#include "train/train_config.h"

static const char *const vitt14_small_data[] = {
    "student.arch=vit_small",
    "student.embed_dim=256",
    "student.depth=6",
    "student.num_heads=4",
    "student.patch_size=14",
    "student.num_register_tokens=4",
    "student.interpolate_antialias=true",
    "student.interpolate_offset=0.0",
    "student.drop_path_rate=0.0",
    "student.layerscale=1.0", /* 1e-05 wants more steps than there are */
    "student.cosine_init=true",
    "dino.head_n_prototypes=1024",
    "dino.head_bottleneck_dim=128",
    "dino.head_hidden_dim=512",
    "ibot.head_n_prototypes=1024",
    "train.centering=sinkhorn_knopp",
    "train.batch_size_per_gpu=64",
    "train.OFFICIAL_EPOCH_LENGTH=0",
    "teacher.warmup_teacher_temp=0.025",
    "teacher.teacher_temp=0.04", /* above 0.05 the targets become even */
    "teacher.warmup_teacher_temp_epochs=60",
    "teacher.momentum_teacher=0.95", /* a quick teacher gains two points early */
    "optim.epochs=260",
    "optim.warmup_epochs=8",
    "optim.base_lr=0.0025",
    "optim.weight_decay_end=0.2",
    "optim.layerwise_decay=1.0",
    "optim.patch_embed_lr_mult=1.0",
    "optim.freeze_last_layer_epochs=0",
    "crops.global_crops_size=56",
    "crops.local_crops_size=28",
    "crops.local_crops_number=4",
    "crops.global_crops_scale=[0.4,1.0]",
    "crops.local_crops_scale=[0.1,0.4]",
    "crops.blur_max_sigma=0.5", /* as 2.0 at 224 pixels */
    NULL,
};

static const char *const vits14_small_data[] = {
    "student.arch=vit_small",
    "student.patch_size=14",
    "student.num_register_tokens=4",
    "student.interpolate_antialias=true",
    "student.interpolate_offset=0.0",
    "student.drop_path_rate=0.1",
    "dino.head_n_prototypes=8192",
    "dino.head_hidden_dim=1024",
    "ibot.head_n_prototypes=8192",
    "train.centering=sinkhorn_knopp",
    "train.batch_size_per_gpu=64",
    "train.OFFICIAL_EPOCH_LENGTH=0",
    "optim.epochs=200",
    "optim.warmup_epochs=10",
    "optim.base_lr=0.002",
    "crops.global_crops_size=112",
    "crops.local_crops_size=56",
    NULL,
};

static const char *const vitb14_small_data[] = {
    "student.arch=vit_base",
    "student.patch_size=14",
    "student.num_register_tokens=4",
    "student.interpolate_antialias=true",
    "student.interpolate_offset=0.0",
    "student.drop_path_rate=0.2",
    "dino.head_n_prototypes=16384",
    "ibot.head_n_prototypes=16384",
    "train.centering=sinkhorn_knopp",
    "train.OFFICIAL_EPOCH_LENGTH=0",
    "optim.epochs=100",
    "optim.base_lr=0.001",
    "crops.local_crops_size=98",
    NULL,
};

static const char *const vitl16_short[] = {"student.block_chunks=4", NULL};

static const char *const vitl14_long[] = {
    "dino.head_n_prototypes=131072",
    "dino.head_bottleneck_dim=384",
    "ibot.separate_head=true",
    "ibot.head_n_prototypes=131072",
    "train.batch_size_per_gpu=32",
    "train.dataset_path=ImageNet22k",
    "train.centering=sinkhorn_knopp",
    "student.patch_size=14",
    "student.drop_path_rate=0.4",
    "student.ffn_layer=swiglufused",
    "student.block_chunks=4",
    "teacher.momentum_teacher=0.994",
    "optim.epochs=500",
    "optim.weight_decay_end=0.2",
    "optim.base_lr=2.0e-04",
    "optim.warmup_epochs=80",
    "optim.layerwise_decay=1.0",
    "crops.local_crops_size=98",
    NULL,
};

static const char *const vitg14_long[] = {
    "dino.head_n_prototypes=131072",  "dino.head_bottleneck_dim=384",
    "ibot.separate_head=true",        "ibot.head_n_prototypes=131072",
    "train.batch_size_per_gpu=12",    "train.dataset_path=ImageNet22k",
    "train.centering=sinkhorn_knopp", "student.arch=vit_giant2",
    "student.patch_size=14",          "student.drop_path_rate=0.4",
    "student.ffn_layer=swiglufused",  "student.block_chunks=4",
    "teacher.momentum_teacher=0.994", "optim.epochs=500",
    "optim.weight_decay_end=0.2",     "optim.base_lr=2.0e-04",
    "optim.warmup_epochs=80",         "optim.layerwise_decay=1.0",
    "crops.local_crops_size=98",      NULL,
};

/* Over any of them, where training begins with a trained backbone. */
static const char *const continued[] = {
    "optim.epochs=20",
    "optim.warmup_epochs=2",
    "optim.freeze_last_layer_epochs=0",
    "optim.freeze_backbone_epochs=0",
    "optim.base_lr=0.0005",
    "optim.layerwise_decay=0.9",
    "optim.patch_embed_lr_mult=0.2",
    "teacher.momentum_teacher=0.996",
    "teacher.warmup_teacher_temp_epochs=0",
    NULL,
};

/* And has new heads: they learn alone first. */
static const char *const new_heads[] = {
    "optim.freeze_backbone_epochs=4",
    "teacher.warmup_teacher_temp_epochs=4",
    NULL,
};

static const struct train_preset presets[] = {
    {"vitt14-small-data", "width 256, 6 blocks, thousands of pictures", vitt14_small_data},
    {"vits14-small-data", "ViT-S/14, tens of thousands of pictures", vits14_small_data},
    {"vitb14-small-data", "ViT-B/14, hundreds of thousands of pictures", vitb14_small_data},
    {"vitl16-short", "ViT-L/16 on ImageNet-1k, as published", vitl16_short},
    {"vitl14", "ViT-L/14 on ImageNet-22k, as published", vitl14_long},
    {"vitg14", "ViT-g/14 on ImageNet-22k, as published", vitg14_long},
};

const struct train_preset *dn_train_preset(int index)
{
    int count = (int)(sizeof presets / sizeof *presets);
    return index >= 0 && index < count ? &presets[index] : NULL;
}

static bool override(struct train_config *config, const char *const *lines,
                     struct dino_error *err)
{
    for (; *lines; lines++)
        if (!dn_train_config_override(config, *lines, err))
            return false;
    return true;
}

bool dn_train_config_continue(struct train_config *config, bool heads, struct dino_error *err)
{
    return override(config, continued, err) && (heads || override(config, new_heads, err));
}

static void shorten(int *epochs, int by)
{
    *epochs = (*epochs + by / 2) / by;
}

/* Side of the local crops: three eighths of the global ones', in whole patches. */
static int local_side(const struct train_config *c)
{
    int patch = c->student.patch_size,
        patches = (c->crops.global_size * 3 / 8 + patch / 2) / patch;
    return (patches > 1 ? patches : 1) * patch;
}

void dn_train_config_shorten(struct train_config *c, int64_t pictures)
{
    enum { SHORTER = 20, BRIEF = 20000 };
    bool brief = c->optim.epochs * dn_train_config_epoch(c, pictures, 1) < BRIEF;

    c->optim.freeze_backbone_epochs = 0; /* the heads are there */
    shorten(&c->optim.freeze_last_layer_epochs, SHORTER);
    shorten(&c->teacher.warmup_temp_epochs, SHORTER);
    if (brief) {
        c->optim.base_lr *= 0.64;
        c->optim.epochs = c->optim.epochs * 2 / 5;
        shorten(&c->optim.warmup_epochs, 4);
        c->crops.local_size = local_side(c);
    } else {
        c->optim.base_lr /= 4;
        shorten(&c->optim.epochs, SHORTER);
        shorten(&c->optim.warmup_epochs, SHORTER);
    }
    if (c->optim.epochs < 1)
        c->optim.epochs = 1;
    if (c->optim.warmup_epochs >= c->optim.epochs)
        c->optim.warmup_epochs = c->optim.epochs - 1;
}
