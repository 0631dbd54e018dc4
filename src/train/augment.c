/* Plans of crops are drawn first and carried out afterwards: tests replay official plans. */
#include "train/augment.h"

#include <math.h>
#include <string.h>

#include "image/augment_ops.h"
#include "image/blur.h"
#include "image/colour.h"
#include "image/image.h"

static const double FLIP = 0.5, JITTER = 0.8, GRAY = 0.2;
enum { SOLARIZE_FROM = 128, TRIES = 10 };

void dn_augment_init(struct augment *augment, const struct train_config *config)
{
    struct crop_kind global = {.size = config->crops.global_size,
                               .blur_most = config->crops.blur_most};
    struct crop_kind local = {
        .size = config->crops.local_size, .blur = 0.5, .blur_most = config->crops.blur_most};

    memcpy(global.scale, config->crops.global_scale, sizeof global.scale);
    memcpy(local.scale, config->crops.local_scale, sizeof local.scale);
    augment->global[0] = augment->global[1] = global;
    augment->global[1].blur = 0.9;
    augment->global[1].solarize = 0.2;
    augment->local = local;
    augment->locals = config->crops.local_number;
}

/* The largest box in the middle whose ratio of sides is within 3/4 to 4/3. */
static void centre_box(struct crop_plan *plan, int width, int height)
{
    double ratio = (double)width / height, low = 3.0 / 4, high = 4.0 / 3;

    plan->width = width;
    plan->height = height;
    if (ratio < low)
        plan->height = (int)rint(width / low);
    else if (ratio > high)
        plan->width = (int)rint(height * high);
    plan->top = (height - plan->height) / 2;
    plan->left = (width - plan->width) / 2;
}

/* torchvision's RandomResizedCrop.get_params */
static void draw_box(struct crop_plan *plan, const double scale[2], int width, int height,
                     struct draws *draws)
{
    double area = (double)width * height;

    for (int try = 0; try < TRIES; try++) {
        double target = area * dn_draw_between(draws, scale[0], scale[1]);
        double ratio = exp(dn_draw_between(draws, log(3.0 / 4), log(4.0 / 3)));
        double w = rint(sqrt(target * ratio)), h = rint(sqrt(target / ratio));
        if (w > 0 && w <= width && h > 0 && h <= height) {
            plan->width = (int)w;
            plan->height = (int)h;
            plan->top = (int)dn_draw_below(draws, height - plan->height + 1);
            plan->left = (int)dn_draw_below(draws, width - plan->width + 1);
            return;
        }
    }
    centre_box(plan, width, height);
}

static void draw_jitter(struct crop_plan *plan, struct draws *draws)
{
    for (int i = 0; i < JITTER_COUNT; i++) { /* Fisher and Yates, from the inside */
        int j = (int)dn_draw_below(draws, i + 1);
        plan->order[i] = plan->order[j];
        plan->order[j] = (enum jitter)i;
    }
    plan->factor[JITTER_BRIGHTNESS] = dn_draw_between(draws, 0.6, 1.4);
    plan->factor[JITTER_CONTRAST] = dn_draw_between(draws, 0.6, 1.4);
    plan->factor[JITTER_SATURATION] = dn_draw_between(draws, 0.8, 1.2);
    plan->factor[JITTER_HUE] = dn_draw_between(draws, -0.1, 0.1);
}

struct crop_plan dn_crop_plan(const struct augment *augment, int crop, int width, int height,
                              struct draws draws)
{
    const struct crop_kind *kind =
        crop < GLOBAL_CROPS ? &augment->global[crop] : &augment->local;
    struct crop_plan plan = {.size = kind->size};

    draw_box(&plan, kind->scale, width, height, &draws);
    plan.flip = dn_draw_chance(&draws, FLIP);
    plan.jitter = dn_draw_chance(&draws, JITTER);
    draw_jitter(&plan, &draws);
    plan.gray = dn_draw_chance(&draws, GRAY);
    bool blur = dn_draw_chance(&draws, kind->blur);
    double sigma = dn_draw_between(&draws, 0.1, kind->blur_most);
    plan.sigma = blur ? sigma : 0;
    plan.solarize = dn_draw_chance(&draws, kind->solarize);
    return plan;
}

static void apply_jitter(const struct crop_plan *plan, struct dino_image *image)
{
    for (int i = 0; i < JITTER_COUNT; i++) {
        double factor = plan->factor[plan->order[i]];
        switch (plan->order[i]) {
        case JITTER_BRIGHTNESS:
            dn_colour_brightness(image, (float)factor);
            break;
        case JITTER_CONTRAST:
            dn_colour_contrast(image, (float)factor);
            break;
        case JITTER_SATURATION:
            dn_colour_saturation(image, (float)factor);
            break;
        default:
            dn_colour_hue(image, factor);
        }
    }
}

bool dn_crop_apply(const struct crop_plan *plan, const struct dino_image *from, uint8_t *to,
                   struct dino_error *err)
{
    struct dino_image crop = {0};

    if (!dn_image_resized_crop(from, &crop, plan->left, plan->top, plan->width, plan->height,
                               plan->size, err))
        return false;
    if (plan->flip)
        dn_image_flip(&crop);
    if (plan->jitter)
        apply_jitter(plan, &crop);
    if (plan->gray)
        dn_colour_gray(&crop);
    bool ok = plan->sigma == 0 || dn_blur(&crop, plan->sigma, err);
    if (plan->solarize)
        dn_colour_solarize(&crop, SOLARIZE_FROM);
    if (ok)
        memcpy(to, crop.pixels, (size_t)plan->size * (size_t)plan->size * 3);
    dino_image_release(&crop);
    return ok;
}
