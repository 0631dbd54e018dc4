#include "task/embed_plan.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/rng.h"

enum { MOST_LAYERS = 4096, MOST_BATCH = 4096 };

static const struct {
    enum dino_tokens token;
    const char *name;
} KINDS[] = {
    /* the largest first: the first part file becomes the output without being copied */
    {DINO_TOKENS_PATCHES, "patches"},
    {DINO_TOKENS_REGISTERS, "registers"},
    {DINO_TOKENS_MEAN, "mean"},
    {DINO_TOKENS_CLS, "cls"},
};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

static bool choose_format(struct embed_plan *plan, const struct dino_embed_options *options,
                          struct dino_error *err)
{
    const char *output = options->output ? options->output : "";

    plan->dtype = options->dtype;
    if (dn_ends_with(output, ".npy"))
        plan->format = EMBED_NPY;
    else if (dn_ends_with(output, ".safetensors"))
        plan->format = EMBED_SAFETENSORS;
    else if (dn_ends_with(output, ".jsonl"))
        plan->format = EMBED_JSONL;
    else
        return dn_fail(err, DINO_EARG,
                       "output '%s': wanted a name that ends in .npy, "
                       ".safetensors or .jsonl",
                       output);
    if (plan->dtype != DINO_F32 && plan->dtype != DINO_F16)
        return dn_fail(err, DINO_EARG, "output in %s: wanted f32 or f16",
                       dino_dtype_name(plan->dtype));
    if (options->batch < 0 || options->batch > MOST_BATCH)
        return dn_fail(err, DINO_EARG, "batch %d, wanted 1 to %d (0: automatic)",
                       options->batch, (int)MOST_BATCH);
    return true;
}

static bool choose_layers(struct embed_plan *plan, const struct dino_embed_options *options,
                          const struct dino_model_info *info, struct dino_error *err)
{
    int count = options->layers ? options->layer_count : 0;

    if (count < 0 || count > MOST_LAYERS)
        return dn_fail(err, DINO_EARG, "%d layers, wanted 1 to %d", count, info->depth);
    plan->layer_count = count ? count : 1;
    plan->layers = dn_calloc((size_t)plan->layer_count, sizeof *plan->layers, "layers", err);
    if (!plan->layers)
        return false;
    plan->layers[0] = info->depth - 1;
    for (int i = 0; i < count; i++) {
        int layer = plan->layers[i] = options->layers[i];
        if (layer < 0 || layer >= info->depth || (i && layer <= plan->layers[i - 1]))
            return dn_fail(err, DINO_EARG, "layer %d: wanted ascending numbers from 0 to %d",
                           layer, info->depth - 1);
    }
    return true;
}

static bool choose_streams(struct embed_plan *plan, const struct dino_embed_options *options,
                           const struct dino_model_info *info, struct dino_error *err)
{
    unsigned all =
        DINO_TOKENS_CLS | DINO_TOKENS_MEAN | DINO_TOKENS_PATCHES | DINO_TOKENS_REGISTERS;

    plan->tokens = options->tokens ? options->tokens : DINO_TOKENS_CLS;
    if (plan->tokens & ~all)
        return dn_fail(err, DINO_EARG, "tokens 0x%x: unknown kinds", plan->tokens);
    if ((plan->tokens & DINO_TOKENS_REGISTERS) && !info->registers)
        return dn_fail(err, DINO_EARG, "%s has no registers (%s)", info->source, info->arch);
    plan->streams = dn_calloc((size_t)plan->layer_count * KIND_COUNT, sizeof *plan->streams,
                              "arrays to write", err);
    if (!plan->streams)
        return false;
    for (int k = 0; k < KIND_COUNT; k++)
        for (int i = 0; i < plan->layer_count && (plan->tokens & KINDS[k].token); i++) {
            struct embed_stream *s = &plan->streams[plan->stream_count++];
            *s = (struct embed_stream){.token = KINDS[k].token, .layer = i, .vectors = 1};
            if (s->token == DINO_TOKENS_PATCHES)
                s->vectors = 0;
            if (s->token == DINO_TOKENS_REGISTERS)
                s->vectors = info->registers;
            if (options->layers)
                snprintf(s->name, sizeof s->name, "%s.layer%d", KINDS[k].name, plan->layers[i]);
            else
                snprintf(s->name, sizeof s->name, "%s", KINDS[k].name);
        }
    if (plan->format == EMBED_NPY && plan->stream_count != 1)
        return dn_fail(err, DINO_EARG,
                       "%s: .npy holds one array, wanted are %d: choose one kind of token and "
                       "one layer, or .safetensors",
                       options->output, plan->stream_count);
    return true;
}

/* Which weights: size and time of the file tell one training state from the next. */
static void weights_stat(const char *source, struct stat *info)
{
    static const char *const files[] = {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin"};

    memset(info, 0, sizeof *info);
    if (stat(source, info) != 0)
        return;
    for (size_t i = 0; S_ISDIR(info->st_mode) && i < sizeof files / sizeof *files; i++) {
        char *path = dn_path_join(source, files[i], NULL);
        if (path && stat(path, info) != 0)
            stat(source, info);
        free(path);
    }
}

static json_t *model_json(const struct dino_model_info *info)
{
    static const char *const ffns[] = {"mlp", "swiglu", "identity"};
    static const char *const positions[] = {"auto", "offset", "antialias", "size"};
    struct stat file;

    weights_stat(info->source, &file);
    return json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:[i,i], s:s, s:s, s:f, "
        "s:I, s:s, s:s, s:s, s:I, s:I}",
        "kind", info->kind, "arch", info->arch, "dim", info->dim, "depth", info->depth, "heads",
        info->heads, "hidden", info->hidden, "patch", info->patch, "channels", info->channels,
        "registers", info->registers, "grid", info->grid_rows, info->grid_cols, "ffn",
        ffns[info->ffn], "positions", positions[info->positions], "norm_eps",
        dn_shortest_double(info->norm_eps), "parameters", (json_int_t)info->parameters,
        "stored", dino_dtype_name(info->stored), "dtype", dino_dtype_name(info->dtype),
        "device", info->device ? info->device : "", "file_bytes", (json_int_t)file.st_size,
        "file_time", (json_int_t)file.st_mtime);
}

static json_t *view_json(const struct dino_view *v)
{
    return json_pack("{s:s, s:i, s:[i,i], s:[i,i], s:s, s:s, s:s, s:i, s:[f,f,f], s:[f,f,f]}",
                     "name", v->name, "resize", v->resize, "resize_to", v->resize_width,
                     v->resize_height, "crop", v->crop_width, v->crop_height, "filter",
                     v->filter == DINO_BICUBIC ? "bicubic" : "bilinear", "crop_rounding",
                     v->rounding == DINO_ROUND_HALF_EVEN ? "half even" : "floor", "fit",
                     v->fit == DINO_FIT_CROP ? "crop" : "pad", "patch", v->patch, "mean",
                     dn_shortest_double(v->mean[0]), dn_shortest_double(v->mean[1]),
                     dn_shortest_double(v->mean[2]), "std", dn_shortest_double(v->std[0]),
                     dn_shortest_double(v->std[1]), dn_shortest_double(v->std[2]));
}

static json_t *decode_json(const struct dino_decode_options *d)
{
    return json_pack("{s:b, s:b, s:b, s:I}", "exif", d->exif, "white", d->white, "gray16_high",
                     d->gray16_high, "max_pixels", (json_int_t)d->max_pixels);
}

/* How many pictures, and one number for all their names in order. */
static json_t *pictures_json(const struct embed_names *names)
{
    uint64_t hash = 0;
    char text[20];

    for (int64_t i = 0; i < names->count; i++)
        hash = dn_splitmix64(hash ^ dn_fnv1a64(names->name(names->context, i)));
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    return json_pack("{s:I, s:s}", "count", (json_int_t)names->count, "names", text);
}

static json_t *arrays_json(const struct embed_plan *plan)
{
    json_t *list = json_array();
    for (int i = 0; i < plan->stream_count; i++)
        json_array_append_new(list, json_string(plan->streams[i].name));
    return list;
}

static json_t *layers_json(const struct embed_plan *plan)
{
    json_t *list = json_array();
    for (int i = 0; i < plan->layer_count; i++)
        json_array_append_new(list, json_integer(plan->layers[i]));
    return list;
}

static bool make_request(struct embed_plan *plan, const struct dino_embed_options *options,
                         const struct dino_model_info *info, const struct embed_names *names,
                         struct dino_error *err)
{
    static const char *const formats[] = {"npy", "safetensors", "jsonl"};

    plan->request = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o}", "version", dino_version(),
        "format", formats[plan->format], "dtype", dino_dtype_name(plan->dtype), "arrays",
        arrays_json(plan), "layers", layers_json(plan), "norm", !options->raw, "l2",
        options->l2, "model", model_json(info), "view", view_json(&plan->view), "decode",
        decode_json(&options->feed.decode), "pictures", pictures_json(names));
    return plan->request || dn_fail(err, DINO_ENOMEM, "%s: cannot describe the request in JSON",
                                    options->output);
}

bool dn_embed_plan_init(struct embed_plan *plan, const struct dino_embed_options *options,
                        const struct dino_model_info *info, const struct embed_names *names,
                        struct dino_error *err)
{
    *plan = (struct embed_plan){.l2 = options->l2,
                                .dim = info->dim,
                                .registers = info->registers,
                                .pictures = names->count,
                                .view = options->view};
    bool ok = choose_format(plan, options, err);
    if (ok && names->count < 1)
        ok = dn_fail(err, DINO_EARG, "%s: no pictures were given", options->output);
    ok = ok && choose_layers(plan, options, info, err) &&
         choose_streams(plan, options, info, err) &&
         make_request(plan, options, info, names, err);
    if (!ok)
        dn_embed_plan_release(plan);
    return ok;
}

void dn_embed_plan_release(struct embed_plan *plan)
{
    json_decref(plan->request);
    free(plan->streams);
    free(plan->layers);
    *plan = (struct embed_plan){0};
}

int dn_embed_default_batch(const struct embed_plan *plan, const struct dino_model_info *info,
                           int64_t *tokens)
{
    const struct dino_view *v = &plan->view;
    int width = v->crop_width ? v->crop_width : v->resize_width;
    int height = v->crop_height ? v->crop_height : v->resize_height;
    int64_t each =
        1 + info->registers +
        (width > 0 && height > 0 ? (int64_t)(width / info->patch) * (height / info->patch)
                                 : 256); /* not known before decoding: as 224 pixels have */

    /* Enough rows to fill the cores, few enough that scratch stays small beside weights. */
    *tokens = 1024 * (int64_t)(info->threads < 2 ? 2 : info->threads > 32 ? 32 : info->threads);
    int64_t batch = *tokens / each;
    return batch < 1 ? 1 : batch > 64 ? 64 : (int)batch;
}
