/*
 * One file over HTTP. What has arrived stands in PATH.part, locked while it grows, and the
 * next try goes on behind it; only a whole file gets its name.
 */
#ifndef CLI_DOWNLOAD_H
#define CLI_DOWNLOAD_H

#include "report.h"

/* Fetch url into path. `check` (may be NULL) looks at the whole file before it gets its name;
 * if it says no, the file goes. */
bool dn_download(const char *url, const char *path,
                 bool (*check)(const char *path, struct dino_error *err), struct report *report,
                 struct dino_error *err);

#endif
