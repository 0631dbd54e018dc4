/* From logits to the few best classes. */
#include <math.h>

#include "base/alloc.h"

/* Does class a come before class b? Larger first, then lower index; NaN comes last. */
static bool before(const float *logits, int a, int b)
{
    float x = isnan(logits[a]) ? -INFINITY : logits[a];
    float y = isnan(logits[b]) ? -INFINITY : logits[b];
    return x != y ? x > y : a < b;
}

int dino_top(const float *logits, int classes, int k, int *index, float *probability)
{
    int filled = 0;
    double sum = 0;

    if (classes <= 0 || k <= 0)
        return 0;
    k = k < classes ? k : classes;
    for (int c = 0; c < classes; c++) {
        int at = filled < k ? filled++ : k;
        for (; at > 0 && before(logits, c, index[at - 1]); at--)
            if (at < k)
                index[at] = index[at - 1];
        if (at < k)
            index[at] = c;
    }
    if (!probability)
        return k;
    double top = logits[index[0]];
    for (int c = 0; c < classes; c++)
        sum += exp(logits[c] - top);
    for (int i = 0; i < k; i++)
        probability[i] = (float)(exp(logits[index[i]] - top) / sum);
    return k;
}
