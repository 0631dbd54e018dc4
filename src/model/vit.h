/*
 * A vision transformer packed for one device: immutable, shared by every session. Matrices are
 * packed one at a time while the file's pages are let go behind them.
 */
#ifndef MODEL_VIT_H
#define MODEL_VIT_H

#include "compute/device.h"
#include "model/weights.h"

/* One transformer block; vectors lie in device memory, f32. */
struct vit_block {
    const float *norm1_weight, *norm1_bias, *ls1;
    const float *norm2_weight, *norm2_bias, *ls2; /* ls: NULL without LayerScale */
    const float *proj_bias, *out_bias; /* ls * bias, where the device scales; or NULL */
    struct weight *qkv, *proj;
    struct weight *in, *out; /* fc1, fc2 or w12, w3; identity FFN: out is the unit matrix */
};

struct vit {
    struct vit_config config;
    const struct device *device;
    struct weight *patch;
    struct vit_block *blocks; /* [depth] */
    const float *cls;         /* [dim] class token + its position */
    const float *registers;   /* [registers, dim] */
    const float *mask;        /* [dim], or NULL */
    const float *norm_weight, *norm_bias;
    float *grid; /* host [grid_rows * grid_cols, dim], resampled by sessions */

    float *vectors; /* device block that holds all of the above vectors */
    size_t vector_count;
    size_t packed_bytes;
    int64_t bad_values; /* NaN or infinite weights */
};

bool dn_vit_pack(struct vit *vit, const struct device *device, const struct weights *weights,
                 struct dino_error *err);
void dn_vit_release(struct vit *vit);

#endif
