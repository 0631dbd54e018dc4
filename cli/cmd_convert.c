/* dino convert: between official .pth and the Hugging Face layout. */
#include "command.h"

#include <stdlib.h>

#include "base/error.h"
#include "choose_model.h"
#include "signals.h"

struct settings {
    struct model_settings model; /* only head and labels are asked for */
    int layout, dtype;           /* choices */
    int size;
    bool quiet;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"layout", 0, OPTION_CHOICE, PLACE(layout), "auto|official|hf",
     "auto: .pth is official, all else Hugging Face", "auto"},
    {"dtype", 0, OPTION_CHOICE, PLACE(dtype), "keep|f32|f16|bf16|int8",
     "of the weights; int8: of the matrices", "keep"},
    {"size", 0, OPTION_INT, PLACE(size), "N",
     "pixels that the folder's preprocessor crops; 0: as in IN, else 224", NULL, 0, 8192},
    {"quiet", 'q', OPTION_FLAG, PLACE(quiet), NULL, "no progress, no summary"},
    {0},
};

static const struct option_group groups[] = {
    {"Options", rows, 0},
    {"Head, to write along", dn_head_options, PLACE(model)},
    {0},
};

static int run(struct call *call)
{
    static const enum dino_dtype dtypes[] = {DINO_AUTO, DINO_F32, DINO_F16, DINO_BF16, DINO_I8};
    const struct settings *settings = call->settings;
    struct dino_error err = {0};
    struct dino_convert_options options = {
        .size = sizeof options,
        .layout = (enum dino_layout)settings->layout,
        .dtype = dtypes[settings->dtype],
        .labels = settings->model.labels,
        .picture_size = settings->size,
        .progress = dn_report_progress,
        .context = call->report,
    };
    struct dino_convert_result result = {0};
    char *head = NULL, *from = dn_model_resolve(call->items[0], &err);
    bool ok = from != NULL;

    call->report->quiet = settings->quiet;
    if (ok && settings->model.head) {
        head = dn_model_resolve(settings->model.head, &err);
        ok = head != NULL;
        options.head = head;
    }
    dn_signals_hold();
    ok = ok && dino_convert(from, call->items[1], &options, &result, &err);
    if (ok && result.bad_values > 0)
        dn_warn(call->report, "%s: NaN or infinite weights: %lld", from,
                (long long)result.bad_values);
    if (ok && !settings->quiet)
        dn_print(call->report, "%s\n", call->items[1]);
    free(from);
    free(head);
    return ok ? STATUS_OK : dn_report_error(call->report, &err);
}

const struct command dn_cmd_convert = {
    .name = "convert",
    .summary = "official .pth to Hugging Face and back",
    .arguments = "IN OUT",
    .about =
        "IN is any checkpoint dino opens, or a name of dino get. OUT ending in .pth is the\n"
        "official form; a folder or .safetensors is the Hugging Face one. A classifier's head\n"
        "goes along: the official form keeps it in OUT_linear_head.pth and OUT_labels.txt.",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .least = 2,
    .most = 2,
    .run = run,
    .examples = "  dino convert dinov2_vits14_pretrain.pth dinov2-small/\n"
                "  dino convert dinov2-small/ small.pth --dtype f16\n"
                "  dino convert vits14 vits14_int8.safetensors --dtype int8\n"
                "  dino convert vits14 classifier/ --head vits14_linear --labels imagenet.txt",
};
