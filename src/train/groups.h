/*
 * Parameter groups: by how much the schedules of learning rate and weight decay count for each
 * parameter. As get_params_groups_with_decay of dinov2/utils/param_groups.py.
 */
#ifndef TRAIN_GROUPS_H
#define TRAIN_GROUPS_H

#include "model/params.h"

struct group_rule {
    double layerwise_decay;     /* optim.layerwise_decay */
    double patch_embed_lr_mult; /* optim.patch_embed_lr_mult */
};

struct param_group {
    double lr, wd;   /* multipliers */
    bool last_layer; /* has a schedule of its own */
};

struct param_group dn_group_of_backbone(const struct vit_config *config, struct param_ref ref,
                                        const struct group_rule *rule);
/* A head's, by name: "mlp.0.bias", "last_layer.weight_g". */
struct param_group dn_group_of_head(const char *name);

#endif
