/* Reading parameters out of a file, in official shape. */
#include <string.h>

#include "model/weights.h"

/* Bytes as floats become weights: `outputs` rows, a scale each. */
static void scale_rows(float *values, const struct weight_part *part, size_t count)
{
    size_t outputs = (size_t)part->scale->shape[0], width = count / outputs;

    for (size_t r = 0; r < outputs; r++) {
        float scale;
        dn_tensor_read(part->scale, r, 1, &scale);
        for (size_t i = 0; i < width; i++)
            values[r * width + i] *= scale;
    }
}

void dn_weights_read(const struct weights *w, enum param param, int block, float *out,
                     int64_t *bad)
{
    size_t count = dn_param_elements(&w->config, param);

    if (!w->tensors) {
        dn_param_formula(&w->config, (struct param_ref){param, block, 0, 1}, w->seed, 0, count,
                         out);
        return;
    }
    if (param == PARAM_POS_EMBED && w->folded_class_position) {
        memset(out, 0, (size_t)w->config.dim * sizeof *out);
        out += w->config.dim;
        count -= (size_t)w->config.dim;
    }
    int parts = dn_param_parts(w->naming, param);
    for (int part = 0; part < parts; part++) {
        const struct weight_part *from = &dn_weights_parts(w, param, block)[part];
        size_t share = count / (size_t)parts;
        float *to = out + (size_t)part * share;
        *bad += (int64_t)dn_tensor_read(from->tensor, 0, share, to);
        if (from->scale)
            scale_rows(to, from, share);
    }
}

const void *dn_weights_view(const struct weights *w, enum param param, int block,
                            enum dino_dtype *dtype)
{
    if (!w->tensors || dn_param_parts(w->naming, param) > 1)
        return NULL;
    const struct dino_tensor *tensor = dn_weights_parts(w, param, block)->tensor;
    enum dino_dtype d = *dtype = tensor->dtype;
    bool usable = (d == DINO_F32 || d == DINO_F16 || d == DINO_BF16) &&
                  dn_tensor_contiguous(tensor) &&
                  (uintptr_t)tensor->data % dino_dtype_size(d) == 0 &&
                  !(param == PARAM_POS_EMBED && w->folded_class_position);
    return usable ? tensor->data : NULL;
}

bool dn_weights_int8(const struct weights *w, enum param param, int block)
{
    bool all = w->tensors != NULL;

    for (int part = 0; all && part < dn_param_parts(w->naming, param); part++) {
        const struct weight_part *p = &dn_weights_parts(w, param, block)[part];
        all = p->scale && dn_tensor_contiguous(p->tensor);
    }
    return all;
}

const int8_t *dn_weights_read_int8(const struct weights *w, enum param param, int block,
                                   int8_t *room, float *scale)
{
    const struct weight_part *from = dn_weights_parts(w, param, block);
    int parts = dn_param_parts(w->naming, param);
    size_t count = dn_param_elements(&w->config, param), share = count / (size_t)parts;

    for (int part = 0; part < parts; part++, from++) {
        size_t outputs = (size_t)from->scale->shape[0];
        dn_tensor_read(from->scale, 0, outputs, scale);
        scale += outputs;
        if (parts == 1)
            return from->tensor->data;
        memcpy(room + (size_t)part * share, from->tensor->data, share);
    }
    return room;
}

void dn_weights_drop(const struct weights *w, enum param param, int block)
{
    if (!w->tensors)
        return;
    for (int part = 0; part < dn_param_parts(w->naming, param); part++)
        dn_tensor_drop(w->tensors, dn_weights_parts(w, param, block)[part].tensor);
}
