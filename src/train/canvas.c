#include "train/canvas.h"

#include "base/file.h"

/* ---- SVG ---- */

static const char *const classes[INK_COUNT] = {"t", "f", "g", "a", "b", "c", "d"};

/* Lines are drawn in the colour of `color`, texts and bands filled with it. */
static const char head[] =
    "<style>\n"
    "svg{background:#fff;font-family:system-ui,-apple-system,'Segoe UI',sans-serif}\n"
    ".t{color:#1f2328}.f{color:#656d76}.g{color:#e4e7eb}\n"
    ".a{color:#2f6fd6}.b{color:#d9711c}.c{color:#26925f}.d{color:#9457c9}\n"
    "path{fill:none;stroke:currentColor;stroke-linecap:round;stroke-linejoin:round}\n"
    ".band{fill:currentColor;stroke:none;opacity:.18}text{fill:currentColor}\n"
    "@media (prefers-color-scheme:dark){svg{background:#15181c}.paper{fill:#15181c}\n"
    ".t{color:#e6e9ed}.f{color:#969fa9}.g{color:#2b3138}\n"
    ".a{color:#6ba4ff}.b{color:#ff9d57}.c{color:#5cc996}.d{color:#c594f0}}\n"
    "</style>\n";

static void svg_points(struct canvas *c, const struct point *points, int count, char first)
{
    for (int i = 0; i < count; i++)
        dn_str_addf(&c->svg, "%c%.1f %.1f", i ? 'L' : first, points[i].x, points[i].y);
}

static void svg_line(struct canvas *c, const struct point *points, int count, double thickness,
                     enum ink ink)
{
    dn_str_addf(&c->svg, "<path class=\"%s\" stroke-width=\"%.1f\" d=\"", classes[ink],
                thickness);
    svg_points(c, points, count, 'M');
    dn_str_add(&c->svg, count == 1 ? "h0\"/>\n" : "\"/>\n");
}

static void svg_band(struct canvas *c, const struct point *low, const struct point *high,
                     int count, enum ink ink)
{
    dn_str_addf(&c->svg, "<path class=\"%s band\" d=\"", classes[ink]);
    svg_points(c, low, count, 'M');
    for (int i = count; i-- > 0;)
        dn_str_addf(&c->svg, "L%.1f %.1f", high[i].x, high[i].y);
    dn_str_add(&c->svg, "Z\"/>\n");
}

static void svg_text(struct canvas *c, struct point at, enum align align, double size,
                     bool bold, const char *text, enum ink ink)
{
    static const char *const anchors[] = {"start", "middle", "end"};

    dn_str_addf(
        &c->svg,
        "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" font-size=\"%g\" text-anchor=\"%s\"%s>",
        classes[ink], at.x, at.y, size, anchors[align], bold ? " font-weight=\"600\"" : "");
    dn_str_add_xml(&c->svg, text);
    dn_str_add(&c->svg, "</text>\n");
}

static bool svg_write(struct canvas *c, const char *path, struct dino_error *err)
{
    struct output out;

    dn_str_add(&c->svg, "</svg>\n");
    if (c->svg.failed)
        return dn_fail_memory(err, c->svg.size, "a plot");
    if (!dn_output_open(&out, path, err))
        return false;
    bool ok =
        dn_output_write(&out, c->svg.text, c->svg.size, err) && dn_output_commit(&out, err);
    dn_output_release(&out);
    return ok;
}

static const struct canvas_ops svg_ops = {svg_line, svg_band, svg_text, svg_write};

bool dn_canvas_svg(struct canvas *c, int width, int height, struct dino_error *err)
{
    *c = (struct canvas){.ops = &svg_ops, .width = width, .height = height};
    dn_str_addf(&c->svg,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                "viewBox=\"0 0 %d %d\">\n%s"
                "<rect class=\"paper\" width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
                width, height, width, height, head, width, height);
    return !c->svg.failed || dn_fail_memory(err, c->svg.size, "a plot");
}

/* ---- PNG ---- */

enum { ZOOM = 2, MOST_POINTS = 1024 };

static const uint8_t colours[INK_COUNT][3] = {
    {0x1f, 0x23, 0x28}, {0x65, 0x6d, 0x76}, {0xe4, 0xe7, 0xeb}, {0x2f, 0x6f, 0xd6},
    {0xd9, 0x71, 0x1c}, {0x26, 0x92, 0x5f}, {0x94, 0x57, 0xc9},
};

static int zoomed(const struct point *from, int count, struct point to[MOST_POINTS])
{
    int taken = count < MOST_POINTS ? count : MOST_POINTS;

    for (int i = 0; i < taken; i++)
        to[i] = (struct point){from[i].x * ZOOM, from[i].y * ZOOM};
    return taken;
}

static void png_line(struct canvas *c, const struct point *points, int count, double thickness,
                     enum ink ink)
{
    struct point large[MOST_POINTS];

    count = zoomed(points, count, large);
    dn_paint_cover(&c->paint, large, count, thickness * ZOOM);
    dn_paint_fill(&c->paint, colours[ink], 1);
}

static void png_band(struct canvas *c, const struct point *low, const struct point *high,
                     int count, enum ink ink)
{
    struct point below[MOST_POINTS], above[MOST_POINTS];

    zoomed(high, count, above);
    count = zoomed(low, count, below);
    dn_paint_cover_band(&c->paint, below, above, count);
    dn_paint_fill(&c->paint, colours[ink], 0.18);
}

static void png_text(struct canvas *c, struct point at, enum align align, double size,
                     bool bold, const char *text, enum ink ink)
{
    double width = dn_paint_text_width(text, size * ZOOM), thick = bold ? 0.13 : 0.09;
    double share = align == ALIGN_LEFT ? 0 : align == ALIGN_MIDDLE ? 0.5 : 1;

    dn_paint_cover_text(&c->paint, at.x * ZOOM - share * width, at.y * ZOOM, text, size * ZOOM,
                        thick * size * ZOOM);
    dn_paint_fill(&c->paint, colours[ink], 1);
}

static bool png_write(struct canvas *c, const char *path, struct dino_error *err)
{
    return dino_image_write(&c->paint.image, path, err);
}

static const struct canvas_ops png_ops = {png_line, png_band, png_text, png_write};

bool dn_canvas_png(struct canvas *c, int width, int height, struct dino_error *err)
{
    static const uint8_t paper[3] = {255, 255, 255};

    *c = (struct canvas){.ops = &png_ops, .width = width, .height = height};
    return dn_paint_init(&c->paint, ZOOM * width, ZOOM * height, paper, err);
}

void dn_canvas_release(struct canvas *c)
{
    dn_str_release(&c->svg);
    dn_paint_release(&c->paint);
    *c = (struct canvas){0};
}
