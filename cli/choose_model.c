#include "choose_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "hub.h"

#define PLACE(member) offsetof(struct model_settings, member)

const struct option dn_model_options[] = {
    {"model", 'm', OPTION_TEXT, PLACE(model), "MODEL",
     "file, folder, or a name that dino get knows"},
    {"arch", 0, OPTION_TEXT, PLACE(arch), "NAME",
     "instead: vits14, vitb14_reg, ... with formula weights"},
    {"compute", 0, OPTION_CHOICE, PLACE(compute), "f32|bf16|int8|auto",
     "arithmetic; auto: bf16 where the processor has it, int8 for an int8 file", "f32"},
    {"device", 0, OPTION_TEXT, PLACE(device), "NAME", "auto, cpu, ref, cuda, cuda:1", "auto"},
    {"threads", 0, OPTION_INT, PLACE(threads), "N", "0: every core this process may use", NULL,
     0, 4096},
    {"positions", 0, OPTION_CHOICE, PLACE(positions), "auto|offset|antialias|size",
     "how the position grid is resampled", "auto"},
    {"heads", 0, OPTION_INT, PLACE(heads), "N",
     "attention heads; 0: as the file says, or width / 64", NULL, 0, 1024},
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
    static const enum dino_dtype dtypes[] = {DINO_F32, DINO_BF16, DINO_I8, DINO_AUTO};

    return dtypes[choice];
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

/* The model that comes with the program: installed (the build says where), or in the tree it
 * was built in. */
static char *built_in_model(void)
{
    static const char *const beside[] = {"models/default", "../models/default",
                                         "../share/dino/models/default"};
    static const char *const endings[] = {".safetensors", ".pth", ""};
    char program[4096] = "";
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);

    if (size > 0)
        *(strrchr(program, '/') ? strrchr(program, '/') : program) = 0;
    for (int i = -1; i < (int)(sizeof beside / sizeof *beside); i++)
        for (size_t j = 0; j < sizeof endings / sizeof *endings; j++) {
            struct str path = {0};
            dn_str_addf(&path, "%s/%s%s", i < 0 ? DINO_DATADIR : program,
                        i < 0 ? "models/default" : beside[i], endings[j]);
            if (!path.failed && dn_exists(path.text))
                return path.text;
            dn_str_release(&path);
        }
    return NULL;
}

char *dn_model_path(const struct model_settings *settings, struct dino_error *err)
{
    const char *name = settings->model, *variable = getenv("DINO_MODEL");

    if (settings->arch)
        return NULL;
    if (!name && variable && *variable)
        name = variable;
    if (name)
        return dn_model_resolve(name, err);
    char *path = built_in_model();
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
        model = path ? dino_model_open(path, &options, err) : NULL;
    }
    if (model && dino_model_info(model)->bad_values > 0)
        dn_warn(report, "%s: %lld weights are NaN or infinite", dino_model_info(model)->source,
                (long long)dino_model_info(model)->bad_values);
    free(path);
    free(head);
    return model;
}
