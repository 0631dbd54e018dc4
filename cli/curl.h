/*
 * libcurl, opened when something is to be fetched: with the forty libraries behind it, it would
 * cost every other command 5 ms and 5 MB.
 */
#ifndef CLI_CURL_H
#define CLI_CURL_H

#include <curl/curl.h>

#include "dino.h"

struct curl_calls {
    __typeof__(&curl_easy_init) init;
    __typeof__(&curl_easy_setopt) set;
    __typeof__(&curl_easy_perform) perform;
    __typeof__(&curl_easy_cleanup) cleanup;
    __typeof__(&curl_easy_strerror) text;
    __typeof__(&curl_slist_append) append;
    __typeof__(&curl_slist_free_all) free_all;
};

/* NULL: it is not on this machine. Stays open. */
const struct curl_calls *dn_curl_open(struct dino_error *err);

#endif
