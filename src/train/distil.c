#include "train/distil.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/str.h"
#include "train/made_heads.h"

bool dn_distil_open(struct distil *d, const char *path, struct dino_error *err)
{
    *d = (struct distil){.on = true};
    if (strlen(path) >= sizeof d->named)
        return dn_fail(err, DINO_EARG, "%.60s...: the teacher's path is too long", path);
    snprintf(d->named, sizeof d->named, "%s", path);
    if (!dn_warm_start_open(&d->file, path, 0, err))
        return false;
    d->makes_heads = d->file.net.dino.layers == 0;
    return true;
}

void dn_distil_release(struct distil *d, const struct device *device)
{
    if (!d->on)
        return;
    dn_feature_cache_close(&d->cache);
    if (d->params)
        device->ops->free(device, d->params, d->bytes);
    if (d->table_ready)
        dn_params_table_release(&d->table);
    dn_warm_start_release(&d->file);
    free(d->every);
    free(d->rows);
    *d = (struct distil){0};
}

/* ---- settings ---- */

void dn_distil_decide(const struct distil *d, struct train_config *c)
{
    const struct net_config *net = &d->file.net;

    memcpy(c->distillation.teacher, d->named, sizeof d->named);
    c->student.drop_path_rate = 0;
    c->ibot.mask_sample_probability = 0;
    c->ibot.separate_head = net->separate_ibot || d->makes_heads;
    if (!d->makes_heads)
        c->dino.head.prototypes = net->dino.prototypes;
    if (net->separate_ibot)
        c->ibot.head.prototypes = net->ibot.prototypes;
}

static bool prototypes_fit(const struct distil *d, const char *name, int wanted, int have,
                           struct dino_error *err)
{
    return wanted == have || dn_fail(err, DINO_EARG,
                                     "%s: its head has %d prototypes, but %s is %d: the "
                                     "student's are as many as the teacher's",
                                     d->file.path, have, name, wanted);
}

bool dn_distil_check(const struct distil *d, const struct train_config *c,
                     struct dino_error *err)
{
    const struct net_config *net = &d->file.net;

    if (net->backbone.patch != c->student.patch_size || net->backbone.channels != 3)
        return dn_fail(err, DINO_EARG,
                       "%s: the teacher's patches have %d pixels and %d channels, the "
                       "student's %d and 3: both look at the same patches",
                       d->file.path, net->backbone.patch, net->backbone.channels,
                       c->student.patch_size);
    if (c->ibot.mask_sample_probability != 0)
        return dn_fail(err, DINO_EARG,
                       "ibot.mask_sample_probability is %g, wanted 0: distillation hides no "
                       "patch",
                       c->ibot.mask_sample_probability);
    if (c->ibot.separate_head != (net->separate_ibot || d->makes_heads))
        return dn_fail(
            err, DINO_EARG, "ibot.separate_head is %s, but the teacher's patches have %s",
            c->ibot.separate_head ? "true" : "false",
            c->ibot.separate_head ? "the head of its class tokens" : "a head of their own");
    if (d->makes_heads)
        return true;
    return prototypes_fit(d, "dino.head_n_prototypes", c->dino.head.prototypes,
                          net->dino.prototypes, err) &&
           (!net->separate_ibot ||
            prototypes_fit(d, "ibot.head_n_prototypes", c->ibot.head.prototypes,
                           net->ibot.prototypes, err));
}

/* ---- the network ---- */

static struct net_config net_of(const struct distil *d, const struct train_config *c)
{
    struct net_config net = d->file.net;

    if (d->makes_heads) {
        net.dino = dn_made_head(net.backbone.dim, c->dino.head.prototypes);
        net.ibot = dn_made_head(net.backbone.dim, c->ibot.head.prototypes);
        net.separate_ibot = true;
    } else if (!net.separate_ibot) {
        net.ibot = (struct head_config){0};
    }
    return net;
}

static uint64_t sum_of(uint64_t sum, const void *bytes, size_t size)
{
    uint32_t word;

    for (size_t i = 0; i + sizeof word <= size; i += sizeof word) {
        memcpy(&word, (const char *)bytes + i, sizeof word);
        sum = dn_splitmix64(sum ^ word);
    }
    return sum;
}

/* Two teachers of one sum are one teacher: shape, resampling and numbers. */
static void identify(struct distil *d, const float *values)
{
    const struct vit_config *c = &d->table.config.backbone;
    const int shape[] = {c->dim,      c->depth,         c->heads,     c->hidden,
                         c->patch,    c->registers,     c->grid_rows, c->grid_cols,
                         (int)c->ffn, (int)c->positions};
    size_t last = d->table.elements;
    int heads = d->table.module_items[MODULE_DINO_HEAD];
    size_t first = heads < d->table.count ? d->table.items[heads].first : last;

    d->backbone = sum_of(sum_of(1, shape, sizeof shape), values, first * sizeof *values);
    d->whole = sum_of(d->backbone, values + first, (last - first) * sizeof *values);
}

bool dn_distil_load(struct distil *d, struct queue *queue, const struct train_config *config,
                    struct dino_error *err)
{
    const struct device *device = queue->device;
    struct net_config net = net_of(d, config);

    d->table_ready = dn_params_table_init(&d->table, &net, err);
    if (!d->table_ready)
        return false;
    d->bytes = d->table.elements * dino_dtype_size(dn_train_dtype(device));
    d->params = device->ops->alloc(device, d->bytes, err);
    float *values = dn_calloc(d->table.elements, sizeof *values, "the teacher", err);
    bool ok = d->params && values &&
              dn_warm_start_read(&d->file, &d->table, !d->makes_heads, values, err);
    if (ok) {
        identify(d, values);
        ok = dn_params_upload(queue, d->params, values, d->table.elements, err);
    }
    free(values);
    return ok;
}

void dn_distil_plan(const struct distil *d, struct ssl_config *c)
{
    int grid = c->global_size / d->table.config.backbone.patch;

    c->frozen = (struct ssl_teacher){&d->table, d->params};
    c->show_masked = true;
    c->most_masked = 2 * c->images * grid * grid;
}

/* ---- what it says ---- */

/* All that the rows depend on, but for how sums round: machine, threads and parts. */
static void add_facts(const struct distil *d, const struct ssl_step *s,
                      const struct train_config *c, const struct dataset *dataset,
                      uint64_t names, struct str *facts)
{
    dn_str_addf(facts, "teacher: %016llx\n", (unsigned long long)d->backbone);
    dn_str_addf(facts, "numbers: %s on %s\n", dino_dtype_name(s->queue->device->activation),
                s->queue->device->name);
    dn_str_addf(facts, "pictures: %lld, %016llx\n", (long long)dataset->count,
                (unsigned long long)names);
    dn_str_addf(facts, "train.seed: %llu\n", (unsigned long long)dataset->seed);
    dn_str_addf(facts, "train.batch_size_per_gpu: %d\n", s->config.images);
    dn_str_addf(facts, "crops.global_crops_size: %d\n", c->crops.global_size);
    dn_str_addf(facts, "crops.global_crops_scale: %.17g %.17g\n", c->crops.global_scale[0],
                c->crops.global_scale[1]);
}

bool dn_distil_keep(struct distil *d, const struct ssl_step *s,
                    const struct train_config *config, const struct dataset *dataset,
                    uint64_t names, const char *folder, int64_t steps, struct dino_error *err)
{
    size_t rows = 2 * (size_t)s->config.images + (size_t)s->config.most_masked;
    struct str facts = {0};

    d->every_count = s->config.most_masked;
    d->every = dn_calloc((size_t)d->every_count, sizeof *d->every, "all patches", err);
    d->row_bytes = rows * (size_t)s->teacher_rows.cols * dino_dtype_size(s->teacher_rows.dtype);
    d->rows = dn_calloc(1, d->row_bytes, "the teacher's features of a batch", err);
    if (!d->every || !d->rows)
        return false;
    for (int i = 0; i < d->every_count; i++)
        d->every[i] = i;
    if (!folder)
        return true;
    if (d->period && d->period < steps)
        steps = d->period;
    add_facts(d, s, config, dataset, names, &facts);
    bool ok = facts.failed ? dn_fail_memory(err, facts.size, "the head of a cache")
                           : dn_feature_cache_open(&d->cache, folder, facts.text, steps,
                                                   d->row_bytes, err);
    dn_str_release(&facts);
    return ok;
}

bool dn_distil_features(struct distil *d, struct ssl_step *s, const struct train_blocks *blocks,
                        struct ssl_batch *batch, int64_t number, struct dino_error *err)
{
    const struct device_ops *ops = s->queue->device->ops;
    int64_t record = d->period ? number % d->period : number;
    bool kept = d->cache.path != NULL;

    batch->featured = false;
    if (kept && !dn_feature_cache_read(&d->cache, record, d->rows, &batch->featured, err))
        return false;
    if (batch->featured) {
        ops->upload(s->queue, s->teacher_rows.data, d->rows, d->row_bytes);
        return dn_queue_finish(s->queue, err);
    }
    if (!dn_ssl_step_features(s, blocks, batch, err))
        return false;
    batch->featured = true;
    if (!kept)
        return true;
    ops->download(s->queue, d->rows, s->teacher_rows.data, d->row_bytes);
    return dn_queue_finish(s->queue, err) &&
           dn_feature_cache_write(&d->cache, record, d->rows, err);
}
