#include "train/loss_scale.h"

enum { GROWTH_STEPS = 2000 };

struct loss_scale dn_loss_scale_first(void)
{
    return (struct loss_scale){.value = 65536};
}

void dn_loss_scale_follow(struct loss_scale *s, bool finite)
{
    if (s->value == 0)
        return;
    if (!finite) {
        s->value /= 2;
        s->good = 0;
        s->skipped++;
    } else if (++s->good == GROWTH_STEPS) {
        s->value *= 2;
        s->good = 0;
    }
}

bool dn_loss_scale_lost(const struct loss_scale *s)
{
    return s->value < 1.0 / 65536;
}
