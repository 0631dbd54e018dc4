/* What AMX adds: the measure of its tiles, which only oneDNN uses. Eight tiles: four sums
 * from two by two factors, the arrangement that a matrix product would have. */
#include <immintrin.h>

#include "compute/cpu/kernels.h"

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static void tiles_open(void)
{
    struct tile_config config = {.palette = 1};

    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

static float peak_bf16(size_t rounds, double *operations)
{
    tiles_open();
    for (size_t k = 0; k < rounds; k++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    *operations = 2.0 * 16 * 16 * 32 * 4 * (double)rounds;
    return 0;
}

static float peak_i8(size_t rounds, double *operations)
{
    tiles_open();
    for (size_t k = 0; k < rounds; k++) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
    *operations = 2.0 * 16 * 16 * 64 * 4 * (double)rounds;
    return 0;
}

void dn_kernels_amx(struct kernels *table)
{
    table->peak_bf16 = peak_bf16;
    table->peak_i8 = peak_i8;
}
