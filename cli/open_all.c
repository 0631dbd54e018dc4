#include "open_all.h"

#include "base/error.h"

#define PLACE(member) offsetof(struct walk_settings, member)

const struct option dn_walk_options[] = {
    {"strict", 0, OPTION_FLAG, PLACE(strict), NULL, "stop at the first unreadable picture"},
    {"quiet", 'q', OPTION_FLAG, PLACE(quiet), NULL, "no progress, no summary"},
    {0},
};

/* Ctrl-C need not wait for the end of a pass. */
static bool go_on(void *report)
{
    return !dn_report_stop(report);
}

bool dn_open_all(struct opened *opened, const struct call *call,
                 const struct model_settings *model, const struct view_settings *view,
                 const char *usual_view, struct dino_error *err)
{
    *opened = (struct opened){0};
    /* the pictures first: a wrong path should not wait for the weights */
    if (call->count) {
        opened->source =
            dino_source_open((const char *const *)call->items, call->count, NULL, err);
        if (!opened->source)
            goto fail;
        if (dino_source_count(opened->source) == 0) {
            dn_fail(err, DINO_EARG, "%s: no pictures", call->items[0]);
            goto fail;
        }
    }
    opened->model = dn_model_choose(model, call->report, err);
    if (!opened->model)
        goto fail;
    if (!dn_view_choose(view, usual_view, opened->model, &opened->view, err))
        goto fail;
    struct dino_session_options options = {
        .size = sizeof options, .keep_going = go_on, .context = call->report};
    opened->session = dino_session_new(opened->model, &options, err);
    if (!opened->session)
        goto fail;
    return true;
fail:
    dn_close_all(opened);
    return false;
}

void dn_close_all(struct opened *opened)
{
    dino_session_free(opened->session);
    dino_model_free(opened->model);
    dino_source_close(opened->source);
    *opened = (struct opened){0};
}

struct dino_input dn_input_of(const struct dino_image *image, const struct dino_view *view)
{
    return (struct dino_input){
        .pixels = image->pixels,
        .height = image->height,
        .width = image->width,
        .mean = view->mean,
        .std = view->std,
    };
}
