#include "choose_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "hub.h"

#define PLACE(member) offsetof(struct model_settings, member)

const struct option dn_model_options[] = {
    {"model", 'm', OPTION_TEXT, PLACE(model), "MODEL",
     "file, folder, or a name of dino get; else what ships with dino"},
    {"arch", 0, OPTION_TEXT, PLACE(arch), "NAME",
     "instead: vits14, vitb14_reg, ... with formula weights"},
    {"compute", 0, OPTION_CHOICE, PLACE(compute), "f32|bf16|int8|auto|tf32|f16",
     "arithmetic; auto: int8 for an int8 file, else bf16 where the processor has it; tf32 "
     "and f16: of cuda",
     "f32"},
    {"device", 0, OPTION_TEXT, PLACE(device), "NAME", "auto, cpu, ref, cuda, cuda:1", "auto"},
    {"threads", 0, OPTION_INT, PLACE(threads), "N", "0: every core this process may use", NULL,
     0, 4096},
    {"positions", 0, OPTION_CHOICE, PLACE(positions), "auto|offset|antialias|size",
     "how the position grid is resampled", "auto"},
    {"heads", 0, OPTION_INT, PLACE(heads), "N", "attention heads; 0: the file's, or width / 64",
     NULL, 0, 1024},
    {"seed", 0, OPTION_INT, PLACE(seed), "N", "of the formula weights", "0", 0, 2147483647},
    {0},
};

const struct option dn_head_options[] = {
    {"head", 0, OPTION_TEXT, PLACE(head), "FILE",
     "official linear head, or a name of dino get"},
    {"labels", 0, OPTION_TEXT, PLACE(labels), "FILE", "class names, one a line"},
    {0},
};

const char *dn_model_conflict(const void *context)
{
    const struct model_settings *settings = context;

    return settings->arch && settings->model ? "--model and --arch: give one of them" : NULL;
}

enum dino_dtype dn_compute_dtype(int choice)
{
    static const enum dino_dtype dtypes[] = {DINO_F32,  DINO_BF16, DINO_I8,
                                             DINO_AUTO, DINO_TF32, DINO_F16};

    return dtypes[choice];
}

static char *shipped_model(struct dino_error *err)
{
    char path[4096];

    return dino_shipped_model(path, sizeof path, err) ? dn_strdup(path, err) : NULL;
}

char *dn_model_resolve(const char *name, struct dino_error *err)
{
    struct hub_file file;

    if (!*name) {
        dn_fail(err, DINO_EARG, "an empty name is no model");
        return NULL;
    }
    if (dn_exists(name))
        return dn_strdup(name, err);
    if (strcmp(name, DINO_SHIPPED_MODEL) == 0)
        return shipped_model(err);
    if (!dn_hub_find(name, &file)) {
        if (errno != ENOENT)
            dn_fail_errno(err, "%s", name);
        else
            dn_fail(err, DINO_EIO, "%s: no such file, and no name that dino get knows", name);
        return NULL;
    }
    char *path = dn_cache_path(&file, err);
    if (path && !dn_exists(path)) {
        dn_fail(err, DINO_EIO, "%s is not here yet: dino get %s", name, name);
        free(path);
        path = NULL;
    }
    return path;
}

/* The name that was given; NULL: none. */
static const char *given_name(const struct model_settings *settings)
{
    const char *variable = getenv("DINO_MODEL");

    if (settings->model)
        return settings->model;
    return variable && *variable ? variable : NULL;
}

char *dn_model_path(const struct model_settings *settings, struct dino_error *err)
{
    const char *name = given_name(settings);

    if (settings->arch)
        return NULL;
    if (name)
        return dn_model_resolve(name, err);
    char *path = shipped_model(NULL);
    if (!path)
        dn_fail(err, DINO_EARG, "no model given: dino get vits14, or --model FILE");
    return path;
}

struct dino_model *dn_model_choose(const struct model_settings *settings, struct report *report,
                                   struct dino_error *err)
{
    struct dino_model *model = NULL;
    char *path = NULL, *head = NULL;
    struct dino_model_options options = {
        .size = sizeof options,
        .device = settings->device,
        .dtype = dn_compute_dtype(settings->compute),
        .threads = settings->threads,
        .labels = settings->labels,
        .positions = (enum dino_positions)settings->positions,
        .heads = settings->heads,
        .arch = settings->arch,
        .seed = (uint64_t)settings->seed,
    };

    if (settings->head) {
        head = dn_model_resolve(settings->head, err);
        if (!head)
            return NULL;
        options.head = head;
    }
    if (settings->arch) {
        model = dino_model_formula(settings->arch, &options, err);
    } else {
        path = dn_model_path(settings, err);
        if (path && !given_name(settings))
            dn_note(report, "with the model that ships with dino, %s (--model takes others)",
                    DINO_SHIPPED_MODEL);
        model = path ? dino_model_open(path, &options, err) : NULL;
    }
    if (model && dino_model_info(model)->bad_values > 0)
        dn_warn(report, "%s: NaN or infinite weights: %lld", dino_model_info(model)->source,
                (long long)dino_model_info(model)->bad_values);
    free(path);
    free(head);
    return model;
}
