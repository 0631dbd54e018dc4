/* Settings as a whole: defaults, what must fit together, the backbone they name, writing. */
#include "train/train_config.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "train/train_config_value.h"

static void copy_default(char item[CONFIG_TEXT], const char *text)
{
    snprintf(item, CONFIG_TEXT, "%s", text);
}

void dn_train_config_defaults(struct train_config *config)
{
    struct config_value value;

    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < dn_config_key_count; i++) {
        const struct config_key *key = &dn_config_keys[i];
        value.sequence = key->type == CONFIG_PAIR;
        value.count = value.sequence ? 2 : 1;
        value.quoted = false;
        copy_default(value.items[0], key->first);
        copy_default(value.items[1], key->second ? key->second : "");
        dn_config_set(config, key, &value, "default", NULL);
    }
}

/* How many leading dotted parts two paths share, and where the rest of `path` begins. */
static int shared_parts(const char *previous, const char *path, const char **rest)
{
    int parts = 0;

    *rest = path;
    for (const char *p = path; *p && *p == *previous; p++, previous++)
        if (*p == '.') {
            parts++;
            *rest = p + 1;
        }
    return parts;
}

void dn_train_config_text(const struct train_config *config, struct str *yaml)
{
    const char *previous = "";

    for (size_t i = 0; i < dn_config_key_count; i++) {
        const struct config_key *key = &dn_config_keys[i];
        const char *rest, *dot;
        int depth = shared_parts(previous, key->path, &rest);

        for (; (dot = strchr(rest, '.')); rest = dot + 1, depth++)
            dn_str_addf(yaml, "%*s%.*s:\n", 2 * depth, "", (int)(dot - rest), rest);
        dn_str_addf(yaml, "%*s%s:", 2 * depth, "", rest);
        dn_config_add_value(yaml, config, key, "  ");
        previous = key->path;
    }
}

bool dn_train_config_write(const struct train_config *config, const char *path,
                           struct dino_error *err)
{
    struct output out = {0};
    struct str yaml = {0};

    dn_train_config_text(config, &yaml);
    bool ok = yaml.failed ? dn_fail_memory(err, yaml.size, "the settings")
                          : dn_output_open(&out, path, err) &&
                                dn_output_write(&out, yaml.text, yaml.size, err) &&
                                dn_output_commit(&out, err);
    dn_output_release(&out);
    dn_str_release(&yaml);
    return ok;
}

static const struct {
    int dim, depth, heads;
} architectures[] = {
    [ARCH_SMALL] = {384, 12, 6},    [ARCH_BASE] = {768, 12, 12}, [ARCH_LARGE] = {1024, 24, 16},
    [ARCH_GIANT2] = {1536, 40, 24}, [ARCH_TINY] = {192, 12, 3},
};

bool dn_train_config_arch(struct train_config *c, const char *name)
{
    static const char letters[] = "sblgt"; /* in the order of enum train_arch */
    int patch = 0, end = 0;
    char letter;

    if (sscanf(name, "vit%c%d%n", &letter, &patch, &end) != 2 || !strchr(letters, letter) ||
        patch < 1 || patch > 1024)
        return false;
    bool registers = strcmp(name + end, "_reg") == 0;
    if (name[end] && !registers)
        return false;
    c->student.arch = (int)(strchr(letters, letter) - letters);
    c->student.embed_dim = c->student.depth = c->student.num_heads = 0;
    c->student.patch_size = patch;
    c->student.num_register_tokens = registers ? 4 : 0;
    c->student.interpolate_antialias = registers;
    c->student.interpolate_offset = registers ? 0 : 0.1;
    c->student.ffn = c->student.arch == ARCH_GIANT2 ? (int)DINO_FFN_SWIGLU : (int)DINO_FFN_MLP;
    return true;
}

/* As dinov2/models/vision_transformer.py: an offset scales the grid, none resizes to size. */
static bool set_positions(const struct train_config *c, struct vit_config *vit,
                          struct dino_error *err)
{
    double offset = c->student.interpolate_offset;
    bool antialias = c->student.interpolate_antialias;

    if (antialias && offset == 0)
        vit->positions = DINO_POSITIONS_ANTIALIAS;
    else if (!antialias && offset == 0)
        vit->positions = DINO_POSITIONS_SIZE;
    else if (!antialias && offset == 0.1)
        vit->positions = DINO_POSITIONS_OFFSET;
    else
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "student.interpolate_offset %g with interpolate_antialias %s, wanted 0 "
                       "or, without antialias, 0.1",
                       offset, antialias ? "true" : "false");
    return true;
}

enum dino_dtype dn_train_config_dtype(const struct train_config *c)
{
    const char *word = c->compute_precision.student.backbone.param_dtype;

    return strcmp(word, "fp32") == 0   ? DINO_F32
           : strcmp(word, "fp16") == 0 ? DINO_F16
                                       : DINO_AUTO;
}

int64_t dn_train_config_epoch(const struct train_config *c, int64_t pictures, int processes)
{
    int64_t batch = (int64_t)c->train.batch_size * processes;
    int64_t steps = c->train.epoch_length ? c->train.epoch_length : pictures / batch;

    return steps > 0 ? steps : 1;
}

bool dn_train_config_vit(const struct train_config *c, struct vit_config *vit,
                         struct dino_error *err)
{
    int dim = c->student.embed_dim ? c->student.embed_dim : architectures[c->student.arch].dim;
    int depth = c->student.depth ? c->student.depth : architectures[c->student.arch].depth;
    int heads = c->student.num_heads   ? c->student.num_heads
                : c->student.embed_dim ? dim / 64
                                       : architectures[c->student.arch].heads;
    int grid = c->crops.global_size / c->student.patch_size;
    struct vit_config made = {
        .dim = dim,
        .depth = depth,
        .heads = heads,
        /* SwiGLUFFNFused: two thirds, to a multiple of eight */
        .hidden = c->student.ffn == DINO_FFN_MLP ? 4 * dim : (4 * dim * 2 / 3 + 7) / 8 * 8,
        .patch = c->student.patch_size,
        .channels = 3,
        .registers = c->student.num_register_tokens,
        .grid_rows = grid,
        .grid_cols = grid,
        .ffn = (enum dino_ffn)c->student.ffn,
        .norm_eps = 1e-6F,
        .layer_scale = c->student.layerscale > 0,
        .mask_token = true,
        .qkv_bias = c->student.qkv_bias,
        .proj_bias = c->student.proj_bias,
        .ffn_bias = c->student.ffn_bias,
    };

    if (!c->student.num_heads && dim % 64)
        return dn_fail(err, DINO_EARG,
                       "student.embed_dim is %d, wanted a multiple of 64 or student.num_heads",
                       dim);
    if (!set_positions(c, &made, err) || !dn_vit_config_check(&made, "student", err))
        return false;
    *vit = made;
    return true;
}

void dn_train_config_take_vit(struct train_config *c, const struct vit_config *vit)
{
    enum { COUNT = sizeof architectures / sizeof *architectures };

    c->student.embed_dim = vit->dim;
    c->student.depth = vit->depth;
    c->student.num_heads = vit->heads;
    for (int i = 0; i < COUNT; i++)
        if (architectures[i].dim == vit->dim && architectures[i].depth == vit->depth &&
            architectures[i].heads == vit->heads) {
            c->student.arch = i;
            c->student.embed_dim = c->student.depth = c->student.num_heads = 0;
        }
    c->student.patch_size = vit->patch;
    c->student.num_register_tokens = vit->registers;
    c->student.interpolate_antialias = vit->positions == DINO_POSITIONS_ANTIALIAS;
    c->student.interpolate_offset = vit->positions == DINO_POSITIONS_OFFSET ? 0.1 : 0;
    c->student.ffn = vit->ffn == DINO_FFN_SWIGLU ? (int)DINO_FFN_SWIGLU : (int)DINO_FFN_MLP;
    c->student.qkv_bias = vit->qkv_bias;
    c->student.proj_bias = vit->proj_bias;
    c->student.ffn_bias = vit->ffn_bias;
    if (!vit->layer_scale || c->student.layerscale <= 0)
        c->student.layerscale = vit->layer_scale ? 1e-5 : 0;
}

static bool divides(int patch, int size, const char *what, struct dino_error *err)
{
    if (size % patch == 0)
        return true;
    int below = size / patch * patch;
    return dn_fail(err, DINO_EARG,
                   "%s is %d, wanted a multiple of student.patch_size %d, as %d or %d", what,
                   size, patch, below ? below : patch, below + patch);
}

bool dn_train_config_check(const struct train_config *c, struct dino_error *err)
{
    int patch = c->student.patch_size;
    struct vit_config vit;

    if (!divides(patch, c->crops.global_size, "crops.global_crops_size", err))
        return false;
    if (c->crops.local_number > 0 &&
        !divides(patch, c->crops.local_size, "crops.local_crops_size", err))
        return false;
    if (c->optim.warmup_epochs > c->optim.epochs)
        return dn_fail(err, DINO_EARG,
                       "optim.warmup_epochs is %d, wanted at most optim.epochs, %d",
                       c->optim.warmup_epochs, c->optim.epochs);
    if ((int64_t)c->optim.freeze_backbone_epochs + c->optim.warmup_epochs > c->optim.epochs)
        return dn_fail(err, DINO_EARG,
                       "optim.freeze_backbone_epochs is %d, wanted at most optim.epochs less "
                       "optim.warmup_epochs, %d",
                       c->optim.freeze_backbone_epochs,
                       c->optim.epochs - c->optim.warmup_epochs);
    if (c->crops.global_scale[1] <= 0 || c->crops.local_scale[1] <= 0)
        return dn_fail(err, DINO_EARG, "a crop scale ends at 0, wanted a part of the picture");
    return dn_train_config_vit(c, &vit, err);
}

bool dn_train_config_preset(struct train_config *config, const char *name,
                            struct dino_error *err)
{
    struct train_config changed = *config;
    struct str names = {0};
    const struct train_preset *preset;

    for (int i = 0; (preset = dn_train_preset(i)); i++) {
        if (strcmp(preset->name, name) != 0) {
            dn_str_addf(&names, "%s%s", i ? ", " : "", preset->name);
            continue;
        }
        dn_str_release(&names);
        for (const char *const *line = preset->overrides; *line; line++)
            if (!dn_train_config_override(&changed, *line, err))
                return false;
        *config = changed;
        return true;
    }
    dn_fail(err, DINO_EARG, "no preset is called %.60s, wanted %s", name, dn_str_text(&names));
    dn_str_release(&names);
    return false;
}
