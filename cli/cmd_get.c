/* dino get: the official files into the cache, where --model NAME finds them. */
#include "command.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/str.h"
#include "base/words.h"
#include "download.h"
#include "hub.h"
#include "signals.h"

struct settings {
    const char *base_url, *output;
    bool list, fresh, quiet;
};

#define PLACE(member) offsetof(struct settings, member)

static const struct option rows[] = {
    {"list", 'l', OPTION_FLAG, PLACE(list), NULL, "list the names; * marks what is here"},
    {"output", 'o', OPTION_TEXT, PLACE(output), "FILE", "here instead of in the cache"},
    {"base-url", 0, OPTION_TEXT, PLACE(base_url), "URL", "a mirror of the official server",
     DN_HUB_URL},
    {"fresh", 0, OPTION_FLAG, PLACE(fresh), NULL, "download even if it is here"},
    {"quiet", 'q', OPTION_FLAG, PLACE(quiet), NULL, "no progress, no notes"},
    {0},
};

static const struct option_group groups[] = {{"Options", rows, 0}, {0}};

static int list_names(struct call *call)
{
    struct dino_error err = {0};
    struct hub_file file;
    char name[64], path_of_shipped[4096];

    bool shipped = dino_shipped_model(path_of_shipped, sizeof path_of_shipped, NULL);
    dn_print(call->report, "%c %-24s %s\n", shipped ? '*' : ' ', DINO_SHIPPED_MODEL,
             "small backbone, ships with dino");
    for (int i = 0; dn_hub_name(i, name); i++) {
        dn_hub_find(name, &file);
        char *path = dn_cache_path(&file, &err);
        if (!path)
            return dn_report_error(call->report, &err);
        dn_print(call->report, "%c %-24s %s\n", dn_exists(path) ? '*' : ' ', name, file.about);
        free(path);
    }
    return STATUS_OK;
}

/* "SUM  PATH", as sha256sum prints and checks it. */
static bool print_sum(struct call *call, const char *path, struct dino_error *err)
{
    struct sha256 sum;
    struct mapping map;
    char text[65];

    if (!dn_map_open(&map, path, err))
        return false;
    dn_sha256_init(&sum);
    for (size_t at = 0; at < map.bytes.size;) {
        size_t left = map.bytes.size - at, part = left < 1 << 24 ? left : 1 << 24;
        dn_sha256_add(&sum, map.bytes.data + at, part);
        dn_map_drop(&map, map.bytes.data + at, part);
        at += part;
    }
    dn_map_close(&map);
    dn_sha256_text(&sum, text);
    dn_print(call->report, "%s  %s\n", text, path);
    return true;
}

/* An error page that came with status 200 is no checkpoint. */
static bool is_checkpoint(const char *path, struct dino_error *err)
{
    struct dino_error why = {0};
    struct dino_file *file = dino_file_open(path, &why);

    if (!file)
        return dn_fail(err, DINO_EFORMAT, "what the server sent is no checkpoint: %s",
                       why.message);
    dino_file_close(file);
    return true;
}

/* There is nothing to download. */
static bool have_shipped(struct call *call, struct dino_error *err)
{
    char folder[4096];

    if (!dino_shipped_model(folder, sizeof folder, err))
        return false;
    char *path = dn_path_join(folder, "model.safetensors", err);
    bool ok = path && print_sum(call, path, err);
    free(path);
    return ok;
}

static bool get_one(struct call *call, const char *name, struct dino_error *err)
{
    const struct settings *settings = call->settings;
    struct hub_file file;
    struct str url = {0};
    bool ok = false;

    if (strcmp(name, DINO_SHIPPED_MODEL) == 0)
        return have_shipped(call, err);
    dn_hub_find(name, &file);
    size_t size = strlen(settings->base_url);
    while (size && settings->base_url[size - 1] == '/')
        size--;
    dn_str_addf(&url, "%.*s/%s", (int)size, settings->base_url, file.path);
    char *path =
        settings->output ? dn_strdup(settings->output, err) : dn_cache_path(&file, err);
    if (path && !url.failed) {
        ok = (dn_exists(path) && !settings->fresh) ||
             dn_download(url.text, path, is_checkpoint, call->report, err);
        ok = ok && print_sum(call, path, err);
    }
    free(path);
    dn_str_release(&url);
    return ok;
}

/* The known name nearest to a wrong one. */
static const char *near_name(const char *word, char best[64])
{
    char name[64];
    int least = 100;

    if (dn_starts_with(word, "dinov2_"))
        word += 7;
    best[0] = 0;
    for (int i = 0; dn_hub_name(i, name); i++) {
        int distance = dn_word_near(word, name);
        if (distance >= 0 && distance < least) {
            least = distance;
            memcpy(best, name, sizeof name);
        }
    }
    return best[0] ? best : NULL;
}

static int run(struct call *call)
{
    const struct settings *settings = call->settings;
    struct dino_error err = {0};
    struct hub_file file;
    char near[64];

    call->report->quiet = settings->quiet;
    if (settings->list)
        return list_names(call);
    if (call->count == 0)
        return dn_misuse(call, "which? dino get --list names them");
    if (settings->output && call->count > 1)
        return dn_misuse(call, "--output is for one name, not %d", call->count);
    if (!dn_starts_with(settings->base_url, "http://") &&
        !dn_starts_with(settings->base_url, "https://"))
        return dn_misuse(call, "--base-url %s: wanted http:// or https://", settings->base_url);
    for (int i = 0; i < call->count; i++) {
        const char *name = call->items[i];
        if (strcmp(name, DINO_SHIPPED_MODEL) == 0 || dn_hub_find(name, &file))
            continue;
        if (near_name(name, near))
            return dn_misuse(call, "no file is called %s; did you mean %s?", name, near);
        return dn_misuse(call, "no file is called %s; dino get --list names them", name);
    }
    dn_signals_hold();
    for (int i = 0; i < call->count; i++)
        if (!get_one(call, call->items[i], &err))
            return dn_report_error(call->report, &err);
    return STATUS_OK;
}

const struct command dn_cmd_get = {
    .name = "get",
    .summary = "download official weights",
    .arguments = "NAME...",
    .about =
        "Into $DINO_CACHE, else ~/.cache/dino, where --model NAME and --head NAME find them.\n"
        "A download that stopped goes on where it was. Prints each file's SHA-256 and path.\n"
        "Proxies are taken from the environment, as curl does.",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .least = 0,
    .most = -1,
    .run = run,
    .examples = "  dino get vits14\n"
                "  dino get vits14_reg vits14_reg_linear\n"
                "  dino get vitg14 --base-url http://mirror.example/dinov2",
};
