/* Hugging Face JSON files: config.json and preprocessor_config.json, parsed strictly. */
#ifndef FORMAT_CONFIG_H
#define FORMAT_CONFIG_H

#include "base/error.h"

/* config.json. Sizes are 0 where absent; norm_eps, qkv_bias and activation then have their
 * class's default (1e-6, true, "gelu"), and so has registers in its own class (4). */
struct hf_config {
    char model_type[48];  /* "dinov2", "dinov2_with_registers"; "" if absent, as in timm's */
    bool registers_class; /* model_type dinov2_with_registers */
    bool classifier;      /* architectures names ...ForImageClassification */
    int hidden_size, layers, heads, image_height, image_width, patch, channels, registers;
    int intermediate_size;
    double mlp_ratio, norm_eps;
    bool swiglu, qkv_bias;
    char activation[24]; /* hidden_act */
    char **labels;       /* id2label in order [label_count]; NULL where an id is missing */
    int label_count;
};

/* On failure nothing is left to release. */
bool dn_hf_config_parse(struct hf_config *config, const char *json, const char *name,
                        struct dino_error *err);
void dn_hf_config_release(struct hf_config *config);

/* preprocessor_config.json; absent fields as in transformers' BitImageProcessor. */
struct hf_preprocessor {
    bool resize, center_crop, rescale, normalize;
    int shortest_edge; /* 0: size_height and size_width instead */
    int size_height, size_width;
    int crop_height, crop_width;
    int resample; /* Pillow's numbers: 2 bilinear, 3 bicubic */
    double rescale_factor;
    float mean[3], std[3];
};

bool dn_hf_preprocessor_parse(struct hf_preprocessor *p, const char *json, const char *name,
                              struct dino_error *err);

/* model.safetensors.index.json: the distinct shard file names in weight_map, sorted; heap
 * array of heap strings. Names with a slash or ".." are refused. */
bool dn_hf_index_parse(const char *json, const char *name, char ***files, size_t *count,
                       struct dino_error *err);

#endif
