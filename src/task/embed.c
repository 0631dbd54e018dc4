/*
 * Many pictures through one model into one file. The feed decodes ahead in threads of its own
 * while the model runs; this loop forms batches, writes rows and counts. Where the device goes
 * on by itself, a run begins before the rows of the last one are written. Batches begin at
 * multiples of their size, so that a resumed job runs the same batches and gives the same bits.
 */
#include <string.h>
#include <time.h>

#include "task/embed_file.h"
#include "task/embed_rows.h"

/* The pictures of one run. */
struct part {
    const char **names; /* [batch] */
    int count;
    int64_t next; /* with its rows all pictures before this one are done; 0: not all yet */
};

struct job {
    struct dino_session *session;
    const struct dino_source *source;
    const struct dino_embed_options *options;
    const struct dino_model_info *info;
    struct embed_plan plan;
    struct embed_layout layout;
    struct embed_store store;
    struct embed_rows rows;
    int batch;
    int64_t tokens; /* most in one run; 0: whatever the batch holds */
    struct dino_feed *feed;
    struct dino_picture *pictures; /* [batch] */
    struct dino_input *inputs;     /* [batch] */
    struct part parts[2];
    int filling;   /* the part being formed; the other may be under way */
    int under_way; /* runs */
    double started;
};

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *source_name(const void *source, int64_t index)
{
    return dino_source_name(source, index);
}

static struct embed_names names_of(const struct dino_source *source)
{
    return (struct embed_names){dino_source_count(source), source_name, source};
}

static bool tell(struct job *job, struct dino_error *err)
{
    const struct embed_mark *now = &job->store.now;
    struct dino_progress progress = {.stage = "embed",
                                     .done = now->next,
                                     .total = job->plan.pictures,
                                     .skipped = (int64_t)now->skips,
                                     .seconds = now_seconds() - job->started};

    if (!job->options->progress || job->options->progress(job->options->context, &progress))
        return true;
    return dn_fail(err, DINO_ECANCELLED,
                   "%s: stopped after %lld of %lld pictures; the same call goes on from there",
                   job->options->output, (long long)now->next, (long long)job->plan.pictures);
}

/* All pictures before `next` are done. */
static bool mark(struct job *job, int64_t next, struct dino_error *err)
{
    return dn_embed_store_mark(&job->store, next, err) && tell(job, err);
}

/* End the run under way and write its rows. */
static bool settle(struct job *job, struct dino_error *err)
{
    struct part *part = &job->parts[!job->filling];

    if (!job->under_way)
        return true;
    job->under_way--;
    if (!dino_run_end(job->session, err))
        return false;
    for (int i = 0; i < part->count; i++)
        if (!dn_embed_rows_put(&job->rows, &job->store, part->names[i],
                               dino_result(job->session, i), err))
            return false;
    return !part->next || mark(job, part->next, err);
}

/* Begin the part's run and write the rows of the one before, or its own. */
static bool run(struct job *job, struct dino_error *err)
{
    struct dino_request request = {.size = sizeof request,
                                   .layers = job->plan.layers,
                                   .layer_count = job->plan.layer_count,
                                   .raw = job->options->raw};
    struct part *part = &job->parts[job->filling];

    if (!part->count)
        return true;
    if (!dino_run_begin(job->session, job->inputs, part->count, &request, err)) {
        settle(job, NULL); /* what was computed is kept */
        return false;
    }
    bool ok = settle(job, err);
    job->under_way++;
    job->filling = !job->filling;
    job->parts[job->filling].count = 0;
    part->next = 0;
    return ok && (dino_session_overlaps(job->session) || settle(job, err));
}

static bool skip(struct job *job, const struct dino_picture *picture, struct dino_error *err)
{
    if (!settle(job, err)) /* the journal has pictures in order */
        return false;
    if (job->options->strict) {
        if (err)
            *err = picture->error;
        return false;
    }
    if (job->options->skipped)
        job->options->skipped(job->options->context, picture->name, &picture->error);
    return dn_embed_store_skip(&job->store, picture->index, picture->error.message, err);
}

/* One batch: in as many runs as its pictures' sizes ask for. */
static bool run_batch(struct job *job, int count, struct dino_error *err)
{
    int patch = job->info->patch;
    int64_t tokens = 0, next = job->pictures[count - 1].index + 1;

    for (int i = 0; i < count; i++) {
        const struct dino_picture *p = &job->pictures[i];
        if (!p->ok) {
            if (!skip(job, p, err))
                return false;
            continue;
        }
        int64_t more = (int64_t)(p->image.width / patch) * (p->image.height / patch) + 1 +
                       job->info->registers;
        if (tokens && job->tokens && tokens + more > job->tokens) {
            if (!run(job, err))
                return false;
            tokens = 0;
        }
        struct part *part = &job->parts[job->filling];
        part->names[part->count] = p->name;
        job->inputs[part->count++] = (struct dino_input){.pixels = p->image.pixels,
                                                         .height = p->image.height,
                                                         .width = p->image.width,
                                                         .mean = job->plan.view.mean,
                                                         .std = job->plan.view.std};
        tokens += more;
    }
    if (!run(job, err))
        return false;
    if (!job->under_way)
        return mark(job, next, err);
    job->parts[!job->filling].next = next;
    return true;
}

static bool open_feed(struct job *job, struct dino_error *err)
{
    struct dino_feed_options feed = job->options->feed;
    bool sized = job->plan.view.crop_width > 0 || job->plan.view.resize_width > 0;
    size_t batch = (size_t)job->batch;

    feed.size = sizeof feed;
    feed.keep_original = false;
    feed.first = job->store.now.next;
    if (!feed.ahead) /* the next batch is ready when this one is done; large ones cost memory */
        feed.ahead = sized ? 2 * job->batch : job->batch;
    job->pictures = dn_calloc(batch, sizeof *job->pictures, "a batch", err);
    job->inputs = dn_calloc(batch, sizeof *job->inputs, "a batch", err);
    for (int i = 0; i < 2; i++)
        job->parts[i].names = dn_calloc(batch, sizeof(char *), "a batch", err);
    if (!job->pictures || !job->inputs || !job->parts[0].names || !job->parts[1].names)
        return false;
    job->feed = dino_feed_open(job->source, &job->plan.view, &feed, err);
    return job->feed;
}

static bool run_all(struct job *job, struct dino_error *err)
{
    struct embed_store *store = &job->store;
    int count;

    if (!tell(job, err) || !open_feed(job, err))
        return false;
    while ((count = dino_feed_next(job->feed, job->pictures, job->batch)) > 0)
        if (!run_batch(job, count, err))
            return false;
    if (!settle(job, err))
        return false;
    if (store->now.next != job->plan.pictures)
        return dn_fail(err, DINO_EIO, "%s: pictures ended after %lld of %lld",
                       job->options->output, (long long)store->now.next,
                       (long long)job->plan.pictures);
    if (store->now.rows)
        return true;
    return dn_fail(err, DINO_EFORMAT, "%s: none of %lld pictures could be read, the first: %s",
                   job->options->output, (long long)job->plan.pictures, store->skips[0].why);
}

/* A job that can never end well leaves no part. */
static bool hopeless(const struct job *job, const struct dino_error *err)
{
    return (job->store.now.next == job->plan.pictures && !job->store.now.rows) ||
           (err->code == DINO_EARG && job->plan.format == EMBED_NPY);
}

static bool open_store(struct job *job, struct dino_error *err)
{
    struct embed_store_options store = {.output = job->options->output,
                                        .files = job->layout.files,
                                        .head = job->layout.head,
                                        .row_bytes = job->layout.row_bytes,
                                        .request = job->plan.request,
                                        .count = job->plan.pictures,
                                        .fresh = job->options->fresh};
    int64_t tokens;
    int batch = dn_embed_default_batch(&job->plan, job->info, &tokens);

    job->batch = job->options->batch;
    job->tokens = job->batch ? 0 : tokens;
    return dn_embed_store_open(&job->store, &store, &job->batch, batch, err);
}

static void release(struct job *job)
{
    for (; job->under_way; job->under_way--)
        dino_run_end(job->session, NULL); /* nobody wants its rows any more */
    dino_feed_close(job->feed);
    free(job->parts[0].names);
    free(job->parts[1].names);
    free(job->inputs);
    free(job->pictures);
    dn_embed_rows_release(&job->rows);
    dn_embed_layout_release(&job->layout);
    dn_embed_plan_release(&job->plan);
}

/* The options with defaults filled in. */
static bool complete(struct dino_embed_options *to, const struct dino_embed_options *from,
                     const struct dino_model *model, struct dino_error *err)
{
    if (from->size && from->size != sizeof *from)
        return dn_fail(err, DINO_EARG, "dino_embed_options of %zu bytes, this library has %zu",
                       from->size, sizeof *from);
    *to = *from;
    if (to->view.std[0] == 0) /* no view was given */
        return dino_view_named(&to->view, "classify", 0, model, err);
    return true;
}

bool dino_embed(struct dino_session *session, const struct dino_source *source,
                const struct dino_embed_options *options, struct dino_embed_result *result,
                struct dino_error *err)
{
    const struct dino_model *model = dino_session_model(session);
    struct embed_names names = names_of(source);
    struct dino_embed_options all;
    struct dino_error mine = {0};
    struct job job = {.session = session,
                      .source = source,
                      .options = &all,
                      .info = dino_model_info(model),
                      .started = now_seconds()};

    err = err ? err : &mine;
    if (!complete(&all, options, model, err) ||
        !dn_embed_plan_init(&job.plan, &all, job.info, &names, err))
        return false;
    job.rows.plan = &job.plan;
    bool ok = dn_embed_layout_init(&job.layout, &job.plan, err) && open_store(&job, err);
    if (!ok) {
        release(&job);
        return false;
    }
    int64_t resumed = job.store.now.rows;
    ok = job.store.finished ||
         (run_all(&job, err) &&
          dn_embed_file_finish(&job.plan, &job.store, &names, job.info->source, err));
    if (ok && result)
        *result = (struct dino_embed_result){.rows = job.store.now.rows,
                                             .skipped = (int64_t)job.store.now.skips,
                                             .resumed = resumed,
                                             .seconds = now_seconds() - job.started};
    dn_embed_store_close(&job.store, !ok && hopeless(&job, err));
    release(&job);
    return ok;
}
