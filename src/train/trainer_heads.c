/* Heads for a run's teacher that has none, from what it says of the run's first crops. */
#include "train/trainer.h"

#include "base/alloc.h"
#include "train/draws.h"
#include "train/made_heads.h"

/* Features as they are gathered: class tokens of all crops, some patches of each step. */
struct gathered {
    int dim, classes, patches; /* so many of each a step */
    int patches_there;         /* to choose from */
    float *cls, *patch;
    int steps;
};

static void copy_row(const struct trainer *t, int row, int dim, float *to)
{
    size_t first = (size_t)row * (size_t)dim;

    for (size_t i = 0; i < (size_t)dim; i++)
        to[i] = t->blocks.dtype == DINO_F64 ? (float)((double *)t->distil.rows)[first + i]
                                            : ((float *)t->distil.rows)[first + i];
}

/* The rows of one step in the order of the step: classes first. */
static void gather(const struct trainer *t, struct gathered *g, int64_t step)
{
    struct draws draws = dn_draws(t->dataset.seed, DRAW_PROTOTYPES, (uint64_t)step, 0);
    size_t dim = (size_t)g->dim;
    float *cls = g->cls + (size_t)step * (size_t)g->classes * dim;
    float *patch = g->patch + (size_t)step * (size_t)g->patches * dim;

    for (int i = 0; i < g->classes; i++)
        copy_row(t, i, g->dim, cls + (size_t)i * dim);
    for (int i = 0; i < g->patches; i++)
        copy_row(t, g->classes + (int)dn_draw_below(&draws, g->patches_there), g->dim,
                 patch + (size_t)i * dim);
}

static bool look(struct trainer *t, struct gathered *g, struct dino_error *err)
{
    const struct device_ops *ops = t->device->ops;
    struct loader_options options = {.threads = t->options->readers,
                                     .period = t->distil.period};
    struct loader *loader = dn_loader_open(&t->dataset, &t->config, &options, err);
    bool ok = loader != NULL;

    for (int64_t step = 0; ok && step < g->steps; step++) {
        const struct batch *batch = dn_loader_next(loader, err);
        struct ssl_batch input;
        ok = batch != NULL;
        if (!ok)
            break;
        dn_trainer_input(t, batch, &input);
        ok = dn_distil_features(&t->distil, &t->step, &t->blocks, &input, step, err);
        if (!ok)
            break;
        ops->download(t->queue, t->distil.rows, t->step.teacher_rows.data, t->distil.row_bytes);
        ok = dn_queue_finish(t->queue, err);
        gather(t, g, step);
    }
    dn_loader_close(loader);
    return ok;
}

static bool fill(struct trainer *t, const struct gathered *g, struct dino_error *err)
{
    const struct params_table *table = &t->distil.table;
    size_t first = table->items[table->module_items[MODULE_DINO_HEAD]].first;
    float *values = dn_calloc(table->elements, sizeof *values, "the teacher's heads", err);

    if (!values)
        return false;
    dn_made_head_fill(table, MODULE_DINO_HEAD, g->cls, g->steps * g->classes, values);
    dn_made_head_fill(table, MODULE_IBOT_HEAD, g->patch, g->steps * g->patches, values);
    bool ok = dn_params_upload(
        t->queue, (char *)t->distil.params + first * dino_dtype_size(t->blocks.dtype),
        values + first, table->elements - first, err);
    t->step.frozen_rounded = false; /* with other heads now */
    free(values);
    return ok;
}

bool dn_trainer_make_heads(struct trainer *t, struct dino_error *err)
{
    const struct net_config *net = &t->distil.table.config;
    struct gathered g = {.dim = net->backbone.dim,
                         .classes = 2 * t->step.config.images,
                         .patches_there = t->step.config.most_masked};

    g.steps = (net->dino.prototypes + g.classes - 1) / g.classes;
    g.patches = (net->ibot.prototypes + g.steps - 1) / g.steps;
    size_t row = (size_t)g.dim * sizeof(float), steps = (size_t)g.steps;
    g.cls = dn_calloc(steps * (size_t)g.classes, row, "the teacher's features", err);
    g.patch = dn_calloc(steps * (size_t)g.patches, row, "the teacher's features", err);
    bool ok = g.cls && g.patch && look(t, &g, err) && fill(t, &g, err);
    free(g.cls);
    free(g.patch);
    return ok;
}
