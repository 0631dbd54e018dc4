/* Signs of a run's health, and which of them mean that it is lost. */
#ifndef TRAIN_HEALTH_H
#define TRAIN_HEALTH_H

#include "train/ssl_step.h"

struct health {
    int crops;      /* that were looked at: few say little */
    double entropy; /* mean of the teacher's targets, as a share of log(prototypes) */
    double used;    /* entropy of the mean target, the same */
    double spread;  /* of class tokens at unit length: 0 all equal, 1 all about */
    double rank;    /* dimensions that the class tokens fill: 1 .. min(crops - 1, dim) */
};

/* Of the teacher's class tokens and DINO targets in the last step; a frozen teacher does not
 * collapse, so that with one it is the student's class tokens. */
bool dn_health_measure(const struct ssl_step *step, struct health *health,
                       struct dino_error *err);

/* What the measures mean: NULL for a healthy run, else the sign and what to change. */
const char *dn_health_sign(const struct health *health);

#endif
