/* dino train: teach a vision transformer with pictures alone. */
#include "choose_model.h"
#include "train_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"
#include "dino_train.h"
#include "json_text.h"
#include "signals.h"
#include "train_count.h"

static const enum dino_dtype dtypes[] = {DINO_AUTO, DINO_F32, DINO_BF16, DINO_F16};

#define PLACE(member) offsetof(struct train_settings, member)

const struct option dn_train_run_rows[] = {
    {"output", 'o', OPTION_TEXT, PLACE(output), "RUN", "the run's folder"},
    {"from", 0, OPTION_TEXT, PLACE(from), "MODEL",
     "begin with a run, file, folder, or name that dino get knows"},
    {"high-res", 0, OPTION_FLAG, PLACE(high_res), NULL,
     "with --from: a last stage on crops of twice the side"},
    {"preset", 0, OPTION_TEXT, PLACE(preset), "NAME",
     "settings to begin with; unset: by the number of pictures"},
    {"config", 0, OPTION_TEXT, PLACE(config), "FILE", "YAML in the official layout"},
    {"save-every", 0, OPTION_INT, PLACE(save_every), "STEPS",
     "between checkpoints; 0: five minutes", NULL, 0, 1e9},
    {"keep", 0, OPTION_INT, PLACE(keep), "N", "checkpoints that are kept", "3", 1, 1000000},
    {"json", 0, OPTION_FLAG, PLACE(json), NULL, "print the result as JSON"},
    {"quiet", 'q', OPTION_FLAG, PLACE(quiet), NULL, "no plan, no progress"},
    {0},
};

static const struct option dry_rows[] = {
    {"dry-run", 0, OPTION_FLAG, PLACE(dry_run), NULL,
     "print what memory it takes; PATHS and RUN may be left out"},
    {"ranks", 0, OPTION_INT, PLACE(ranks), "N", "of so many processes", "1", 1, 65536},
    {"memory", 0, OPTION_REAL, PLACE(memory), "GB", "that each of them has; 0: what is here",
     "0", 0, 1e9},
    {0},
};

const struct option dn_train_knn_rows[] = {
    {"knn-train", 0, OPTION_TEXT, PLACE(knn_train), "DIR", "a folder a class: the neighbours"},
    {"knn-val", 0, OPTION_TEXT, PLACE(knn_val), "DIR", "the same: what is asked"},
    {"knn-every", 0, OPTION_INT, PLACE(knn_every), "STEPS",
     "0: evaluation.eval_period_iterations; and at the end", NULL, 0, 1e9},
    {0},
};

const struct option dn_train_machine_rows[] = {
    {"micro", 0, OPTION_INT, PLACE(micro), "N",
     "pictures at a time, same gradient; 0: what memory holds", NULL, 0, 65536},
    {"checkpointing", 0, OPTION_FLAG, PLACE(checkpointing), NULL,
     "keep less in memory, compute more"},
    {"device", 0, OPTION_TEXT, PLACE(device), "NAME",
     "auto, cpu, cuda or cuda:N (experimental)", "auto"},
    {"dtype", 0, OPTION_CHOICE, PLACE(dtype), "auto|f32|bf16|f16",
     "of products; auto: --config's, else bf16, where the device has it", "auto"},
    {"threads", 0, OPTION_INT, PLACE(threads), "N", "0: every core this process may use", NULL,
     0, 4096},
    {"readers", 0, OPTION_INT, PLACE(readers), "N", "loading threads; 0: one a core", NULL, 0,
     256},
    {0},
};

const char *dn_train_knn_conflict(const void *context)
{
    const struct train_settings *s = context;

    if (!s->knn_train != !s->knn_val)
        return "--knn-train and --knn-val go together";
    if (!s->dry_run && (s->ranks > 1 || s->memory > 0))
        return "--ranks and --memory belong to --dry-run";
    return s->knn_every && !s->knn_train ? "--knn-every wants --knn-train and --knn-val" : NULL;
}

const char *dn_train_stage_conflict(const void *context)
{
    const struct train_settings *s = context;

    return s->high_res && !s->from ? "--high-res wants --from RUN, or a model" : NULL;
}

static const struct option_group groups[] = {
    {"Run", dn_train_run_rows, 0, dn_train_stage_conflict},
    {"Measured on the way", dn_train_knn_rows, 0, dn_train_knn_conflict},
    {"Machine", dn_train_machine_rows, 0},
    {"Before it starts", dry_rows, 0},
    {0},
};

/* From when on, and from what part of the time on, it is worth a word. */
static const double STARVED_SECONDS = 60, STARVED_SHARE = 0.2;

struct work {
    struct report *report;
    struct dino_train_plan plan;
    bool timed;          /* how long it takes was said */
    bool starved;        /* so was that the network waits for pictures */
    double first_knn;    /* what it began with; -1: not measured in this call */
    double loss, losses; /* sum and number of this epoch's, as far as this call saw it */
};

/* "3 days 4 h", "2 h 10 min", "12 min", "40 s" */
static const char *duration_text(double seconds, char text[32])
{
    long minutes = (long)(seconds / 60 + 0.5);

    if (seconds < 90)
        snprintf(text, 32, "%.0f s", seconds);
    else if (minutes < 100)
        snprintf(text, 32, "%ld min", minutes);
    else if (minutes < 2880)
        snprintf(text, 32, "%ld h %ld min", minutes / 60, minutes % 60);
    else
        snprintf(text, 32, "%ld days %ld h", minutes / 1440, minutes / 60 % 24);
    return text;
}

static void say_start(struct report *report, const struct dino_train_plan *plan)
{
    struct str line = {0};

    dn_str_addf(&line, "begins with %s", plan->from);
    if (plan->from_grid != plan->grid)
        dn_str_addf(&line, ", positions %d x %d resampled to %d x %d", plan->from_grid,
                    plan->from_grid, plan->grid, plan->grid);
    dn_str_add(&line, plan->from_heads ? ", and its heads" : "; new heads");
    if (plan->frozen_epochs > 0)
        dn_str_addf(&line, ", which learn alone for %lld epochs",
                    (long long)plan->frozen_epochs);
    dn_note(report, "%s", dn_str_text(&line));
    dn_str_release(&line);
}

static void say_teacher(struct report *report, const struct dino_train_plan *plan)
{
    char all[16];

    dn_note(report, "teacher %s: width %d, %d blocks%s", plan->teacher, plan->teacher_dim,
            plan->teacher_depth,
            plan->teacher_has_heads ? "" : "; it has no heads: they are made of its features");
    if (plan->cache)
        dn_note(report, "cache %s: %s for %lld steps, of which %lld are there", plan->cache,
                dn_bytes_text((double)plan->cache_record * (double)plan->cache_steps, all),
                (long long)plan->cache_steps, (long long)plan->cache_made);
}

static void say_plan(void *context, const struct dino_train_plan *plan)
{
    struct work *work = context;
    struct report *report = work->report;
    char pictures[32], parameters[32], memory[16], many[48];

    work->plan = *plan;
    dn_note(report, "%s picture%s%s%s", dn_count_text(plan->pictures, pictures),
            dn_plural(plan->pictures), plan->preset ? ", preset " : "",
            plan->preset ? plan->preset : "");
    dn_note(report,
            "network %s: width %d, %d blocks, %d heads, patch %d, %d registers, %s "
            "parameters; %d prototypes",
            plan->arch, plan->dim, plan->depth, plan->heads, plan->patch, plan->registers,
            dn_count_text(plan->parameters, parameters), plan->prototypes);
    dn_note(report,
            "crops 2 x %d and %d x %d pixels; %d pictures a step, %d at a time; lr %.3g",
            plan->global_size, plan->local_crops, plan->local_size, plan->batch, plan->micro,
            plan->lr);
    snprintf(many, sizeof many, "%d processes, each with ", plan->processes);
    dn_note(report, "%lld epoch%s of %lld step%s on %s, %s, %s%d thread%s, %s of memory",
            (long long)plan->epochs, dn_plural(plan->epochs), (long long)plan->epoch_length,
            dn_plural(plan->epoch_length), plan->device, dino_dtype_name(plan->dtype),
            plan->processes > 1 ? many : "", plan->threads, dn_plural(plan->threads),
            dn_bytes_text((double)plan->bytes, memory));
    if (plan->dtype_asked != DINO_AUTO && plan->dtype_asked != plan->dtype)
        dn_note(report, "the config means %s (compute_precision), which %s has not",
                dino_dtype_name(plan->dtype_asked), plan->device);
    if (plan->exchange)
        dn_note(report, "gradients travel over %s", plan->exchange);
    if (plan->teacher)
        say_teacher(report, plan);
    if (plan->pictures < plan->batch)
        dn_warn(report, "a step takes %d pictures and there are %s: each is seen several times",
                plan->batch, dn_count_text(plan->pictures, pictures));
    if (plan->from)
        say_start(report, plan);
    if (plan->checkpoint)
        dn_note(report, "goes on from %s", plan->checkpoint);
}

/* Training that begins with a good network is not to make it worse. */
static void say_knn(struct work *work, const struct dino_train_step *step)
{
    const double most = 2;

    if (step->step == 0) {
        work->first_knn = step->knn;
        dn_note(work->report, "k-NN at the start %.2f %%", step->knn);
        return;
    }
    dn_note(work->report, "step %lld: k-NN %.2f %%", (long long)step->step, step->knn);
    if (step->knn < work->first_knn - most)
        dn_warn(work->report,
                "that is %.2f points below the start: lower optim.base_lr or let the heads "
                "learn alone for longer, optim.freeze_backbone_epochs",
                work->first_knn - step->knn);
}

static bool progress(void *context, const struct dino_train_step *step)
{
    struct work *work = context;
    struct dino_progress drawn = {
        .stage = "train",
        .done = step->step * step->batch,
        .total = step->steps * step->batch,
        .skipped = step->skipped,
        .seconds = step->seconds,
    };
    char text[32];

    if (!work->timed && step->seconds_left > 0) {
        work->timed = true;
        dn_note(work->report, "will take about %s", duration_text(step->seconds_left, text));
    }
    if (!work->starved && step->seconds > STARVED_SECONDS &&
        step->waited > STARVED_SHARE * step->seconds) {
        work->starved = true;
        dn_warn(work->report,
                "the network waits for pictures %.0f %% of the time; more --readers or smaller "
                "pictures would help",
                100 * step->waited / step->seconds);
    }
    if (step->knn >= 0)
        say_knn(work, step);
    if (step->step == 0)
        return true;
    work->loss += step->loss;
    work->losses++;
    if (step->step % work->plan.epoch_length == 0) {
        dn_note(work->report, "epoch %lld of %lld: loss %.4f",
                (long long)(step->step / work->plan.epoch_length), (long long)work->plan.epochs,
                work->loss / work->losses);
        work->loss = work->losses = 0;
    }
    return dn_report_progress(work->report, &drawn);
}

/* "optim.epochs=3" is a setting, unless there is a picture or folder of that name. */
static bool is_setting(const char *word)
{
    size_t name =
        strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.");

    return name > 0 && word[name] == '=' && !dn_exists(word);
}

static void skipped(void *context, const char *name, const struct dino_error *why)
{
    dn_report_skipped(((struct work *)context)->report, name, why);
}

/* Of many processes, the first one speaks for all. */
static bool follow(void *context, const struct dino_train_step *step)
{
    (void)step;
    return !dn_report_stop(((struct work *)context)->report);
}

/* The result, for programs. */
static bool print_json(struct report *report, const struct train_settings *s,
                       const struct dino_train_result *result, struct dino_error *err)
{
    struct str teacher = {0};
    struct json json = {.line = true};

    dn_str_addf(&teacher, "%s/%s.pth", s->output, s->teacher ? "student" : "teacher");
    dn_json_open(&json, NULL, '{');
    dn_json_text(&json, "run", s->output);
    dn_json_text(&json, "teacher", dn_str_text(&teacher));
    dn_json_int(&json, "steps", result->steps);
    dn_json_real(&json, "loss", result->loss, 9);
    dn_json_real(&json, "knn", result->knn < 0 ? NAN : result->knn, 6);
    dn_json_real(&json, "seconds", result->seconds, 6);
    dn_json_int(&json, "skipped", result->skipped);
    dn_json_close(&json, '}');
    bool ok = dn_json_print(&json, report, err);
    dn_json_release(&json);
    dn_str_release(&teacher);
    return ok;
}

/* Words that are no options: paths, and settings behind them. */
struct words {
    const char **paths, **wishes;
    int path_count, wish_count;
    char *from; /* the file that --from names, heap */
};

static struct dino_train_options options_of(const struct train_settings *s,
                                            const struct words *words)
{
    return (struct dino_train_options){
        .size = sizeof(struct dino_train_options),
        .pictures = words->paths,
        .picture_count = words->path_count,
        .output = s->output,
        .from = words->from,
        .high_res = s->high_res,
        .teacher = s->teacher,
        .student = s->student,
        .cache = s->cache,
        .preset = s->preset,
        .config = s->config,
        .settings = words->wishes,
        .setting_count = words->wish_count,
        .knn_train = s->knn_train,
        .knn_val = s->knn_val,
        .knn_steps = s->knn_every,
        .micro = s->micro,
        .checkpointing = s->checkpointing,
        .device = s->device,
        .dtype = dtypes[s->dtype],
        .threads = s->threads,
        .readers = s->readers,
        .save_steps = s->save_every,
        .keep = s->keep,
    };
}

static int count(struct call *call, const struct train_settings *s, const struct words *words)
{
    struct dino_train_options options = options_of(s, words);
    struct dino_train_memory memory;
    struct dino_error err = {0};

    if (!dino_train_count(&options, s->ranks, (size_t)(1e9 * s->memory), &memory, &err))
        return dn_report_error(call->report, &err);
    return dn_print_train_count(call->report, &memory, s->checkpointing, s->json);
}

static int train(struct call *call, const struct train_settings *s, const struct words *words)
{
    struct work work = {.report = call->report, .first_knn = -1};
    struct dino_error err = {0};
    struct dino_train_result result = {0};
    struct dino_comm *comm = dino_comm_open(&err);
    bool first = dino_comm_rank(comm) == 0;
    struct dino_train_options options = options_of(s, words);

    if (!comm)
        return dn_report_error(call->report, &err);
    options.comm = comm;
    options.started = first ? say_plan : NULL;
    options.progress = first ? progress : follow;
    options.skipped = skipped;
    options.context = &work;
    dn_signals_hold();
    bool ok = dino_train(&options, &result, &err);
    int status = ok ? STATUS_OK : STATUS_FAILED;
    call->report->quiet = call->report->quiet || !first;
    if (!ok && (first || dino_comm_lost(comm)))
        status = dn_report_error(call->report, &err);
    dino_comm_close(comm);
    if (!ok && err.code == DINO_ECANCELLED)
        dn_note(call->report, "%s: saved at step %lld of %lld; the same command goes on",
                s->output, (long long)result.steps, (long long)work.plan.steps);
    const char *made = work.plan.teacher ? "student" : "teacher";
    if (ok)
        dn_note(call->report, "%s/%s.pth and %s/%s (Hugging Face) after %lld steps", s->output,
                made, s->output, made, (long long)result.steps);
    if (ok && first && s->json && !print_json(call->report, s, &result, &err))
        status = dn_report_error(call->report, &err);
    return status;
}

static int choose(struct call *call, const struct train_settings *s, struct words *words)
{
    struct dino_error err = {0};

    if (s->from && !(words->from = dn_model_resolve(s->from, &err)))
        return dn_report_error(call->report, &err);
    if (s->dry_run)
        return count(call, s, words);
    if (!words->path_count)
        return dn_misuse(call, words->wish_count ? "settings, but no pictures to learn from"
                                                 : "nothing to work on");
    if (!s->output || !*s->output)
        return dn_misuse(call, "where to? -o RUN, a folder");
    return train(call, s, words);
}

int dn_train_run(struct call *call)
{
    const struct train_settings *settings = call->settings;
    struct dino_error err = {0};
    size_t most = (size_t)call->count + 1;

    call->report->quiet = settings->quiet;
    const char **all = dn_calloc(2 * most, sizeof *all, "arguments", &err);
    if (!all)
        return dn_report_error(call->report, &err);
    struct words words = {.paths = all, .wishes = all + most};
    for (int i = 0; i < call->count; i++)
        if (is_setting(call->items[i]))
            words.wishes[words.wish_count++] = call->items[i];
        else
            words.paths[words.path_count++] = call->items[i];
    int status = choose(call, settings, &words);
    free(words.from);
    free(all);
    return status;
}

const struct command dn_cmd_train = {
    .name = "train",
    .summary = "teach a network with pictures alone",
    .arguments = "PATHS... -o RUN [key=value...]",
    .about =
        "DINOv2 pre-training in f32, bf16 or f16. PATHS are folders, lists (@files.txt) and\n"
        "tar shards, also compressed ones; labels are not read. Settings are those of the\n"
        "official YAML files: preset, then --config, then key=value. RUN gets config.yaml,\n"
        "a JSON line a step (training_metrics.json), checkpoints/, teacher.pth and teacher/.\n"
        "Ctrl-C saves; the same command goes on, to the bytes of a run that was never\n"
        "stopped.\n"
        "Presets: vitt14-small-data, vits14-small-data, vitb14-small-data, vitl16-short,\n"
        "vitl14, vitg14.",
    .groups = groups,
    .settings_size = sizeof(struct train_settings),
    .computes = true,
    .most = -1,
    .run = dn_train_run,
    .examples =
        "  dino train photos/ -o run\n"
        "  dino train photos/ -o run --preset vits14-small-data optim.epochs=50\n"
        "  dino train more/ -o run2 --from run\n"
        "  mpirun -np 4 --bind-to none dino train photos/ -o run\n"
        "  dino train photos/ -o run --knn-train labelled/train --knn-val labelled/val\n"
        "  dino train --dry-run --preset vitg14 --ranks 8 --memory 80",
};
