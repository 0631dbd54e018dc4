/*
 * What each operation may differ from the reference in f64, by the dtype of its result: twice
 * the worst that was measured over all shapes and instruction sets (DINO_TEST_MEASURE=1 prints
 * it). l2: relative L2 norm. max: largest difference over the largest true value.
 */
#ifndef TOLERANCES_H
#define TOLERANCES_H

#include "dino.h"

static const struct tolerance {
    const char *op;
    enum dino_dtype dtype;
    double l2, max;
} tolerances[] = {
    {"linear", DINO_F32, 1e-6, 1e-6},        {"linear", DINO_BF16, 4e-3, 4e-3},
    {"attend", DINO_F32, 1e-6, 1e-6},        {"attend", DINO_BF16, 4e-3, 4e-3},
    {"attention_map", DINO_F32, 1e-6, 1e-6}, {"layernorm", DINO_F32, 1e-6, 1e-6},
    {"layernorm", DINO_BF16, 4e-3, 4e-3},    {"swiglu", DINO_F32, 1e-6, 1e-6},
    {"swiglu", DINO_BF16, 4e-3, 4e-3},       {"gelu", DINO_F32, 1e-6, 1e-6},
    {"gelu", DINO_BF16, 4e-3, 4e-3},         {"put_rows", DINO_F32, 1e-6, 1e-6},
    {"mean_rows", DINO_F32, 1e-6, 1e-6},
};

#endif
