/*
 * Which model: the options that commands share, and how a name becomes a file.
 * --arch, else --model, else $DINO_MODEL, else dino_shipped_model.
 */
#ifndef CLI_CHOOSE_MODEL_H
#define CLI_CHOOSE_MODEL_H

#include "options.h"
#include "report.h"

struct model_settings {
    const char *model, *arch, *head, *labels, *device;
    int compute, positions; /* choices */
    int threads, heads, seed;
};

extern const struct option dn_model_options[];
const char *dn_model_conflict(const void *settings);
/* Only --head and --labels: for commands that look at classes. */
extern const struct option dn_head_options[];

/* The file or directory that `name` stands for: a path, or a name that `dino get` fetched;
 * heap. */
char *dn_model_resolve(const char *name, struct dino_error *err);

/* The path that these settings choose, heap; NULL without error if they name an --arch. */
char *dn_model_path(const struct model_settings *settings, struct dino_error *err);

/* Open it; warns of bad weights. */
struct dino_model *dn_model_choose(const struct model_settings *settings, struct report *report,
                                   struct dino_error *err);

enum dino_dtype dn_compute_dtype(int choice);

#endif
