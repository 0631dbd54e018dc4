/* dino info: what is in a checkpoint, from its headers; nothing is packed or run. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "choose_model.h"
#include "json_text.h"

struct settings {
    struct model_settings model;
    bool tensors, labels, json;
};

static const struct option rows[] = {
    {"tensors", 't', OPTION_FLAG, offsetof(struct settings, tensors), NULL,
     "list every tensor: name, dtype, shape"},
    {"labels", 'l', OPTION_FLAG, offsetof(struct settings, labels), NULL,
     "list the head's class names"},
    {"json", 0, OPTION_FLAG, offsetof(struct settings, json), NULL, "print JSON"},
    {0},
};

static const struct option_group groups[] = {{"Options", rows, 0}, {0}};

static const char *const ffn_names[] = {"mlp", "swiglu", "identity"};
static const char *const position_names[] = {"auto", "offset", "antialias", "size"};
static const char *const position_about[] = {
    "as the file says",
    "offset 0.1 (official, no registers)",
    "by size, antialiased (registers)",
    "by size (Hugging Face, no registers)",
};

static void shape_text(const struct dino_tensor *tensor, const char *gap, struct str *text)
{
    dn_str_clear(text);
    for (int i = 0; i < tensor->dims; i++)
        dn_str_addf(text, "%s%lld", i ? gap : "", (long long)tensor->shape[i]);
    if (tensor->dims == 0)
        dn_str_add(text, "scalar");
}

static void print_model(struct report *report, const struct dino_model_info *info)
{
    char count[32];

    dn_print(report, "architecture  %s\n", info->arch);
    dn_print(report, "parameters    %s\n", dn_count_text(info->parameters, count));
    dn_print(report, "width         %d, %d blocks, %d heads of %d\n", info->dim, info->depth,
             info->heads, info->heads ? info->dim / info->heads : 0);
    dn_print(report, "feed-forward  %s, %d wide\n", ffn_names[info->ffn], info->hidden);
    dn_print(report, "patch         %d x %d, %d channels\n", info->patch, info->patch,
             info->channels);
    dn_print(report, "registers     %d\n", info->registers);
    dn_print(report, "positions     %d x %d, resampled %s\n", info->grid_rows, info->grid_cols,
             position_about[info->positions]);
    dn_print(report, "stored as     %s\n", dino_dtype_name(info->stored));
    dn_print(report, "extras        %s%s, LayerNorm eps %g\n",
             info->layer_scale ? "LayerScale" : "no LayerScale",
             info->mask_token ? ", mask token" : "", (double)info->norm_eps);
    if (info->head_layers)
        dn_print(report, "head          %d layer%s, %d classes, %s\n", info->head_layers,
                 info->head_layers == 1 ? "" : "s", info->classes,
                 info->labelled ? "with labels" : "no labels");
    else
        dn_print(report, "head          none\n");
}

static void json_model(struct json *json, const struct dino_model_info *info)
{
    dn_json_open(json, "model", '{');
    dn_json_text(json, "kind", info->kind);
    dn_json_text(json, "arch", info->arch);
    dn_json_int(json, "parameters", info->parameters);
    dn_json_int(json, "dim", info->dim);
    dn_json_int(json, "depth", info->depth);
    dn_json_int(json, "heads", info->heads);
    dn_json_text(json, "ffn", ffn_names[info->ffn]);
    dn_json_int(json, "hidden", info->hidden);
    dn_json_int(json, "patch", info->patch);
    dn_json_int(json, "channels", info->channels);
    dn_json_int(json, "registers", info->registers);
    dn_json_int(json, "grid_rows", info->grid_rows);
    dn_json_int(json, "grid_cols", info->grid_cols);
    dn_json_text(json, "positions", position_names[info->positions]);
    dn_json_real(json, "norm_eps", (double)info->norm_eps, 6);
    dn_json_bool(json, "layer_scale", info->layer_scale);
    dn_json_bool(json, "mask_token", info->mask_token);
    dn_json_text(json, "stored", dino_dtype_name(info->stored));
    dn_json_int(json, "head_layers", info->head_layers);
    dn_json_int(json, "classes", info->classes);
    dn_json_bool(json, "labelled", info->labelled);
    dn_json_close(json, '}');
}

static void json_tensors(struct json *json, const struct dino_file *file)
{
    dn_json_open(json, "tensors", '[');
    for (int i = 0; i < dino_file_count(file); i++) {
        const struct dino_tensor *tensor = dino_file_tensor(file, i);
        dn_json_open(json, NULL, '{');
        dn_json_text(json, "name", tensor->name);
        dn_json_text(json, "dtype", dino_dtype_name(tensor->dtype));
        dn_json_open(json, "shape", '[');
        for (int d = 0; d < tensor->dims; d++)
            dn_json_int(json, NULL, tensor->shape[d]);
        dn_json_close(json, ']');
        dn_json_close(json, '}');
    }
    dn_json_close(json, ']');
}

static void print_tensors(struct report *report, const struct dino_file *file)
{
    struct str shape = {0};

    dn_print(report, "\n");
    for (int i = 0; i < dino_file_count(file) && !dn_report_stop(report); i++) {
        const struct dino_tensor *tensor = dino_file_tensor(file, i);
        shape_text(tensor, " x ", &shape);
        dn_print(report, "%-5s %-20s ", dino_dtype_name(tensor->dtype), dn_str_text(&shape));
        dn_print_name(report, tensor->name);
    }
    dn_str_release(&shape);
}

/* The class names, where the file has them. */
static void print_labels(struct report *report, const struct dino_file *file, int classes)
{
    dn_print(report, "\n");
    for (int i = 0; i < classes && !dn_report_stop(report); i++) {
        const char *label = dino_file_label(file, i);
        dn_print(report, "%5d ", i);
        dn_print_name(report, label ? label : "");
    }
}

static void json_labels(struct json *json, const struct dino_file *file, int classes)
{
    dn_json_open(json, "labels", '[');
    for (int i = 0; i < classes; i++)
        dn_json_text(json, NULL, dino_file_label(file, i));
    dn_json_close(json, ']');
}

static int64_t tensor_bytes(const struct dino_file *file)
{
    int64_t bytes = 0;

    for (int i = 0; i < dino_file_count(file); i++)
        bytes += (int64_t)dino_file_tensor(file, i)->bytes;
    return bytes;
}

/* `info` is NULL where the file holds no backbone: a head, or just tensors. */
static bool print_as_json(struct call *call, const char *path, const struct dino_file *file,
                          const struct dino_model_info *info, struct dino_error *err)
{
    const struct settings *settings = call->settings;
    struct json json = {0};

    dn_json_open(&json, NULL, '{');
    dn_json_text(&json, "file", path);
    dn_json_text(&json, "format", dino_file_kind(file));
    dn_json_int(&json, "tensor_count", dino_file_count(file));
    dn_json_int(&json, "tensor_bytes", tensor_bytes(file));
    if (info)
        json_model(&json, info);
    if (info && settings->labels)
        json_labels(&json, file, info->classes);
    if (settings->tensors)
        json_tensors(&json, file);
    dn_json_close(&json, '}');
    bool ok = dn_json_print(&json, call->report, err);
    dn_json_release(&json);
    return ok;
}

static void print_file(struct call *call, const char *path, const struct dino_file *file,
                       const struct dino_model_info *info)
{
    const struct settings *settings = call->settings;
    char size[16];

    dn_print(call->report, "file          %s\n", path);
    dn_print(call->report, "format        %s%s%s, %d tensor%s, %s\n", dino_file_kind(file),
             info ? ", " : "", info ? info->kind : "", dino_file_count(file),
             dn_plural(dino_file_count(file)), dn_bytes_text((double)tensor_bytes(file), size));
    if (info)
        print_model(call->report, info);
    if (info && settings->labels)
        print_labels(call->report, file, info->classes);
    if (settings->tensors)
        print_tensors(call->report, file);
}

static int run(struct call *call)
{
    struct settings *settings = call->settings;
    struct dino_error err = {0}, why = {0};
    struct dino_model_info info = {0};
    struct dino_file *file = NULL;
    int status = STATUS_OK;

    if (call->count)
        settings->model.model = call->items[0];
    char *path = dn_model_path(&settings->model, &err);
    if (path)
        file = dino_file_open(path, &err);
    if (file) {
        bool backbone = dino_file_info(file, &info, &why);
        if (!settings->json)
            print_file(call, path, file, backbone ? &info : NULL);
        else if (!print_as_json(call, path, file, backbone ? &info : NULL, &err))
            status = dn_report_error(call->report, &err);
        if (!backbone)
            dn_warn(call->report, "%s", why.message);
    } else {
        status = dn_report_error(call->report, &err);
    }
    dino_file_close(file);
    free(path);
    return status;
}

const struct command dn_cmd_info = {
    .name = "info",
    .summary = "what is in a checkpoint",
    .arguments = "[FILE|FOLDER|NAME]",
    .about =
        "Reads the headers only: a file of any size answers at once. Without an argument,\n"
        "the model that other commands would use.",
    .groups = groups,
    .settings_size = sizeof(struct settings),
    .most = 1,
    .run = run,
    .examples = "  dino info dinov2_vits14_pretrain.pth\n"
                "  dino info vits14 --tensors\n"
                "  dino info model/ --json",
};
