#include "image/paint.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

static void nothing_covered(struct paint *p)
{
    p->left = p->image.width;
    p->top = p->image.height;
    p->right = p->bottom = 0;
}

bool dn_paint_init(struct paint *p, int width, int height, const uint8_t rgb[3],
                   struct dino_error *err)
{
    size_t area = (size_t)width * (size_t)height;

    *p = (struct paint){0};
    if (!dino_image_alloc(&p->image, width, height, err))
        return false;
    p->mask = dn_calloc(area, 1, "a picture's mask", err);
    if (!p->mask) {
        dino_image_release(&p->image);
        return false;
    }
    for (size_t i = 0; i < area; i++)
        memcpy(p->image.pixels + 3 * i, rgb, 3);
    nothing_covered(p);
    return true;
}

void dn_paint_release(struct paint *p)
{
    dino_image_release(&p->image);
    free(p->mask);
    *p = (struct paint){0};
}

/* The first pixel of [0, end] at or behind v. */
static int pixel(double v, int end)
{
    return v <= 0 ? 0 : v >= end ? end : (int)v;
}

static void touch(struct paint *p, int left, int top, int right, int bottom)
{
    p->left = left < p->left ? left : p->left;
    p->top = top < p->top ? top : p->top;
    p->right = right > p->right ? right : p->right;
    p->bottom = bottom > p->bottom ? bottom : p->bottom;
}

static void cover(uint8_t *mask, double share)
{
    uint8_t level = share >= 1 ? 255 : (uint8_t)(share * 255 + 0.5);

    if (share > 0 && level > *mask)
        *mask = level;
}

/* Pixels within half the thickness of the segment; one pixel wide is the soft edge. */
static void cover_segment(struct paint *p, struct point a, struct point b, double thickness)
{
    double reach = thickness / 2 + 1, dx = b.x - a.x, dy = b.y - a.y;
    double square = dx * dx + dy * dy;
    int left = pixel(fmin(a.x, b.x) - reach, p->image.width);
    int right = pixel(fmax(a.x, b.x) + reach + 1, p->image.width);
    int top = pixel(fmin(a.y, b.y) - reach, p->image.height);
    int bottom = pixel(fmax(a.y, b.y) + reach + 1, p->image.height);

    touch(p, left, top, right, bottom);
    for (int y = top; y < bottom; y++)
        for (int x = left; x < right; x++) {
            double px = x + 0.5 - a.x, py = y + 0.5 - a.y;
            double along = square > 0 ? fmin(fmax((px * dx + py * dy) / square, 0), 1) : 0;
            double away = hypot(px - along * dx, py - along * dy);
            cover(&p->mask[(size_t)y * (size_t)p->image.width + (size_t)x],
                  thickness / 2 + 0.5 - away);
        }
}

void dn_paint_cover(struct paint *p, const struct point *points, int count, double thickness)
{
    if (count == 1)
        cover_segment(p, points[0], points[0], thickness);
    for (int i = 1; i < count; i++)
        cover_segment(p, points[i - 1], points[i], thickness);
}

static void cover_column(struct paint *p, int x, double top, double bottom)
{
    int first = pixel(top, p->image.height), last = pixel(bottom + 1, p->image.height);

    touch(p, x, first, x + 1, last);
    for (int y = first; y < last; y++)
        cover(&p->mask[(size_t)y * (size_t)p->image.width + (size_t)x],
              fmin(bottom, y + 1) - fmax(top, y));
}

void dn_paint_cover_band(struct paint *p, const struct point *low, const struct point *high,
                         int count)
{
    for (int i = 1; i < count; i++) {
        double from = low[i - 1].x, to = low[i].x;
        int last = pixel(to, p->image.width);
        for (int x = pixel(from, p->image.width); x < last; x++) {
            double at = to > from ? fmin(fmax((x + 0.5 - from) / (to - from), 0), 1) : 0;
            double a = low[i - 1].y + at * (low[i].y - low[i - 1].y);
            double b = high[i - 1].y + at * (high[i].y - high[i - 1].y);
            cover_column(p, x, fmin(a, b), fmax(a, b));
        }
    }
}

void dn_paint_fill(struct paint *p, const uint8_t rgb[3], double opacity)
{
    for (int y = p->top; y < p->bottom; y++)
        for (int x = p->left; x < p->right; x++) {
            size_t at = (size_t)y * (size_t)p->image.width + (size_t)x;
            double share = opacity * p->mask[at] / 255;
            uint8_t *to = p->image.pixels + 3 * at;
            for (int c = 0; p->mask[at] && c < 3; c++)
                to[c] = (uint8_t)(to[c] + share * (rgb[c] - to[c]) + 0.5);
            p->mask[at] = 0;
        }
    nothing_covered(p);
}
