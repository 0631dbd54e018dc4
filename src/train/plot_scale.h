/* An axis: from numbers to places, and round numbers to write beside it. */
#ifndef TRAIN_PLOT_SCALE_H
#define TRAIN_PLOT_SCALE_H

#include <stdbool.h>

enum { MOST_TICKS = 12 };

struct scale {
    double low, high; /* of the axis; of the logarithms, if it is one of them */
    bool logarithmic;
    int count;
    double ticks[MOST_TICKS];
    char labels[MOST_TICKS][16];
};

/* An axis for numbers between low and high (both within 1e100 of zero, low > 0 for a
 * logarithmic one), with about `wanted` ticks. It ends at the numbers, widened where they are
 * all alike. */
struct scale dn_scale(double low, double high, bool logarithmic, int wanted);

/* Where a number lies: 0 at the low end, 1 at the high one, and never outside. */
double dn_scale_at(const struct scale *scale, double value);

/* A number as people write it: "0.0005" is 5e-4, "12345" is 12.3k. */
void dn_scale_number(double value, char text[16]);

#endif
