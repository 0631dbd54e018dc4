/*
 * Between the official layout and Hugging Face's, both ways. Files are written beside and
 * renamed; a folder is built beside and renamed. Names come from model/params, and reading
 * from model/weights, so whatever opens as a model can be converted.
 */
#include "task/convert.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "model/model.h"

/* ---- reading ---- */

static bool read_head(struct convert *c, struct dino_error *err)
{
    const char *head = c->options->head;
    const char *name = head ? head : c->tensors.path;

    if (head && (!dn_tensors_open(&c->head_file, head, err) ||
                 !dn_weights_find_head(&c->head_file, &c->head_weight, &c->head_bias, err)))
        return false;
    if (!head) {
        c->head_weight = c->weights.head_weight;
        c->head_bias = c->weights.head_bias;
    }
    return !c->head_weight || dn_weights_head_layers(&c->weights.config, c->head_weight,
                                                     c->head_bias, name, &c->head_layers, err);
}

static bool read_labels(struct convert *c, struct dino_error *err)
{
    c->labels = c->weights.labels;
    c->label_count = c->weights.label_count;
    if (!c->options->labels)
        return true;
    if (!dn_labels_read(c->options->labels, &c->own_labels, &c->label_count, err))
        return false;
    c->labels = c->own_labels;
    if (!c->head_weight)
        return dn_fail(err, DINO_EARG, "%s: labels without a head to name the classes of",
                       c->options->labels);
    if (c->label_count != c->head_weight->shape[0])
        return dn_fail(err, DINO_EARG, "%s: %d labels, but the head has %lld classes",
                       c->options->labels, c->label_count, (long long)c->head_weight->shape[0]);
    return true;
}

static bool read_source(struct convert *c, const char *from, struct dino_error *err)
{
    if (!dn_tensors_open(&c->tensors, from, err) ||
        !dn_weights_find(&c->weights, &c->tensors, c->options->heads, err))
        return false;
    if (!read_head(c, err) || !read_labels(c, err))
        return false;

    /* Both layouts hold a mask token; Hugging Face's classes also hold every bias but those
     * of qkv, and the layer scale. */
    c->config = c->weights.config;
    c->config.mask_token = true;
    if (c->hf)
        c->config.layer_scale = c->config.proj_bias = c->config.ffn_bias = true;
    return !c->hf || dn_convert_fits_hf(c, err);
}

/* PyTorch and transformers would take int8 for the weights themselves, and hardly say so: they
 * are given no file that they would open. */
static bool holds_int8(const struct convert *c, const char *to, struct dino_error *err)
{
    return !dn_convert_int8(c) || dn_ends_with(to, ".safetensors") ||
           dn_fail(err, DINO_EARG,
                   "%s: int8 weights, which only dino reads: wanted a name that ends in "
                   ".safetensors, or the weights as f32, f16 or bf16",
                   to);
}

/* ---- writing ---- */

static bool write_text(const char *path, const char *text, struct dino_error *err)
{
    struct output out;

    if (!dn_output_open(&out, path, err))
        return false;
    bool ok = dn_output_write(&out, text, strlen(text), err) && dn_output_commit(&out, err);
    dn_output_release(&out);
    return ok;
}

/* One line a class, whatever the names hold. */
static bool write_labels(const struct convert *c, const char *path, struct dino_error *err)
{
    struct str text = {0};
    int classes = (int)c->head_weight->shape[0];

    for (int i = 0; i < classes; i++) {
        const char *label = i < c->label_count ? c->labels[i] : NULL;
        if (!label || !*label)
            dn_str_addf(&text, "LABEL_%d", i);
        for (; label && *label; label++)
            dn_str_add_bytes(&text, *label == '\n' || *label == '\r' ? " " : label, 1);
        dn_str_add(&text, "\n");
    }
    bool ok = text.failed ? dn_fail_memory(err, text.size, "labels")
                          : write_text(path, dn_str_text(&text), err);
    dn_str_release(&text);
    return ok;
}

/* "x_pretrain.pth" gives "x_linear_head.pth", "x.pth" too. */
static char *beside(const char *path, const char *part, const char *extension,
                    struct dino_error *err)
{
    struct str name = {0};
    const char *dot = strrchr(dn_path_base(path), '.');
    size_t stem = dot ? (size_t)(dot - path) : strlen(path);
    static const char pretrain[] = "_pretrain";
    size_t tail = sizeof pretrain - 1;

    if (stem > tail && memcmp(path + stem - tail, pretrain, tail) == 0)
        stem -= tail;
    dn_str_add_bytes(&name, path, stem);
    dn_str_add(&name, part);
    dn_str_add(&name, extension ? extension : dot ? dot : "");
    if (name.failed) {
        dn_fail_memory(err, name.size, "a path");
        dn_str_release(&name);
    }
    return name.text;
}

/* The official layout keeps a head in a file of its own, and its class names in another. */
struct head_files {
    char *weights, *labels;
    bool fresh[2]; /* were not there before */
};

static bool name_head_files(struct head_files *files, const char *to, struct dino_error *err)
{
    files->weights = beside(to, "_linear_head", NULL, err);
    files->labels = beside(to, "_labels", ".txt", err);
    if (!files->weights || !files->labels)
        return false;
    files->fresh[0] = !dn_exists(files->weights);
    files->fresh[1] = !dn_exists(files->labels);
    return true;
}

static bool write_head_files(struct convert *c, const struct head_files *files,
                             struct dino_error *err)
{
    return dn_convert_list_head(c, err) && dn_convert_write(c, files->weights, err) &&
           (!c->label_count || write_labels(c, files->labels, err));
}

/* What a conversion that failed has left beside. */
static void remove_head_files(const struct head_files *files)
{
    if (files->fresh[0])
        unlink(files->weights);
    if (files->fresh[1])
        unlink(files->labels);
}

/* What is read may not be written over. */
static bool spares(const struct convert *c, const char *path, struct dino_error *err)
{
    bool read = c->options->labels && dn_same_file(c->options->labels, path);

    for (size_t i = 0; i < c->tensors.map_count; i++)
        read = read || dn_map_is(&c->tensors.maps[i], path);
    for (size_t i = 0; i < c->head_file.map_count; i++)
        read = read || dn_map_is(&c->head_file.maps[i], path);
    return !read ||
           dn_fail(err, DINO_EARG, "%s: is what is converted, wanted another name", path);
}

static bool write_backbone(struct convert *c, const char *to, struct dino_error *err)
{
    return dn_convert_list_backbone(c, err) && dn_convert_write(c, to, err);
}

/* The file that was named comes last: where it is, all is there. */
static bool write_with_head(struct convert *c, const char *to, struct dino_error *err)
{
    struct head_files files = {0};

    if (!dn_output_try(to, err)) /* the place that was named is the one to complain of */
        return false;
    bool ok = name_head_files(&files, to, err) && spares(c, files.weights, err) &&
              spares(c, files.labels, err);

    if (ok) {
        ok = write_head_files(c, &files, err) && write_backbone(c, to, err);
        if (!ok)
            remove_head_files(&files);
    }
    free(files.labels);
    free(files.weights);
    return ok;
}

static bool write_file(struct convert *c, const char *to, struct dino_error *err)
{
    bool beside_head = !c->hf && c->head_weight;

    if (!spares(c, to, err) || !dn_convert_list_backbone(c, err))
        return false;
    c->total = c->count + (beside_head ? 2 : 0);
    return beside_head ? write_with_head(c, to, err) : write_backbone(c, to, err);
}

static const char *const FOLDER_FILES[] = {"model.safetensors", "config.json",
                                           "preprocessor_config.json"};

static bool fill_folder(struct convert *c, const char *folder, struct dino_error *err)
{
    char *paths[3] = {NULL}, *config = NULL, *preprocessor = NULL;
    bool ok = true;

    for (int i = 0; i < 3 && ok; i++)
        ok = (paths[i] = dn_path_join(folder, FOLDER_FILES[i], err)) != NULL;
    ok = ok && dn_convert_config_text(c, &config, err) &&
         dn_convert_preprocessor_text(c, &preprocessor, err) && write_file(c, paths[0], err) &&
         write_text(paths[1], config, err) && write_text(paths[2], preprocessor, err);
    free(config);
    free(preprocessor);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
    return ok;
}

static void remove_folder(const char *folder)
{
    for (int i = 0; i < 3; i++) {
        char *path = dn_path_join(folder, FOLDER_FILES[i], NULL);
        if (path)
            unlink(path);
        free(path);
    }
    rmdir(folder);
}

static bool folder_is_free(const char *folder, struct dino_error *err)
{
    if (!dn_exists(folder))
        return true;
    DIR *dir = opendir(folder);
    if (!dir)
        return dn_fail_errno(err, "%s: wanted a new or empty folder", folder);
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(dir));)
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    closedir(dir);
    return empty ||
           dn_fail(err, DINO_EIO, "%s: is there and not empty, wanted a new folder", folder);
}

static bool write_folder(struct convert *c, const char *to, struct dino_error *err)
{
    struct str folder = {0}, temporary = {0};
    size_t size = strlen(to);
    bool ok = false;

    while (size > 1 && to[size - 1] == '/')
        size--;
    dn_str_add_bytes(&folder, to, size);
    dn_str_addf(&temporary, "%.*s.tmp-%ld", (int)size, to, (long)getpid());
    if (folder.failed || temporary.failed) {
        dn_fail_memory(err, size, "a path");
        goto done;
    }
    if (!folder_is_free(folder.text, err))
        goto done;
    if (mkdir(temporary.text, 0777) != 0) {
        dn_fail_errno(err, "%s: cannot make the folder", folder.text);
        goto done;
    }
    ok = fill_folder(c, temporary.text, err);
    if (ok && rename(temporary.text, folder.text) != 0)
        ok = dn_fail_errno(err, "%s", folder.text);
    if (!ok)
        remove_folder(temporary.text);
done:
    dn_str_release(&temporary);
    dn_str_release(&folder);
    return ok;
}

/* ---- the door ---- */

static bool is_file_name(const char *to)
{
    return dn_ends_with(to, ".pth") || dn_ends_with(to, ".pt") || dn_ends_with(to, ".bin") ||
           dn_ends_with(to, ".safetensors");
}

static bool choose_layout(struct convert *c, const char *to, struct dino_error *err)
{
    enum dino_layout layout = c->options->layout;
    enum dino_dtype dtype = c->options->dtype;

    if (dtype != DINO_AUTO && dtype != DINO_F32 && dtype != DINO_F16 && dtype != DINO_BF16 &&
        dtype != DINO_I8)
        return dn_fail(err, DINO_EARG,
                       "%s: weights in %s: wanted f32, f16, bf16, int8 or as stored", to,
                       dino_dtype_name(dtype));
    if (!*to)
        return dn_fail(err, DINO_EARG, "an empty name is no place to write");
    bool official = dn_ends_with(to, ".pth") || dn_ends_with(to, ".pt");
    c->hf = layout == DINO_LAYOUT_HF || (layout == DINO_LAYOUT_AUTO && !official);
    if (!c->hf && !is_file_name(to))
        return dn_fail(err, DINO_EARG,
                       "%s: the official layout is a file, wanted a name that ends in .pth or "
                       ".safetensors",
                       to);
    return true;
}

static void release(struct convert *c)
{
    for (int i = 0; c->own_labels && i < c->label_count; i++)
        free(c->own_labels[i]);
    free(c->own_labels);
    free(c->scales);
    free(c->bytes);
    free(c->values);
    free(c->items);
    dn_weights_release(&c->weights);
    dn_tensors_release(&c->head_file);
    dn_tensors_release(&c->tensors);
}

bool dino_convert(const char *from, const char *to, const struct dino_convert_options *options,
                  struct dino_convert_result *result, struct dino_error *err)
{
    static const struct dino_convert_options as_stored = {.dtype = DINO_AUTO};
    struct convert c = {.options = options ? options : &as_stored};

    if (options && options->size && options->size != sizeof *options)
        return dn_fail(err, DINO_EARG,
                       "dino_convert_options of %zu bytes, this library has %zu", options->size,
                       sizeof *options);
    bool ok = choose_layout(&c, to, err) && read_source(&c, from, err) &&
              holds_int8(&c, to, err) &&
              (is_file_name(to) ? write_file(&c, to, err) : write_folder(&c, to, err));
    if (ok && result)
        *result = (struct dino_convert_result){(int64_t)c.done, c.bad_values};
    release(&c);
    return ok;
}
