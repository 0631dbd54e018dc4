/*
 * The shape of one vision transformer: everything that decides which parameters exist and what
 * the forward pass does. Any values work; the official ones have names.
 */
#ifndef MODEL_VIT_CONFIG_H
#define MODEL_VIT_CONFIG_H

#include "base/error.h"

struct vit_config {
    int dim, depth, heads;
    int hidden; /* width between the two FFN products (SwiGLU: of one half) */
    int patch, channels, registers;
    int grid_rows, grid_cols; /* stored position grid */
    enum dino_ffn ffn;
    enum dino_positions positions;
    float norm_eps;
    bool layer_scale, mask_token;
    bool qkv_bias, proj_bias, ffn_bias;
};

/* "vits14", "vitb14_reg", "dinov2_vitl14", "vitg14": as the hub's constructors make them.
 * "vits14_offset0" and the like: the same with the Hugging Face position convention. */
bool dn_vit_config_named(struct vit_config *config, const char *arch, struct dino_error *err);

/* "vits14", "vitg14_reg"... where the shape is one of those, else "custom". */
const char *dn_vit_config_name(const struct vit_config *config);

/* Is everything positive, divisible and small enough to multiply? `name` is for the message. */
bool dn_vit_config_check(const struct vit_config *config, const char *name,
                         struct dino_error *err);

int64_t dn_vit_config_parameters(const struct vit_config *config);

/* Fused multiply-adds of one forward pass of one picture with `patches` patch tokens. */
double dn_vit_config_flops(const struct vit_config *config, int patches);

#endif
