/*
 * The numbers of training_metrics.json as curves, of any length in fixed memory: neighbouring
 * steps share a point once there are more of them than a picture can show. Official files are
 * read as well.
 */
#ifndef TRAIN_CURVES_H
#define TRAIN_CURVES_H

#include <stdio.h>

#include "base/error.h"

enum curve {
    CURVE_TOTAL,
    CURVE_DINO_GLOBAL,
    CURVE_DINO_LOCAL,
    CURVE_IBOT,
    CURVE_KOLEO,
    CURVE_KNN,
    CURVE_NORM_BACKBONE,
    CURVE_NORM_DINO,
    CURVE_NORM_IBOT,
    CURVE_TEACHER_ENTROPY,
    CURVE_PROTOTYPE_ENTROPY,
    CURVE_SPREAD,
    CURVE_RANK,
    CURVE_LR,
    CURVE_LAST_LAYER_LR,
    CURVE_WEIGHT_DECAY,
    CURVE_MOMENTUM,
    CURVE_TEACHER_TEMP,
    CURVE_STEP_SECONDS,
    CURVE_DATA_SECONDS,
    CURVE_COUNT
};

enum { CURVE_POINTS = 512 };

/* What the steps that share a point said. */
struct curve_point {
    double sum, low, high;
    int64_t count; /* 0: nothing */
};

struct curves {
    int64_t steps;      /* behind the last one read */
    int64_t width;      /* steps a point */
    int64_t lines;      /* that held a step */
    int64_t unreadable; /* lines that did not */
    double last[CURVE_COUNT];
    struct curve_point points[CURVE_COUNT][CURVE_POINTS];
};

/* Read lines until the end of the file. One without its newline is still being written and does
 * not count. A step that comes again, as in official files of resumed runs, takes the place of
 * what followed it. False only if reading fails. */
bool dn_curves_read(struct curves *curves, FILE *file, const char *name,
                    struct dino_error *err);

#endif
