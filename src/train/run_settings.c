#include "train/run_settings.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* By the number of pictures: a large network on few of them learns them by heart. */
static const char *usual_preset(int64_t pictures)
{
    return pictures < 20000    ? "vitt14-small-data"
           : pictures < 200000 ? "vits14-small-data"
                               : "vitb14-small-data";
}

/* An architecture, or a file that the student begins with. */
static bool name_student(struct train_config *c, const char *student, struct dino_error *err)
{
    if (dn_train_config_arch(c, student))
        return true;
    if (!dn_exists(student) || strlen(student) >= CONFIG_TEXT)
        return dn_fail(err, DINO_EARG,
                       "no student is called %.60s, wanted vitt14, vits14, vitb14, vitl14 or "
                       "vitg14, with or without _reg, or a file",
                       student);
    snprintf(c->student.pretrained_weights, CONFIG_TEXT, "%s", student);
    return true;
}

/* The caller's words, which stand over all others; the teacher, if it is known, stands over
 * the file. */
static bool own_words(struct train_config *c, const struct distil *distil,
                      const struct dino_train_options *o, struct dino_error *err)
{
    if (o->config && !dn_train_config_read(c, o->config, err))
        return false;
    if (o->student && !name_student(c, o->student, err))
        return false;
    if (distil->on)
        dn_distil_decide(distil, c);
    for (int i = 0; i < o->setting_count; i++)
        if (!dn_train_config_override(c, o->settings[i], err))
            return false;
    return true;
}

/* ---- distillation ---- */

static bool open_teacher(struct run_settings *s, const struct dino_train_options *o,
                         struct dino_error *err)
{
    struct distil none = {0};
    struct train_config wishes;

    dn_train_config_defaults(&wishes);
    if (!own_words(&wishes, &none, o, err))
        return false;
    const char *path = o->teacher ? o->teacher : wishes.distillation.teacher;
    if (o->cache && !*path)
        return dn_fail(err, DINO_EARG,
                       "a cache keeps the features of a teacher, but there is no teacher");
    return !*path || dn_distil_open(&s->distil, path, err);
}

/* ---- beginning with a file ---- */

static bool open_start(struct run_settings *s, const struct dino_train_options *o,
                       struct dino_error *err)
{
    struct train_config wishes;

    dn_train_config_defaults(&wishes);
    if (!own_words(&wishes, &s->distil, o, err))
        return false;
    if (wishes.weights[0])
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "MODEL.WEIGHTS is %.200s: the training state of another program, wanted "
                       "student.pretrained_weights, which takes the teacher out of it",
                       wishes.weights);
    const char *path = o->from ? o->from : wishes.student.pretrained_weights;
    if (o->high_res && !*path)
        return dn_fail(err, DINO_EARG,
                       "the high-resolution stage wants a run or a file to "
                       "begin with");
    if (strlen(path) >= sizeof wishes.student.pretrained_weights)
        return dn_fail(err, DINO_EARG, "%.60s...: the path has %zu bytes, wanted at most %zu",
                       path, strlen(path), sizeof wishes.student.pretrained_weights - 1);
    return !*path || dn_warm_start_open(&s->start, path, wishes.student.num_heads, err);
}

static void take_head(struct train_head *to, const struct head_config *from)
{
    to->layers = from->layers;
    to->hidden = from->layers > 1 ? from->hidden : to->hidden;
    to->bottleneck = from->bottleneck;
    to->prototypes = from->prototypes;
}

static void take_shape(struct train_config *c, const struct net_config *net)
{
    dn_train_config_take_vit(c, &net->backbone);
    if (!net->dino.layers)
        return;
    take_head(&c->dino.head, &net->dino);
    c->ibot.separate_head = net->separate_ibot;
    if (net->separate_ibot)
        take_head(&c->ibot.head, &net->ibot);
}

/* Crops as large as the file's position grid says, but for the grids of released models (518
 * pixels), which are a last stage's; local ones in the proportion of 98 to 224. */
static void take_crops(struct train_config *c, const struct vit_config *vit)
{
    enum { MOST = 224 };
    int patch = vit->patch, side = vit->grid_rows * patch;

    if (side > MOST)
        side = MOST >= patch ? MOST / patch * patch : patch;
    if (side == c->crops.global_size && c->crops.local_size % patch == 0)
        return;
    int local = (side * 98 / 224 + patch / 2) / patch * patch;
    c->crops.global_size = side;
    c->crops.local_size = local > patch ? local : patch;
}

static void set_path(struct train_config *c, const char *path)
{
    c->weights[0] = 0;
    snprintf(c->student.pretrained_weights, sizeof c->student.pretrained_weights, "%s", path);
}

/* A stage that has its heads keeps the schedules, shortened; new heads, and new pictures, have
 * gentler ones. */
static bool adapt(struct run_settings *s, const struct dino_train_options *o, bool heads,
                  int64_t pictures, struct dino_error *err)
{
    struct train_config *c = &s->config;
    bool goes_on = s->start.has_run && !s->preset && !o->config;

    if (!goes_on)
        take_crops(c, &s->start.net.backbone);
    if (o->high_res)
        c->crops.global_size *= 2;
    if (o->high_res && heads) {
        dn_train_config_shorten(c, pictures);
        return true;
    }
    return dn_train_config_continue(c, heads, err);
}

static bool settings_from(struct run_settings *s, const struct dino_train_options *o,
                          bool heads, int64_t pictures, struct dino_error *err)
{
    const struct warm_start *start = &s->start;
    struct train_config *c = &s->config;

    take_shape(c, &start->net);
    if (o->from && !adapt(s, o, heads, pictures, err))
        return false;
    if (!own_words(c, &s->distil, o, err))
        return false;
    set_path(c, o->from ? o->from : c->student.pretrained_weights);
    return true;
}

/* ---- the network ---- */

static struct head_config head_of(const struct train_head *head, int dim)
{
    return (struct head_config){.in = dim,
                                .layers = head->layers,
                                .hidden = head->hidden,
                                .bottleneck = head->bottleneck,
                                .prototypes = head->prototypes};
}

bool dn_run_net(const struct train_config *c, struct net_config *net, struct dino_error *err)
{
    *net = (struct net_config){.separate_ibot = c->ibot.separate_head};
    if (!dn_train_config_vit(c, &net->backbone, err))
        return false;
    net->dino = head_of(&c->dino.head, net->backbone.dim);
    if (net->separate_ibot)
        net->ibot = head_of(&c->ibot.head, net->backbone.dim);
    return true;
}

/* ---- all of it ---- */

/* What stands below the caller's words and the file's shape. */
static bool base_settings(struct run_settings *s, const struct dino_train_options *o,
                          int64_t pictures, struct dino_error *err)
{
    bool goes_on = o->from && s->start.has_run && !o->preset && !o->config;

    dn_train_config_defaults(&s->config);
    s->preset = o->preset ? o->preset : o->config || goes_on ? NULL : usual_preset(pictures);
    if (goes_on)
        s->config = s->start.run;
    return !s->preset || dn_train_config_preset(&s->config, s->preset, err);
}

/* Whether the heads are the file's is known when all is decided, but decides how long the
 * backbone waits for them: it is tried with them first. */
static bool decide(struct run_settings *s, const struct dino_train_options *o, int64_t pictures,
                   struct dino_error *err)
{
    struct net_config net = {0};

    for (s->heads = s->start.net.dino.layers > 0;; s->heads = false) {
        if (!base_settings(s, o, pictures, err) ||
            !settings_from(s, o, s->heads, pictures, err) ||
            !dn_train_config_check(&s->config, err) || !dn_run_net(&s->config, &net, err))
            return false;
        if (!s->heads || dn_warm_start_has_heads(&s->start, &net))
            return dn_warm_start_fits(&s->start, &net.backbone, err);
    }
}

bool dn_run_settings(struct run_settings *s, const struct dino_train_options *o,
                     int64_t pictures, struct dino_error *err)
{
    *s = (struct run_settings){0};
    if (!open_teacher(s, o, err) || !open_start(s, o, err))
        return false;
    bool ok = s->start.path ? decide(s, o, pictures, err)
                            : base_settings(s, o, pictures, err) &&
                                  own_words(&s->config, &s->distil, o, err) &&
                                  dn_train_config_check(&s->config, err);
    return ok && (!s->distil.on || dn_distil_check(&s->distil, &s->config, err));
}
