/* dino doctor: what this machine and this build offer, and what a command would use. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "choose_model.h"
#include "dino_train.h"
#include "hub.h"
#include "json_text.h"
#ifdef HAVE_CURL
#include "curl.h"
#endif

struct settings {
    bool json;
};

struct fact {
    char key[64], value[256];
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

/* "cpu f32 linear" in its three words. */
static bool is_kernel(const char *key, char device[16], char dtype[16], char op[32])
{
    return sscanf(key, "%15s %15s %31s", device, dtype, op) == 3;
}

/* Does an earlier fact name the same device and op? */
static bool is_told(const struct fact *facts, int index, const char *device, const char *op)
{
    char a[16], dtype[16], b[32];

    for (int i = 0; i < index; i++)
        if (is_kernel(facts[i].key, a, dtype, b) && strcmp(a, device) == 0 &&
            strcmp(b, op) == 0)
            return true;
    return false;
}

/* "linear   f32 this kernel | bf16 that one": the fact at `index` with those of the same device
 * and op behind it; one name where all are the same. */
static void tell_kernel(struct report *report, const struct fact *facts, int index, int count)
{
    char device[16], dtype[16], op[32], title[64];
    struct str line = {0};
    bool same = true;

    is_kernel(facts[index].key, device, dtype, op);
    if (is_told(facts, index, device, op))
        return;
    for (int i = index; i < count; i++) {
        char other[16], name[32];
        if (!is_kernel(facts[i].key, other, dtype, name) || strcmp(other, device) != 0 ||
            strcmp(name, op) != 0)
            continue;
        same = same && strcmp(facts[i].value, facts[index].value) == 0;
        dn_str_addf(&line, "%s%s %s", i == index ? "" : " | ", dtype, facts[i].value);
    }
    snprintf(title, sizeof title, "%s %s", device, op);
    tell(report, NULL, title, same ? facts[index].value : dn_str_text(&line));
    dn_str_release(&line);
}

/* For people the kernels are a line an op, for programs a member each. */
static void tell_machine(struct report *report, struct json *json)
{
    enum { FACTS = 200 };
    struct fact *facts = calloc(FACTS, sizeof *facts);
    char device[16], dtype[16], op[32];
    int count = 0;

    while (facts && count < FACTS &&
           dino_machine_fact(count, facts[count].key, facts[count].value))
        count++;
    for (int i = 0; i < count; i++) {
        if (!json && is_kernel(facts[i].key, device, dtype, op))
            tell_kernel(report, facts, i, count);
        else
            tell(report, json, facts[i].key, facts[i].value);
    }
    free(facts);
}

static void tell_all(struct report *report, struct json *json)
{
    struct model_settings model = {0};
    struct dino_error err = {0};

    tell_machine(report, json);
#ifdef HAVE_CURL
    tell(report, json, "downloads", dn_curl_open(&err) ? "libcurl" : err.message);
#else
    tell(report, json, "downloads", "not in this build");
#endif
    char mpi[256];
    dino_comm_transport(mpi);
    tell(report, json, "many processes", mpi);
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
