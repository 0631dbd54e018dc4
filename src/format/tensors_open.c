/*
 * The door to checkpoints: tells by content what a file is, and finds the files of a Hugging
 * Face directory. Names decide only which files of a directory are looked at.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "format/config.h"
#include "format/tensors.h"

enum { LONGEST_TEXT = 16 << 20 };

static bool is_safetensors(struct span file)
{
    return file.size > 8 && file.data[8] == '{';
}

/* Say what it is if that is easily told: people meet these by accident. */
static bool fail_unknown(struct span file, const char *name, struct dino_error *err)
{
    const char *guess = dn_span_starts(file, "version https://git-lfs")
                            ? "a Git LFS pointer, not the file itself"
                        : dn_span_starts(file, "<") ? "a web page or XML"
                        : file.size > 1 && file.data[0] == 0x80
                            ? "a Python pickle, but not one of torch.save"
                            : NULL;
    char bytes[40] = "";

    for (size_t i = 0; i < 8 && i < file.size; i++)
        snprintf(bytes + 3 * i, sizeof bytes - 3 * i, " %02x", file.data[i]);
    if (guess)
        return dn_fail(err, DINO_EFORMAT, "%s: is %s; wanted safetensors, .pth or .npy", name,
                       guess);
    return dn_fail(err, DINO_EFORMAT,
                   "%s: is no checkpoint: begins with%s; wanted safetensors, .pth or .npy",
                   name, bytes);
}

/* Read mapping `map` with the reader that its first bytes ask for. */
static bool read_map(struct tensors *t, size_t map, const char *name, struct dino_error *err)
{
    struct span file = t->maps[map].bytes;

    if (dn_span_starts(file, "\x93NUMPY")) {
        t->kind = TENSORS_NPY;
        return dn_npy_read(t, map, name, err);
    }
    if (dn_pth_is_zip(file)) {
        t->kind = TENSORS_PTH_ZIP;
        return dn_pth_read(t, map, name, err);
    }
    if (dn_pth_is_stream(file)) {
        t->kind = TENSORS_PTH_STREAM;
        return dn_pth_read(t, map, name, err);
    }
    if (is_safetensors(file)) {
        t->kind = TENSORS_SAFETENSORS;
        return dn_safetensors_read(t, map, name, err);
    }
    return fail_unknown(file, name, err);
}

static bool add_file(struct tensors *t, const char *path, struct dino_error *err)
{
    if (!dn_grow(&t->maps, &t->map_room, t->map_count + 1, sizeof *t->maps, "files", err) ||
        !dn_map_open(&t->maps[t->map_count], path, err))
        return false;
    t->map_count++;
    return read_map(t, t->map_count - 1, path, err);
}

/* The text of dir/name into *text; NULL and true where there is no such file. */
static bool read_text(const char *dir, const char *name, char **text, struct dino_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    char *path = dn_path_join(dir, name, err);
    bool ok = path != NULL;

    *text = NULL;
    if (ok && dn_exists(path))
        ok = dn_read_all(path, LONGEST_TEXT, &bytes, &size, err);
    if (ok && bytes && memchr(bytes, 0, size))
        ok = dn_fail(err, DINO_EFORMAT, "%s: has a NUL byte, wanted a JSON text", path);
    if (ok && bytes) {
        *text = dn_calloc(size + 1, 1, "a text", err);
        ok = *text != NULL;
        if (ok)
            memcpy(*text, bytes, size);
    }
    free(bytes);
    free(path);
    return ok;
}

static bool read_side_texts(struct tensors *t, const char *dir, struct dino_error *err)
{
    bool ok = read_text(dir, "config.json", &t->config, err) &&
              read_text(dir, "preprocessor_config.json", &t->preprocessor, err);

    t->hugging_face = t->config != NULL;
    return ok;
}

/* All shards that the text of an index names; index is its path, for messages. */
static bool add_shards(struct tensors *t, const char *dir, const char *json, const char *index,
                       struct dino_error *err)
{
    char **files = NULL;
    size_t count = 0;
    bool ok = dn_hf_index_parse(json, index, &files, &count, err);

    for (size_t i = 0; i < count; i++) {
        char *path = ok ? dn_path_join(dir, files[i], err) : NULL;
        ok = ok && path && add_file(t, path, err);
        free(path);
        free(files[i]);
    }
    free(files);
    return ok;
}

/* Open dir/name if it is there: a file of tensors, or an index of shards. */
static bool add_candidate(struct tensors *t, const char *dir, const char *name, bool *found,
                          struct dino_error *err)
{
    char *path = dn_path_join(dir, name, err), *text = NULL;
    bool ok = path != NULL;

    *found = ok && dn_exists(path);
    if (*found && !dn_ends_with(name, ".json"))
        ok = add_file(t, path, err);
    else if (*found)
        ok = read_text(dir, name, &text, err) && add_shards(t, dir, text, path, err);
    free(text);
    free(path);
    return ok;
}

static bool open_directory(struct tensors *t, const char *dir, struct dino_error *err)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin", "pytorch_model.bin.index.json"};
    bool found = false;

    if (!read_side_texts(t, dir, err))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++)
        if (!add_candidate(t, dir, names[i], &found, err))
            return false;
    if (!found)
        return dn_fail(err, DINO_EFORMAT,
                       "%s: no model.safetensors, pytorch_model.bin or index of shards in "
                       "this directory",
                       dir);
    return true;
}

/* The directory a path lies in, heap: "" for the current one. */
static char *parent_of(const char *path, struct dino_error *err)
{
    char *dir = dn_strdup(path, err);
    if (dir)
        dir[dn_path_base(path) - path] = 0;
    return dir;
}

/* Files with these names belong to the config.json beside them; others may lie there by
 * chance. */
static bool has_side_texts(const char *path)
{
    const char *name = dn_path_base(path);
    return strcmp(name, "model.safetensors") == 0 || strcmp(name, "pytorch_model.bin") == 0;
}

static bool open_file(struct tensors *t, const char *path, struct dino_error *err)
{
    char *dir = parent_of(path, err), *text = NULL;
    bool index = dn_ends_with(path, ".index.json"), ok = dir != NULL;

    if (ok && (index || has_side_texts(path)))
        ok = read_side_texts(t, dir, err);
    if (ok && index && dn_exists(path))
        ok = read_text(dir, dn_path_base(path), &text, err) &&
             add_shards(t, dir, text, path, err);
    else if (ok)
        ok = add_file(t, path, err);
    free(text);
    free(dir);
    return ok;
}

bool dn_tensors_open(struct tensors *t, const char *path, struct dino_error *err)
{
    *t = (struct tensors){0};
    t->path = dn_strdup(path, err);
    if (t->path && (dn_is_dir(path) ? open_directory(t, path, err) : open_file(t, path, err)))
        return true;
    dn_tensors_release(t);
    return false;
}

bool dn_tensors_open_bytes(struct tensors *t, struct span bytes, const char *name,
                           struct dino_error *err)
{
    *t = (struct tensors){.borrowed = true};
    t->path = dn_strdup(name, err);
    if (t->path && dn_grow(&t->maps, &t->map_room, 1, sizeof *t->maps, "files", err)) {
        t->maps[t->map_count++].bytes = bytes;
        if (read_map(t, 0, name, err))
            return true;
    }
    dn_tensors_release(t);
    return false;
}
