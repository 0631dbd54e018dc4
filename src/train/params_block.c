#include "train/params_block.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { SLICE_ALIGN = 16 }; /* elements: a cache line of f32 */

static const char *const prefixes[] = {"backbone.", "dino_head.", "ibot_head."};

/* How many parameters a head has. */
static int head_items(const struct head_config *c)
{
    return 2 * c->layers + 2;
}

static struct param_slice *append(struct params_table *t, enum net_module module,
                                  const char *name)
{
    struct param_slice *item = &t->items[t->count++];

    item->module = module;
    snprintf(item->name, sizeof item->name, "%s%s", prefixes[module], name);
    return item;
}

static void close_item(struct params_table *t, struct param_slice *item)
{
    item->count = 1;
    for (int i = 0; i < item->dims; i++)
        item->count *= (size_t)item->shape[i];
    item->first = t->elements;
    t->elements += (item->count + SLICE_ALIGN - 1) / SLICE_ALIGN * SLICE_ALIGN;
}

static void add_backbone(struct params_table *t)
{
    const struct vit_config *c = &t->config.backbone;
    struct param_ref ref = dn_param_first();

    do {
        char name[128];
        dn_param_name(NAMING_OFFICIAL, ref, name);
        struct param_slice *item = append(t, MODULE_BACKBONE, name);
        item->ref = ref;
        item->dims = dn_param_shape(c, ref.param, item->shape);
        t->lookup[(ref.block + 1) * PARAM_COUNT + (int)ref.param] = t->count - 1;
        close_item(t, item);
    } while (dn_param_next(c, &ref));
}

static void add_head_item(struct params_table *t, enum net_module module, const char *name,
                          int rows, int cols)
{
    struct param_slice *item = append(t, module, name);

    item->dims = cols ? 2 : 1;
    item->shape[0] = rows;
    item->shape[1] = cols;
    close_item(t, item);
}

/* as dinov2/layers/dino_head.py names them: one layer is "mlp", more are "mlp.0", "mlp.2" */
static void add_head(struct params_table *t, enum net_module module,
                     const struct head_config *c)
{
    char name[40];

    for (int l = 0; l < c->layers; l++) {
        int in = l == 0 ? c->in : c->hidden;
        int out = l == c->layers - 1 ? c->bottleneck : c->hidden;
        char number[16] = "";
        if (c->layers > 1)
            snprintf(number, sizeof number, "%d.", 2 * l);
        snprintf(name, sizeof name, "mlp.%sweight", number);
        add_head_item(t, module, name, out, in);
        snprintf(name, sizeof name, "mlp.%sbias", number);
        add_head_item(t, module, name, out, 0);
    }
    add_head_item(t, module, "last_layer.weight_g", c->prototypes, 1);
    add_head_item(t, module, "last_layer.weight_v", c->prototypes, c->bottleneck);
}

static bool head_good(const struct head_config *c, int dim, const char *name,
                      struct dino_error *err)
{
    enum { MOST = 1 << 22 };

    if (c->in != dim)
        return dn_fail(err, DINO_EARG, "%s: %d inputs, but the backbone has %d", name, c->in,
                       dim);
    if (c->layers < 1 || c->layers > 16 || c->hidden < 1 || c->hidden > MOST ||
        c->bottleneck < 1 || c->bottleneck > MOST || c->prototypes < 1 || c->prototypes > MOST)
        return dn_fail(err, DINO_EARG,
                       "%s: %d layers of %d, bottleneck %d, %d prototypes; wanted 1 to 16 "
                       "layers and sizes from 1 to %d",
                       name, c->layers, c->hidden, c->bottleneck, c->prototypes, MOST);
    return true;
}

static bool modules_fit(const struct params_table *t, struct dino_error *err)
{
    for (int m = 0; m < MODULE_COUNT; m++) {
        size_t n = 0;
        for (int i = t->module_items[m]; i < t->module_items[m + 1]; i++)
            n += t->items[i].count + SLICE_ALIGN;
        if (n > INT_MAX)
            return dn_fail(err, DINO_EUNSUPPORTED, "%s%zu parameters, at most %d", prefixes[m],
                           n, INT_MAX);
    }
    return true;
}

bool dn_params_table_init(struct params_table *t, const struct net_config *config,
                          struct dino_error *err)
{
    const struct vit_config *c = &config->backbone;
    size_t lookups = ((size_t)c->depth + 1) * PARAM_COUNT;

    *t = (struct params_table){.config = *config};
    if (!dn_vit_config_check(c, "backbone", err) ||
        !head_good(&config->dino, c->dim, "dino head", err) ||
        (config->separate_ibot && !head_good(&config->ibot, c->dim, "ibot head", err)))
        return false;

    size_t room = lookups + (size_t)head_items(&config->dino);
    if (config->separate_ibot)
        room += (size_t)head_items(&config->ibot);
    t->items = dn_calloc(room, sizeof *t->items, "the table of parameters", err);
    t->lookup = dn_calloc(lookups, sizeof *t->lookup, "the table of parameters", err);
    if (!t->items || !t->lookup) {
        dn_params_table_release(t);
        return false;
    }
    for (size_t i = 0; i < lookups; i++)
        t->lookup[i] = -1;

    add_backbone(t);
    t->module_items[MODULE_DINO_HEAD] = t->count;
    add_head(t, MODULE_DINO_HEAD, &config->dino);
    t->module_items[MODULE_IBOT_HEAD] = t->count;
    if (config->separate_ibot)
        add_head(t, MODULE_IBOT_HEAD, &config->ibot);
    t->module_items[MODULE_COUNT] = t->count;
    if (modules_fit(t, err))
        return true;
    dn_params_table_release(t);
    return false;
}

void dn_params_table_release(struct params_table *t)
{
    free(t->items);
    free(t->lookup);
    t->items = NULL;
    t->lookup = NULL;
}

int dn_params_find(const struct params_table *t, const char *name)
{
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->items[i].name, name) == 0)
            return i;
    return -1;
}

static void *place(void *base, enum dino_dtype dtype, size_t first)
{
    return (char *)base + first * dino_dtype_size(dtype);
}

struct mat dn_params_mat(const struct params_table *t, void *base, enum dino_dtype dtype, int i)
{
    if (i < 0)
        return (struct mat){0};
    const struct param_slice *p = &t->items[i];
    int64_t rows = p->dims == 1 ? 1 : p->dims == 3 ? p->shape[1] : p->shape[0];

    return dn_mat(place(base, dtype, p->first), (int)rows, (int)((int64_t)p->count / rows),
                  dtype);
}

struct mat dn_params_vector(const struct params_table *t, void *base, enum dino_dtype dtype,
                            int i)
{
    const struct param_slice *p = &t->items[i];

    return dn_mat(place(base, dtype, p->first), 1, (int)p->count, dtype);
}

struct mat dn_params_module(const struct params_table *t, void *base, enum dino_dtype dtype,
                            enum net_module module)
{
    int from = t->module_items[module], to = t->module_items[module + 1];

    if (from == to)
        return (struct mat){.rows = 1, .dtype = dtype};
    size_t first = t->items[from].first;
    size_t last = to < t->count ? t->items[to].first : t->elements;
    return dn_mat(place(base, dtype, first), 1, (int)(last - first), dtype);
}

bool dn_params_upload(struct queue *queue, void *to, const float *values, size_t count,
                      struct dino_error *err)
{
    const struct device *device = queue->device;
    const void *from = values;
    double *wide = NULL;

    if (dn_train_dtype(device) == DINO_F64) {
        wide = dn_calloc(count, sizeof *wide, "a block of parameters", err);
        if (!wide)
            return false;
        for (size_t i = 0; i < count; i++)
            wide[i] = (double)values[i];
        from = wide;
    }
    device->ops->upload(queue, to, from, count * dino_dtype_size(dn_train_dtype(device)));
    free(wide);
    return dn_queue_finish(queue, err);
}

struct mat dn_params_backbone(const struct params_table *t, void *base, enum dino_dtype dtype,
                              enum param param, int block)
{
    return dn_params_mat(t, base, dtype, t->lookup[(block + 1) * PARAM_COUNT + (int)param]);
}

struct mat dn_params_head(const struct params_table *t, void *base, enum dino_dtype dtype,
                          enum net_module module, enum head_param param, int layer)
{
    const struct head_config *c =
        module == MODULE_DINO_HEAD ? &t->config.dino : &t->config.ibot;
    int i = t->module_items[module];

    if (param == HEAD_WEIGHT || param == HEAD_BIAS)
        i += 2 * layer + (param == HEAD_BIAS);
    else
        i += 2 * c->layers + (param == HEAD_V);
    return dn_params_mat(t, base, dtype, i);
}
