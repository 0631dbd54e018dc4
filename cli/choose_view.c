#include "choose_view.h"

#include <string.h>

#include "base/error.h"
#include "base/str.h"

#define PLACE(member) offsetof(struct view_settings, member)

const struct option dn_view_options[] = {
    {"view", 0, OPTION_CHOICE, PLACE(view), "auto|classify|pca|hf|native",
     "how pictures are sized", "auto"},
    {"size", 's', OPTION_INT, PLACE(size), "N", "side in pixels; 0: the view's own", NULL, 0,
     16384},
    {"resize", 0, OPTION_PAIR, PLACE(resize), "WxH", "exactly this size, no centre crop", NULL,
     1, 16384},
    {"fit", 0, OPTION_CHOICE, PLACE(fit), "crop|pad",
     "how a side becomes a multiple of the patch", "crop"},
    {"exif", 0, OPTION_FLAG, PLACE(exif), NULL, "turn pictures as their EXIF data says"},
    {"white", 0, OPTION_FLAG, PLACE(white), NULL, "put transparent pictures on white"},
    {"gray16-high", 0, OPTION_FLAG, PLACE(gray16_high), NULL,
     "16-bit gray: the high byte instead of clipping"},
    {0},
};

const char *dn_view_conflict(const void *context)
{
    const struct view_settings *settings = context;

    return settings->size && settings->resize[0] ? "--size and --resize: give one of them"
                                                 : NULL;
}

static const char *const names[] = {NULL, "classify", "pca", "hf", "native"};

bool dn_view_choose(const struct view_settings *settings, const char *usual,
                    const struct dino_model *model, struct dino_view *view,
                    struct dino_error *err)
{
    const char *name = settings->view ? names[settings->view] : usual;

    if (!name && settings->resize[0])
        name = "native";
    if (!name && dn_starts_with(dino_model_info(model)->kind, "hugging face"))
        name = "hf";
    if (!dino_view_named(view, name ? name : "classify", settings->size, model, err))
        return dn_fail_prefix(err, dino_model_info(model)->source);
    if (settings->resize[0]) {
        view->resize = view->crop_width = view->crop_height = 0;
        view->resize_width = settings->resize[0];
        view->resize_height = settings->resize[1];
    }
    int patch = dino_model_info(model)->patch;
    bool cuts = view->patch == 0; /* the model drops what is no whole patch */
    if (cuts && settings->size && settings->size < patch)
        return dn_fail(err, DINO_EARG, "--size %d: wanted at least a patch, %d", settings->size,
                       patch);
    int width = settings->resize[0] ? settings->resize[0] : view->crop_width;
    int height = settings->resize[0] ? settings->resize[1] : view->crop_height;
    if (cuts && width > 0 && height > 0 && (width < patch || height < patch))
        return dn_fail(err, DINO_EARG, "a view of %d x %d pixels: wanted at least a patch, %d",
                       width, height, patch);
    view->fit = settings->fit == 1 ? DINO_FIT_PAD : DINO_FIT_CROP;
    return true;
}

void dn_decode_choose(const struct view_settings *settings, struct dino_decode_options *options)
{
    options->size = sizeof *options;
    options->exif = settings->exif;
    options->white = settings->white;
    options->gray16_high = settings->gray16_high;
}
