/* The curves of a run as panels on a canvas, of those that have something to show; the door is
 * dino_train_plot. */
#ifndef TRAIN_PLOT_H
#define TRAIN_PLOT_H

#include "train/canvas.h"
#include "train/curves.h"

/* Of the canvas that the panels want; its width is always the same. */
enum { PLOT_WIDTH = 1170 };
int dn_plot_height(const struct curves *curves);

void dn_plot_draw(struct canvas *canvas, const struct curves *curves, const char *title);

#endif
