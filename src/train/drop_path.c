#include "train/drop_path.h"

#include "base/rng.h"

int dn_drop_path_kept(int samples, double rate)
{
    int kept = (int)(samples * (1 - rate));

    return kept > 1 ? kept : 1;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Every sample draws a number; the smallest ones are kept. Draws end in the sample's own
 * number, so that no two are equal. */
static uint64_t draw(const struct drop_path *drop, int branch, int group, int sample)
{
    uint64_t stream = (uint64_t)branch * MOST_GROUPS + (uint64_t)group;

    return dn_random_u64(drop->seed, stream, (uint64_t)sample) << 24 | (uint64_t)sample;
}

/* The largest draw that is kept. keys: scratch [samples]. */
static uint64_t limit_of(const struct drop_path *drop, int branch, int group, uint64_t *keys)
{
    int samples = drop->samples[group];

    for (int i = 0; i < samples; i++)
        keys[i] = draw(drop, branch, group, i);
    qsort(keys, (size_t)samples, sizeof *keys, by_value);
    return keys[dn_drop_path_kept(samples, drop->rate) - 1];
}

static void plan_branch(struct backbone *b, int branch, const struct view *views,
                        const struct drop_path *drop)
{
    struct branch_rows *plan = &b->branches[branch];
    int *rows = b->branch_rows + (size_t)branch * (size_t)b->most_tokens;
    int *starts = b->branch_starts + (size_t)branch * (size_t)(b->most_views + 1);
    int view = 0;

    *plan = (struct branch_rows){.rows = rows, .starts = starts, .part_count = b->groups};
    starts[0] = 0;
    for (int g = 0; g < b->groups; g++) {
        uint64_t limit = drop->samples[g] ? limit_of(drop, branch, g, b->keys) : 0;
        plan->parts[g].first = plan->count;
        for (; view < b->views && views[view].group == g; view++) {
            if (draw(drop, branch, g, views[view].sample) > limit)
                continue;
            for (int r = b->starts[view]; r < b->starts[view + 1]; r++)
                rows[plan->count++] = r;
            starts[++plan->sequences] = plan->count;
        }
        plan->parts[g].count = plan->count - plan->parts[g].first;
        if (drop->samples[g])
            plan->parts[g].scale =
                (double)drop->samples[g] / dn_drop_path_kept(drop->samples[g], drop->rate);
    }
}

void dn_drop_path_plan(struct backbone *b, const struct view *views,
                       const struct drop_path *drop)
{
    int branches = 2 * b->table->config.backbone.depth;

    for (int i = 0; i < branches; i++) {
        b->branches[i] = (struct branch_rows){
            .count = b->tokens, .starts = b->starts, .sequences = b->views};
        if (drop && drop->rate > 0)
            plan_branch(b, i, views, drop);
    }
}
