#include "train/cosine_weights.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static float *values_of(const struct params_table *t, float *values, enum param param)
{
    return dn_params_backbone(t, values, DINO_F32, param, -1).data;
}

/* The frequency (u down, v across) of the index-th cosine of a patch, low ones first. */
static void frequency(int index, int patch, int *u, int *v)
{
    for (int sum = 0;; sum++)
        for (*u = 0; *u <= sum; ++*u) {
            *v = sum - *u;
            if (*u < patch && *v < patch && index-- == 0)
                return;
        }
}

/* What filter f looks at: a frequency of brightness (the first half of the filters) or of one
 * of two differences of colours, and how much to make of it. */
struct look {
    int u, v;
    double mix[3]; /* of red, green, blue; of length 1 */
    double gain;
};

/* Pictures have little of what is fine, about 1 / frequency, and of what is coloured: gains
 * bring all answers to about the same size. */
static struct look look_of(int f, int filters, int patch)
{
    static const double mixes[3][3] = {
        {0.5773502692, 0.5773502692, 0.5773502692},
        {0.7071067812, 0, -0.7071067812},
        {0.4082482905, -0.8164965809, 0.4082482905},
    };
    static const double colour_gain[] = {1, 4, 6};
    int brightness = (filters + 1) / 2, first = (filters - brightness + 1) / 2;
    int colour = f < brightness ? 0 : f < brightness + first ? 1 : 2;
    int index = colour == 0 ? f : f - brightness - (colour == 2 ? first : 0);
    struct look look;

    frequency(index, patch, &look.u, &look.v);
    for (int c = 0; c < 3; c++)
        look.mix[c] = mixes[colour][c];
    bool flat = look.u == 0 && look.v == 0;
    look.gain =
        0.5 * colour_gain[colour] / patch * (flat ? 1 : 3 * pow(hypot(look.u, look.v), 0.8));
    return look;
}

static void first_filters(const struct vit_config *vit, float *filter)
{
    int patch = vit->patch;

    for (int f = 0; f < vit->dim; f++) {
        struct look look = look_of(f, vit->dim, patch);
        double unit = (look.u ? sqrt(2) : 1) * (look.v ? sqrt(2) : 1) / patch;
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < patch; y++)
                for (int x = 0; x < patch; x++)
                    *filter++ = (float)(look.gain * look.mix[c] * unit *
                                        cos(pi * look.u * (y + 0.5) / patch) *
                                        cos(pi * look.v * (x + 0.5) / patch));
    }
}

/* Sines and cosines of row and column, from half a wave over the grid to one over two patches,
 * a quarter of the width each. */
static void first_positions(const struct vit_config *vit, float *position)
{
    const double size = 0.5;
    int quarter = vit->dim / 4;

    for (int p = 0; p < vit->grid_rows * vit->grid_cols; p++) {
        double row = (double)(p / vit->grid_cols) / vit->grid_rows;
        double col = (double)(p % vit->grid_cols) / vit->grid_cols;
        position += vit->dim; /* the first is the class token's */
        for (int i = 0; i < quarter; i++) {
            double waves = 0.5 + (0.5 * vit->grid_rows - 0.5) * i / quarter;
            position[i] += (float)(size * sin(2 * pi * waves * row));
            position[quarter + i] += (float)(size * sin(2 * pi * waves * col));
            position[2 * quarter + i] += (float)(size * cos(2 * pi * waves * row));
            position[3 * quarter + i] += (float)(size * cos(2 * pi * waves * col));
        }
    }
}

void dn_cosine_weights(const struct params_table *table, float *values)
{
    const struct vit_config *vit = &table->config.backbone;

    first_positions(vit, values_of(table, values, PARAM_POS_EMBED));
    if (vit->channels == 3 && vit->dim <= vit->patch * vit->patch * 2)
        first_filters(vit, values_of(table, values, PARAM_PATCH_WEIGHT));
}
