/* Crops into their places. */
#include "train/batch.h"

#include "base/alloc.h"

static uint8_t *crop_memory(int crops, int count, int size, struct dino_error *err)
{
    size_t side = (size_t)size, bytes;

    if (!dn_size_mul((size_t)crops * 3, (size_t)count, &bytes) ||
        !dn_size_mul(bytes, side * side, &bytes)) {
        dn_fail_memory(err, SIZE_MAX, "the crops of a step");
        return NULL;
    }
    return dn_calloc(bytes, 1, "the crops of a step", err);
}

bool dn_batch_init(struct batch *batch, const struct train_config *config,
                   struct batch_part part, struct dino_error *err)
{
    struct batch made = {
        .part = part,
        .locals = config->crops.local_number,
        .global_size = config->crops.global_size,
        .local_size = config->crops.local_size,
    };

    if (!dn_masks_init(&made.masks, config, part, err))
        return false;
    made.global = crop_memory(GLOBAL_CROPS, part.count, made.global_size, err);
    if (made.global && made.locals > 0)
        made.local = crop_memory(made.locals, part.count, made.local_size, err);
    if (!made.global || (made.locals > 0 && !made.local)) {
        dn_batch_release(&made);
        return false;
    }
    *batch = made;
    return true;
}

void dn_batch_release(struct batch *batch)
{
    free(batch->global);
    free(batch->local);
    dn_masks_release(&batch->masks);
    *batch = (struct batch){0};
}

static uint8_t *crop_place(const struct batch *batch, int crop, int slot)
{
    bool global = crop < GLOBAL_CROPS;
    size_t size = (size_t)(global ? batch->global_size : batch->local_size);
    size_t row = (size_t)(global ? crop : crop - GLOBAL_CROPS);

    return (global ? batch->global : batch->local) +
           (row * (size_t)batch->part.count + (size_t)slot) * size * size * 3;
}

bool dn_batch_fill(struct batch *batch, const struct dataset *dataset,
                   const struct augment *augment, int slot, struct misses *misses,
                   struct dino_error *err)
{
    int64_t number = batch->step * batch->part.all + batch->part.first + slot;
    struct sample sample = dn_dataset_sample(dataset, number);
    struct dino_image image = {0};
    bool ok = true;

    if (!dn_dataset_read(dataset, sample, &image, misses, err))
        return false;
    for (int crop = 0; ok && crop < GLOBAL_CROPS + batch->locals; crop++) {
        struct draws draws = dn_draws(dataset->seed, DRAW_CROPS, (uint64_t)sample.pass,
                                      (uint64_t)sample.position * MOST_CROPS + (uint64_t)crop);
        struct crop_plan plan = dn_crop_plan(augment, crop, image.width, image.height, draws);
        ok = dn_crop_apply(&plan, &image, crop_place(batch, crop, slot), err);
    }
    dino_image_release(&image);
    return ok;
}
