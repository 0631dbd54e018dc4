/* The files that a command reads, so that it never writes over one of them. */
#ifndef CLI_KEPT_INPUTS_H
#define CLI_KEPT_INPUTS_H

#include <sys/stat.h>

#include "dino.h"

struct kept_inputs {
    struct kept_file {
        dev_t device;
        ino_t inode;
    } * files; /* sorted */
    size_t count;
};

bool dn_inputs_find(struct kept_inputs *inputs, const struct dino_source *source,
                    struct dino_error *err);
/* Refuse a path that is one of them, under whatever name. */
bool dn_inputs_spare(const struct kept_inputs *inputs, const char *path,
                     struct dino_error *err);
void dn_inputs_release(struct kept_inputs *inputs);

/* Refuse to write over the model: its file, or weights in its folder. */
bool dn_model_spare(const struct dino_model *model, const char *path, struct dino_error *err);

#endif
