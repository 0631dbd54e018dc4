/* dino train plot: a run's curves as a picture. */
#include "command.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "dino_train.h"

struct settings {
    const char *output;
    bool quiet;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"output", 'o', OPTION_TEXT, PLACE(output), "FILE", ".svg or .png; unset: RUN/curves.svg"},
    {"quiet", 'q', OPTION_FLAG, PLACE(quiet), NULL, "no summary"},
    {0},
};

static const struct option_group groups[] = {{"Output", rows, 0}, {0}};

static int plot(struct call *call, const char *run, const char *output)
{
    struct dino_train_curves curves;
    struct dino_error err = {0};
    char steps[32], lines[32];

    if (!dino_train_plot(run, output, &curves, &err))
        return dn_report_error(call->report, &err);
    if (curves.unreadable)
        dn_warn(call->report, "lines that are no steps of a run, left out: %s",
                dn_count_text(curves.unreadable, lines));
    dn_note(call->report, "%s: %s steps", output, dn_count_text(curves.steps, steps));
    return STATUS_OK;
}

static int run(struct call *call)
{
    const struct settings *settings = call->settings;
    const char *folder = call->items[0];
    struct dino_error err = {0};

    call->report->quiet = settings->quiet;
    if (settings->output)
        return plot(call, folder, settings->output);
    if (dn_exists(folder) && !dn_is_dir(folder))
        return dn_misuse(call, "where to? -o FILE, which ends in .svg or .png");
    char *output = dn_path_join(folder, "curves.svg", &err);
    int status = output ? plot(call, folder, output) : dn_report_error(call->report, &err);
    free(output);
    return status;
}

const struct command dn_cmd_train_plot = {
    .name = "train plot",
    .summary = "a run's curves as a picture",
    .arguments = "RUN [-o FILE]",
    .about =
        "Losses, rates, norms of gradients, signs of health, k-NN and times of a run of\n"
        "dino train, also while it is under way. RUN is its folder, or a file with a JSON\n"
        "line a step, as the official code writes it.",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .least = 1,
    .most = 1,
    .run = run,
    .examples = "  dino train plot run\n"
                "  dino train plot run -o curves.png",
};
