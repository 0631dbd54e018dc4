#include "train/export.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "format/pth.h"

struct teacher {
    const struct params_table *table;
    char *values; /* of the whole block */
    enum dino_dtype dtype;
};

/* Blocks are f32, or f64 on the reference device. */
static bool fill(void *context, size_t index, struct output *out, struct dino_error *err)
{
    const struct teacher *t = context;
    const struct param_slice *p = &t->table->items[index];

    if (t->dtype == DINO_F32)
        return dn_output_write(out, t->values + p->first * 4, p->count * 4, err);
    const double *wide = (const double *)t->values + p->first;
    for (size_t i = 0; i < p->count; i++) {
        float value = (float)wide[i];
        if (!dn_output_write(out, &value, sizeof value, err))
            return false;
    }
    return true;
}

/* The first `count` parameters, by their names behind the first `skipped` bytes of "backbone."
 */
static bool export_block(const char *path, const char *key, size_t count, size_t skipped,
                         struct queue *queue, const struct params_table *table,
                         const struct train_blocks *blocks, struct dino_error *err)
{
    size_t bytes = table->elements * dino_dtype_size(blocks->dtype);
    struct teacher teacher = {.table = table, .dtype = blocks->dtype};
    struct pth_tensor *list = dn_calloc(count, sizeof *list, "a list of tensors", err);
    bool ok = list && (teacher.values = dn_calloc(1, bytes, "a copy of the teacher", err));

    for (size_t i = 0; ok && i < count; i++) {
        const struct param_slice *p = &table->items[i];
        list[i].name = p->name + skipped;
        list[i].dtype = DINO_F32;
        list[i].dims = p->dims;
        memcpy(list[i].shape, p->shape, sizeof p->shape);
    }
    if (ok)
        queue->device->ops->download(queue, teacher.values, blocks->teacher, bytes);
    ok = ok && dn_queue_finish(queue, err) &&
         dn_pth_write_under(path, key, list, count, fill, &teacher, err);
    free(teacher.values);
    free(list);
    return ok;
}

bool dn_export_teacher(const char *path, struct queue *queue, const struct params_table *table,
                       const struct train_blocks *blocks, struct dino_error *err)
{
    return export_block(path, NULL, (size_t)table->module_items[MODULE_BACKBONE + 1],
                        strlen("backbone."), queue, table, blocks, err);
}

bool dn_export_all(const char *path, struct queue *queue, const struct params_table *table,
                   const struct train_blocks *blocks, struct dino_error *err)
{
    return export_block(path, "teacher", (size_t)table->count, 0, queue, table, blocks, err);
}

void dn_export_remove(const char *folder)
{
    static const char *const files[] = {"model.safetensors", "config.json",
                                        "preprocessor_config.json"};

    for (int i = 0; i < 3; i++) {
        char *path = dn_path_join(folder, files[i], NULL);
        if (path)
            unlink(path);
        free(path);
    }
    rmdir(folder);
}

bool dn_export_folder(const char *folder, const char *pth, const struct vit_config *config,
                      struct dino_error *err)
{
    struct dino_convert_options options = {
        .size = sizeof options, .layout = DINO_LAYOUT_HF, .dtype = DINO_F32};
    struct str fresh = {0};

    options.heads = config->heads;
    options.picture_size = config->grid_rows * config->patch;
    dn_str_addf(&fresh, "%s.new", folder);
    if (fresh.failed)
        return dn_fail_memory(err, strlen(folder), "a path");
    dn_export_remove(fresh.text); /* what a killed run left */
    bool ok = dino_convert(pth, fresh.text, &options, NULL, err);
    if (ok) {
        dn_export_remove(folder);
        ok = rename(fresh.text, folder) == 0 || dn_fail_errno(err, "%s", folder);
    }
    dn_str_release(&fresh);
    return ok;
}
