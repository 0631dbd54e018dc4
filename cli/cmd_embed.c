/* dino embed: features of many pictures into one file. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "kept_inputs.h"
#include "open_all.h"
#include "signals.h"

enum { MOST_LAYERS = 1024 };

struct settings {
    struct model_settings model;
    struct view_settings view;
    struct walk_settings walk;
    const char *output, *tokens, *layers;
    int dtype; /* choice */
    int batch, readers;
    bool norm, l2, fresh;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"output", 'o', OPTION_TEXT, PLACE(output), "FILE", ".npy, .safetensors or .jsonl"},
    {"tokens", 't', OPTION_TEXT, PLACE(tokens), "LIST", "any of cls,mean,patches,registers",
     "cls"},
    {"layers", 0, OPTION_TEXT, PLACE(layers), "LIST",
     "last, the last N, or blocks from 0: 5,11 or 11,", "last"},
    {"norm", 0, OPTION_FLAG, PLACE(norm), NULL, "leave the final LayerNorm out", "yes"},
    {"l2", 0, OPTION_FLAG, PLACE(l2), NULL, "scale each vector to length 1"},
    {"dtype", 0, OPTION_CHOICE, PLACE(dtype), "f32|f16", "of the numbers in the file", "f32"},
    {"batch", 'b', OPTION_INT, PLACE(batch), "N", "pictures a pass; 0: as suits the model",
     NULL, 0, 4096},
    {"readers", 0, OPTION_INT, PLACE(readers), "N", "decoding threads; 0: one a core", NULL, 0,
     1024},
    {"fresh", 0, OPTION_FLAG, PLACE(fresh), NULL, "begin anew, even if a run was interrupted"},
    {0},
};

static const struct option_group groups[] = {
    {"Output", rows, 0},
    {NULL, dn_walk_options, PLACE(walk)},
    {"Model", dn_model_options, PLACE(model), dn_model_conflict},
    {"Pictures", dn_view_options, PLACE(view), dn_view_conflict},
    {0},
};

/* "cls,mean" as or-ed bits. */
static bool parse_tokens(const char *list, unsigned *tokens, struct dino_error *err)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"cls", DINO_TOKENS_CLS},
                 {"mean", DINO_TOKENS_MEAN},
                 {"patches", DINO_TOKENS_PATCHES},
                 {"registers", DINO_TOKENS_REGISTERS}};
    const char *word = list;

    *tokens = 0;
    for (;;) {
        size_t size = strcspn(word, ","), i = 0;
        while (i < 4 && (strlen(known[i].name) != size || memcmp(known[i].name, word, size)))
            i++;
        if (i == 4)
            return dn_fail(err, DINO_EARG,
                           "--tokens %s: wanted a list of cls, mean, patches, registers", list);
        *tokens |= known[i].bit;
        if (!word[size])
            return true;
        word += size + 1;
    }
}

static bool parse_layer_list(const char *list, int layers[MOST_LAYERS], int *count)
{
    const char *word = list;

    for (*count = 0; *word; (*count)++) {
        char number[8];
        int64_t value;
        size_t size = strcspn(word, ",");
        if (*count == MOST_LAYERS || size == 0 || size >= sizeof number)
            return false;
        memcpy(number, word, size);
        number[size] = 0;
        if (!dn_parse_int(number, 0, MOST_LAYERS - 1, &value) ||
            (*count > 0 && layers[*count - 1] >= value))
            return false;
        layers[*count] = (int)value;
        word += size + (word[size] == ',');
    }
    return *count > 0;
}

/* "last": none named; "4": minus four, until the depth is known; "5,11" or "11,": as listed. */
static bool parse_layers(const char *list, int layers[MOST_LAYERS], int *count,
                         struct dino_error *err)
{
    int64_t last;

    if (strcmp(list, "last") == 0) {
        *count = 0;
        return true;
    }
    if (dn_parse_int(list, 1, MOST_LAYERS, &last)) {
        *count = -(int)last;
        return true;
    }
    if (strchr(list, ',') && parse_layer_list(list, layers, count))
        return true;
    return dn_fail(err, DINO_EARG,
                   "--layers %s: wanted last, a number, or ascending blocks such as 5,11",
                   list);
}

static bool fill_layers(int layers[MOST_LAYERS], int *count, int depth, struct dino_error *err)
{
    if (*count < 0) {
        int last = -*count;
        if (last > depth)
            return dn_fail(err, DINO_EARG, "--layers %d: this model has %d blocks", last,
                           depth);
        for (int i = 0; i < last; i++)
            layers[i] = depth - last + i;
        *count = last;
    }
    if (*count > 0 && layers[*count - 1] >= depth)
        return dn_fail(err, DINO_EARG, "--layers %d: this model's blocks are 0 to %d",
                       layers[*count - 1], depth - 1);
    return true;
}

static void summary(struct report *report, const char *output,
                    const struct dino_embed_result *result)
{
    char rows_text[32];
    double fresh = (double)(result->rows - result->resumed);

    dn_print(report, "%s: %s row%s", output, dn_count_text(result->rows, rows_text),
             dn_plural(result->rows));
    if (result->resumed > 0)
        dn_print(report, " (%lld from before)", (long long)result->resumed);
    dn_print(report, ", %lld skipped, %.1f s, %.1f pictures/s\n", (long long)result->skipped,
             result->seconds, result->seconds > 0 ? fresh / result->seconds : 0.0);
}

static int run(struct call *call)
{
    const struct settings *settings = call->settings;
    struct dino_error err = {0};
    struct opened opened;
    struct dino_embed_result result = {0};
    int layers[MOST_LAYERS], layer_count = 0, status = STATUS_OK;
    unsigned tokens;

    call->report->quiet = settings->walk.quiet;
    if (!settings->output)
        return dn_misuse(call, "where to? -o FILE.npy, .safetensors or .jsonl");
    const char *output = settings->output;
    if (!dn_ends_with(output, ".npy") && !dn_ends_with(output, ".safetensors") &&
        !dn_ends_with(output, ".jsonl"))
        return dn_misuse(call, "--output %s: wanted a name in .npy, .safetensors or .jsonl",
                         output);
    if (!parse_tokens(settings->tokens, &tokens, &err) ||
        !parse_layers(settings->layers, layers, &layer_count, &err))
        return dn_misuse(call, "%s", err.message);
    if (!dn_open_all(&opened, call, &settings->model, &settings->view, NULL, &err))
        return dn_report_error(call->report, &err);

    struct dino_embed_options options = {
        .size = sizeof options,
        .output = settings->output,
        .tokens = tokens,
        .layers = layers,
        .raw = !settings->norm,
        .l2 = settings->l2,
        .dtype = settings->dtype == 1 ? DINO_F16 : DINO_F32,
        .batch = settings->batch,
        .strict = settings->walk.strict,
        .fresh = settings->fresh,
        .view = opened.view,
        .feed = {.size = sizeof options.feed, .threads = settings->readers},
        .progress = dn_report_progress,
        .skipped = dn_report_skipped,
        .context = call->report,
    };
    dn_decode_choose(&settings->view, &options.feed.decode);
    bool ok = fill_layers(layers, &layer_count, dino_model_info(opened.model)->depth, &err) &&
              dn_model_spare(opened.model, settings->output, &err);
    options.layer_count = layer_count;
    options.layers = layer_count ? layers : NULL;
    dn_signals_hold();
    ok = ok && dino_embed(opened.session, opened.source, &options, &result, &err);
    if (!ok)
        status = dn_report_error(call->report, &err);
    else if (!settings->walk.quiet)
        summary(call->report, settings->output, &result);
    if (!ok && err.code == DINO_ECANCELLED)
        dn_note(call->report, "%s is unfinished: the same command goes on from here",
                settings->output);
    dn_close_all(&opened);
    return status;
}

const struct command dn_cmd_embed = {
    .name = "embed",
    .summary = "features of pictures into a file",
    .arguments = "PATHS... -o OUT",
    .about =
        "PATHS are pictures, folders, lists (@files.txt, - for standard input) and tar "
        "shards.\n"
        "One row a picture, in order; OUT.json beside it names model, view and the path of\n"
        "each row. Unreadable pictures are skipped, counted and named. A run that was stopped\n"
        "goes on where it was.",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .computes = true,
    .least = 1,
    .most = -1,
    .run = run,
    .examples = "  dino embed photos/ --model vits14 -o photos.npy\n"
                "  dino embed cat.jpg -t cls,patches --size 518 -o cat.safetensors\n"
                "  find . -name '*.png' | dino embed - -o all.jsonl --layers 4 --l2",
};
