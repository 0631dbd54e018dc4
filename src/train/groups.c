/* Multipliers by the place of a parameter in the network and by its name. */
#include "train/groups.h"

#include <string.h>

#include "base/str.h"

static bool is_decayed(const char *name)
{
    return !dn_ends_with(name, ".bias") && !strstr(name, "norm") && !strstr(name, "gamma");
}

/* Tokens and patches lie below block 0, the final norm above the last. */
static int layer_of(const struct vit_config *config, struct param_ref ref)
{
    if (dn_param_per_block(ref.param))
        return ref.block + 1;
    return ref.param < PARAM_NORM1_WEIGHT ? 0 : config->depth + 1;
}

/* Repeated, so that equal layers get equal numbers on every machine. */
static double power(double base, int exponent)
{
    double product = 1;

    while (exponent-- > 0)
        product *= base;
    return product;
}

struct param_group dn_group_of_backbone(const struct vit_config *config, struct param_ref ref,
                                        const struct group_rule *rule)
{
    char name[128];
    bool patch_embed = ref.param == PARAM_PATCH_WEIGHT || ref.param == PARAM_PATCH_BIAS;

    dn_param_name(NAMING_OFFICIAL, ref, name);
    struct param_group group = {
        .lr = power(rule->layerwise_decay, config->depth + 1 - layer_of(config, ref)),
        .wd = is_decayed(name) ? 1 : 0,
    };
    if (patch_embed)
        group.lr *= rule->patch_embed_lr_mult;
    return group;
}

struct param_group dn_group_of_head(const char *name)
{
    return (struct param_group){
        .lr = 1,
        .wd = is_decayed(name) ? 1 : 0,
        .last_layer = strstr(name, "last_layer") != NULL,
    };
}
