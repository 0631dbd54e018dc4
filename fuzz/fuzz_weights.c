/*
 * Any bytes as the weights of a network: whatever dn_weights_find accepts can be read, whole,
 * as f32 and, where it is int8, as bytes with scales that give the same numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "model/weights.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void read_param(const struct weights *w, struct param_ref ref)
{
    size_t count = dn_param_elements(&w->config, ref.param);
    int64_t shape[4], bad = 0;
    float *values = malloc(count * sizeof *values);

    check(values != NULL);
    dn_weights_read(w, ref.param, ref.block, values, &bad);
    dn_param_shape(&w->config, ref.param, shape);
    if (dn_weights_int8(w, ref.param, ref.block)) {
        size_t outputs = (size_t)shape[0], width = count / outputs;
        float *scale = malloc(outputs * sizeof *scale);
        int8_t *room = malloc(count);
        check(scale && room && bad == 0);
        const int8_t *bytes = dn_weights_read_int8(w, ref.param, ref.block, room, scale);
        for (size_t i = 0; i < count; i++)
            check(values[i] == (float)bytes[i] * scale[i / width]);
        free(room);
        free(scale);
    }
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dino_error err = {0};
    struct tensors tensors;
    struct weights w;

    if (!dn_tensors_open_bytes(&tensors, (struct span){data, size}, "input", &err))
        return 0;
    if (dn_weights_find(&w, &tensors, 1, &err)) {
        struct param_ref ref = dn_param_first();
        /* strides of zero make much of little */
        if (dn_vit_config_parameters(&w.config) < 1 << 20)
            do
                read_param(&w, ref);
            while (dn_param_next(&w.config, &ref));
        dn_weights_release(&w);
    } else {
        check(err.code != DINO_OK && err.message[0]);
    }
    dn_tensors_release(&tensors);
    return 0;
}
