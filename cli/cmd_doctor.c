/* dino doctor: what this machine and this build offer, and what a command would use. */
#include "command.h"

#include <stdlib.h>

#include "base/file.h"
#include "choose_model.h"
#include "hub.h"
#include "json_text.h"

struct settings {
    bool json;
};

static const struct option rows[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct settings, json), NULL, "print JSON"},
    {0},
};

static const struct option_group groups[] = {{"Options", rows, 0}, {0}};

/* A fact as a line, or as a member of the JSON object. */
static void tell(struct report *report, struct json *json, const char *key, const char *value)
{
    if (json)
        dn_json_text(json, key, value);
    else
        dn_print(report, "%-24s %s\n", key, value);
}

static void tell_all(struct report *report, struct json *json)
{
    struct model_settings model = {0};
    struct dino_error err = {0};
    char key[64], value[256];

    for (int i = 0; dino_machine_fact(i, key, value); i++)
        tell(report, json, key, value);
#ifdef HAVE_CURL
    tell(report, json, "downloads", "libcurl");
#else
    tell(report, json, "downloads", "not in this build");
#endif
    char *cache = dn_cache_dir(&err);
    tell(report, json, "cache", cache ? cache : err.message);
    char *path = dn_model_path(&model, &err);
    tell(report, json, "model", path ? path : err.message);
    free(cache);
    free(path);
}

static int run(struct call *call)
{
    const struct settings *settings = call->settings;
    struct dino_error err = {0};
    struct json json = {0};
    int status = STATUS_OK;

    if (!settings->json) {
        tell_all(call->report, NULL);
        return STATUS_OK;
    }
    dn_json_open(&json, NULL, '{');
    tell_all(call->report, &json);
    dn_json_close(&json, '}');
    if (!dn_json_print(&json, call->report, &err))
        status = dn_report_error(call->report, &err);
    dn_json_release(&json);
    return status;
}

const struct command dn_cmd_doctor = {
    .name = "doctor",
    .summary = "processor, kernels, libraries, and the model in use",
    .arguments = "",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .most = 0,
    .run = run,
};
