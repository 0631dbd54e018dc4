#include "pca_sheet.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

enum { GAP = 8 }; /* pixels of white between pictures */

static uint8_t level(float value)
{
    return (uint8_t)lrintf(255.0F * fminf(fmaxf(value, 0.0F), 1.0F));
}

/* Where pixel `at` of `size` falls between the centres of `cells`: the lower cell and the
 * share of the one above it. */
static int between(int at, int size, int cells, float *share)
{
    float where = ((float)at + 0.5F) * (float)cells / (float)size - 0.5F;

    where = fminf(fmaxf(where, 0.0F), (float)(cells - 1));
    int low = (int)where;
    if (low > cells - 2)
        low = cells > 1 ? cells - 2 : 0;
    *share = where - (float)low;
    return low;
}

static void paint_smooth(uint8_t *pixel, const float *rgb, int rows, int cols, int row, int col,
                         float down, float right)
{
    ptrdiff_t below = rows > 1 ? (ptrdiff_t)3 * cols : 0, beside = cols > 1 ? 3 : 0;
    const float *a = rgb + 3 * ((size_t)row * (size_t)cols + (size_t)col);

    for (int c = 0; c < 3; c++, a++) {
        float top = a[0] + right * (a[beside] - a[0]);
        float bottom = a[below] + right * (a[below + beside] - a[below]);
        pixel[c] = level(top + down * (bottom - top));
    }
}

bool dn_paint(struct dino_image *to, int width, int height, const float *rgb, int rows,
              int cols, bool smooth, struct dino_error *err)
{
    if (!dino_image_alloc(to, width, height, err))
        return false;
    uint8_t *pixel = to->pixels;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, pixel += 3) {
            if (smooth) {
                float down, right;
                int row = between(y, height, rows, &down);
                int col = between(x, width, cols, &right);
                paint_smooth(pixel, rgb, rows, cols, row, col, down, right);
                continue;
            }
            size_t row = (size_t)y * (size_t)rows / (size_t)height;
            size_t col = (size_t)x * (size_t)cols / (size_t)width;
            const float *cell = rgb + 3 * (row * (size_t)cols + col);
            for (int c = 0; c < 3; c++)
                pixel[c] = level(cell[c]);
        }
    return true;
}

static void put(struct dino_image *to, const struct dino_image *from, int x, int y)
{
    size_t width = (size_t)to->width;

    for (int row = 0; row < from->height; row++)
        memcpy(to->pixels + 3 * ((size_t)(y + row) * width + (size_t)x),
               from->pixels + 3 * (size_t)row * (size_t)from->width, 3 * (size_t)from->width);
}

static bool white(struct dino_image *to, int64_t width, int64_t height, struct dino_error *err)
{
    if (width > INT_MAX || height > INT_MAX)
        return dn_fail(err, DINO_EARG,
                       "a sheet of %lld x %lld pixels is too large; name a folder instead",
                       (long long)width, (long long)height);
    if (!dino_image_alloc(to, (int)width, (int)height, err))
        return false;
    memset(to->pixels, 255, 3 * (size_t)width * (size_t)height);
    return true;
}

bool dn_paint_pair(struct dino_image *to, const struct dino_image *left,
                   const struct dino_image *right, struct dino_error *err)
{
    if (!white(to, (int64_t)left->width + GAP + right->width, left->height, err))
        return false;
    put(to, left, 0, 0);
    put(to, right, left->width + GAP, 0);
    return true;
}

bool dn_paint_sheet(struct dino_image *to, struct dino_image *pictures, int count,
                    struct dino_error *err)
{
    int64_t height = -GAP;
    int width = 1, y = 0;

    for (int i = 0; i < count; i++) {
        height += pictures[i].height + GAP;
        if (pictures[i].width > width)
            width = pictures[i].width;
    }
    if (!white(to, width, height, err))
        return false;
    for (int i = 0; i < count; i++) {
        put(to, &pictures[i], 0, y);
        y += pictures[i].height + GAP;
        dino_image_release(&pictures[i]);
    }
    return true;
}
