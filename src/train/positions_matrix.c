#include "train/positions_matrix.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

static double cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return a * (((x - 5) * x + 8) * x - 4);
    return 0;
}

/* Four taps around the source coordinate; what falls outside goes to the border. */
static void plain_row(double *row, int stored, int i, double step)
{
    double at = step * (i + 0.5) - 0.5;
    int first = (int)floor(at) - 1;

    for (int j = first; j < first + 4; j++) {
        int to = j < 0 ? 0 : j > stored - 1 ? stored - 1 : j;
        row[to] += cubic(at - j, -0.75);
    }
}

/* The support widens when shrinking; borders renormalise. */
static void antialias_row(double *row, int stored, int i, double step)
{
    double wide = fmax(step, 1), centre = step * (i + 0.5), sum = 0;
    int first = (int)fmax(centre - 2 * wide + 0.5, 0);
    int last = (int)fmin(centre + 2 * wide + 0.5, stored);

    for (int j = first; j < last; j++)
        sum += row[j] = cubic((j - centre + 0.5) / wide, -0.5);
    for (int j = first; j < last; j++)
        row[j] /= sum;
}

/* axis [outputs, stored], zeroed. as dinov2/models/vision_transformer.py and
 * torch.nn.functional.interpolate: with the offset the scale factor decides, else the sizes */
static void axis_fill(double *axis, enum dino_positions kind, int stored, int outputs)
{
    double step = (double)stored / outputs;

    if (kind == DINO_POSITIONS_OFFSET)
        step = stored / (outputs + 0.1);
    for (int i = 0; i < outputs; i++) {
        double *row = axis + (size_t)i * (size_t)stored;
        if (kind == DINO_POSITIONS_ANTIALIAS)
            antialias_row(row, stored, i, step);
        else
            plain_row(row, stored, i, step);
    }
}

static bool same_grid(const struct vit_config *c, int rows, int cols)
{
    return rows == c->grid_rows && cols == c->grid_cols &&
           (c->positions != DINO_POSITIONS_OFFSET || rows == cols);
}

bool dn_positions_matrix(const struct vit_config *c, int rows, int cols, double *matrix,
                         struct dino_error *err)
{
    size_t stored = (size_t)c->grid_rows * (size_t)c->grid_cols;
    size_t down_size = (size_t)rows * (size_t)c->grid_rows;
    size_t across_size = (size_t)cols * (size_t)c->grid_cols;

    memset(matrix, 0, (size_t)rows * (size_t)cols * stored * sizeof *matrix);
    if (same_grid(c, rows, cols)) {
        for (size_t i = 0; i < stored; i++)
            matrix[i * stored + i] = 1;
        return true;
    }
    double *down = dn_calloc(down_size + across_size, sizeof *down, "position weights", err);
    if (!down)
        return false;
    double *across = down + down_size;
    axis_fill(down, c->positions, c->grid_rows, rows);
    axis_fill(across, c->positions, c->grid_cols, cols);

    for (int r = 0; r < rows; r++)
        for (int s = 0; s < cols; s++) {
            double *to = matrix + ((size_t)r * (size_t)cols + (size_t)s) * stored;
            for (int i = 0; i < c->grid_rows; i++)
                for (int j = 0; j < c->grid_cols; j++)
                    to[i * c->grid_cols + j] =
                        down[(size_t)r * (size_t)c->grid_rows + (size_t)i] *
                        across[(size_t)s * (size_t)c->grid_cols + (size_t)j];
        }
    free(down);
    return true;
}
