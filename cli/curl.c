#include "base/error.h"

#ifdef HAVE_CURL

#include "curl.h"

#include <dlfcn.h>
#include <string.h>

/* Both have the same calls; Debian's second is built with GnuTLS. */
static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};

static bool find(void *library, const char *name, void *call, struct dino_error *err)
{
    void *address = dlsym(library, name);

    if (!address)
        return dn_fail(err, DINO_EUNSUPPORTED, "libcurl has no %s", name);
    memcpy(call, &address, sizeof address);
    return true;
}

const struct curl_calls *dn_curl_open(struct dino_error *err)
{
    static struct curl_calls calls;
    void *library = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        dn_fail(err, DINO_EUNSUPPORTED, "%s", dlerror());
        return NULL;
    }
    bool ok = find(library, "curl_easy_init", &calls.init, err) &&
              find(library, "curl_easy_setopt", &calls.set, err) &&
              find(library, "curl_easy_perform", &calls.perform, err) &&
              find(library, "curl_easy_cleanup", &calls.cleanup, err) &&
              find(library, "curl_easy_strerror", &calls.text, err) &&
              find(library, "curl_slist_append", &calls.append, err) &&
              find(library, "curl_slist_free_all", &calls.free_all, err);
    return ok ? &calls : NULL;
}

#endif
