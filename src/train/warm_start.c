#include "train/warm_start.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/positions.h"
#include "train/checkpoint.h"

enum { NAME = 320, MOST_LAYERS = 16 };

static const char *const modules[] = {"backbone.", "dino_head.", "ibot_head."};

/* ---- which file ---- */

/* Of a run's folder its latest checkpoint, else its best; else PATH. Heap. */
static char *file_of(const char *path, struct dino_error *err)
{
    char *folder = dn_path_join(path, "checkpoints", err);
    int64_t latest = folder ? dn_checkpoint_latest(folder) : -1;
    char *best = folder ? dn_path_join(folder, "best.safetensors", err) : NULL;
    char *file = !best             ? NULL
                 : latest >= 0     ? dn_checkpoint_path(folder, latest, err)
                 : dn_exists(best) ? dn_strdup(best, err)
                                   : dn_strdup(path, err);

    free(best);
    free(folder);
    return file;
}

/* The settings that a checkpoint of ours was trained with. */
static bool read_run(struct warm_start *w, struct dino_error *err)
{
    const char *kind = dn_tensors_note(&w->tensors, "kind");
    const char *settings = dn_tensors_note(&w->tensors, "config");

    if (!kind || !settings || !dn_starts_with(kind, "dino training state"))
        return true;
    struct span yaml = {(const uint8_t *)settings, strlen(settings)};
    dn_train_config_defaults(&w->run);
    w->has_run = dn_train_config_parse(&w->run, yaml, w->path, err);
    return w->has_run;
}

/* ---- heads ---- */

/* "teacher.backbone." of the backbone is "teacher.dino_head." of a head; NULL where the file's
 * backbone stands alone. */
static const struct dino_tensor *head_tensor(const struct warm_start *w, int module,
                                             const char *name)
{
    const char *prefix = w->weights.prefix;
    char whole[NAME];

    if (!dn_ends_with(prefix, modules[MODULE_BACKBONE]))
        return NULL;
    snprintf(whole, sizeof whole, "%.*s%s%s",
             (int)(strlen(prefix) - strlen(modules[MODULE_BACKBONE])), prefix, modules[module],
             name);
    return dn_tensors_find(&w->tensors, whole);
}

static bool is_real(enum dino_dtype dtype)
{
    return dtype == DINO_F32 || dtype == DINO_F16 || dtype == DINO_BF16 || dtype == DINO_F64;
}

static const struct dino_tensor *head_matrix(const struct warm_start *w, int module,
                                             const char *name)
{
    const struct dino_tensor *t = head_tensor(w, module, name);
    bool fits = t && t->dims == 2 && is_real(t->dtype) && t->shape[0] > 0 && t->shape[1] > 0 &&
                t->shape[0] < 1 << 24 && t->shape[1] < 1 << 24;

    return fits ? t : NULL;
}

/* As dinov2/layers/dino_head.py names them: one layer is "mlp", more are "mlp.0", "mlp.2". */
static const struct dino_tensor *layer_of(const struct warm_start *w, int module, int layer)
{
    char name[40];

    snprintf(name, sizeof name, "mlp.%d.weight", 2 * layer);
    return head_matrix(w, module, name);
}

/* The shape of a head; layers 0 where there is none of the kind that we train. */
static struct head_config find_head(const struct warm_start *w, int module)
{
    const struct dino_tensor *v = head_matrix(w, module, "last_layer.weight_v");
    const struct dino_tensor *first = head_matrix(w, module, "mlp.weight"), *last = first;
    int layers = first ? 1 : 0;

    if (!first) {
        for (first = layer_of(w, module, 0); layers < MOST_LAYERS; layers++) {
            const struct dino_tensor *next = layer_of(w, module, layers);
            if (!next)
                break;
            last = next;
        }
    }
    if (!v || !layers || first->shape[1] != w->net.backbone.dim)
        return (struct head_config){0};
    return (struct head_config){.in = (int)first->shape[1],
                                .layers = layers,
                                .hidden = (int)first->shape[0],
                                .bottleneck = (int)last->shape[0],
                                .prototypes = (int)v->shape[0]};
}

/* ---- opening ---- */

/* What a file cannot say, its run may know. */
static bool find_backbone(struct warm_start *w, int heads, struct dino_error *err)
{
    struct vit_config run;

    if (w->has_run && !dn_train_config_vit(&w->run, &run, err))
        return dn_fail_prefix(err, w->path);
    if (!dn_weights_find(&w->weights, &w->tensors, heads || !w->has_run ? heads : run.heads,
                         err))
        return false;
    if (w->has_run)
        w->weights.config.positions = run.positions;
    w->net.backbone = w->weights.config;
    return true;
}

bool dn_warm_start_open(struct warm_start *w, const char *path, int heads,
                        struct dino_error *err)
{
    *w = (struct warm_start){0};
    w->path = file_of(path, err);
    if (!w->path || !dn_tensors_open(&w->tensors, w->path, err) || !read_run(w, err) ||
        !find_backbone(w, heads, err))
        return false;
    w->net.dino = find_head(w, MODULE_DINO_HEAD);
    w->net.ibot = find_head(w, MODULE_IBOT_HEAD);
    w->net.separate_ibot = w->net.dino.layers && w->net.ibot.layers;
    return true;
}

void dn_warm_start_release(struct warm_start *w)
{
    dn_weights_release(&w->weights);
    dn_tensors_release(&w->tensors);
    free(w->path);
    *w = (struct warm_start){0};
}

/* ---- what fits ---- */

static const char *ffn_name(enum dino_ffn ffn)
{
    return ffn == DINO_FFN_MLP ? "mlp" : ffn == DINO_FFN_SWIGLU ? "swiglufused" : "identity";
}

struct trait {
    const char *what;
    int found;
    const char *setting;
    int wanted;
};

static bool ways_agree(const struct warm_start *w, const struct vit_config *to,
                       struct dino_error *err)
{
    const struct vit_config *c = &w->net.backbone;

    if (c->ffn != to->ffn)
        return dn_fail(err, DINO_EARG,
                       "%s: its feed-forward is %s, but student.ffn_layer is %s", w->path,
                       ffn_name(c->ffn), ffn_name(to->ffn));
    if (c->norm_eps != to->norm_eps)
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "%s: its LayerNorm has eps %g, but training has %g", w->path,
                       (double)c->norm_eps, (double)to->norm_eps);
    return true;
}

bool dn_warm_start_fits(const struct warm_start *w, const struct vit_config *to,
                        struct dino_error *err)
{
    const struct vit_config *c = &w->net.backbone;
    const struct trait traits[] = {
        {"width", c->dim, "student.embed_dim", to->dim},
        {"number of blocks", c->depth, "student.depth", to->depth},
        {"number of attention heads", c->heads, "student.num_heads", to->heads},
        {"hidden width", c->hidden, "that of student.ffn_layer", to->hidden},
        {"patch size", c->patch, "student.patch_size", to->patch},
        {"number of channels", c->channels, "that of pictures", to->channels},
        {"number of registers", c->registers, "student.num_register_tokens", to->registers},
        {"number of LayerScales a branch", c->layer_scale, "that of student.layerscale",
         to->layer_scale},
        {"number of biases of q, k and v", c->qkv_bias, "student.qkv_bias", to->qkv_bias},
        {"number of biases behind attention", c->proj_bias, "student.proj_bias", to->proj_bias},
        {"number of feed-forward biases", c->ffn_bias, "student.ffn_bias", to->ffn_bias},
    };

    if (!ways_agree(w, to, err))
        return false;
    for (size_t i = 0; i < sizeof traits / sizeof *traits; i++)
        if (traits[i].found != traits[i].wanted)
            return dn_fail(err, DINO_EARG, "%s: its %s is %d, but %s is %d", w->path,
                           traits[i].what, traits[i].found, traits[i].setting,
                           traits[i].wanted);
    return true;
}

static bool same_head(const struct head_config *a, const struct head_config *b)
{
    return a->in == b->in && a->layers == b->layers && a->bottleneck == b->bottleneck &&
           a->prototypes == b->prototypes && (a->layers == 1 || a->hidden == b->hidden);
}

bool dn_warm_start_has_heads(const struct warm_start *w, const struct net_config *net)
{
    return same_head(&w->net.dino, &net->dino) &&
           (!net->separate_ibot || same_head(&w->net.ibot, &net->ibot));
}

/* ---- reading ---- */

/* The class token's entry, then the grid, resampled. */
static bool read_positions(const struct warm_start *w, const struct vit_config *to,
                           float *values, int64_t *bad, struct dino_error *err)
{
    struct vit_config from = w->weights.config;
    size_t count = dn_param_elements(&from, PARAM_POS_EMBED), dim = (size_t)from.dim;
    float *stored = dn_calloc(count, sizeof *stored, "position embeddings", err);

    if (!stored)
        return false;
    from.positions = to->positions;
    dn_weights_read(&w->weights, PARAM_POS_EMBED, -1, stored, bad);
    memcpy(values, stored, dim * sizeof *values);
    bool ok = dn_positions_resample(&from, stored + dim, to->grid_rows, to->grid_cols,
                                    values + dim, err);
    free(stored);
    return ok;
}

static bool read_backbone(const struct warm_start *w, const struct params_table *table,
                          float *values, int64_t *bad, struct dino_error *err)
{
    for (int i = 0; i < table->module_items[MODULE_BACKBONE + 1]; i++) {
        const struct param_slice *p = &table->items[i];
        float *to = values + p->first;
        if (p->ref.param == PARAM_POS_EMBED) {
            if (!read_positions(w, &table->config.backbone, to, bad, err))
                return false;
        } else if (dn_param_present(&w->weights.config, p->ref.param)) {
            dn_weights_read(&w->weights, p->ref.param, p->ref.block, to, bad);
            dn_weights_drop(&w->weights, p->ref.param, p->ref.block);
        }
    }
    return true;
}

static bool read_heads(const struct warm_start *w, const struct params_table *table,
                       float *values, int64_t *bad, struct dino_error *err)
{
    for (int i = table->module_items[MODULE_DINO_HEAD]; i < table->count; i++) {
        const struct param_slice *p = &table->items[i];
        const struct dino_tensor *t = head_tensor(w, p->module, strchr(p->name, '.') + 1);
        bool fits = t && is_real(t->dtype) && t->dims == p->dims;
        for (int d = 0; fits && d < p->dims; d++)
            fits = t->shape[d] == p->shape[d];
        if (!fits)
            return dn_fail(err, DINO_EFORMAT,
                           "%s: no %s of the shape that its other "
                           "parameters ask for",
                           w->path, p->name);
        *bad += (int64_t)dn_tensor_read(t, 0, p->count, values + p->first);
        dn_tensor_drop(&w->tensors, t);
    }
    return true;
}

bool dn_warm_start_read(const struct warm_start *w, const struct params_table *table,
                        bool heads, float *values, struct dino_error *err)
{
    int64_t bad = 0;

    if (!dn_warm_start_fits(w, &table->config.backbone, err) ||
        !read_backbone(w, table, values, &bad, err) ||
        (heads && !read_heads(w, table, values, &bad, err)))
        return false;
    return bad == 0 || dn_fail(err, DINO_EFORMAT, "%s: NaN or infinite weights: %lld", w->path,
                               (long long)bad);
}
