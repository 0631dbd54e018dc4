#include "hub.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"

static const struct {
    char letter;
    const char *about;
} sizes[] = {{'s', "ViT-S/14"}, {'b', "ViT-B/14"}, {'l', "ViT-L/14"}, {'g', "ViT-g/14"}};

/* What exists for each size: the end of our name, the end of the file's, what it is. */
static const struct {
    const char *name, *file, *about;
    bool registers; /* also for the models with registers */
} kinds[] = {
    {"", "pretrain", "backbone", true},
    {"_linear", "linear_head", "ImageNet head, 1 layer,", true},
    {"_linear4", "linear4_head", "ImageNet head, 4 layers,", true},
    {"_nyu_linear", "nyu_linear_head", "depth head, NYU, 1 layer,", false},
    {"_nyu_linear4", "nyu_linear4_head", "depth head, NYU, 4 layers,", false},
    {"_nyu_dpt", "nyu_dpt_head", "depth head, NYU, DPT,", false},
    {"_kitti_linear", "kitti_linear_head", "depth head, KITTI, 1 layer,", false},
    {"_kitti_linear4", "kitti_linear4_head", "depth head, KITTI, 4 layers,", false},
    {"_kitti_dpt", "kitti_dpt_head", "depth head, KITTI, DPT,", false},
    {"_ade20k_linear", "ade20k_linear_head", "segmentation head, ADE20K,", false},
    {"_ade20k_ms", "ade20k_ms_head", "segmentation head, ADE20K, multi-scale,", false},
    {"_voc2012_linear", "voc2012_linear_head", "segmentation head, VOC 2012,", false},
    {"_voc2012_ms", "voc2012_ms_head", "segmentation head, VOC 2012, multi-scale,", false},
};

/* What torch.hub's short names give without further arguments. */
static const char *const aliases[][2] = {
    {"_lc", "_linear4"},
    {"_ld", "_nyu_linear4"},
    {"_dd", "_nyu_dpt"},
};

enum { SIZES = sizeof sizes / sizeof *sizes, KINDS = sizeof kinds / sizeof *kinds };

bool dn_hub_find(const char *name, struct hub_file *file)
{
    int size = 0;
    const char *rest = dn_starts_with(name, "dinov2_") ? name + 7 : name;

    if (strlen(rest) < 6 || memcmp(rest, "vit", 3) != 0 || memcmp(rest + 4, "14", 2) != 0)
        return false;
    while (size < SIZES && sizes[size].letter != rest[3])
        size++;
    if (size == SIZES)
        return false;
    rest += 6;
    bool registers = dn_starts_with(rest, "_reg");
    if (registers)
        rest += dn_starts_with(rest, "_reg4") ? 5 : 4;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(rest, aliases[i][0]) == 0)
            rest = aliases[i][1];
    for (int i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i].name, rest) != 0 || (registers && !kinds[i].registers))
            continue;
        char letter = sizes[size].letter;
        snprintf(file->path, sizeof file->path, "dinov2_vit%c14/dinov2_vit%c14_%s%s.pth",
                 letter, letter, registers ? "reg4_" : "", kinds[i].file);
        snprintf(file->about, sizeof file->about, "%s %s%s", kinds[i].about, sizes[size].about,
                 registers ? " with registers" : "");
        return true;
    }
    return false;
}

bool dn_hub_name(int index, char name[64])
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int size = 0; size < SIZES; size++)
            for (int registers = 0; registers <= kinds[kind].registers; registers++)
                if (index-- == 0) {
                    snprintf(name, 64, "vit%c14%s%s", sizes[size].letter,
                             registers ? "_reg" : "", kinds[kind].name);
                    return true;
                }
    return false;
}

char *dn_cache_dir(struct dino_error *err)
{
    const char *cache = getenv("DINO_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");

    if (cache && *cache)
        return dn_strdup(cache, err);
    if (xdg && *xdg)
        return dn_path_join(xdg, "dino", err);
    if (home && *home)
        return dn_path_join(home, ".cache/dino", err);
    dn_fail(err, DINO_EARG, "no cache folder: HOME is not set; set DINO_CACHE");
    return NULL;
}

char *dn_cache_path(const struct hub_file *file, struct dino_error *err)
{
    char *dir = dn_cache_dir(err);
    char *path = dir ? dn_path_join(dir, dn_path_base(file->path), err) : NULL;

    free(dir);
    return path;
}
