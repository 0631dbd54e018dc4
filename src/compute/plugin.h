/* Devices in libraries of their own, opened when they are asked for. */
#ifndef COMPUTE_PLUGIN_H
#define COMPUTE_PLUGIN_H

#include "compute/device.h"

/*
 * The plug-in libdino_NAME.so: from the folder $DINO_PLUGINS, or from beside this library or
 * program, ../lib of the program, the folder it was installed to, or where the system looks.
 * It stays loaded. NULL with one line why.
 */
const struct device_plugin *dn_plugin_find(const char *name, struct dino_error *err);

struct device *dn_plugin_device(const char *name, int index, enum dino_dtype dtype, int threads,
                                struct dino_error *err);

#endif
