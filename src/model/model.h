/* What dino_model holds; the public functions are in model.c, session.c and run.c. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "model/forward.h"

struct dino_model {
    struct dino_model_info info;
    struct device *device;
    struct vit vit;
    struct linear_head head;
    char **labels; /* [label_count], entries may be NULL */
    int label_count;
    char *source;
    bool drop_remainder; /* Hugging Face: what is left of a size after whole patches */
    bool has_preprocessor;
    struct hf_preprocessor preprocessor;
};

/* The model's own preprocessing, or NULL. */
const struct hf_preprocessor *dn_model_preprocessor(const struct dino_model *model);

/* One class name a line; \r\n is fine, blank lines at the end are not counted. "synset,name"
 * lines of the official labels.txt give the name. */
bool dn_labels_read(const char *path, char ***labels, int *count, struct dino_error *err);

#endif
