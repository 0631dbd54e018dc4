/* Where the model is that ships with dino. */
#include "dino.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"

/* Is it in `folder`/`data`? The folder's name has `length` bytes. */
static bool is_in(const char *folder, int length, const char *data, char *path, size_t size)
{
    const char *const weights = "/model.safetensors";
    int written = snprintf(path, size, "%.*s%s/models/" DINO_SHIPPED_MODEL "%s", length, folder,
                           data, weights);

    if (written < 0 || (size_t)written >= size || !dn_exists(path))
        return false;
    path[(size_t)written - strlen(weights)] = 0;
    return true;
}

/* The folders above `file`: those of an installation, wherever it was moved to
 * (lib/x86_64-linux-gnu/libdino.so.0, bin/dino beside share/dino), or the tree around a build
 * (build/examples/one_feature). */
static bool is_above(const char *file, char *path, size_t size)
{
    int length = (int)strlen(file);

    for (int level = 0; level < 3; level++) {
        while (length > 0 && file[length - 1] != '/')
            length--;
        if (length == 0)
            break;
        length--; /* the slash */
        if (is_in(file, length, "/share/dino", path, size) ||
            is_in(file, length, "", path, size))
            return true;
    }
    return false;
}

bool dino_shipped_model(char *path, size_t size, struct dino_error *err)
{
    static const char inside = 0; /* lies where this library lies */
    char file[PATH_MAX];
    Dl_info library;

    if (realpath("/proc/self/exe", file) && is_above(file, path, size))
        return true;
    if (dladdr(&inside, &library) && realpath(library.dli_fname, file) &&
        is_above(file, path, size))
        return true;
    if (is_in(DINO_DATADIR, (int)strlen(DINO_DATADIR), "", path, size))
        return true;
    if (size)
        path[0] = 0;
    return dn_fail(err, DINO_EIO,
                   "the model that ships with dino is neither beside this program nor in "
                   "%s/models/%s",
                   DINO_DATADIR, DINO_SHIPPED_MODEL);
}
