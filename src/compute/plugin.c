#include "compute/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Cut the last part off a path; false where that leaves nothing. */
static bool folder_of(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        *slash = 0;
    return slash && slash != path;
}

/* The nth folder to look in; false where there is none (look at the next one). */
static bool nth_folder(int nth, char folder[PATH_MAX])
{
    const char *wish = getenv("DINO_PLUGINS");
    Dl_info here;
    ssize_t size;

    switch (nth) {
    case 0:
        snprintf(folder, PATH_MAX, "%s", wish ? wish : "");
        return wish && *wish;
    case 1: /* this library, where it is one */
        if (!dladdr((const void *)(uintptr_t)dn_plugin_find, &here) || !here.dli_fname)
            return false;
        snprintf(folder, PATH_MAX, "%s", here.dli_fname);
        return folder_of(folder);
    case 2: /* the program */
    case 3:
        size = readlink("/proc/self/exe", folder, PATH_MAX - 16);
        folder[size > 0 ? size : 0] = 0;
        if (!folder_of(folder))
            return false;
        if (nth == 3)
            memcpy(folder + strlen(folder), "/../lib", sizeof "/../lib");
        return true;
    default:
        snprintf(folder, PATH_MAX, "%s", DINO_LIBDIR);
        return true;
    }
}

enum { FOLDERS = 5 };

static void *open_library(const char *name, struct dino_error *err)
{
    char folder[PATH_MAX], path[PATH_MAX + 64];
    void *library = NULL;
    bool found = false;

    for (int i = 0; i < FOLDERS && !found; i++) {
        if (!nth_folder(i, folder))
            continue;
        snprintf(path, sizeof path, "%s/libdino_%s.so", folder, name);
        found = access(path, R_OK) == 0;
    }
    if (!found)
        snprintf(path, sizeof path, "libdino_%s.so", name);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        dn_fail(err, DINO_EDEVICE, "device %s is not in this build: %s", name, dlerror());
    return library;
}

const struct device_plugin *dn_plugin_find(const char *name, struct dino_error *err)
{
    void *library = open_library(name, err);

    if (!library)
        return NULL;
    const struct device_plugin *plugin = dlsym(library, "dn_device_plugin");
    dlclose(library); /* it stays: RTLD_NODELETE */
    if (plugin && strcmp(plugin->version(), dino_version()) == 0 &&
        plugin->table_bytes == sizeof(struct device_ops))
        return plugin;
    dn_fail(err, DINO_EDEVICE,
            "libdino_%s.so is of another build of dino (%s), wanted the one beside this %s",
            name, plugin ? plugin->version() : "unknown", dino_version());
    return NULL;
}

struct device *dn_plugin_device(const char *name, int index, enum dino_dtype dtype, int threads,
                                struct dino_error *err)
{
    const struct device_plugin *plugin = dn_plugin_find(name, err);

    return plugin ? plugin->open(index, dtype, threads, err) : NULL;
}
