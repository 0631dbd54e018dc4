/*
 * Errors are filled once, where they happen, with file, part, fact and figure; callers pass
 * them up in silence. The struct is public (dino.h), so nothing is copied at the door.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

#include "dino.h"

/* Fill err (NULL is allowed) with one line and return false. Line breaks and control
 * characters that come from file contents or names are replaced by '?'. */
__attribute__((format(printf, 3, 4))) bool dn_fail(struct dino_error *err, enum dino_code code,
                                                   const char *format, ...);

/* The same with ": <strerror(errno)>" behind it; the code is DINO_EIO. */
__attribute__((format(printf, 2, 3))) bool dn_fail_errno(struct dino_error *err,
                                                         const char *format, ...);

/* Out of memory: wanted this many bytes for what. */
bool dn_fail_memory(struct dino_error *err, size_t bytes, const char *what);

/* Put "name: " in front of a message that was made where the name was not known. */
bool dn_fail_prefix(struct dino_error *err, const char *name);

#endif
