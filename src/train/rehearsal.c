#include "train/rehearsal.h"

#include "base/alloc.h"

/* What nobody follows: an address in the device's memory, and one of pictures. */
static void *nowhere(void)
{
    return (void *)((uintptr_t)1 << 40);
}

/* Everything a step of training asks of the queue, in its order. */
static bool go_through(struct ssl_step *step, struct train_blocks *blocks,
                       const struct ssl_batch *batch, struct param_rate *rates,
                       struct dino_error *err)
{
    const struct params_table *table = step->table;
    struct adamw_options options = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1, .rates = rates};
    struct ssl_losses losses;
    struct clipping clip;

    dn_zero_grads(step->queue, table, blocks);
    if (!dn_ssl_step_run(step, blocks, batch, 1, 0, &losses, err) ||
        !dn_clip(step->queue, table, blocks, 1, &clip, err))
        return false;
    dn_optimizer_step(step->queue, table, blocks, &clip, &options);
    dn_teacher_follow(step->queue, table, blocks, 1);
    dn_ssl_step_follow(step);
    return dn_queue_finish(step->queue, err);
}

static bool rehearse(struct queue *queue, const struct params_table *table,
                     const struct ssl_config *config, struct dino_error *err)
{
    struct ssl_config alone = *config;
    struct ssl_batch batch = {.global_pixels = nowhere(), .local_pixels = nowhere()};
    struct train_blocks blocks = {.dtype = dn_train_dtype(queue->device),
                                  .student = nowhere(),
                                  .teacher = nowhere(),
                                  .grads = nowhere(),
                                  .first = nowhere(),
                                  .second = nowhere(),
                                  .squares = nowhere(),
                                  .scale = 1};
    struct ssl_step step = {0};
    size_t most = (size_t)config->most_masked + 1;
    int *masked = dn_calloc(most, sizeof *masked, "masks", err);
    struct param_rate *rates = dn_calloc((size_t)table->count, sizeof *rates, "rates", err);

    alone.comm = NULL; /* others do not take part */
    if (alone.frozen.table)
        alone.frozen.params = nowhere();
    for (int i = 0; masked && i < config->most_masked; i++)
        masked[i] = i;
    batch.masked = masked;
    batch.masked_count = config->most_masked;
    bool ok = masked && rates && dn_shards_init(&blocks.shards, NULL, table, err) &&
              dn_ssl_step_pretend(&step, queue, table, &alone, nowhere(), err) &&
              go_through(&step, &blocks, &batch, rates, err);
    dn_ssl_step_release(&step);
    dn_shards_release(&blocks.shards);
    free(rates);
    free(masked);
    return ok;
}

bool dn_rehearse_step(struct queue *queue, const struct params_table *table,
                      const struct ssl_config *config, size_t *scratch, struct dino_error *err)
{
    const struct device_ops *ops = queue->device->ops;

    *scratch = 0;
    if (!ops->rehearse)
        return true;
    ops->rehearse(queue, true);
    bool ok = rehearse(queue, table, config, err);
    *scratch = ops->rehearse(queue, false);
    return ok && dn_queue_finish(queue, err);
}
