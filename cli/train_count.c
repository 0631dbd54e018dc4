#include "train_count.h"

#include "base/error.h"
#include "command.h"
#include "json_text.h"

enum { PARTS = 9 };

struct part {
    const char *name, *key;
    size_t bytes;
};

static int print_json(struct report *report, const struct dino_train_memory *c,
                      const struct part parts[PARTS], struct dino_error *err)
{
    struct json json = {0};

    dn_json_open(&json, NULL, '{');
    dn_json_text(&json, "arch", c->arch);
    dn_json_int(&json, "parameters", c->parameters);
    dn_json_int(&json, "processes", c->processes);
    dn_json_int(&json, "batch", c->batch);
    dn_json_int(&json, "micro", c->micro);
    dn_json_open(&json, "bytes", '{');
    for (int i = 0; i < PARTS; i++)
        dn_json_int(&json, parts[i].key, (int64_t)parts[i].bytes);
    dn_json_int(&json, "all", (int64_t)c->all);
    dn_json_int(&json, "room", (int64_t)c->room);
    dn_json_int(&json, "traffic", (int64_t)c->traffic);
    dn_json_close(&json, '}');
    dn_json_bool(&json, "fits", c->all <= c->room);
    dn_json_close(&json, '}');
    bool ok = dn_json_print(&json, report, err);
    dn_json_release(&json);
    return ok;
}

static void print_bytes(struct report *report, const char *name, size_t bytes)
{
    dn_print(report, "%-22s %9.3f GB\n", name, 1e-9 * (double)bytes);
}

static void print_table(struct report *report, const struct dino_train_memory *c,
                        const struct part parts[PARTS])
{
    char parameters[32];

    dn_print(report, "%s, %s parameters with heads\n", c->arch,
             dn_count_text(c->parameters, parameters));
    dn_print(report, "%d process%s, each %d pictures a step, %d at a time\n", c->processes,
             c->processes == 1 ? "" : "es", c->batch, c->micro);
    for (int i = 0; i < PARTS; i++)
        if (parts[i].bytes > 0)
            print_bytes(report, parts[i].name, parts[i].bytes);
    print_bytes(report, "a process", c->all);
    print_bytes(report, "has room for", c->room);
    if (c->processes > 1)
        print_bytes(report, "sends a step", c->traffic);
    if (c->batches_elsewhere)
        print_bytes(report, "pictures, on the host", c->batches);
    if (c->all <= c->room)
        dn_print(report, "fits, %.3f GB are left\n", 1e-9 * (double)(c->room - c->all));
}

int dn_print_train_count(struct report *report, const struct dino_train_memory *c,
                         bool checkpointing, bool as_json)
{
    const struct part parts[PARTS] = {
        {"student", "student", c->student},
        {"teacher", "teacher", c->teacher},
        {"gradients", "gradients", c->gradients},
        {"moments of AdamW", "moments", c->moments},
        {"activations", "activations", c->activations},
        {"logits and targets", "logits", c->logits},
        {"scratch of operations", "scratch", c->scratch},
        {"between GPUs", "buckets", c->buckets},
        {"pictures", "batches", c->batches_elsewhere ? 0 : c->batches},
    };
    struct dino_error err = {0};

    if (!as_json)
        print_table(report, c, parts);
    else if (!print_json(report, c, parts, &err))
        return dn_report_error(report, &err);
    if (c->all <= c->room)
        return STATUS_OK;
    dn_fail(&err, DINO_ENOMEM,
            "does not fit, %.1f GB are missing: take %s%sa smaller train.batch_size_per_gpu, "
            "fewer dino.head_n_prototypes, more processes or a smaller network",
            1e-9 * (double)(c->all - c->room), checkpointing ? "" : "--checkpointing, ",
            c->micro > 1 ? "a smaller --micro, " : "");
    return dn_report_error(report, &err);
}
