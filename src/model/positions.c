#include "model/positions.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* The taps that make one axis: `most` slots an output coordinate. */
struct axis {
    int most;
    int *count; /* [outputs] */
    int *index; /* [outputs, most] */
    float *weight;
};

static void axis_release(struct axis *axis)
{
    free(axis->count);
    free(axis->index);
    free(axis->weight);
}

static bool axis_init(struct axis *axis, int outputs, int most, struct dino_error *err)
{
    size_t slots;

    *axis = (struct axis){.most = most};
    if (!dn_size_mul((size_t)outputs, (size_t)most, &slots))
        return dn_fail_memory(err, SIZE_MAX, "position weights");
    axis->count = dn_calloc((size_t)outputs, sizeof *axis->count, "position weights", err);
    axis->index = dn_calloc(slots, sizeof *axis->index, "position weights", err);
    axis->weight = dn_calloc(slots, sizeof *axis->weight, "position weights", err);
    if (axis->count && axis->index && axis->weight)
        return true;
    axis_release(axis);
    return false;
}

/*
 * Plain bicubic, A = -0.75, four taps with clamped indices. `step` is source steps per output
 * step: 1/scale where the caller asked by scale factor (official, offset 0.1), else the ratio
 * of sizes. All in float32, as upsample_bicubic2d computes it.
 */
static void plain_taps(struct axis *axis, int stored, int outputs, float step)
{
    const float a = -0.75F;

    for (int i = 0; i < outputs; i++) {
        float u = step * ((float)i + 0.5F) - 0.5F;
        int k = (int)fminf(floorf(u), (float)(stored - 1));
        float t = fminf(fmaxf(u - (float)k, 0), 1);
        float x0 = t + 1, x1 = t, x2 = 1 - t, x3 = 2 - t;
        float weight[4] = {
            ((a * x0 - 5 * a) * x0 + 8 * a) * x0 - 4 * a,
            ((a + 2) * x1 - (a + 3)) * x1 * x1 + 1,
            ((a + 2) * x2 - (a + 3)) * x2 * x2 + 1,
            ((a * x3 - 5 * a) * x3 + 8 * a) * x3 - 4 * a,
        };
        axis->count[i] = 4;
        for (int j = 0; j < 4; j++) {
            int at = k - 1 + j;
            axis->index[i * 4 + j] = at < 0 ? 0 : at > stored - 1 ? stored - 1 : at;
            axis->weight[i * 4 + j] = weight[j];
        }
    }
}

static float antialias_kernel(float x)
{
    const float a = -0.5F;

    x = fabsf(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return a * (((x - 5) * x + 8) * x - 4);
    return 0;
}

/* Antialiased bicubic, a = -0.5: the support widens when shrinking, borders renormalise. */
static void antialias_taps(struct axis *axis, int stored, int outputs, float step)
{
    float wide = fmaxf(step, 1), support = 2 * wide, inverse = 1 / wide;

    for (int i = 0; i < outputs; i++) {
        float centre = step * ((float)i + 0.5F), sum = 0;
        int first = (int)(centre - support + 0.5F), last = (int)(centre + support + 0.5F);
        first = first < 0 ? 0 : first;
        last = last > stored ? stored : last;
        int count = last - first < axis->most ? last - first : axis->most;
        float *weight = axis->weight + (size_t)i * (size_t)axis->most;
        int *index = axis->index + (size_t)i * (size_t)axis->most;

        for (int j = 0; j < count; j++) {
            weight[j] = antialias_kernel(((float)(j + first) - centre + 0.5F) * inverse);
            sum += weight[j];
        }
        for (int j = 0; j < count; j++) {
            weight[j] = sum != 0 ? weight[j] / sum : weight[j];
            index[j] = first + j;
        }
        axis->count[i] = count;
    }
}

static bool axis_make(struct axis *axis, enum dino_positions positions, int stored, int outputs,
                      struct dino_error *err)
{
    float step = (float)stored / (float)outputs;

    if (positions == DINO_POSITIONS_ANTIALIAS) {
        int most = 2 * (int)ceilf(2 * fmaxf(step, 1)) + 1;
        if (!axis_init(axis, outputs, most, err))
            return false;
        antialias_taps(axis, stored, outputs, step);
        return true;
    }
    if (positions == DINO_POSITIONS_OFFSET) /* the 0.1 keeps the size from being truncated */
        step = (float)(1.0 / ((outputs + 0.1) / stored));
    if (!axis_init(axis, outputs, 4, err))
        return false;
    plain_taps(axis, stored, outputs, step);
    return true;
}

/* out[i, :] = sum_j weight[j] * rows[index[j], :], rows `stride` floats apart. */
static void combine(const struct axis *axis, int i, const float *rows, size_t stride, int dim,
                    float *out)
{
    const float *weight = axis->weight + (size_t)i * (size_t)axis->most;
    const int *index = axis->index + (size_t)i * (size_t)axis->most;

    for (int d = 0; d < dim; d++)
        out[d] = 0;
    for (int j = 0; j < axis->count[i]; j++) {
        const float *row = rows + (size_t)index[j] * stride;
        for (int d = 0; d < dim; d++)
            out[d] += weight[j] * row[d];
    }
}

static bool same_grid(const struct vit_config *c, int rows, int cols)
{
    if (rows == c->grid_rows && cols == c->grid_cols)
        return c->positions != DINO_POSITIONS_OFFSET || rows == cols;
    return false;
}

bool dn_positions_resample(const struct vit_config *c, const float *grid, int rows, int cols,
                           float *out, struct dino_error *err)
{
    size_t dim = (size_t)c->dim, middle_size;
    struct axis across = {0}, down = {0};
    float *middle = NULL;
    bool ok = false;

    if (same_grid(c, rows, cols)) {
        memcpy(out, grid, (size_t)rows * (size_t)cols * dim * sizeof *out);
        return true;
    }
    if (!dn_size_mul((size_t)c->grid_rows * (size_t)cols, dim, &middle_size) ||
        !axis_make(&across, c->positions, c->grid_cols, cols, err) ||
        !axis_make(&down, c->positions, c->grid_rows, rows, err))
        goto done;
    middle = dn_calloc(middle_size, sizeof *middle, "position embeddings", err);
    if (!middle)
        goto done;

    /* width first, then height, the intermediate in float32 */
    for (int r = 0; r < c->grid_rows; r++)
        for (int s = 0; s < cols; s++)
            combine(&across, s, grid + (size_t)r * (size_t)c->grid_cols * dim, dim, c->dim,
                    middle + ((size_t)r * (size_t)cols + (size_t)s) * dim);
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < cols; s++)
            combine(&down, r, middle + (size_t)s * dim, (size_t)cols * dim, c->dim,
                    out + ((size_t)r * (size_t)cols + (size_t)s) * dim);
    ok = true;
done:
    free(middle);
    axis_release(&across);
    axis_release(&down);
    return ok;
}
