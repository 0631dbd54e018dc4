/* Resampling of the stored position grid, bit for bit as PyTorch's float32 interpolation. */
#ifndef MODEL_POSITIONS_H
#define MODEL_POSITIONS_H

#include "model/vit_config.h"

/*
 * grid [grid_rows * grid_cols, dim] -> out [rows * cols, dim] by config->positions. A picture
 * whose grid equals the stored one takes the table as it is (the official shortcut asks for a
 * square picture with as many patches; Hugging Face for the same number of both).
 */
bool dn_positions_resample(const struct vit_config *config, const float *grid, int rows,
                           int cols, float *out, struct dino_error *err);

#endif
