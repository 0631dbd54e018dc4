/*
 * Gaussian blur. Each row is blurred across once, into a ring of nine float rows; their
 * weighted sum is the output row in the middle. Rows are padded with their mirror image, and
 * to whole runs of sixteen floats so that the inner loops have fixed length.
 */
#include "image/blur.h"

#include <math.h>

#include "base/alloc.h"

enum { RUN = 16, MARGIN = 3 * BLUR_REACH };

void dn_blur_kernel(float kernel[BLUR_TAPS], double sigma)
{
    double sum = 0, weights[BLUR_TAPS];

    for (int t = 0; t < BLUR_TAPS; t++) {
        double x = (t - BLUR_REACH) / sigma;
        sum += weights[t] = exp(-0.5 * x * x);
    }
    for (int t = 0; t < BLUR_TAPS; t++)
        kernel[t] = (float)(weights[t] / sum);
}

/* The element that stands at place `i` of 0..size-1 mirrored without end. */
static int mirrored(int i, int size)
{
    int period = 2 * (size - 1);

    if (period == 0)
        return 0;
    i = abs(i) % period;
    return i < size ? i : period - i;
}

struct blur {
    float kernel[BLUR_TAPS];
    int width;     /* pixels */
    size_t stride; /* floats of a row, whole runs */
    float *wide;   /* one row between its margins [MARGIN + stride + MARGIN] */
    float *rows;   /* the ring [BLUR_TAPS, stride] */
};

/* Row of bytes to `to`, blurred across. */
static void blur_across(const struct blur *blur, float *restrict to, const uint8_t *from)
{
    float *restrict wide = blur->wide;
    int floats = 3 * blur->width;

    for (int i = 0; i < floats; i++)
        wide[MARGIN + i] = from[i];
    for (int x = 1; x <= BLUR_REACH; x++) {
        int left = mirrored(-x, blur->width),
            right = mirrored(blur->width - 1 + x, blur->width);
        for (int c = 0; c < 3; c++) {
            wide[MARGIN - 3 * x + c] = from[3 * left + c];
            wide[MARGIN + floats + 3 * (x - 1) + c] = from[3 * right + c];
        }
    }
    const float *k = blur->kernel;
    for (size_t run = 0; run < blur->stride; run += RUN)
        for (int i = 0; i < RUN; i++) {
            const float *p = wide + run + i;
            to[run + (size_t)i] = k[0] * (p[0] + p[24]) + k[1] * (p[3] + p[21]) +
                                  k[2] * (p[6] + p[18]) + k[3] * (p[9] + p[15]) + k[4] * p[12];
        }
}

/* The weighted sum of nine blurred rows, rounded to the nearest byte, half to even. */
static void blur_down(const struct blur *blur, uint8_t *to, const float *const row[BLUR_TAPS])
{
    const float integers = 0x1p23F; /* floats from here on have no fraction */
    const float *k = blur->kernel;
    size_t floats = 3 * (size_t)blur->width;

    for (size_t run = 0; run < floats; run += RUN) {
        float sum[RUN];
        for (int i = 0; i < RUN; i++) {
            size_t at = run + (size_t)i;
            float v = k[0] * (row[0][at] + row[8][at]) + k[1] * (row[1][at] + row[7][at]) +
                      k[2] * (row[2][at] + row[6][at]) + k[3] * (row[3][at] + row[5][at]) +
                      k[4] * row[4][at];
            sum[i] = (v + integers) - integers;
        }
        size_t n = floats - run < RUN ? floats - run : RUN;
        for (size_t i = 0; i < n; i++)
            to[run + i] = (uint8_t)(int)(sum[i] > 255 ? 255 : sum[i]);
    }
}

static float *ring_row(const struct blur *blur, int y)
{
    return blur->rows + (size_t)(y % BLUR_TAPS) * blur->stride;
}

/*
 * In the ring, row y lies at y mod 9. When row y is written in place, the rows up to y + 4 have
 * been blurred across already, and those behind the border are mirrored from rows that are in
 * the ring still: with fewer than nine rows all are.
 */
static void blur_image(const struct blur *blur, struct dino_image *image)
{
    size_t bytes = 3 * (size_t)image->width;
    int ready = 0;

    for (int y = 0; y < image->height; y++) {
        const float *row[BLUR_TAPS];
        for (; ready < image->height && ready <= y + BLUR_REACH; ready++)
            blur_across(blur, ring_row(blur, ready), image->pixels + (size_t)ready * bytes);
        for (int t = 0; t < BLUR_TAPS; t++)
            row[t] = ring_row(blur, mirrored(y + t - BLUR_REACH, image->height));
        blur_down(blur, image->pixels + (size_t)y * bytes, row);
    }
}

bool dn_blur(struct dino_image *image, double sigma, struct dino_error *err)
{
    struct blur blur = {.width = image->width};
    size_t rows, floats;

    if (!dn_size_mul((size_t)image->width, 3, &floats) ||
        !dn_size_add(floats, RUN - 1, &floats))
        return dn_fail_memory(err, SIZE_MAX, "a blur");
    blur.stride = floats / RUN * RUN;
    if (!dn_size_mul(blur.stride, BLUR_TAPS + 1, &rows) ||
        !dn_size_add(rows, 2 * MARGIN, &rows))
        return dn_fail_memory(err, SIZE_MAX, "a blur");
    blur.rows = dn_calloc(rows, sizeof *blur.rows, "a blur", err);
    if (!blur.rows)
        return false;
    blur.wide = blur.rows + BLUR_TAPS * blur.stride;
    dn_blur_kernel(blur.kernel, sigma);
    blur_image(&blur, image);
    free(blur.rows);
    return true;
}
