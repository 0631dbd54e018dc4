/* What a plot is drawn on: an SVG file, or a PNG of twice as many pixels. Places are in units
 * of SVG's, x to the right and y down; nothing is drawn outside by who draws. */
#ifndef TRAIN_CANVAS_H
#define TRAIN_CANVAS_H

#include "base/str.h"
#include "image/paint.h"

/* Colours have names, because SVG shows others on dark screens. */
enum ink { INK_TEXT, INK_FAINT, INK_GRID, INK_SERIES, INK_COUNT = INK_SERIES + 4 };

enum align { ALIGN_LEFT, ALIGN_MIDDLE, ALIGN_RIGHT };

struct canvas {
    const struct canvas_ops *ops;
    int width, height;
    struct str svg;
    struct paint paint;
};

struct canvas_ops {
    void (*line)(struct canvas *c, const struct point *points, int count, double thickness,
                 enum ink ink);
    /* Between two lines with the same ascending x, pale. */
    void (*band)(struct canvas *c, const struct point *low, const struct point *high, int count,
                 enum ink ink);
    /* `at`: the baseline at the text's left end, middle or right end. */
    void (*text)(struct canvas *c, struct point at, enum align align, double size, bool bold,
                 const char *text, enum ink ink);
    bool (*write)(struct canvas *c, const char *path, struct dino_error *err);
};

bool dn_canvas_svg(struct canvas *c, int width, int height, struct dino_error *err);
bool dn_canvas_png(struct canvas *c, int width, int height, struct dino_error *err);
void dn_canvas_release(struct canvas *c);

#endif
