#include "kept_inputs.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"

static int compare(const void *left, const void *right)
{
    const struct kept_file *a = left, *b = right;

    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    return a->inode < b->inode ? -1 : a->inode > b->inode;
}

bool dn_inputs_find(struct kept_inputs *inputs, const struct dino_source *source,
                    struct dino_error *err)
{
    int64_t pictures = dino_source_count(source);
    struct stat info;

    *inputs = (struct kept_inputs){0};
    inputs->files = dn_calloc((size_t)pictures, sizeof *inputs->files, "the pictures", err);
    if (!inputs->files)
        return false;
    for (int64_t i = 0; i < pictures; i++)
        if (stat(dino_source_name(source, i), &info) == 0)
            inputs->files[inputs->count++] = (struct kept_file){info.st_dev, info.st_ino};
    qsort(inputs->files, inputs->count, sizeof *inputs->files, compare);
    return true;
}

bool dn_inputs_spare(const struct kept_inputs *inputs, const char *path, struct dino_error *err)
{
    struct stat info;

    if (inputs->count == 0 || stat(path, &info) != 0)
        return true;
    struct kept_file file = {info.st_dev, info.st_ino};
    return !bsearch(&file, inputs->files, inputs->count, sizeof file, compare) ||
           dn_fail(err, DINO_EARG,
                   "%s: is one of the pictures that are read, wanted another place to write",
                   path);
}

void dn_inputs_release(struct kept_inputs *inputs)
{
    free(inputs->files);
    *inputs = (struct kept_inputs){0};
}

bool dn_model_spare(const struct dino_model *model, const char *path, struct dino_error *err)
{
    const char *source = dino_model_info(model)->source;
    bool same = dn_same_file(path, source);

    if (!same && dn_ends_with(path, ".safetensors") && dn_exists(path) && dn_is_dir(source)) {
        char *inside = dn_path_join(source, dn_path_base(path), err);
        if (!inside)
            return false;
        same = dn_same_file(path, inside);
        free(inside);
    }
    return !same ||
           dn_fail(err, DINO_EARG, "%s: is the model, wanted another place to write", path);
}
