/* Draws by counter, and permutations without tables. */
#include "train/draws.h"

#include "base/rng.h"

struct draws dn_draws(uint64_t seed, enum draw_purpose purpose, uint64_t place, uint64_t stream)
{
    return (struct draws){dn_random_u64(seed, purpose, place), stream, 0};
}

static double unit(struct draws *draws)
{
    return dn_random_f64(draws->key, draws->stream, draws->next++);
}

double dn_draw_between(struct draws *draws, double low, double high)
{
    return low + (high - low) * unit(draws);
}

int64_t dn_draw_below(struct draws *draws, int64_t count)
{
    int64_t drawn = (int64_t)(unit(draws) * (double)count);
    return drawn < count ? drawn : count - 1; /* the product may round up */
}

bool dn_draw_chance(struct draws *draws, double probability)
{
    return unit(draws) < probability;
}

/* The proof asks for about 6 log2(count) rounds; small counts get more than they need. */
int64_t dn_permuted(uint64_t key, int64_t index, int64_t count)
{
    uint64_t x = (uint64_t)index, n = (uint64_t)count;
    uint64_t rounds = 24;

    for (uint64_t left = n; left > 0; left >>= 1)
        rounds += 6;
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t pivot = dn_random_u64(key, round, 0) % n;
        uint64_t partner = pivot >= x ? pivot - x : pivot + n - x;
        uint64_t pair = x > partner ? x : partner;
        if (dn_random_u64(key, round, pair + 1) >> 63)
            x = partner;
    }
    return (int64_t)x;
}
