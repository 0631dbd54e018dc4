#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* File names and file contents reach messages; a message stays one printable line. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

bool dn_fail(struct dino_error *err, enum dino_code code, const char *format, ...)
{
    if (!err)
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    make_printable(err->message);
    err->code = code;
    return false;
}

bool dn_fail_errno(struct dino_error *err, const char *format, ...)
{
    int number = errno;

    if (!err)
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(number));
    make_printable(err->message);
    err->code = number == ENOMEM ? DINO_ENOMEM : DINO_EIO;
    return false;
}

bool dn_fail_memory(struct dino_error *err, size_t bytes, const char *what)
{
    return dn_fail(err, DINO_ENOMEM, "out of memory: wanted %zu bytes for %s", bytes, what);
}

bool dn_fail_prefix(struct dino_error *err, const char *name)
{
    if (!err)
        return false;
    struct dino_error inner = *err;
    return dn_fail(err, inner.code, "%s: %.*s", name, (int)sizeof inner.message - 1,
                   inner.message);
}
