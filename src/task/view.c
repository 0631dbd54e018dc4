/*
 * Views: the sizes and offsets of the official transform (torchvision's Resize and CenterCrop,
 * model card section 11), of Hugging Face's processor, and of pictures left as they are.
 */
#include "task/view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "image/image.h"
#include "model/model.h"

enum { MOST_SIZE = 1 << 20, MOST_SIDE = 1 << 17, PATCH = 14 };

static const float imagenet_mean[3] = {0.485F, 0.456F, 0.406F};
static const float imagenet_std[3] = {0.229F, 0.224F, 0.225F};

/* The resize that goes with a crop of `size` where `resize` went with `crop`, nearest. */
static int scaled(int size, int resize, int crop)
{
    return (int)(((int64_t)size * resize * 2 + crop) / (2 * (int64_t)crop));
}

static void set_square(struct dino_view *view, int resize, int crop, int size)
{
    view->resize = size ? scaled(size, resize, crop) : resize;
    view->crop_width = view->crop_height = size ? size : crop;
}

/* (v f - mean) / std with v in 0..255 is (v/255 - mean/(255 f)) / (std/(255 f)). */
static bool set_scaling(struct dino_view *view, const struct hf_preprocessor *p,
                        struct dino_error *err)
{
    double factor = (p->rescale ? p->rescale_factor : 1.0) * 255;
    bool usual = fabs(factor - 1) < 1e-6;

    if (!(factor > 0))
        return dn_fail(err, DINO_EFORMAT,
                       "preprocessor_config.json: rescale_factor %g, wanted above 0",
                       p->rescale_factor);
    for (int c = 0; c < 3; c++) {
        view->mean[c] = p->normalize ? p->mean[c] : 0;
        view->std[c] = p->normalize ? p->std[c] : 1;
        if (!usual) {
            view->mean[c] = (float)(view->mean[c] / factor);
            view->std[c] = (float)(view->std[c] / factor);
        }
        if (!(view->std[c] > 0))
            return dn_fail(err, DINO_EFORMAT,
                           "preprocessor_config.json: std %g of channel %d, wanted above 0",
                           (double)view->std[c], c);
    }
    return true;
}

static bool set_filter(struct dino_view *view, int resample, struct dino_error *err)
{
    enum { PILLOW_BILINEAR = 2, PILLOW_BICUBIC = 3 };

    if (resample != PILLOW_BICUBIC && resample != PILLOW_BILINEAR)
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "preprocessor_config.json: resample %d, wanted 3 (bicubic) or 2 "
                       "(bilinear)",
                       resample);
    view->filter = resample == PILLOW_BICUBIC ? DINO_BICUBIC : DINO_BILINEAR;
    return true;
}

bool dn_view_from_preprocessor(struct dino_view *view, const struct hf_preprocessor *p,
                               int size, struct dino_error *err)
{
    struct dino_view v = *view;
    int crop = p->crop_height < p->crop_width ? p->crop_height : p->crop_width;

    v.rounding = DINO_ROUND_FLOOR;
    v.patch = 0; /* the model drops what is left of the last patch, at the right and below */
    if (!set_filter(&v, p->resample, err))
        return false;
    v.resize = v.resize_width = v.resize_height = v.crop_width = v.crop_height = 0;
    if (p->resize && p->shortest_edge > 0) {
        v.resize = p->shortest_edge;
    } else if (p->resize) {
        v.resize_width = p->size_width;
        v.resize_height = p->size_height;
    }
    if (p->center_crop) {
        v.crop_width = p->crop_width;
        v.crop_height = p->crop_height;
    }
    if (size > 0) {
        int base = p->center_crop && crop > 0 ? crop : p->shortest_edge;
        v.resize = v.resize > 0 && base > 0 ? scaled(size, v.resize, base) : size;
        v.resize_width = v.resize_height = 0;
        v.crop_width = v.crop_height = size;
    }
    if (!set_scaling(&v, p, err))
        return false;
    *view = v;
    return true;
}

bool dino_view_named(struct dino_view *view, const char *name, int size,
                     const struct dino_model *model, struct dino_error *err)
{
    const struct hf_preprocessor *preprocessor = model ? dn_model_preprocessor(model) : NULL;
    struct dino_view v = {.patch = model ? dino_model_info(model)->patch : PATCH};

    if (size < 0 || size > MOST_SIZE)
        return dn_fail(err, DINO_EARG, "size %d, wanted 1 to %d pixels", size, MOST_SIZE);
    memcpy(v.mean, imagenet_mean, sizeof v.mean);
    memcpy(v.std, imagenet_std, sizeof v.std);
    if (preprocessor && !set_scaling(&v, preprocessor, err))
        return false;
    if (strcmp(name, "classify") == 0) {
        set_square(&v, 256, 224, size);
    } else if (strcmp(name, "pca") == 0) {
        set_square(&v, 560, 560, size);
    } else if (strcmp(name, "hf") == 0) {
        set_square(&v, 256, 224, size);
        v.rounding = DINO_ROUND_FLOOR;
        if (preprocessor && !dn_view_from_preprocessor(&v, preprocessor, size, err))
            return false;
    } else if (strcmp(name, "native") == 0) {
        v.resize = size;
    } else {
        return dn_fail(err, DINO_EARG, "view \"%s\", wanted classify, pca, hf or native", name);
    }
    snprintf(v.name, sizeof v.name, "%s", name);
    *view = v;
    return true;
}

/* The whole picture after the resize: the short side exactly, the long one truncated. */
static void resized(const struct dino_view *view, const struct dino_image *from, int64_t *width,
                    int64_t *height)
{
    *width = from->width;
    *height = from->height;
    if (view->resize_width > 0 && view->resize_height > 0) {
        *width = view->resize_width;
        *height = view->resize_height;
    } else if (view->resize > 0 && from->width <= from->height) {
        *width = view->resize;
        *height = (int64_t)view->resize * from->height / from->width;
    } else if (view->resize > 0) {
        *height = view->resize;
        *width = (int64_t)view->resize * from->width / from->height;
    }
}

/* To whole patches: cut, but never to nothing, or pad. */
static int64_t mended(const struct dino_view *view, int64_t size)
{
    int64_t patch = view->patch;

    if (patch <= 1 || size % patch == 0)
        return size;
    if (view->fit == DINO_FIT_PAD || size < patch)
        return (size / patch + 1) * patch;
    return size / patch * patch;
}

/* Where a window of `want` begins in `size` elements; negative: padding comes first. */
static int64_t offset(const struct dino_view *view, int64_t size, int64_t want)
{
    int64_t spare = size - want;

    if (view->rounding == DINO_ROUND_FLOOR) /* as Hugging Face, padding included */
        return spare >= 0 ? spare / 2 : -((1 - spare) / 2);
    if (spare < 0) /* as torchvision: the smaller half comes first */
        return -(-spare / 2);
    return spare / 2 + (spare % 2 && spare / 2 % 2); /* half to even */
}

/* Crop boxes along one axis: [begin, begin + size) of the resized picture. */
struct window {
    int64_t begin, size;
};

static struct window window_of(const struct dino_view *view, int64_t size, int crop)
{
    struct window w = {0, size};

    if (crop > 0) {
        w.begin = offset(view, size, crop);
        w.size = crop;
    }
    int64_t whole = mended(view, w.size);
    w.begin += offset(view, w.size, whole);
    w.size = whole;
    return w;
}

struct plan {
    int64_t width, height; /* resized */
    struct window x, y;
};

static bool plan_view(struct plan *plan, const struct dino_view *view,
                      const struct dino_image *from, struct dino_error *err)
{
    const struct dino_decode_options limits = {0};

    if (from->width <= 0 || from->height <= 0 || !from->pixels)
        return dn_fail(err, DINO_EARG, "a view of a picture without pixels");
    resized(view, from, &plan->width, &plan->height);
    plan->x = window_of(view, plan->width, view->crop_width);
    plan->y = window_of(view, plan->height, view->crop_height);
    if (!dn_image_check_size(plan->x.size, plan->y.size, "the view", &limits, err))
        return false;
    if (plan->x.size > MOST_SIDE || plan->y.size > MOST_SIDE)
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "%d x %d pixels make a view of %lld x %lld, wanted at most %d a side",
                       from->width, from->height, (long long)plan->x.size,
                       (long long)plan->y.size, MOST_SIDE);
    return true;
}

static bool changes_nothing(const struct plan *plan, const struct dino_image *from)
{
    return plan->width == from->width && plan->height == from->height && plan->x.begin == 0 &&
           plan->y.begin == 0 && plan->x.size == from->width && plan->y.size == from->height;
}

static struct window inside(struct window w, int64_t size)
{
    int64_t begin = w.begin > 0 ? w.begin : 0;
    int64_t end = w.begin + w.size < size ? w.begin + w.size : size;
    return (struct window){begin, end - begin};
}

/* Resize what the window shows of the picture, then put it between its margins. */
static bool apply(const struct plan *plan, enum dino_filter filter,
                  const struct dino_image *from, struct dino_image *to, struct dino_error *err)
{
    struct window x = inside(plan->x, plan->width), y = inside(plan->y, plan->height);
    bool margins = x.size != plan->x.size || y.size != plan->y.size;
    bool resize = plan->width != from->width || plan->height != from->height;
    struct dino_image part = {0};

    if (!resize)
        return dn_image_crop(from, to, plan->x.begin, plan->y.begin, (int)plan->x.size,
                             (int)plan->y.size, err);
    struct resize_box box = {
        .full_width = plan->width,
        .full_height = plan->height,
        .left = x.begin,
        .top = y.begin,
        .width = (int)x.size,
        .height = (int)y.size,
        .filter = filter,
    };
    if (!margins)
        return dn_image_resize_box(from, to, &box, err);
    if (!dn_image_resize_box(from, &part, &box, err))
        return false;
    bool ok = dn_image_crop(&part, to, plan->x.begin - x.begin, plan->y.begin - y.begin,
                            (int)plan->x.size, (int)plan->y.size, err);
    dino_image_release(&part);
    return ok;
}

bool dino_view_apply(const struct dino_view *view, const struct dino_image *from,
                     struct dino_image *to, struct dino_error *err)
{
    struct plan plan;
    return plan_view(&plan, view, from, err) && apply(&plan, view->filter, from, to, err);
}

bool dn_view_take(const struct dino_view *view, struct dino_image *from, struct dino_image *to,
                  struct dino_error *err)
{
    struct plan plan;

    if (!plan_view(&plan, view, from, err))
        return false;
    if (changes_nothing(&plan, from)) {
        *to = *from;
        *from = (struct dino_image){0};
        return true;
    }
    struct dino_image out;
    if (!apply(&plan, view->filter, from, &out, err))
        return false;
    dino_image_release(from);
    *to = out;
    return true;
}
