/*
 * dino pca: the principal components of patch features as colours. The first pass gathers the
 * features of all pictures and fits one basis; the second reads the pictures again and paints
 * them, so that no picture is kept. With --basis one pass does both, and features go as well.
 */
#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "kept_inputs.h"
#include "open_all.h"
#include "pca_sheet.h"
#include "signals.h"
#include "unique_names.h"

struct settings {
    struct model_settings model;
    struct view_settings view;
    struct walk_settings walk;
    const char *output, *save_basis, *basis;
    double threshold;
    bool invert, plain, notebook, smooth;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"output", 'o', OPTION_TEXT, PLACE(output), "OUT",
     "a .png sheet (photo | PCA), or a folder for one PNG each"},
    {"threshold", 0, OPTION_REAL, PLACE(threshold), "T",
     "foreground begins here, of the first component's 0..1", "0.5", 0.001, 0.999},
    {"invert", 0, OPTION_FLAG, PLACE(invert), NULL, "the other side is the foreground"},
    {"plain", 0, OPTION_FLAG, PLACE(plain), NULL, "no foreground: three components of all"},
    {"notebook", 0, OPTION_FLAG, PLACE(notebook), NULL, "as the public notebook does it"},
    {"smooth", 0, OPTION_FLAG, PLACE(smooth), NULL, "blend between patches"},
    {"save-basis", 0, OPTION_TEXT, PLACE(save_basis), "FILE",
     "keep the colours for other pictures"},
    {"basis", 0, OPTION_TEXT, PLACE(basis), "FILE", "colours that --save-basis kept"},
    {0},
};

static const struct option_group groups[] = {
    {"Output", rows, 0},
    {NULL, dn_walk_options, PLACE(walk)},
    {"Model", dn_model_options, PLACE(model), dn_model_conflict},
    {"Pictures", dn_view_options, PLACE(view), dn_view_conflict},
    {0},
};

/* A picture's patches among all rows; grid_rows is 0 for one that could not be read. */
struct patches {
    size_t first;
    int grid_rows, grid_cols;
};

struct work {
    const struct call *call;
    const struct settings *settings;
    struct opened opened;
    struct dino_pca *pca;
    float *rows; /* [count, dim] of all pictures */
    uint8_t *at_border;
    size_t count, room, border_room;
    struct patches *patches; /* [pictures] */
    bool folder, made;       /* the output is a folder; it was made by this call */
    struct unique_names names;
    struct kept_inputs inputs;
    struct dino_image *pairs; /* of the sheet */
    size_t pair_room;
    int painted;
    int64_t skipped;
};

typedef bool (*visit_fn)(struct work *work, struct dino_picture *picture,
                         struct dino_error *err);

static bool skip_picture(struct work *work, const struct dino_picture *picture,
                         struct dino_error *err)
{
    if (work->settings->walk.strict) {
        *err = picture->error;
        return false;
    }
    dn_report_skipped(work->call->report, picture->name, &picture->error);
    work->skipped++;
    return true;
}

/* Show every picture of the source to `visit`, with progress. */
static bool visit_all(struct work *work, const char *stage, bool first_pass, visit_fn visit,
                      struct dino_error *err)
{
    struct dino_feed_options options = {.size = sizeof options};
    struct dino_picture picture;
    struct dino_progress progress = {.stage = stage,
                                     .total = dino_source_count(work->opened.source)};
    double start = dn_seconds();
    bool ok = true;

    dn_decode_choose(&work->settings->view, &options.decode);
    struct dino_feed *feed =
        dino_feed_open(work->opened.source, &work->opened.view, &options, err);
    if (!feed)
        return false;
    while (ok && dino_feed_next(feed, &picture, 1) == 1) {
        if (picture.ok)
            ok = visit(work, &picture, err);
        else if (first_pass || work->patches[picture.index].grid_rows)
            ok = skip_picture(work, &picture, err);
        progress.done++;
        progress.skipped = work->skipped;
        progress.seconds = dn_seconds() - start;
        if (ok && !dn_report_progress(work->call->report, &progress))
            ok = dn_fail(err, DINO_ECANCELLED, "stopped");
    }
    dino_feed_close(feed);
    return ok;
}

static const struct dino_features *
run_one(struct work *work, const struct dino_picture *picture, struct dino_error *err)
{
    struct dino_input input = dn_input_of(&picture->image, &work->opened.view);

    if (!dino_run(work->opened.session, &input, 1, NULL, err)) {
        dn_fail_prefix(err, picture->name);
        return NULL;
    }
    return dino_result(work->opened.session, 0);
}

/* First pass: keep the features and which patches lie on the rim. */
static bool gather(struct work *work, struct dino_picture *picture, struct dino_error *err)
{
    const struct dino_features *features = run_one(work, picture, err);
    size_t wanted;

    if (!features)
        return false;
    int grid_rows = features->rows, grid_cols = features->cols;
    size_t more = (size_t)grid_rows * (size_t)grid_cols, dim = (size_t)features->dim;
    if (!dn_size_mul(work->count + more, dim, &wanted))
        return dn_fail_memory(err, SIZE_MAX, "features");
    if (!dn_grow(&work->rows, &work->room, wanted, sizeof(float), "features", err) ||
        !dn_grow(&work->at_border, &work->border_room, work->count + more, 1, "a mask", err))
        return false;
    memcpy(work->rows + work->count * dim, features->patches, more * dim * sizeof(float));
    for (int r = 0; r < grid_rows; r++)
        for (int c = 0; c < grid_cols; c++)
            work->at_border[work->count + (size_t)(r * grid_cols + c)] =
                r == 0 || c == 0 || r == grid_rows - 1 || c == grid_cols - 1;
    work->patches[picture->index] = (struct patches){work->count, grid_rows, grid_cols};
    work->count += more;
    return true;
}

static bool save_picture(struct work *work, const char *name, const struct dino_image *image,
                         struct dino_error *err)
{
    const char *unique = dn_unique_name(&work->names, name, err);
    char *path = unique ? dn_path_join(work->settings->output, unique, err) : NULL;
    bool ok =
        path && dn_inputs_spare(&work->inputs, path, err) && dino_image_write(image, path, err);

    free(path);
    return ok;
}

static bool keep_pair(struct work *work, const struct dino_image *photo,
                      const struct dino_image *colours, struct dino_error *err)
{
    size_t count = (size_t)work->painted;

    return dn_grow(&work->pairs, &work->pair_room, count + 1, sizeof *work->pairs, "the sheet",
                   err) &&
           dn_paint_pair(&work->pairs[count], photo, colours, err);
}

/* Second pass, or the only one: colour the patches and paint. */
static bool paint(struct work *work, struct dino_picture *picture, struct dino_error *err)
{
    struct patches patches = work->patches[picture->index];
    struct dino_image colours = {0};
    const float *rows_of_picture;
    bool ok = false;

    if (work->settings->basis) {
        const struct dino_features *features = run_one(work, picture, err);
        if (!features)
            return false;
        patches = (struct patches){0, features->rows, features->cols};
        rows_of_picture = features->patches;
    } else {
        if (patches.grid_rows == 0)
            return true; /* not readable in the first pass: it has no features */
        rows_of_picture = work->rows + patches.first * (size_t)dino_pca_dim(work->pca);
    }
    size_t count = (size_t)patches.grid_rows * (size_t)patches.grid_cols;
    float *rgb = dn_calloc(count, 3 * sizeof *rgb, "colours", err);
    if (!rgb)
        return false;
    dino_pca_apply(work->pca, rows_of_picture, count, rgb, NULL, NULL);
    if (!dn_paint(&colours, picture->image.width, picture->image.height, rgb, patches.grid_rows,
                  patches.grid_cols, work->settings->smooth, err))
        goto done;
    ok = work->folder ? save_picture(work, picture->name, &colours, err)
                      : keep_pair(work, &picture->image, &colours, err);
    work->painted += ok;
done:
    dino_image_release(&colours);
    free(rgb);
    return ok;
}

static bool fit(struct work *work, struct dino_error *err)
{
    const struct settings *settings = work->settings;
    int dim = dino_model_info(work->opened.model)->dim;
    struct dino_pca_options options = {
        .size = sizeof options,
        .plain = settings->plain,
        .threshold = (float)settings->threshold,
        .notebook = settings->notebook,
    };

    if (!visit_all(work, "features", true, gather, err))
        return false;
    if (work->count == 0)
        return dn_fail(err, DINO_EFORMAT, "none of the pictures could be read");
    work->pca = dino_pca_fit(work->rows, work->count, dim, work->at_border, &options, err);
    if (work->pca && settings->invert && !settings->plain) {
        options.side = -dino_pca_side(work->pca);
        dino_pca_free(work->pca);
        work->pca = dino_pca_fit(work->rows, work->count, dim, work->at_border, &options, err);
    }
    return work->pca != NULL;
}

static bool find_basis(struct work *work, struct dino_error *err)
{
    const struct settings *settings = work->settings;
    int dim = dino_model_info(work->opened.model)->dim;

    if (!settings->basis) {
        if (!fit(work, err))
            return false;
        dn_signals_hold(); /* files are written from here on */
        return !settings->save_basis || dino_pca_save(work->pca, settings->save_basis, err);
    }
    dn_signals_hold();
    work->pca = dino_pca_load(settings->basis, err);
    if (work->pca && dino_pca_dim(work->pca) != dim)
        return dn_fail(err, DINO_EARG, "%s: for features of width %d, this model's have %d",
                       settings->basis, dino_pca_dim(work->pca), dim);
    return work->pca != NULL;
}

/* No picture and no model may be written over: known before the work, not after it. */
static bool spare_inputs(struct work *work, struct dino_error *err)
{
    const struct settings *settings = work->settings;
    struct unique_names names = {0};
    bool ok = dn_inputs_find(&work->inputs, work->opened.source, err);

    if (ok && settings->save_basis)
        ok = dn_inputs_spare(&work->inputs, settings->save_basis, err) &&
             dn_model_spare(work->opened.model, settings->save_basis, err);
    if (ok && !work->folder)
        ok = dn_inputs_spare(&work->inputs, settings->output, err);
    for (int64_t i = 0; ok && work->folder && !work->made; i++) {
        if (i == dino_source_count(work->opened.source))
            break;
        const char *name =
            dn_unique_name(&names, dino_source_name(work->opened.source, i), err);
        char *path = name ? dn_path_join(settings->output, name, err) : NULL;
        ok = path && dn_inputs_spare(&work->inputs, path, err);
        free(path);
    }
    dn_unique_release(&names);
    return ok;
}

static bool work_all(struct work *work, struct dino_error *err)
{
    const struct settings *settings = work->settings;
    struct dino_image sheet = {0};

    if (!dn_open_all(&work->opened, work->call, &settings->model, &settings->view, "pca",
                     err) ||
        !spare_inputs(work, err))
        return false;
    work->patches = dn_calloc((size_t)dino_source_count(work->opened.source),
                              sizeof *work->patches, "the pictures", err);
    if (!work->patches || !find_basis(work, err))
        return false;
    if (!visit_all(work, "pictures", settings->basis != NULL, paint, err))
        return false;
    if (work->painted == 0)
        return dn_fail(err, DINO_EFORMAT, "none of the pictures could be read");
    if (work->folder)
        return true;
    bool ok = dn_paint_sheet(&sheet, work->pairs, work->painted, err) &&
              dino_image_write(&sheet, settings->output, err);
    dino_image_release(&sheet);
    return ok;
}

static bool is_png(const char *path)
{
    size_t size = strlen(path);
    return size > 4 && strcasecmp(path + size - 4, ".png") == 0;
}

/* Make the folder, or see that the sheet can be written. */
static bool prepare_output(struct work *work, struct dino_error *err)
{
    const struct settings *settings = work->settings;

    if (settings->save_basis && !dn_output_try(settings->save_basis, err))
        return false;
    work->folder = dn_is_dir(settings->output) || !is_png(settings->output);
    if (!work->folder)
        return dn_output_try(settings->output, err);
    work->made = !dn_exists(settings->output);
    if (!work->made && !dn_is_dir(settings->output))
        return dn_fail(err, DINO_EIO, "%s: is there and no folder", settings->output);
    char *inside = dn_path_join(settings->output, "x", err);
    bool ok = inside && dn_make_parents(inside, err);
    free(inside);
    return ok;
}

/* Another kind of picture than a PNG, by its name. */
static bool is_other_kind(const char *path)
{
    static const char *const others[] = {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif"};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (dn_ends_with(path, others[i]) && !dn_is_dir(path))
            return true;
    return false;
}

static void release(struct work *work)
{
    for (int i = 0; i < work->painted && work->pairs; i++)
        dino_image_release(&work->pairs[i]);
    free(work->pairs);
    dn_unique_release(&work->names);
    dn_inputs_release(&work->inputs);
    dino_pca_free(work->pca);
    free(work->rows);
    free(work->at_border);
    free(work->patches);
    dn_close_all(&work->opened);
}

static int run(struct call *call)
{
    const struct settings *settings = call->settings;
    struct work work = {.call = call, .settings = settings};
    struct dino_error err = {0};
    int status = STATUS_OK;

    call->report->quiet = settings->walk.quiet;
    if (!settings->output)
        return dn_misuse(call, "where to? -o SHEET.png or -o FOLDER");
    if (is_other_kind(settings->output))
        return dn_misuse(call, "--output %s: wanted a .png, or a folder", settings->output);
    if (settings->plain && settings->notebook)
        return dn_misuse(call, "--plain and --notebook: give one of them");
    bool shaping = settings->plain || settings->notebook || settings->invert;
    if (settings->basis && (shaping || settings->save_basis))
        return dn_misuse(call, "--basis brings its own colours: leave the fitting options out");
    if (!prepare_output(&work, &err) || !work_all(&work, &err))
        status = dn_report_error(call->report, &err);
    else if (!settings->walk.quiet)
        dn_print(call->report, "%s: %d picture%s, %lld skipped\n", settings->output,
                 work.painted, dn_plural(work.painted), (long long)work.skipped);
    if (work.made && work.painted == 0)
        rmdir(settings->output);
    release(&work);
    return status;
}

const struct command dn_cmd_pca = {
    .name = "pca",
    .summary = "pictures coloured by their features",
    .arguments = "PICTURES... -o OUT",
    .about =
        "One basis over all pictures given, so that like parts get like colours: the first\n"
        "component splits foreground from background, three components of the foreground\n"
        "become red, green and blue. PICTURES as PATHS in dino embed.",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .computes = true,
    .least = 1,
    .most = -1,
    .run = run,
    .examples = "  dino pca cat.jpg dog.jpg --model vits14 -o pca.png\n"
                "  dino pca day1/ -o colours/ --save-basis day1.safetensors\n"
                "  dino pca day2/ -o colours/ --basis day1.safetensors --size 896",
};
