/*
 * The single table of parameters: for each its official name, its Hugging Face and timm names,
 * its shape and the formula that stands in for trained values. Loading, converting, formula
 * weights and (later) training slice the network by this table and by nothing else.
 */
#ifndef MODEL_PARAMS_H
#define MODEL_PARAMS_H

#include "model/vit_config.h"

enum param {
    PARAM_CLS_TOKEN,
    PARAM_POS_EMBED, /* class entry first, then the grid */
    PARAM_REGISTER_TOKENS,
    PARAM_MASK_TOKEN,
    PARAM_PATCH_WEIGHT,
    PARAM_PATCH_BIAS,
    PARAM_NORM1_WEIGHT, /* from here on once a block */
    PARAM_NORM1_BIAS,
    PARAM_QKV_WEIGHT,
    PARAM_QKV_BIAS,
    PARAM_PROJ_WEIGHT,
    PARAM_PROJ_BIAS,
    PARAM_LS1,
    PARAM_NORM2_WEIGHT,
    PARAM_NORM2_BIAS,
    PARAM_FC1_WEIGHT, /* MLP */
    PARAM_FC1_BIAS,
    PARAM_FC2_WEIGHT,
    PARAM_FC2_BIAS,
    PARAM_W12_WEIGHT, /* SwiGLU */
    PARAM_W12_BIAS,
    PARAM_W3_WEIGHT,
    PARAM_W3_BIAS,
    PARAM_LS2,
    PARAM_NORM_WEIGHT, /* once again */
    PARAM_NORM_BIAS,
    PARAM_COUNT,
};

enum naming {
    NAMING_OFFICIAL,
    NAMING_HF,  /* classic: what Hugging Face files hold */
    NAMING_HF5, /* the in-memory names of transformers 5 */
    NAMING_TIMM,
    NAMING_COUNT,
};

/* One parameter of one block (block -1 where there is none). Hugging Face keeps query, key and
 * value apart, and its version 5 the halves of SwiGLU: part counts them, `parts` says of how
 * many; a whole parameter is part 0 of 1. Parts split the first dimension evenly. */
struct param_ref {
    enum param param;
    int block, part, parts;
};

bool dn_param_per_block(enum param param);
/* Is it what rows are multiplied by? int8 files hold these as bytes, and only these. */
bool dn_param_is_matrix(enum param param);
/* Does this network have that parameter? */
bool dn_param_present(const struct vit_config *config, enum param param);
/* Shape as the official file has it; returns the number of dimensions. */
int dn_param_shape(const struct vit_config *config, enum param param, int64_t shape[4]);
size_t dn_param_elements(const struct vit_config *config, enum param param);

/* How many parts a naming splits a parameter into: 1, 2 or 3. */
int dn_param_parts(enum naming naming, enum param param);
/* The name without prefix, e.g. "blocks.3.attn.qkv.weight"; ref.part is used, parts is not. */
void dn_param_name(enum naming naming, struct param_ref ref, char name[128]);
/* The inverse. Official chunked names ("blocks.0.3.") are understood. False: no such name. */
bool dn_param_parse(enum naming naming, const char *name, struct param_ref *ref);

/* Elements [first, first + count) of the formula weights of full_weights.json. */
void dn_param_formula(const struct vit_config *config, struct param_ref ref, uint64_t seed,
                      size_t first, size_t count, float *out);

/* Step through every parameter that the network has, in official order: start with
 * {.param = 0, .block = -1}... see dn_param_first. */
struct param_ref dn_param_first(void);
bool dn_param_next(const struct vit_config *config, struct param_ref *ref);

#endif
