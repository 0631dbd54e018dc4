/*
 * Inside a conversion: what is read (weights of any layout), what is written (a list of
 * tensors with names of another layout), one parameter at a time in memory.
 */
#ifndef TASK_CONVERT_H
#define TASK_CONVERT_H

#include "model/weights.h"

enum convert_kind {
    CONVERT_PARAM,
    CONVERT_SCALE, /* of the int8 matrix before it */
    CONVERT_HEAD_WEIGHT,
    CONVERT_HEAD_BIAS,
};

/* One tensor to write. */
struct convert_item {
    char name[160];
    enum convert_kind kind;
    struct param_ref ref; /* of a parameter or scale */
    enum dino_dtype dtype;
    int dims;
    int64_t shape[4];
};

struct convert {
    const struct dino_convert_options *options;
    struct tensors tensors, head_file;
    struct weights weights;
    struct vit_config config;                          /* of what is written */
    bool hf;                                           /* the layout of what is written */
    const struct dino_tensor *head_weight, *head_bias; /* NULL: no head */
    int head_layers;
    char **labels; /* [label_count], NULL: none; entries may be NULL */
    int label_count;
    char **own_labels; /* to be freed */

    struct convert_item *items;
    size_t count, room;
    size_t done, total; /* tensors, for progress */
    int64_t bad_values; /* NaN or infinite weights so far */

    float *values; /* the parameter at hand, in official shape */
    size_t value_room;
    int8_t *bytes; /* the same as int8, and its scales [outputs] */
    size_t byte_room;
    float *scales;
    size_t scale_room;
    struct param_ref held;
    enum convert_held { HELD_NONE, HELD_VALUES, HELD_BYTES } holding;
};

/* The tensors of a backbone, or of the head alone; `c->items` is replaced. */
bool dn_convert_list_backbone(struct convert *c, struct dino_error *err);
bool dn_convert_list_head(struct convert *c, struct dino_error *err);

/* Write c->items as .pth or .safetensors, by the name's end. */
bool dn_convert_write(struct convert *c, const char *path, struct dino_error *err);

/* config.json and preprocessor_config.json of a Hugging Face folder; *text is heap. */
bool dn_convert_config_text(const struct convert *c, char **text, struct dino_error *err);
bool dn_convert_preprocessor_text(const struct convert *c, char **text, struct dino_error *err);

/* Is anything written as int8? */
bool dn_convert_int8(const struct convert *c);

/* Can a Hugging Face class hold this network? */
bool dn_convert_fits_hf(const struct convert *c, struct dino_error *err);

#endif
