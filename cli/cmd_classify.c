/* dino classify: the most probable classes of pictures. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "json_text.h"
#include "open_all.h"

enum { MOST_TOP = 1000, MOST_BATCH = 256 };

struct settings {
    struct model_settings model;
    struct view_settings view;
    struct walk_settings walk;
    int top, batch;
    bool json;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"top", 'k', OPTION_INT, PLACE(top), "K", "classes a picture", "3", 1, MOST_TOP},
    {"batch", 'b', OPTION_INT, PLACE(batch), "N", "pictures a pass", "8", 1, MOST_BATCH},
    {"json", 0, OPTION_FLAG, PLACE(json), NULL, "print JSON, one line a picture"},
    {0},
};

static const struct option_group groups[] = {
    {"Output", rows, 0},
    {NULL, dn_walk_options, PLACE(walk)},
    {"Head", dn_head_options, PLACE(model)},
    {"Model", dn_model_options, PLACE(model), dn_model_conflict},
    {"Pictures", dn_view_options, PLACE(view), dn_view_conflict},
    {0},
};

/* What is known while the pictures go by. */
struct work {
    const struct call *call;
    const struct settings *settings;
    struct opened opened;
    struct dino_feed *feed;
    struct dino_picture *pictures; /* [batch] */
    struct dino_input *inputs;     /* [batch] */
    int *index;                    /* [top] */
    float *probability;            /* [top] */
    struct json json;
    int64_t done, skipped;
};

static void print_table(struct work *work, const char *name, int count)
{
    struct report *report = work->call->report;

    dn_print_name(report, name);
    for (int i = 0; i < count; i++) {
        const char *label = dino_model_label(work->opened.model, work->index[i]);
        dn_print(report, "  %6.2f %%  ", 100.0 * (double)work->probability[i]);
        if (label)
            dn_print_name(report, label);
        else
            dn_print(report, "class %d\n", work->index[i]);
    }
}

static bool print_json(struct work *work, const char *name, int count, struct dino_error *err)
{
    struct json *json = &work->json;

    json->line = true;
    dn_json_open(json, NULL, '{');
    dn_json_text(json, "picture", name);
    dn_json_open(json, "top", '[');
    for (int i = 0; i < count; i++) {
        dn_json_open(json, NULL, '{');
        dn_json_int(json, "class", work->index[i]);
        dn_json_text(json, "label", dino_model_label(work->opened.model, work->index[i]));
        dn_json_real(json, "probability", (double)work->probability[i], 6);
        dn_json_close(json, '}');
    }
    dn_json_close(json, ']');
    dn_json_close(json, '}');
    return dn_json_print(json, work->call->report, err);
}

/* Run what of this batch could be read, and print it in order. */
static bool classify_batch(struct work *work, int count, struct dino_error *err)
{
    struct dino_request request = {.size = sizeof request, .logits = true};
    int classes = dino_model_info(work->opened.model)->classes, readable = 0;

    for (int i = 0; i < count; i++) {
        struct dino_picture *picture = &work->pictures[i];
        if (picture->ok) {
            work->inputs[readable++] = dn_input_of(&picture->image, &work->opened.view);
            continue;
        }
        if (work->settings->walk.strict) {
            *err = picture->error;
            return false;
        }
        work->skipped++;
        dn_report_skipped(work->call->report, picture->name, &picture->error);
    }
    if (readable && !dino_run(work->opened.session, work->inputs, readable, &request, err))
        return false;
    for (int i = 0, result = 0; i < count; i++) {
        if (!work->pictures[i].ok)
            continue;
        const float *logits = dino_result(work->opened.session, result++)->logits;
        int top =
            dino_top(logits, classes, work->settings->top, work->index, work->probability);
        if (!work->settings->json)
            print_table(work, work->pictures[i].name, top);
        else if (!print_json(work, work->pictures[i].name, top, err))
            return false;
    }
    work->done += count;
    return true;
}

static bool classify_all(struct work *work, struct dino_error *err)
{
    struct report *report = work->call->report;
    double start = dn_seconds();
    int count;

    while ((count = dino_feed_next(work->feed, work->pictures, work->settings->batch)) > 0) {
        if (!classify_batch(work, count, err))
            return false;
        struct dino_progress progress = {
            .stage = "classify",
            .done = work->done,
            .total = dino_source_count(work->opened.source),
            .skipped = work->skipped,
            .seconds = dn_seconds() - start,
        };
        if (!dn_report_progress(report, &progress))
            break;
    }
    return true;
}

static bool prepare(struct work *work, struct dino_error *err)
{
    const struct settings *settings = work->settings;
    struct dino_feed_options feed = {.size = sizeof feed};

    if (!dn_open_all(&work->opened, work->call, &settings->model, &settings->view, NULL, err))
        return false;
    const struct dino_model_info *info = dino_model_info(work->opened.model);
    if (info->classes == 0)
        return dn_fail(err, DINO_EARG,
                       "%s: has no classes; give a head: --head vits14_linear (dino get it), "
                       "or a Hugging Face classifier",
                       info->source);
    if (!info->labelled && !settings->json)
        dn_warn(work->call->report, "no class names, so numbers; --labels FILE names them");
    dn_decode_choose(&settings->view, &feed.decode);
    work->feed = dino_feed_open(work->opened.source, &work->opened.view, &feed, err);
    size_t batch = (size_t)settings->batch, top = (size_t)settings->top;
    work->pictures = dn_calloc(batch, sizeof *work->pictures, "a batch", err);
    work->inputs = dn_calloc(batch, sizeof *work->inputs, "a batch", err);
    work->index = dn_calloc(top, sizeof *work->index, "the classes", err);
    work->probability = dn_calloc(top, sizeof *work->probability, "the classes", err);
    return work->feed && work->pictures && work->inputs && work->index && work->probability;
}

static int run(struct call *call)
{
    const struct settings *settings = call->settings;
    struct work work = {.call = call, .settings = settings};
    struct dino_error err = {0};
    int status = STATUS_OK;

    call->report->quiet = settings->walk.quiet;
    if (!prepare(&work, &err) || !classify_all(&work, &err))
        status = dn_report_error(call->report, &err);
    else if (work.skipped == work.done && work.done > 0 && !dn_report_stop(call->report))
        status = STATUS_FAILED; /* nothing could be read, and each was named */
    dino_feed_close(work.feed);
    free(work.pictures);
    free(work.inputs);
    free(work.index);
    free(work.probability);
    dn_json_release(&work.json);
    dn_close_all(&work.opened);
    return status;
}

const struct command dn_cmd_classify = {
    .name = "classify",
    .summary = "labels and probabilities of pictures",
    .arguments = "PATHS...",
    .about =
        "Needs a model with a head: a Hugging Face classifier, or a backbone and an official\n"
        "linear head. PATHS as in dino embed.",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .computes = true,
    .least = 1,
    .most = -1,
    .run = run,
    .examples =
        "  dino classify cat.jpg --model vits14 --head vits14_linear --labels imagenet.txt\n"
        "  dino classify photos/ --model dinov2-small-imagenet1k-1-layer/ --json",
};
