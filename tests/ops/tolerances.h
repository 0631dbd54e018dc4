/*
 * What each operation may differ from the reference in f64, by the dtype of its result: twice
 * the worst that was measured over all shapes and instruction sets (DINO_TEST_MEASURE=1 prints
 * it). l2: relative L2 norm. max: largest difference over the largest true value.
 */
#ifndef TOLERANCES_H
#define TOLERANCES_H

#include <string.h>

#include "dino.h"

static const struct tolerance {
    const char *op;
    enum dino_dtype dtype;
    double l2, max;
} tolerances[] = {
    {"linear", DINO_F32, 9.1e-7, 1.6e-6},
    {"linear", DINO_BF16, 5.2e-3, 7.5e-3},
    {"linear", DINO_F16, 1e-3, 1e-3},
    {"linear tf32", DINO_F32, 1e-3, 1e-3},
    /* bytes on both sides: what 8 bits can hold, whatever the result is written in */
    {"linear int8", DINO_BF16, 2.8e-2, 3.3e-2},
    {"attend", DINO_F32, 2e-6, 5.7e-6},
    {"attend", DINO_BF16, 3.5e-3, 5.5e-3},
    {"attend", DINO_F16, 1e-3, 1e-3},
    /* scores up to 10,000, whose own rounding moves the probabilities */
    {"attend sharp", DINO_F32, 6.6e-6, 1.1e-4},
    {"attend sharp", DINO_BF16, 2.1e-3, 4.2e-3},
    {"attend sharp", DINO_F16, 1e-3, 1e-3},
    {"attention_map", DINO_F32, 1e-6, 2.2e-6},
    {"layernorm", DINO_F32, 2.1e-7, 4.4e-7},
    {"layernorm", DINO_BF16, 4e-3, 7.4e-3},
    {"layernorm", DINO_F16, 1e-3, 1e-3},
    /* a mean of 90 deviations */
    {"layernorm offset", DINO_F32, 4.3e-6, 3.1e-6},
    {"swiglu", DINO_F32, 1.5e-7, 2.2e-7},
    {"swiglu", DINO_BF16, 4.2e-3, 4.7e-3},
    {"swiglu", DINO_F16, 1e-3, 1e-3},
    {"gelu", DINO_F32, 7e-8, 1e-7},
    {"gelu", DINO_BF16, 2e-3, 3.3e-3},
    {"gelu", DINO_F16, 1e-3, 1e-3},
    {"put_rows", DINO_F32, 7e-8, 1.1e-7},
    {"mean_rows", DINO_F32, 2.6e-7, 3.5e-7},
    /* training: largest difference only */
    {"matmul", DINO_F32, 0, 3e-6},
    {"matmul", DINO_BF16, 0, 7.6e-3},
    {"matmul", DINO_F16, 0, 1.4e-3},
    {"matmul gelu", DINO_F32, 0, 3e-6},
    {"matmul gelu", DINO_BF16, 0, 8e-3},
    {"matmul gelu", DINO_F16, 0, 1.9e-3},
    {"attend_back", DINO_F32, 0, 5e-6},
    {"attend_back", DINO_BF16, 0, 7.1e-3},
    {"attend_back", DINO_F16, 0, 9.6e-4},
    {"train rows", DINO_F32, 0, 2e-6},
    {"train rows", DINO_BF16, 0, 7.5e-3},
    {"train rows", DINO_F16, 0, 7.4e-4},
    /* a golden training step in 16 bits against f64: losses by max; gradients of a module by
     * l2, of a single tensor, relative to its own norm, by max (docs/numerics.md) */
    {"train loss", DINO_BF16, 0, 5.4e-3},
    {"train gradient", DINO_BF16, 3.6e-2, 4.3e-2},
    {"train loss", DINO_F16, 0, 8.6e-4},
    {"train gradient", DINO_F16, 4.5e-3, 9.3e-3},
    /* a hundred steps on a GPU beside cpu: losses by max, the students' weights by l2 */
    {"train together", DINO_F32, 1.9e-4, 1.7e-7},
    {"train together", DINO_BF16, 2.2e-2, 1.6e-3},
    /* forty steps in f16 beside f32 */
    {"train together", DINO_F16, 4.4e-3, 8.4e-4},
};

static inline const struct tolerance *tolerance_of(const char *op, enum dino_dtype dtype)
{
    for (size_t i = 0; i < sizeof tolerances / sizeof *tolerances; i++)
        if (strcmp(tolerances[i].op, op) == 0 && tolerances[i].dtype == dtype)
            return &tolerances[i];
    return NULL;
}

#endif
