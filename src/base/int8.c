#include "base/int8.h"

#include <math.h>

void dn_int8_row(int8_t *to, float *scale, const float *x, size_t count)
{
    float top = 0;

    for (size_t i = 0; i < count; i++)
        top = fmaxf(top, fabsf(x[i]));
    float step = fmaxf(top / 127.0F, 1e-30F), inverse = 1.0F / step;
    for (size_t i = 0; i < count; i++)
        to[i] = (int8_t)fminf(127.0F, fmaxf(-127.0F, rintf(x[i] * inverse)));
    *scale = step;
}
