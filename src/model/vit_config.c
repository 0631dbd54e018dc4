#include "model/vit_config.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "model/params.h"

static const struct {
    const char *name, *name_registers;
    int dim, depth, heads, hidden;
    enum dino_ffn ffn;
} official[] = {
    {"vits14", "vits14_reg", 384, 12, 6, 1536, DINO_FFN_MLP},
    {"vitb14", "vitb14_reg", 768, 12, 12, 3072, DINO_FFN_MLP},
    {"vitl14", "vitl14_reg", 1024, 24, 16, 4096, DINO_FFN_MLP},
    {"vitg14", "vitg14_reg", 1536, 40, 24, 4096, DINO_FFN_SWIGLU},
};
enum { OFFICIAL_COUNT = sizeof official / sizeof *official };

bool dn_vit_config_named(struct vit_config *config, const char *arch, struct dino_error *err)
{
    const char *name = dn_starts_with(arch, "dinov2_") ? arch + 7 : arch;

    for (int i = 0; i < OFFICIAL_COUNT; i++) {
        if (!dn_starts_with(name, official[i].name))
            continue;
        const char *rest = name + strlen(official[i].name);
        bool registers = strcmp(rest, "_reg") == 0 || strcmp(rest, "_reg4") == 0;
        bool offset0 = strcmp(rest, "_offset0") == 0;
        if (*rest && !registers && !offset0)
            break;
        *config = (struct vit_config){
            .dim = official[i].dim,
            .depth = official[i].depth,
            .heads = official[i].heads,
            .hidden = official[i].hidden,
            .patch = 14,
            .channels = 3,
            .registers = registers ? 4 : 0,
            .grid_rows = 37,
            .grid_cols = 37,
            .ffn = official[i].ffn,
            .positions = registers ? DINO_POSITIONS_ANTIALIAS
                         : offset0 ? DINO_POSITIONS_SIZE
                                   : DINO_POSITIONS_OFFSET,
            .norm_eps = 1e-6F,
            .layer_scale = true,
            .mask_token = true,
            .qkv_bias = true,
            .proj_bias = true,
            .ffn_bias = true,
        };
        return true;
    }
    return dn_fail(err, DINO_EARG,
                   "no architecture '%s', wanted vits14, vitb14, vitl14 or vitg14, with or "
                   "without _reg",
                   arch);
}

const char *dn_vit_config_name(const struct vit_config *c)
{
    for (int i = 0; i < OFFICIAL_COUNT; i++)
        if (c->dim == official[i].dim && c->depth == official[i].depth &&
            c->heads == official[i].heads && c->hidden == official[i].hidden &&
            c->ffn == official[i].ffn && c->patch == 14 && c->channels == 3 &&
            (c->registers == 0 || c->registers == 4))
            return c->registers ? official[i].name_registers : official[i].name;
    return "custom";
}

static bool in_range(int value, int low, int high, const char *what, const char *name,
                     struct dino_error *err)
{
    if (value >= low && value <= high)
        return true;
    return dn_fail(err, DINO_EFORMAT, "%s: %s is %d, wanted %d to %d", name, what, value, low,
                   high);
}

bool dn_vit_config_check(const struct vit_config *c, const char *name, struct dino_error *err)
{
    enum { WIDE = 1 << 16, LONG = 1 << 12 };

    if (!in_range(c->dim, 1, WIDE, "width", name, err) ||
        !in_range(c->depth, 1, LONG, "number of blocks", name, err) ||
        !in_range(c->heads, 1, WIDE, "number of heads", name, err) ||
        !in_range(c->hidden, 1, 8 * WIDE, "hidden width", name, err) ||
        !in_range(c->patch, 1, LONG, "patch size", name, err) ||
        !in_range(c->channels, 1, LONG, "number of channels", name, err) ||
        !in_range(c->registers, 0, LONG, "number of registers", name, err) ||
        !in_range(c->grid_rows, 1, LONG, "position grid height", name, err) ||
        !in_range(c->grid_cols, 1, LONG, "position grid width", name, err))
        return false;
    if ((int64_t)c->channels * c->patch * c->patch > 1 << 24)
        return dn_fail(err, DINO_EFORMAT, "%s: a patch of %d x %d x %d values is too large",
                       name, c->channels, c->patch, c->patch);
    if (c->dim % c->heads)
        return dn_fail(err, DINO_EFORMAT, "%s: width %d is no multiple of %d heads", name,
                       c->dim, c->heads);
    if (c->dim / c->heads > 256)
        return dn_fail(err, DINO_EUNSUPPORTED, "%s: head width %d, wanted at most 256", name,
                       c->dim / c->heads);
    return true;
}

int64_t dn_vit_config_parameters(const struct vit_config *config)
{
    int64_t total = 0;

    for (int p = 0; p < PARAM_COUNT; p++)
        if (dn_param_present(config, (enum param)p))
            total += (int64_t)dn_param_elements(config, (enum param)p) *
                     (dn_param_per_block((enum param)p) ? config->depth : 1);
    return total;
}

double dn_vit_config_flops(const struct vit_config *c, int patches)
{
    double tokens = 1.0 + c->registers + patches;
    double dim = c->dim, hidden = c->hidden;
    double ffn = c->ffn == DINO_FFN_MLP      ? 2 * dim * hidden
                 : c->ffn == DINO_FFN_SWIGLU ? 3 * dim * hidden
                                             : 0;
    double block = tokens * (4 * dim * dim + ffn) + 2 * tokens * tokens * dim;
    double embed = (double)patches * dim * c->channels * c->patch * c->patch;

    return embed + block * c->depth;
}
