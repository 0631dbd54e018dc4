/*
 * Resampling of the stored position grid as a matrix: positions = matrix . grid, and the
 * gradient goes back through its transpose. Taps are computed in double, so that they are
 * what PyTorch's float32 ones approximate; inference copies those bit for bit
 * (model/positions.h).
 */
#ifndef TRAIN_POSITIONS_MATRIX_H
#define TRAIN_POSITIONS_MATRIX_H

#include "model/vit_config.h"

/* matrix [rows * cols, grid_rows * grid_cols]; the identity where model/positions.h takes the
 * table as it is. */
bool dn_positions_matrix(const struct vit_config *config, int rows, int cols, double *matrix,
                         struct dino_error *err);

#endif
