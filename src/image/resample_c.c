/* The resampler's two passes in plain C: the definition, and the fallback. */
#include "image/resample.h"

/* Also right where the input has fewer elements than taps. */
static void across_row(const struct resample_axis *axis, uint8_t *to, const uint8_t *from)
{
    int taps = axis->taps < axis->in ? axis->taps : axis->in;

    for (int i = 0; i < axis->out; i++, to += 3) {
        const int32_t *weights = axis->weights + (size_t)i * (size_t)axis->taps;
        const uint8_t *p = from + (size_t)axis->first[i] * 3;
        int32_t red = 0, green = 0, blue = 0;

        for (int t = 0; t < taps; t++, p += 3) {
            red += weights[t] * p[0];
            green += weights[t] * p[1];
            blue += weights[t] * p[2];
        }
        to[0] = dn_resample_round(red);
        to[1] = dn_resample_round(green);
        to[2] = dn_resample_round(blue);
    }
}

static void across(const struct resample_axis *axis, uint8_t *const to[RESAMPLE_GROUP],
                   const uint8_t *const from[RESAMPLE_GROUP])
{
    for (int r = 0; r < RESAMPLE_GROUP; r++)
        across_row(axis, to[r], from[r]);
}

static void down(uint8_t *to, const uint8_t *const *from, const int32_t *weights, int taps,
                 size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        int32_t sum = 0;
        for (int t = 0; t < taps; t++)
            sum += weights[t] * from[t][i];
        to[i] = dn_resample_round(sum);
    }
}

const struct resample_kernels dn_resample_c = {.across = across, .down = down};
