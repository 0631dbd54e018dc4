#include "train/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "dino_train.h"
#include "train/plot_scale.h"

enum {
    COLUMNS = 3,
    MOST_SERIES = 4,
    PANEL_WIDTH = PLOT_WIDTH / COLUMNS,
    PANEL_HEIGHT = 232,
    TITLE = 64
};

/* Inside a panel: what the numbers beside the axes and the names above take. */
static const double LEFT = 58, RIGHT = 22, TOP = 50, BOTTOM = 30;

/* Curves that share an axis. */
struct panel {
    const char *title;
    struct {
        enum curve curve;
        const char *name;
    } series[MOST_SERIES];
    int count;
    bool logarithmic; /* where the numbers span decades */
    bool from_zero, to_one;
    const char *unit;
};

static const struct panel panels[] = {
    {"loss", {{CURVE_TOTAL}}, 1, .logarithmic = true},
    {"parts of the loss",
     {{CURVE_DINO_GLOBAL, "DINO global"},
      {CURVE_DINO_LOCAL, "local"},
      {CURVE_IBOT, "iBOT"},
      {CURVE_KOLEO, "KoLeo"}},
     4},
    {"k-NN of the teacher", {{CURVE_KNN}}, 1, .unit = " %"},
    {"norms of gradients",
     {{CURVE_NORM_BACKBONE, "backbone"},
      {CURVE_NORM_DINO, "DINO head"},
      {CURVE_NORM_IBOT, "iBOT head"}},
     3,
     .logarithmic = true},
    {"entropy",
     {{CURVE_TEACHER_ENTROPY, "a target's"}, {CURVE_PROTOTYPE_ENTROPY, "all prototypes"}},
     2,
     .from_zero = true,
     .to_one = true},
    {"spread of features", {{CURVE_SPREAD}}, 1, .from_zero = true},
    {"rank of features", {{CURVE_RANK}}, 1, .from_zero = true},
    {"learning rate",
     {{CURVE_LR, "network"}, {CURVE_LAST_LAYER_LR, "last layer"}},
     2,
     .from_zero = true},
    {"weight decay", {{CURVE_WEIGHT_DECAY}}, 1},
    {"momentum of the teacher", {{CURVE_MOMENTUM}}, 1},
    {"temperature of the teacher", {{CURVE_TEACHER_TEMP}}, 1},
    {"seconds a step",
     {{CURVE_STEP_SECONDS, "all"}, {CURVE_DATA_SECONDS, "waiting for pictures"}},
     2,
     .from_zero = true},
};

enum { PANELS = sizeof panels / sizeof *panels };

static bool has_points(const struct curves *c, enum curve curve)
{
    for (int i = 0; i < CURVE_POINTS; i++)
        if (c->points[curve][i].count)
            return true;
    return false;
}

static bool is_shown(const struct curves *c, const struct panel *panel)
{
    for (int k = 0; k < panel->count; k++)
        if (has_points(c, panel->series[k].curve))
            return true;
    return false;
}

static double mean_of(const struct curve_point *p)
{
    return p->sum / (double)p->count;
}

/* Of the means: a single wild step may leave the panel. */
static struct scale scale_of(const struct curves *c, const struct panel *panel)
{
    double low = INFINITY, high = -INFINITY;

    for (int k = 0; k < panel->count; k++)
        for (int i = 0; i < CURVE_POINTS; i++) {
            const struct curve_point *p = &c->points[panel->series[k].curve][i];
            if (!p->count)
                continue;
            low = fmin(low, mean_of(p));
            high = fmax(high, mean_of(p));
        }
    bool logarithmic = panel->logarithmic && low > 0 && high / low > 30;
    if (panel->from_zero && low > 0)
        low = 0;
    if (panel->to_one && high < 1)
        high = 1;
    if (logarithmic)
        return dn_scale(low / 1.2, high * 1.2, true, 4);
    double room = 0.04 * (high - low);
    if (low != 0)
        low -= room;
    if (!panel->to_one || high > 1)
        high += room;
    return dn_scale(low, high, false, 4);
}

/* ---- drawing ---- */

/* One panel on the canvas: its place, and the box of its curves. */
struct frame {
    struct canvas *canvas;
    const struct curves *curves;
    struct scale x, y;
    double left, top, box_left, box_top, box_right, box_bottom;
};

static double place_x(const struct frame *f, double step)
{
    return f->box_left + dn_scale_at(&f->x, step) * (f->box_right - f->box_left);
}

static double place_y(const struct frame *f, double value)
{
    return f->box_bottom - dn_scale_at(&f->y, value) * (f->box_bottom - f->box_top);
}

static void put_line(const struct frame *f, double x0, double y0, double x1, double y1,
                     double thickness, enum ink ink)
{
    const struct point ends[] = {{x0, y0}, {x1, y1}};

    f->canvas->ops->line(f->canvas, ends, 2, thickness, ink);
}

static void put_text(const struct frame *f, double x, double y, enum align align, double size,
                     const char *text, enum ink ink)
{
    f->canvas->ops->text(f->canvas, (struct point){x, y}, align, size, false, text, ink);
}

static void draw_axes(const struct frame *f)
{
    for (int i = 0; i < f->y.count; i++) {
        double y = place_y(f, f->y.ticks[i]);
        put_line(f, f->box_left, y, f->box_right, y, 1, INK_GRID);
        put_text(f, f->box_left - 8, y + 4, ALIGN_RIGHT, 11, f->y.labels[i], INK_FAINT);
    }
    for (int i = 0; i < f->x.count; i++) {
        double x = place_x(f, f->x.ticks[i]);
        put_line(f, x, f->box_bottom, x, f->box_bottom + 4, 1, INK_FAINT);
        put_text(f, x, f->box_bottom + 17, ALIGN_MIDDLE, 11, f->x.labels[i], INK_FAINT);
    }
    put_line(f, f->box_left, f->box_bottom, f->box_right, f->box_bottom, 1, INK_FAINT);
}

/* Where points are few, each is seen. */
static void draw_curve(const struct frame *f, enum curve curve, enum ink ink)
{
    enum { FEW = 40 };
    struct point middle[CURVE_POINTS], low[CURVE_POINTS], high[CURVE_POINTS];
    const struct canvas_ops *ops = f->canvas->ops;
    double width = (double)f->curves->width;
    bool wide = false;
    int count = 0;

    for (int i = 0; i < CURVE_POINTS; i++) {
        const struct curve_point *p = &f->curves->points[curve][i];
        if (!p->count)
            continue;
        double x = place_x(f, (i + 0.5) * width + 0.5);
        middle[count] = (struct point){x, place_y(f, mean_of(p))};
        low[count] = (struct point){x, place_y(f, p->low)};
        high[count++] = (struct point){x, place_y(f, p->high)};
        wide |= p->count > 1;
    }
    if (wide)
        ops->band(f->canvas, low, high, count, ink);
    if (count > 0)
        ops->line(f->canvas, middle, count, 1.6, ink);
    for (int i = 0; count < FEW && i < count; i++)
        ops->line(f->canvas, &middle[i], 1, 5, ink);
}

/* Names and last numbers of the curves, in their colours. */
static void draw_names(const struct frame *f, const struct panel *panel)
{
    double x = f->box_left;
    char number[16], text[80];

    for (int k = 0; k < panel->count; k++) {
        enum curve curve = panel->series[k].curve;
        if (!has_points(f->curves, curve))
            continue;
        dn_scale_number(f->curves->last[curve], number);
        if (!panel->series[k].name) {
            snprintf(text, sizeof text, "%s%s", number, panel->unit ? panel->unit : "");
            put_text(f, f->box_right, f->top + 22, ALIGN_RIGHT, 13, text, INK_SERIES);
            continue;
        }
        snprintf(text, sizeof text, "%s %s", panel->series[k].name, number);
        put_text(f, x, f->top + 40, ALIGN_LEFT, 11, text, (enum ink)(INK_SERIES + k));
        x += 1.06 * dn_paint_text_width(text, 11) + 12;
    }
}

static void draw_panel(struct frame *f, const struct panel *panel)
{
    f->y = scale_of(f->curves, panel);
    f->box_left = f->left + LEFT;
    f->box_right = f->left + PANEL_WIDTH - RIGHT;
    f->box_top = f->top + TOP;
    f->box_bottom = f->top + PANEL_HEIGHT - BOTTOM;
    f->canvas->ops->text(f->canvas, (struct point){f->box_left, f->top + 22}, ALIGN_LEFT, 13,
                         true, panel->title, INK_TEXT);
    draw_axes(f);
    for (int k = 0; k < panel->count; k++)
        draw_curve(f, panel->series[k].curve, (enum ink)(INK_SERIES + k));
    draw_names(f, panel);
}

int dn_plot_height(const struct curves *curves)
{
    int shown = 0;

    for (int i = 0; i < PANELS; i++)
        shown += is_shown(curves, &panels[i]);
    return TITLE + (shown + COLUMNS - 1) / COLUMNS * PANEL_HEIGHT + 12;
}

void dn_plot_draw(struct canvas *canvas, const struct curves *curves, const char *title)
{
    struct frame frame = {.canvas = canvas, .curves = curves};
    double steps = (double)curves->steps;
    char text[64];
    int shown = 0;

    frame.x = dn_scale(0, steps, false, 5);
    snprintf(text, sizeof text, "%lld step%s", (long long)curves->steps,
             curves->steps == 1 ? "" : "s");
    canvas->ops->text(canvas, (struct point){LEFT, 40}, ALIGN_LEFT, 19, true, title, INK_TEXT);
    canvas->ops->text(canvas, (struct point){canvas->width - RIGHT, 40}, ALIGN_RIGHT, 13, false,
                      text, INK_FAINT);
    for (int i = 0; i < PANELS; i++) {
        if (!is_shown(curves, &panels[i]))
            continue;
        frame.left = (double)(shown % COLUMNS) * PANEL_WIDTH;
        frame.top = TITLE + (double)(shown / COLUMNS) * PANEL_HEIGHT;
        draw_panel(&frame, &panels[i]);
        shown++;
    }
}

/* ---- the door ---- */

static bool read_curves(struct curves *curves, const char *path, struct dino_error *err)
{
    FILE *file = fopen(path, "re");
    struct stat info;

    if (!file)
        return dn_fail_errno(err, "%s", path);
    bool ok = fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode);
    if (!ok)
        dn_fail(err, DINO_EIO, "%s: is no file, wanted a line of JSON a step", path);
    ok = ok && dn_curves_read(curves, file, path, err);
    fclose(file);
    if (ok && curves->lines == 0)
        return curves->unreadable
                   ? dn_fail(err, DINO_EFORMAT, "%s: none of its %lld lines is a step of a run",
                             path, (long long)curves->unreadable)
                   : dn_fail(err, DINO_EFORMAT, "%s: no step is written down yet", path);
    return ok;
}

static bool write_plot(const struct curves *curves, const char *title, const char *output,
                       struct dino_error *err)
{
    int height = dn_plot_height(curves);
    struct canvas canvas = {0};
    bool ok = dn_ends_with(output, ".png") ? dn_canvas_png(&canvas, PLOT_WIDTH, height, err)
                                           : dn_canvas_svg(&canvas, PLOT_WIDTH, height, err);

    if (ok) {
        dn_plot_draw(&canvas, curves, title);
        ok = canvas.ops->write(&canvas, output, err);
    }
    dn_canvas_release(&canvas);
    return ok;
}

bool dino_train_plot(const char *run, const char *output, struct dino_train_curves *result,
                     struct dino_error *err)
{
    bool folder = dn_is_dir(run);

    if (!dn_ends_with(output, ".svg") && !dn_ends_with(output, ".png"))
        return dn_fail(err, DINO_EARG, "%s: wanted a name that ends in .svg or .png", output);
    char *path = folder ? dn_path_join(run, "training_metrics.json", err) : dn_strdup(run, err);
    char *title = folder ? realpath(run, NULL) : NULL;
    struct curves *curves = dn_calloc(1, sizeof *curves, "curves", err);
    bool ok = path && curves && read_curves(curves, path, err) &&
              write_plot(curves, dn_path_base(title ? title : run), output, err);
    if (ok && result)
        *result = (struct dino_train_curves){curves->steps, curves->lines, curves->unreadable};
    free(curves);
    free(title);
    free(path);
    return ok;
}
