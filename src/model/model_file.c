/* dino_file: a checkpoint as it lies on disk, and what network it holds. */
#include "model/weights.h"

#include "base/alloc.h"

struct dino_file {
    struct tensors tensors;
    struct weights weights; /* once dino_file_info was called */
    bool weighed;
};

struct dino_file *dino_file_open(const char *path, struct dino_error *err)
{
    struct dino_file *file = dn_calloc(1, sizeof *file, "a file", err);

    if (file && dn_tensors_open(&file->tensors, path, err))
        return file;
    free(file);
    return NULL;
}

void dino_file_close(struct dino_file *file)
{
    if (!file)
        return;
    if (file->weighed)
        dn_weights_release(&file->weights);
    dn_tensors_release(&file->tensors);
    free(file);
}

const char *dino_file_kind(const struct dino_file *file)
{
    static const char *const names[] = {
        [TENSORS_SAFETENSORS] = "safetensors",
        [TENSORS_PTH_ZIP] = "PyTorch zip",
        [TENSORS_PTH_STREAM] = "PyTorch stream (before 1.6)",
        [TENSORS_NPY] = "NumPy array",
    };
    return names[file->tensors.kind];
}

int dino_file_count(const struct dino_file *file)
{
    return (int)file->tensors.count;
}

const struct dino_tensor *dino_file_tensor(const struct dino_file *file, int index)
{
    return index >= 0 && (size_t)index < file->tensors.count ? &file->tensors.items[index]
                                                             : NULL;
}

bool dino_file_info(struct dino_file *file, struct dino_model_info *info,
                    struct dino_error *err)
{
    if (!file->weighed && !dn_weights_find(&file->weights, &file->tensors, 0, err))
        return false;
    file->weighed = true;

    const struct weights *w = &file->weights;
    const struct vit_config *c = &w->config;
    int head_layers = 0;
    if (w->head_weight && !dn_weights_head_layers(c, w->head_weight, w->head_bias,
                                                  file->tensors.path, &head_layers, err))
        return false;
    *info = dn_weights_info(w);
    info->source = file->tensors.path;
    info->head_layers = head_layers;
    info->classes = head_layers ? (int)w->head_weight->shape[0] : 0;
    info->labelled = info->classes > 0 && w->label_count > 0;
    return true;
}

const char *dino_file_label(const struct dino_file *file, int index)
{
    const struct weights *w = &file->weights;
    return file->weighed && index >= 0 && index < w->label_count ? w->labels[index] : NULL;
}
