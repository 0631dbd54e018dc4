/*
 * The official files by their hub names, and the folder in which `dino get` keeps them.
 * "vits14", "dinov2_vits14" and "dinov2_vits14_reg" are backbones; "vits14_linear" and
 * "vits14_linear4" are heads; torch.hub's own "_lc", "_ld" and "_dd" are understood as there.
 */
#ifndef CLI_HUB_H
#define CLI_HUB_H

#include <stddef.h>

#include "dino.h"

#define DN_HUB_URL "https://dl.fbaipublicfiles.com/dinov2"

struct hub_file {
    char path[128]; /* below the base URL; the part behind the slash is the file's name */
    char about[64]; /* "backbone ViT-S/14", for lists */
};

/* False if there is no such name. */
bool dn_hub_find(const char *name, struct hub_file *file);

/* The index-th name; false behind the last one. */
bool dn_hub_name(int index, char name[64]);

/* $DINO_CACHE, else $XDG_CACHE_HOME/dino, else ~/.cache/dino; heap. */
char *dn_cache_dir(struct dino_error *err);
/* Where `dino get` puts that file; heap. */
char *dn_cache_path(const struct hub_file *file, struct dino_error *err);

#endif
