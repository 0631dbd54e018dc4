/* Masks of blocks, and their shares in a step. */
#include "train/masks.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

struct mask_rule dn_mask_rule(int size, int patch)
{
    int grid = size / patch;
    /* 0.5 * size // patch * size // patch, from left to right */
    double rows = floor(0.5 * size / patch);

    return (struct mask_rule){
        .rows = grid,
        .cols = grid,
        .min_area = 4,
        .max_area = (int)floor(rows * size / patch),
        .min_aspect = 0.3,
        .tries = 10,
    };
}

/* Cells of the block that are not masked yet. */
static int fresh_cells(const uint8_t *block, int cols, int height, int width)
{
    int fresh = 0;

    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            fresh += !block[y * cols + x];
    return fresh;
}

/* One block of at most `most` fresh cells; 0 if no try fits. */
static int draw_block(uint8_t *mask, const struct mask_rule *rule, int most,
                      struct draws *draws)
{
    double log_aspect = log(rule->min_aspect);

    for (int try = 0; try < rule->tries; try++) {
        double area = dn_draw_between(draws, rule->min_area, most);
        double aspect = exp(dn_draw_between(draws, log_aspect, -log_aspect));
        int height = (int)rint(sqrt(area * aspect)), width = (int)rint(sqrt(area / aspect));
        if (width >= rule->cols || height >= rule->rows)
            continue;
        int64_t top = dn_draw_below(draws, rule->rows - height + 1);
        int64_t left = dn_draw_below(draws, rule->cols - width + 1);
        uint8_t *block = mask + top * rule->cols + left;
        int fresh = fresh_cells(block, rule->cols, height, width);
        if (fresh == 0 || fresh > most)
            continue;
        for (int y = 0; y < height; y++)
            memset(block + (ptrdiff_t)y * rule->cols, 1, (size_t)width);
        return fresh;
    }
    return 0;
}

int dn_mask_draw(uint8_t *mask, const struct mask_rule *rule, int target, struct draws *draws)
{
    int count = 0;

    memset(mask, 0, (size_t)rule->rows * (size_t)rule->cols);
    while (count < target) {
        int most = target - count < rule->max_area ? target - count : rule->max_area;
        int fresh = draw_block(mask, rule, most, draws);
        if (fresh == 0)
            break;
        count += fresh;
    }
    return count;
}

bool dn_masks_init(struct masks *masks, const struct train_config *config,
                   struct batch_part part, struct dino_error *err)
{
    int grid = config->crops.global_size / config->student.patch_size;
    struct masks made = {.crops = 2 * part.count, .patches = grid * grid};
    size_t cells;

    if (!dn_size_mul((size_t)made.crops, (size_t)made.patches, &cells) || cells > INT32_MAX)
        return dn_fail(err, DINO_EARG, "%d crops of %d patches are too many for one step",
                       made.crops, made.patches);
    made.cells = dn_calloc(cells, 1, "masks", err);
    made.indices = dn_calloc(cells, sizeof *made.indices, "mask indices", err);
    made.weights = dn_calloc(cells, sizeof *made.weights, "mask weights", err);
    if (!made.cells || !made.indices || !made.weights) {
        dn_masks_release(&made);
        return false;
    }
    *masks = made;
    return true;
}

void dn_masks_release(struct masks *masks)
{
    free(masks->cells);
    free(masks->indices);
    free(masks->weights);
    *masks = (struct masks){0};
}

/* torch.linspace(low, high, count + 1)[i]: float, from the nearer end. */
static float ratio_at(const double range[2], int count, int i)
{
    float low = (float)range[0], high = (float)range[1], step = (high - low) / (float)count;

    if (i < (count + 1) / 2)
        return low + step * (float)i;
    return high - step * (float)(count - i);
}

/* The step-wide number of the part's crop: crop-major over all pictures. */
static int whole_crop(struct batch_part part, int crop)
{
    return crop / part.count * part.all + part.first + crop % part.count;
}

static void append_masked(struct masks *masks, int crop, int masked)
{
    const uint8_t *cells = masks->cells + (size_t)crop * (size_t)masks->patches;

    for (int i = 0; i < masks->patches; i++) {
        if (!cells[i])
            continue;
        masks->indices[masks->count] = crop * masks->patches + i;
        masks->weights[masks->count++] = 1.0F / (float)masked;
    }
}

static int shares_of(const struct train_config *config, struct batch_part part)
{
    return (int)(2 * part.all * config->ibot.mask_sample_probability);
}

/* Masked patches that a share allows at most. */
static int most_of_share(const struct train_config *config, int patches, int shares, int share)
{
    return (int)((float)patches * ratio_at(config->ibot.mask_ratio_min_max, shares, share + 1));
}

int dn_masks_most(const struct train_config *config, struct batch_part part)
{
    int grid = config->crops.global_size / config->student.patch_size, most = 0;
    int shares = shares_of(config, part);

    for (int i = shares - 1; i >= 0 && i >= shares - 2 * part.count; i--)
        most += most_of_share(config, grid * grid, shares, i);
    return most;
}

void dn_masks_make(struct masks *masks, const struct train_config *config,
                   struct batch_part part, uint64_t seed, int64_t step)
{
    struct mask_rule rule = dn_mask_rule(config->crops.global_size, config->student.patch_size);
    const double *range = config->ibot.mask_ratio_min_max;
    int shares = shares_of(config, part);
    uint64_t deal = dn_draws(seed, DRAW_MASK_SHARES, (uint64_t)step, 0).key;

    masks->count = masks->upperbound = 0;
    for (int crop = 0; crop < masks->crops; crop++) {
        int share = (int)dn_permuted(deal, whole_crop(part, crop), 2 * part.all);
        int target = 0;
        struct draws draws = dn_draws(seed, DRAW_MASKS, (uint64_t)step, (uint64_t)share);
        if (share < shares) {
            float low = ratio_at(range, shares, share),
                  high = ratio_at(range, shares, share + 1);
            target = (int)(masks->patches * dn_draw_between(&draws, (double)low, (double)high));
            masks->upperbound += most_of_share(config, masks->patches, shares, share);
        }
        uint8_t *cells = masks->cells + (size_t)crop * (size_t)masks->patches;
        append_masked(masks, crop, dn_mask_draw(cells, &rule, target, &draws));
    }
}
