/* What the targets for files of tensors share: open, then read every tensor's two ends. */
#ifndef FUZZ_TENSORS_H
#define FUZZ_TENSORS_H

#include <stdlib.h>

#include "format/tensors.h"

static inline void fuzz_tensors(const uint8_t *data, size_t size)
{
    struct dino_error err = {0};
    struct tensors t;
    float values[64];

    if (!dn_tensors_open_bytes(&t, (struct span){data, size}, "input", &err)) {
        if (err.code == DINO_OK || !err.message[0])
            abort(); /* failed without a word */
        return;
    }
    for (size_t i = 0; i < t.count; i++) {
        size_t count = (size_t)dn_tensor_elements(&t.items[i]);
        size_t some = count < 64 ? count : 64;
        dn_tensor_read(&t.items[i], 0, some, values);
        dn_tensor_read(&t.items[i], count - some, some, values);
        if (dn_tensors_find(&t, t.items[i].name) != &t.items[i])
            abort();
    }
    dn_tensors_release(&t);
}

#endif
