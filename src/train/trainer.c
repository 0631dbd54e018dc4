/* The steps of a run: a batch, its gradient, clipping, AdamW, the teacher; and what is looked
 * at, written down and saved between them. */
#include "train/trainer.h"

#include <math.h>
#include <time.h>

#include "train/draws.h"
#include "train/export.h"
#include "train/knn_probe.h"

enum {
    HEALTH_STEPS = 50,
    FIRST_LOOKS = 20,
    MOST_BAD_SIGNS = 3,
    SAVE_SECONDS = 300,
    FIRST_PACE = 3
};

/* What one step gave, for the line it leaves. */
struct made {
    struct schedule_values rates;
    struct ssl_losses losses;
    struct clipping clip;
    struct health health;
    bool measured;
    double scale; /* of the loss; 0: not scaled */
    bool skipped; /* the gradient left f16 */
    double knn;   /* -1: not measured */
    double data_seconds, seconds;
};

double dn_trainer_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The steps that were done are good, whatever became of the pictures: they are kept. */
static bool stop_without_pictures(struct trainer *t)
{
    struct dino_error unheard = {0}; /* what is told is why the pictures ended */

    if (t->bad_signs == 0 && t->state.step > t->saved_step)
        dn_trainer_save(t, &unheard);
    return false;
}

void dn_trainer_input(const struct trainer *t, const struct batch *batch,
                      struct ssl_batch *input)
{
    *input = (struct ssl_batch){.masked = batch->masks.indices,
                                .masked_count = batch->masks.count,
                                .global_pixels = batch->global,
                                .local_pixels = batch->local};
    if (t->distil.on) {
        input->masked = t->distil.every;
        input->masked_count = t->distil.every_count;
    }
}

static bool gradient(struct trainer *t, struct made *m, struct dino_error *err)
{
    const struct train_config *c = &t->config;
    struct ssl_batch input;
    double before = dn_trainer_seconds();
    const struct batch *batch = dn_loader_next(t->loader, err);

    if (!dn_comm_agree(t->comm, batch != NULL, err))
        return stop_without_pictures(t);
    m->data_seconds = dn_trainer_seconds() - before;
    t->waited += m->data_seconds;
    dn_trainer_input(t, batch, &input);
    if (t->distil.cache.path &&
        !dn_distil_features(&t->distil, &t->step, &t->blocks, &input, t->state.step, err))
        return false;
    uint64_t seed = dn_draws(t->dataset.seed, DRAW_DEPTH, (uint64_t)t->state.step, 0).key;
    m->scale = t->state.scale.value;
    t->blocks.scale = m->scale > 0 ? m->scale : 1;
    dn_zero_grads(t->queue, &t->table, &t->blocks);
    return dn_ssl_step_run(&t->step, &t->blocks, &input, m->rates.teacher_temp, seed,
                           &m->losses, err) &&
           dn_clip(t->queue, &t->table, &t->blocks, c->optim.clip_grad, &m->clip, err);
}

static bool lost(struct trainer *t, const char *sign, struct dino_error *err)
{
    if (t->saved_step == 0)
        return dn_fail(err, DINO_EARG,
                       "stopped at step %lld: %s. No checkpoint was saved before",
                       (long long)t->state.step, sign);
    return dn_fail(err, DINO_EARG,
                   "stopped at step %lld: %s. The last good checkpoint is of step %lld",
                   (long long)t->state.step, sign, (long long)t->saved_step);
}

/* A gradient that leaves f16 is no sign of a run gone wrong as long as a smaller scale helps.
 */
static bool numbers_good(struct trainer *t, struct made *m, struct dino_error *err)
{
    if (!isfinite(m->losses.total))
        return lost(t, "the loss is no number; lower optim.base_lr or optim.clip_grad", err);
    m->skipped = !dn_clip_finite(&m->clip);
    if (m->skipped && (m->scale == 0 || dn_loss_scale_lost(&t->state.scale)))
        return lost(t, "a gradient is no number; lower optim.base_lr or optim.clip_grad", err);
    return true;
}

/* Random weights look collapsed for a while (layer scales of 1e-5 leave all class tokens
 * alike), so that signs count only after the warm-up and some looks. Of many processes, the
 * first looks at its own pictures. */
static bool look(struct trainer *t, struct made *m, struct dino_error *err)
{
    int64_t every = t->options->health_steps ? t->options->health_steps : HEALTH_STEPS;
    int64_t warmup = 2 * t->schedules.lr.warmup, looks = every * FIRST_LOOKS;
    int64_t settled = warmup > looks ? warmup : looks;

    if (every < 0 || t->state.step % every != 0)
        return true;
    m->measured = true;
    if (!dn_comm_agree(t->comm, dn_health_measure(&t->step, &m->health, err), err))
        return false;
    dn_comm_broadcast(t->comm, &m->health, sizeof m->health, 0);
    const char *sign = t->state.step >= settled ? dn_health_sign(&m->health) : NULL;
    t->bad_signs = sign ? t->bad_signs + 1 : 0;
    return t->bad_signs < MOST_BAD_SIGNS || lost(t, sign, err);
}

/* A step that is left out moves all but the student, as in the official code. */
static void update(struct trainer *t, const struct made *m)
{
    const struct train_config *c = &t->config;
    struct group_rule rule = {c->optim.layerwise_decay, c->optim.patch_embed_lr_mult};
    struct adamw_options options = {
        .beta1 = c->optim.adamw_beta1,
        .beta2 = c->optim.adamw_beta2,
        .eps = 1e-8,
        .step = t->state.step + 1 - t->state.scale.skipped,
        .rates = t->rates,
    };

    dn_param_rates(&t->table, &rule, &m->rates, t->rates);
    if (!m->skipped)
        dn_optimizer_step(t->queue, &t->table, &t->blocks, &m->clip, &options);
    dn_teacher_follow(t->queue, &t->table, &t->blocks, m->rates.momentum);
    dn_ssl_step_follow(&t->step);
    dn_loss_scale_follow(&t->state.scale, !m->skipped);
}

/* ---- between steps ---- */

/* The first process measures while the others wait. */
static bool ask(struct trainer *t, double *percent, struct dino_error *err)
{
    bool ok = !dn_trainer_first(t) || dn_knn_probe(t, percent, err);

    ok = dn_comm_agree(t->comm, ok, err);
    if (ok)
        dn_comm_broadcast(t->comm, percent, sizeof *percent, 0);
    return ok;
}

static bool probe(struct trainer *t, struct made *m, struct dino_error *err)
{
    int64_t every = t->options->knn_steps ? t->options->knn_steps : t->config.evaluation.period;
    bool due = t->state.step == t->steps || (every > 0 && t->state.step % every == 0);

    m->knn = -1;
    if (!t->options->knn_train || !due)
        return true;
    if (!ask(t, &m->knn, err))
        return false;
    t->knn = m->knn;
    if (!(m->knn > t->state.best))
        return true;
    t->state.best = m->knn;
    return dn_trainer_save_best(t, err);
}

/* What was there before the first step is the best so far. */
static bool measure_start(struct trainer *t, struct dino_error *err)
{
    struct dino_train_step step = {.steps = t->steps, .batch = t->part.all};

    if (!t->from.path || !t->options->knn_train || t->state.step > 0)
        return true;
    if (!ask(t, &t->first_knn, err))
        return false;
    t->state.best = step.knn = t->knn = t->first_knn;
    if (!dn_trainer_save_best(t, err))
        return false;
    if (t->options->progress)
        t->options->progress(t->options->context, &step);
    return true;
}

static void add_health(struct str *line, const struct made *m)
{
    if (m->measured)
        dn_str_addf(line,
                    ", \"teacher_entropy\": %.6g, \"prototype_entropy\": %.6g, "
                    "\"feature_spread\": %.6g, \"feature_rank\": %.6g",
                    m->health.entropy, m->health.used, m->health.spread, m->health.rank);
    if (m->knn >= 0)
        dn_str_addf(line, ", \"knn\": %.6g", m->knn);
}

/* Of a gradient that was left out there are none; JSON has no infinity. */
static void add_norms(struct str *line, const struct made *m, int modules)
{
    static const char *const names[] = {"backbone", "dino_head", "ibot_head"};

    for (int i = 0; i < modules && !m->skipped; i++)
        dn_str_addf(line, ", \"grad_norm_%s\": %.9g", names[i], m->clip.norm[i]);
    if (m->scale > 0)
        dn_str_addf(line, ", \"loss_scale\": %.9g, \"skipped\": %s", m->scale,
                    m->skipped ? "true" : "false");
}

/* The official keys first: scripts that read the official file read this one. The official
 * log halves koleo and ibot; here they are as optimised. */
static bool note(struct trainer *t, const struct made *m, struct dino_error *err)
{
    struct str line = {0};

    dn_str_addf(&line,
                "{\"iteration\": %lld, \"iter_time\": %.6f, \"data_time\": %.6f, "
                "\"lr\": %.9g, \"wd\": %.9g, \"mom\": %.9g, \"last_layer_lr\": %.9g, "
                "\"current_batch_size\": %d, \"total_loss\": %.9g, "
                "\"dino_local_crops_loss\": %.9g, \"dino_global_crops_loss\": %.9g, "
                "\"koleo_loss\": %.9g, \"ibot_loss\": %.9g, \"teacher_temp\": %.9g",
                (long long)(t->state.step - 1), m->seconds, m->data_seconds, m->rates.lr,
                m->rates.weight_decay, m->rates.momentum, m->rates.last_layer_lr, t->part.all,
                m->losses.total, m->losses.dino_local, m->losses.dino_global, m->losses.koleo,
                m->losses.ibot, m->rates.teacher_temp);
    add_norms(&line, m, t->table.config.separate_ibot ? 3 : 2);
    if (t->schedules.backbone_lr.freeze > 0)
        dn_str_addf(&line, ", \"backbone_lr\": %.9g", m->rates.backbone_lr);
    if (t->first_knn >= 0 && t->state.step == 1)
        dn_str_addf(&line, ", \"first_knn\": %.6g", t->first_knn);
    add_health(&line, m);
    dn_str_add(&line, "}\n");
    bool ok = !line.failed || dn_fail_memory(err, line.size, "a line of metrics");
    if (ok && (fputs(line.text, t->metrics) < 0 || fflush(t->metrics) != 0))
        ok = dn_fail_errno(err, "%s", t->metrics_path);
    dn_str_release(&line);
    return ok;
}

/* The state before this step's update: its loss and gradient are known to be numbers, so that
 * what is saved is good to go on from. One clock decides for all. */
static bool save_if_due(struct trainer *t, struct dino_error *err)
{
    const struct dino_train_options *o = t->options;
    double seconds = o->save_seconds > 0 ? o->save_seconds : SAVE_SECONDS;
    bool due = o->save_steps > 0 ? t->state.step % o->save_steps == 0
                                 : dn_trainer_seconds() - t->saved_at >= seconds;

    due = dn_comm_any(t->comm, due && t->state.step > t->first_step && dn_trainer_first(t));
    return t->bad_signs > 0 || !due || dn_trainer_save(t, err);
}

/* Pictures that were unreadable for any process. */
static int64_t skipped(const struct trainer *t)
{
    double count = (double)dn_loader_skipped(t->loader);

    dn_comm_sum(t->comm, &count, 1, DINO_F64);
    return (int64_t)count;
}

/* Who is asked to stop stops all. */
static bool go_on(const struct trainer *t, const struct made *m)
{
    int64_t done = t->state.step - t->first_step;
    double seconds = dn_trainer_seconds() - t->began;
    struct dino_train_step step = {
        .step = t->state.step,
        .steps = t->steps,
        .skipped = skipped(t),
        .batch = t->part.all,
        .seconds = seconds,
        .waited = t->waited,
        .lr = m->rates.lr,
        .loss = m->losses.total,
        .dino = m->losses.dino_local + m->losses.dino_global,
        .ibot = m->losses.ibot,
        .koleo = m->losses.koleo,
        .knn = m->knn,
    };

    if (done >= FIRST_PACE)
        step.seconds_left = seconds / (double)done * (double)(t->steps - t->state.step);
    bool here = t->options->progress && !t->options->progress(t->options->context, &step);
    return !dn_comm_any(t->comm, here);
}

static bool one_step(struct trainer *t, struct made *m, struct dino_error *err)
{
    double before = dn_trainer_seconds();

    *m = (struct made){.rates = dn_schedules_at(&t->schedules, t->state.step), .knn = -1};
    if (!gradient(t, m, err) || !numbers_good(t, m, err) || !look(t, m, err) ||
        !save_if_due(t, err))
        return false;
    update(t, m);
    if (!dn_comm_agree(t->comm, dn_queue_finish(t->queue, err), err))
        return false;
    t->state.step++;
    m->seconds = dn_trainer_seconds() - before;
    return probe(t, m, err) &&
           dn_comm_agree(t->comm, !dn_trainer_first(t) || note(t, m, err), err);
}

/* The state behind the last step, whatever was due; then the teacher as a folder. */
static bool finish(struct trainer *t, bool stopped, struct dino_error *err)
{
    bool saved = t->saved_step == t->state.step && t->state.step > t->first_step;

    if (!saved && !dn_trainer_save(t, err))
        return false;
    if (stopped)
        return dn_fail(err, DINO_ECANCELLED, "%s: stopped after step %lld of %lld",
                       t->options->output, (long long)t->state.step, (long long)t->steps);
    bool ok =
        !dn_trainer_first(t) ||
        (dn_export_folder(t->folder_path, t->teacher_path, &t->table.config.backbone, err) &&
         dn_export_all(t->heads_path, t->queue, &t->table, &t->blocks, err));
    return dn_comm_agree(t->comm, ok, err);
}

static bool all_steps(struct trainer *t, struct made *m, struct dino_error *err)
{
    bool stopped = false;

    if (!measure_start(t, err))
        return false;
    t->began = t->saved_at = dn_trainer_seconds();
    while (!stopped && t->state.step < t->steps) {
        if (!one_step(t, m, err))
            return false;
        stopped = !go_on(t, m) && t->state.step < t->steps;
    }
    return finish(t, stopped, err);
}

bool dino_train(const struct dino_train_options *options, struct dino_train_result *result,
                struct dino_error *err)
{
    struct made made = {.knn = -1};
    struct dino_train_plan plan;
    struct trainer t;

    if (options->size && options->size != sizeof *options)
        return dn_fail(err, DINO_EARG, "dino_train_options of %zu bytes, this library has %zu",
                       options->size, sizeof *options);
    if (!dn_trainer_open(&t, options, err))
        return false;
    dn_trainer_plan(&t, &plan);
    if (options->started)
        options->started(options->context, &plan);
    bool ok = all_steps(&t, &made, err);
    if (result)
        *result = (struct dino_train_result){
            .steps = t.state.step,
            .loss = made.losses.total,
            .knn = t.knn,
            .seconds = dn_trainer_seconds() - t.began,
            .skipped = dn_loader_skipped(t.loader),
        };
    dn_trainer_release(&t);
    return ok;
}

bool dino_train_preset(int index, const char **name, const char **about)
{
    const struct train_preset *preset = dn_train_preset(index);

    if (!preset)
        return false;
    *name = preset->name;
    *about = preset->about;
    return true;
}
