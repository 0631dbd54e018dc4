/*
 * What an int8 weight is: a row of numbers as signed bytes in [-127, 127] and one scale,
 * number ~ byte * scale, where the largest number becomes 127 or -127.
 */
#ifndef BASE_INT8_H
#define BASE_INT8_H

#include <stddef.h>
#include <stdint.h>

/* x must be finite; a row of zeros has a tiny scale. Kernels that quantise while they pack
 * (gemm_template.h) give the same bytes and scale. */
void dn_int8_row(int8_t *to, float *scale, const float *x, size_t count);

#endif
