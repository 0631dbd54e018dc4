/* How pictures are read and sized: the options that commands share. */
#ifndef CLI_CHOOSE_VIEW_H
#define CLI_CHOOSE_VIEW_H

#include "options.h"

struct view_settings {
    int view, fit; /* choices */
    int size;
    int resize[2];
    bool exif, white, gray16_high;
};

extern const struct option dn_view_options[];
const char *dn_view_conflict(const void *settings);

/* `usual` is what "auto" means to the command: "classify", "pca", or NULL for the Hugging
 * Face view where the model has one and "classify" where not. */
bool dn_view_choose(const struct view_settings *settings, const char *usual,
                    const struct dino_model *model, struct dino_view *view,
                    struct dino_error *err);

void dn_decode_choose(const struct view_settings *settings,
                      struct dino_decode_options *options);

#endif
