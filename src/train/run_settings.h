/*
 * What a run is set to: a preset, or the run that it goes on from; over them the shape of the
 * network in the file that it begins with, and what continued training needs; over all that the
 * caller's own file, then what a frozen teacher decides, then key=value.
 */
#ifndef TRAIN_RUN_SETTINGS_H
#define TRAIN_RUN_SETTINGS_H

#include "dino_train.h"
#include "train/distil.h"
#include "train/warm_start.h"

struct run_settings {
    struct train_config config;
    const char *preset;      /* NULL: none */
    struct warm_start start; /* path NULL: the run begins with random weights */
    bool heads;              /* begin with the file's heads */
    struct distil distil;    /* on where a frozen network teaches */
};

/* `pictures` chooses the preset where none is named. Release settings->start even on failure.
 */
bool dn_run_settings(struct run_settings *settings, const struct dino_train_options *options,
                     int64_t pictures, struct dino_error *err);
/* The network that these settings train. */
bool dn_run_net(const struct train_config *config, struct net_config *net,
                struct dino_error *err);

#endif
