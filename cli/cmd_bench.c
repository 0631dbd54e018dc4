/* dino bench: how fast a model loads and runs here, and how near that is to the machine. */
#include "command.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"
#include "bench_flops.h"
#include "json_text.h"
#include "open_all.h"

struct settings {
    struct model_settings model;
    struct view_settings view;
    int batch, readers;
    double seconds;
    bool pipeline, json;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"batch", 'b', OPTION_INT, PLACE(batch), "N", "pictures a pass", "1", 1, 4096},
    {"seconds", 0, OPTION_REAL, PLACE(seconds), "S", "to measure for", "2", 0, 86400},
    {"pipeline", 0, OPTION_FLAG, PLACE(pipeline), NULL,
     "time reading, model, and both, on PATHS"},
    {"readers", 0, OPTION_INT, PLACE(readers), "N", "decoding threads; 0: one a core", NULL, 0,
     1024},
    {"json", 0, OPTION_FLAG, PLACE(json), NULL, "print JSON"},
    {0},
};

static const struct option_group groups[] = {
    {"Options", rows, 0},
    {"Model", dn_model_options, PLACE(model), dn_model_conflict},
    {"Pictures", dn_view_options, PLACE(view), dn_view_conflict},
    {0},
};

/* Rates of the three runs of --pipeline, in pictures a second; 0: not asked for. */
struct rates {
    double reading, model, both;
};

struct bench {
    const struct call *call;
    const struct settings *settings;
    struct opened opened;
    int width, height;
    uint8_t *pixels; /* of one picture; each input of the batch shows it */
    struct dino_input *inputs;
    struct dino_picture *pictures; /* [batch], of the pipeline */
    double *times;                 /* seconds a pass, sorted in the end */
    size_t count, room;
    bool under_way; /* a run */
    double load, first, flops, peak, memory;
    struct rates rates;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const struct bench *bench)
{
    size_t half = bench->count / 2;
    const double *times = bench->times;
    return bench->count % 2 ? times[half] : 0.5 * (times[half - 1] + times[half]);
}

static double images_per_second(const struct bench *bench)
{
    return bench->settings->batch / median(bench);
}

/* Noise in the size the view gives; speed does not depend on what is seen. */
static bool make_inputs(struct bench *bench, struct dino_error *err)
{
    const struct dino_view *view = &bench->opened.view;
    struct dino_image noise = {0}, seen = {0};
    bool ok = false;
    int width = 640, height = 480;

    if (!dino_image_alloc(&noise, width, height, err))
        return false;
    for (size_t i = 0; i < (size_t)3 * (size_t)width * (size_t)height; i++)
        noise.pixels[i] = (uint8_t)dn_random_u64(1, 0, i);
    if (!dino_view_apply(view, &noise, &seen, err))
        goto done;
    size_t batch = (size_t)bench->settings->batch;
    bench->inputs = dn_calloc(batch, sizeof *bench->inputs, "a batch", err);
    if (!bench->inputs)
        goto done;
    for (size_t i = 0; i < batch; i++)
        bench->inputs[i] = dn_input_of(&seen, view);
    bench->width = seen.width;
    bench->height = seen.height;
    bench->pixels = seen.pixels;
    seen.pixels = NULL;
    ok = true;
done:
    dino_image_release(&noise);
    dino_image_release(&seen);
    return ok;
}

static bool one_pass(struct bench *bench, double *seconds, struct dino_error *err)
{
    double start = dn_seconds();

    if (!dino_run(bench->opened.session, bench->inputs, bench->settings->batch, NULL, err))
        return false;
    *seconds = dn_seconds() - start;
    return true;
}

/* The first pass allocates and warms; then at least three, for as long as was asked. */
static bool time_passes(struct bench *bench, struct dino_error *err)
{
    double start, seconds;

    if (!one_pass(bench, &bench->first, err))
        return false;
    start = dn_seconds();
    while (bench->count < 3 || dn_seconds() - start < bench->settings->seconds) {
        if (!one_pass(bench, &seconds, err) ||
            !dn_grow(&bench->times, &bench->room, bench->count + 1, sizeof *bench->times,
                     "times", err))
            return false;
        bench->times[bench->count++] = seconds;
        struct dino_progress progress = {.stage = "passes", .done = (int64_t)bench->count};
        if (!dn_report_progress(bench->call->report, &progress))
            return dn_fail(err, DINO_ECANCELLED, "stopped");
    }
    qsort(bench->times, bench->count, sizeof *bench->times, by_value);
    return true;
}

/* Begin a run, and end the one before; where nothing overlaps, its own. */
static bool pass_on(struct bench *bench, int count, struct dino_error *err)
{
    struct dino_session *session = bench->opened.session;

    if (!dino_run_begin(session, bench->inputs, count, NULL, err))
        return false;
    bool over = !dino_session_overlaps(session) || bench->under_way;
    bench->under_way = dino_session_overlaps(session);
    return !over || dino_run_end(session, err);
}

static bool pass_last(struct bench *bench, struct dino_error *err)
{
    bench->under_way = false;
    return dino_run_end(bench->opened.session, err);
}

/* What the model does alone, run after run as in the pipeline, pictures a second. */
static bool time_model(struct bench *bench, struct dino_error *err)
{
    size_t runs = 0;

    bench->rates.model = images_per_second(bench);
    if (!dino_session_overlaps(bench->opened.session))
        return true; /* that is what it does */
    double start = dn_seconds(), spent = 0;
    for (; runs < 3 || spent < bench->settings->seconds; spent = dn_seconds() - start, runs++)
        if (!pass_on(bench, bench->settings->batch, err))
            return false;
    if (!pass_last(bench, err))
        return false;
    bench->rates.model = (double)runs * bench->settings->batch / (dn_seconds() - start);
    return true;
}

/* Read the pictures, with the model behind it or not, and count them a second. */
static bool time_reading(struct bench *bench, bool run, double *rate, struct dino_error *err)
{
    const struct settings *settings = bench->settings;
    struct dino_feed_options options = {.size = sizeof options, .threads = settings->readers};
    int64_t done = 0;
    int count;
    bool ok = true;
    double start = dn_seconds(), spent = 0;

    dn_decode_choose(&settings->view, &options.decode);
    struct dino_feed *feed =
        dino_feed_open(bench->opened.source, &bench->opened.view, &options, err);
    if (!feed)
        return false;
    while (ok && (count = dino_feed_next(feed, bench->pictures, settings->batch)) > 0) {
        int readable = 0;
        for (int i = 0; i < count; i++)
            if (bench->pictures[i].ok)
                bench->inputs[readable++] =
                    dn_input_of(&bench->pictures[i].image, &bench->opened.view);
        if (run && readable)
            ok = pass_on(bench, readable, err);
        done += readable;
        spent = dn_seconds() - start;
        if (spent > settings->seconds)
            break;
    }
    if (ok && bench->under_way) {
        ok = pass_last(bench, err);
        spent = dn_seconds() - start;
    }
    dino_feed_close(feed);
    if (ok && done == 0)
        return dn_fail(err, DINO_EFORMAT, "none of the pictures could be read");
    *rate = spent > 0 ? (double)done / spent : 0;
    return ok;
}

static bool time_pipeline(struct bench *bench, struct dino_error *err)
{
    size_t batch = (size_t)bench->settings->batch;

    bench->pictures = dn_calloc(batch, sizeof *bench->pictures, "a batch", err);
    return bench->pictures && time_model(bench, err) &&
           time_reading(bench, false, &bench->rates.reading, err) &&
           time_reading(bench, true, &bench->rates.both, err);
}

static double peak_bytes(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss;
}

static void print_text(struct bench *bench)
{
    struct report *report = bench->call->report;
    const struct dino_model_info *info = dino_model_info(bench->opened.model);
    char text[32], memory[16], weights[16], scratch[16];
    double gflops = 1e-9 * bench->flops * images_per_second(bench);

    dn_print(report, "model      %s, %s parameters, %s\n", info->arch,
             dn_count_text(info->parameters, text), info->source);
    dn_print(report, "machine    %s, %d thread%s, %s\n", info->device, info->threads,
             dn_plural(info->threads), dino_dtype_name(info->dtype));
    dn_print(report, "load       %.3f s\n", bench->load);
    dn_print(report,
             "pass       %d x %d x %d: median %.2f ms, least %.2f ms of %zu; first %.2f ms\n",
             bench->settings->batch, bench->width, bench->height, 1e3 * median(bench),
             1e3 * bench->times[0], bench->count, 1e3 * bench->first);
    dn_print(report, "speed      %.2f images/s, %.1f GFLOP/s", images_per_second(bench),
             gflops);
    if (bench->peak > 0)
        dn_print(report, ", %.0f %% of the %.0f measured here", 100 * gflops / bench->peak,
                 bench->peak);
    dn_print(report, "\n");
    if (bench->settings->pipeline)
        dn_print(report,
                 "pipeline   reading %.1f, model %.1f, both %.1f images/s: the %s waits\n",
                 bench->rates.reading, bench->rates.model, bench->rates.both,
                 bench->rates.reading < bench->rates.model ? "model" : "reading");
    dn_print(report, "memory     %s at most; packed weights %s, a pass %s\n",
             dn_bytes_text(bench->memory, memory),
             dn_bytes_text((double)info->packed_bytes, weights),
             dn_bytes_text((double)dino_session_bytes(bench->opened.session), scratch));
}

static bool print_json(struct bench *bench, struct dino_error *err)
{
    const struct dino_model_info *info = dino_model_info(bench->opened.model);
    double gflops = 1e-9 * bench->flops * images_per_second(bench);
    struct json json = {0};

    dn_json_open(&json, NULL, '{');
    dn_json_text(&json, "arch", info->arch);
    dn_json_text(&json, "source", info->source);
    dn_json_int(&json, "parameters", info->parameters);
    dn_json_text(&json, "device", info->device);
    dn_json_int(&json, "threads", info->threads);
    dn_json_text(&json, "compute", dino_dtype_name(info->dtype));
    dn_json_int(&json, "batch", bench->settings->batch);
    dn_json_int(&json, "width", bench->width);
    dn_json_int(&json, "height", bench->height);
    dn_json_real(&json, "load_s", bench->load, 6);
    dn_json_int(&json, "passes", (int64_t)bench->count);
    dn_json_real(&json, "first_ms", 1e3 * bench->first, 6);
    dn_json_real(&json, "median_ms", 1e3 * median(bench), 6);
    dn_json_real(&json, "least_ms", 1e3 * bench->times[0], 6);
    dn_json_real(&json, "images_per_s", images_per_second(bench), 6);
    dn_json_real(&json, "gflop_per_image", 1e-9 * bench->flops, 6);
    dn_json_real(&json, "gflop_per_s", gflops, 6);
    dn_json_real(&json, "machine_gflop_per_s", bench->peak > 0 ? bench->peak : NAN, 6);
    if (bench->settings->pipeline) {
        dn_json_real(&json, "reading_images_per_s", bench->rates.reading, 6);
        dn_json_real(&json, "both_images_per_s", bench->rates.both, 6);
        dn_json_text(&json, "waits",
                     bench->rates.reading < bench->rates.model ? "model" : "reading");
    }
    dn_json_int(&json, "packed_bytes", (int64_t)info->packed_bytes);
    dn_json_int(&json, "session_bytes", (int64_t)dino_session_bytes(bench->opened.session));
    dn_json_int(&json, "peak_bytes", (int64_t)bench->memory);
    dn_json_close(&json, '}');
    bool ok = dn_json_print(&json, bench->call->report, err);
    dn_json_release(&json);
    return ok;
}

static bool measure(struct bench *bench, struct dino_error *err)
{
    const struct settings *settings = bench->settings;
    double start = dn_seconds();

    if (!dn_open_all(&bench->opened, bench->call, &settings->model, &settings->view, NULL, err))
        return false;
    bench->load = dn_seconds() - start;
    const struct dino_model_info *info = dino_model_info(bench->opened.model);
    if (!make_inputs(bench, err) || !time_passes(bench, err))
        return false;
    bench->flops = dn_picture_flops(info, bench->width, bench->height);
    if (settings->pipeline && !time_pipeline(bench, err))
        return false;
    bench->memory = peak_bytes();
    if (info->device && strcmp(info->device, "cpu") == 0)
        bench->peak = dino_machine_peak(info->dtype, info->threads);
    if (settings->json)
        return print_json(bench, err);
    print_text(bench);
    return true;
}

static int run(struct call *call)
{
    const struct settings *settings = call->settings;
    struct bench bench = {.call = call, .settings = settings};
    struct dino_error err = {0};
    int status = STATUS_OK;

    if (settings->pipeline && call->count == 0)
        return dn_misuse(call, "--pipeline wants pictures: PATHS");
    if (!settings->pipeline && call->count > 0)
        return dn_misuse(call, "PATHS are for --pipeline");
    if (!measure(&bench, &err))
        status = dn_report_error(call->report, &err);
    free(bench.pixels);
    free(bench.inputs);
    free(bench.pictures);
    free(bench.times);
    dn_close_all(&bench.opened);
    return status;
}

const struct command dn_cmd_bench = {
    .name = "bench",
    .summary = "how fast a model runs here",
    .arguments = "[--pipeline PATHS...]",
    .about = "Load time, time a pass, images/s, GFLOP/s, their share of what this machine was\n"
             "measured to reach, and peak memory. --arch needs no file.",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .computes = true,
    .least = 0,
    .most = -1,
    .run = run,
    .examples = "  dino bench --arch vits14\n"
                "  dino bench --model vitb14 --size 518 --batch 16 --compute bf16 --json\n"
                "  dino bench --model vits14 --batch 16 --pipeline photos/",
};
