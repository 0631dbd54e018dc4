/* Order and replacements of a run's pictures. */
#include "train/dataset.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "task/source.h"

enum { MOST_ATTEMPTS = 100 };

bool dn_dataset_open(struct dataset *dataset, const char *const *paths, int count,
                     uint64_t seed, struct dino_error *err)
{
    struct dino_source *source = dino_source_open(paths, count, NULL, err);

    if (!source)
        return false;
    if (!dn_source_unpack(source, err)) {
        dino_source_close(source);
        return false;
    }
    *dataset = (struct dataset){source, dino_source_count(source), seed};
    return true;
}

void dn_dataset_close(struct dataset *dataset)
{
    dino_source_close(dataset->source);
    *dataset = (struct dataset){0};
}

struct sample dn_dataset_sample(const struct dataset *dataset, int64_t number)
{
    return (struct sample){number / dataset->count, number % dataset->count};
}

int64_t dn_dataset_picture(const struct dataset *dataset, struct sample sample, int attempt)
{
    uint64_t pass = (uint64_t)sample.pass, position = (uint64_t)sample.position;

    if (attempt == 0)
        return dn_permuted(dn_draws(dataset->seed, DRAW_ORDER, pass, 0).key, sample.position,
                           dataset->count);
    struct draws draws = dn_draws(dataset->seed, DRAW_REPLACEMENT, pass, position);
    draws.next = (uint64_t)attempt;
    return dn_draw_below(&draws, dataset->count);
}

static bool read_picture(const struct dino_source *source, int64_t index,
                         struct dino_image *image, struct dino_error *err)
{
    uint8_t *data;
    size_t size;

    if (!dn_source_read(source, index, &data, &size, err))
        return false;
    bool ok = dino_image_decode(image, data, size, dino_source_name(source, index), NULL, err);
    free(data);
    return ok;
}

bool dn_dataset_read(const struct dataset *dataset, struct sample sample,
                     struct dino_image *image, struct misses *misses, struct dino_error *err)
{
    struct dino_error why;

    for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        int64_t picture = dn_dataset_picture(dataset, sample, attempt);
        why = (struct dino_error){0};
        if (read_picture(dataset->source, picture, image, &why))
            return true;
        if (why.code == DINO_ENOMEM)
            return dn_fail(err, why.code, "%s", why.message);
        if (!dn_grow(&misses->items, &misses->room, misses->count + 1, sizeof *misses->items,
                     "a list of unreadable pictures", err))
            return false;
        misses->items[misses->count++] = (struct miss){picture, why};
    }
    return dn_fail(err, why.code, "%d pictures in a row cannot be read, the last: %s",
                   MOST_ATTEMPTS, why.message);
}

void dn_misses_release(struct misses *misses)
{
    free(misses->items);
    *misses = (struct misses){0};
}
