/* Any bytes as a run's metrics, read and drawn: points stay in order and inside the picture. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/plot.h"

static void check(bool condition)
{
    if (!condition)
        __builtin_trap();
}

static void check_points(const struct curves *c)
{
    for (int k = 0; k < CURVE_COUNT; k++)
        for (int i = 0; i < CURVE_POINTS; i++) {
            const struct curve_point *p = &c->points[k][i];
            check(p->count >= 0 && (!p->count || i <= (c->steps - 1) / c->width));
            check(!p->count || (isfinite(p->sum) && p->low <= p->high));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct curves *curves = malloc(sizeof *curves);
    FILE *file = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    struct canvas canvas = {0};
    struct dino_error err = {0};

    if (curves && file && dn_curves_read(curves, file, "input", &err)) {
        check_points(curves);
        int height = dn_plot_height(curves);
        check(height > 0 && height < 2000);
        if (curves->lines && dn_canvas_svg(&canvas, PLOT_WIDTH, height, &err))
            dn_plot_draw(&canvas, curves, "input");
        check(canvas.svg.size < (1 << 20));
        check(!strstr(dn_str_text(&canvas.svg), "nan") &&
              !strstr(dn_str_text(&canvas.svg), "inf"));
    }
    dn_canvas_release(&canvas);
    if (file)
        fclose(file);
    free(curves);
    return 0;
}
