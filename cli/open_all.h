/*
 * What every command that looks at pictures opens: model, session, source of pictures, view.
 */
#ifndef CLI_OPEN_ALL_H
#define CLI_OPEN_ALL_H

#include "choose_model.h"
#include "choose_view.h"
#include "command.h"

/* How a command goes through pictures: the rows continue its first group. */
struct walk_settings {
    bool strict, quiet;
};

extern const struct option dn_walk_options[];

struct opened {
    struct dino_model *model;
    struct dino_session *session;
    struct dino_source *source; /* of the call's arguments; NULL for a call without any */
    struct dino_view view;
};

bool dn_open_all(struct opened *opened, const struct call *call,
                 const struct model_settings *model, const struct view_settings *view,
                 const char *usual_view, struct dino_error *err);
void dn_close_all(struct opened *opened);

/* The input that a viewed picture is. */
struct dino_input dn_input_of(const struct dino_image *image, const struct dino_view *view);

#endif
