/* The arithmetic of a ViT, counted: a multiplication and an addition are two. */
#ifndef CLI_BENCH_FLOPS_H
#define CLI_BENCH_FLOPS_H

#include "dino.h"

/* Of one picture of that size: patches, qkv, attention, projection and feed-forward; the
 * normalisations, activations and additions beside them are below one percent. */
double dn_picture_flops(const struct dino_model_info *info, int width, int height);

#endif
