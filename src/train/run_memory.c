#include "train/run_memory.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/memory_room.h"
#include "train/rehearsal.h"

size_t dn_blocks_bytes(const struct params_table *table, enum dino_dtype dtype, int processes)
{
    size_t width = dino_dtype_size(dtype), count = (size_t)processes;

    return (3 * table->elements + 2 * ((table->elements + count - 1) / count)) * width +
           MODULE_COUNT * sizeof(double);
}

struct run_room dn_run_room(const struct device *device, int processes)
{
    if (device->ops->room) {
        double left = device->ops->room(device);
        return (struct run_room){.left = left, .plan = 0.97 * left};
    }
    return (struct run_room){.left = dn_memory_room() / processes,
                             .plan = dn_memory_all() / 2 / processes};
}

/* What the heads answer, and what they should. */
static size_t logit_bytes(const struct ssl_step *s)
{
    const struct mat all[] = {s->dino_targets, s->ibot_targets, s->dino_logits, s->ibot_logits};
    size_t bytes = 0;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        bytes += (size_t)all[i].rows * (size_t)all[i].cols * dino_dtype_size(all[i].dtype);
    return bytes;
}

bool dn_choose_parts(struct queue *queue, const struct params_table *table,
                     struct ssl_config *config, int wish, double memory,
                     struct step_bytes *bytes, struct dino_error *err)
{
    struct ssl_step step;

    if (wish > config->images)
        return dn_fail(err, DINO_EARG, "%d pictures at a time, but a batch has %d", wish,
                       config->images);
    for (config->micro = wish > 0 ? wish : config->images;;) {
        if (!dn_ssl_step_count(&step, queue, table, config, err))
            return false;
        bytes->planned = step.bytes;
        dn_ssl_step_release(&step);
        if (!dn_rehearse_step(queue, table, config, &bytes->scratch, err))
            return false;
        if (wish > 0 || config->micro == 1 ||
            (double)bytes->planned + (double)bytes->scratch <= memory)
            return true;
        config->micro = (config->micro + 1) / 2;
    }
}

bool dn_check_memory(double memory, size_t blocks, struct step_bytes step, int micro,
                     struct dino_error *err)
{
    double bytes = (double)step.planned + (double)step.scratch;

    if ((double)blocks + bytes <= memory)
        return true;
    return dn_fail(
        err, DINO_ENOMEM,
        "parameters, gradients and moments take %.1f GB, %d picture%s at a time %.1f "
        "GB, and %.1f GB are free: take a smaller network, a smaller "
        "train.batch_size_per_gpu, fewer dino.head_n_prototypes%s or "
        "--checkpointing",
        1e-9 * (double)blocks, micro, micro == 1 ? "" : "s", 1e-9 * bytes, 1e-9 * memory,
        micro > 1 ? ", a smaller --micro" : "");
}

/* ---- counting without a run ---- */

static bool count_pictures(struct trainer *t, struct dino_error *err)
{
    const struct dino_train_options *o = t->options;

    if (o->picture_count == 0 && !o->preset && !o->config && !o->from)
        return dn_fail(err, DINO_EARG,
                       "which network? pictures, a preset, a config or a file say it");
    if (o->picture_count == 0)
        return true;
    struct dino_source *source = dino_source_open(o->pictures, o->picture_count, NULL, err);
    t->dataset.count = source ? dino_source_count(source) : 0;
    dino_source_close(source);
    return source != NULL;
}

/* A GPU that is not here. */
static bool describe(struct trainer *t, struct dino_error *err)
{
    t->device = dn_device_describe(t->options->dtype, err);
    t->queue = t->device ? dn_queue_new(t->device, 1, err) : NULL;
    return t->queue != NULL;
}

/* Distillation reads its teacher, and wants a device for it. */
static bool may_be_elsewhere(const struct trainer *t, size_t memory)
{
    const char *device = t->options->device;

    return memory > 0 && device && strncmp(device, "cuda", 4) == 0 && !t->distil.on;
}

/* The loader's ring. */
static size_t batch_bytes(const struct ssl_config *c)
{
    enum { RING = 3 };
    size_t global = 2 * (size_t)c->global_size * (size_t)c->global_size;
    size_t local = (size_t)c->local_crops * (size_t)c->local_size * (size_t)c->local_size;

    return (size_t)c->images * 3 * (global + local) * RING;
}

/* What one process sends in a step: it gives each number but those of its own slice away, to
 * be summed, and its slice to all the others. */
static size_t traffic_bytes(const struct ssl_step *s, size_t block, size_t processes)
{
    const struct ssl_config *c = &s->config;
    enum { SINKHORN_ROUNDS = 3 };
    size_t width = dino_dtype_size(s->rows.dtype);
    size_t prototypes = (size_t)(s->dino_targets.cols + s->ibot_targets.cols) * width;
    size_t sums =
        block + prototypes * (c->centering == CENTERING_SINKHORN ? SINKHORN_ROUNDS : 1);
    size_t tokens = 2 * (size_t)c->images * (size_t)s->class_rows.cols * width;

    if (!c->koleo_distributed || c->koleo_weight == 0)
        tokens = 0;
    return 2 * (sums - sums / processes) + (processes - 1) * tokens;
}

static bool fill(struct trainer *t, struct ssl_config *config, size_t memory,
                 struct dino_train_memory *m, struct dino_error *err)
{
    enum dino_dtype dtype = dn_train_dtype(t->device);
    size_t block = t->table.elements * dino_dtype_size(dtype);
    size_t blocks = dn_blocks_bytes(&t->table, dtype, m->processes);
    struct run_room room = {.left = (double)memory, .plan = (double)memory};
    struct step_bytes bytes;
    struct ssl_step step;

    m->batches = batch_bytes(config);
    m->batches_elsewhere = !t->device->host_memory;
    m->buckets = dn_comm_bucket_bytes(t->device, m->processes);
    size_t others = blocks + m->buckets + (m->batches_elsewhere ? 0 : m->batches);

    if (!memory)
        room = dn_run_room(t->device, 1);
    if (!dn_choose_parts(t->queue, &t->table, config, t->options->micro,
                         room.plan - (double)others, &bytes, err) ||
        !dn_ssl_step_count(&step, t->queue, &t->table, config, err))
        return false;
    snprintf(m->arch, sizeof m->arch, "%s", dn_vit_config_name(&t->table.config.backbone));
    for (int i = 0; i < t->table.count; i++)
        m->parameters += (int64_t)t->table.items[i].count;
    m->batch = config->images;
    m->micro = config->micro;
    m->student = m->teacher = m->gradients = block;
    m->moments = blocks - 3 * block - MODULE_COUNT * sizeof(double);
    m->logits = logit_bytes(&step);
    m->activations = bytes.planned - m->logits + MODULE_COUNT * sizeof(double);
    m->scratch = bytes.scratch;
    m->all = others + bytes.planned + bytes.scratch;
    m->room = (size_t)room.left;
    m->traffic = traffic_bytes(&step, block, (size_t)m->processes);
    dn_ssl_step_release(&step);
    return true;
}

bool dino_train_count(const struct dino_train_options *options, int processes, size_t memory,
                      struct dino_train_memory *count, struct dino_error *err)
{
    struct trainer t = {.options = options, .lock = -1};
    struct ssl_config config;

    *count = (struct dino_train_memory){.processes = processes > 0 ? processes : 1};
    bool ok = count_pictures(&t, err) && dn_trainer_decide(&t, err);
    if (ok && may_be_elsewhere(&t, memory))
        ok = describe(&t, err);
    ok = ok && dn_trainer_open_table(&t, options->dtype, err);
    if (ok) {
        t.part.all *= count->processes; /* shares of a larger batch */
        config = dn_trainer_ssl(&t);
        ok = fill(&t, &config, memory, count, err);
    }
    dn_trainer_release(&t);
    return ok;
}
