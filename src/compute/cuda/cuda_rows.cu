/* Kernels over rows: layernorm, put_rows, mean_rows, patchify. */
#include "compute/cuda/cuda_numbers.h"

/* ---- layernorm ---- */

/* Rows of up to 2048 in registers: lane l has columns 128 i + 4 l .. + 3. */
enum { NORM_QUADS = 16 };

DEVICE void norm_in_registers(const struct cuda_layernorm *a, int row, int from, int lane)
{
    int64_t x = (int64_t)from * a->x.stride, y = (int64_t)row * a->y.stride;
    int cols = a->x.cols;
    float v[NORM_QUADS][4], total = 0, sum = 0, squares = 0;

    UNROLL
    for (int i = 0; i < NORM_QUADS; i++) {
        int c = 128 * i + 4 * lane;
        if (c < cols) {
            numbers4(v[i], a->x.data, DINO_F32, x + c);
            total += v[i][0] + v[i][1] + (v[i][2] + v[i][3]);
        }
    }
    float mean = warp_sum(total) / (float)cols;
    UNROLL
    for (int i = 0; i < NORM_QUADS; i++)
        if (128 * i + 4 * lane < cols) {
            UNROLL
            for (int j = 0; j < 4; j++) {
                v[i][j] -= mean;
                sum += v[i][j];
                squares = fmaf(v[i][j], v[i][j], squares);
            }
        }
    struct moments m = moments_of(sum, squares, cols, a->eps);
    UNROLL
    for (int i = 0; i < NORM_QUADS; i++) {
        int c = 128 * i + 4 * lane;
        float weight[4], bias[4];
        if (c < cols) {
            numbers4(weight, a->weight, DINO_F32, c);
            numbers4(bias, a->bias, DINO_F32, c);
            UNROLL
            for (int j = 0; j < 4; j++)
                v[i][j] = fmaf((v[i][j] - m.shift) * m.over, weight[j], bias[j]);
            set_numbers4(a->y.data, a->y.dtype, y + c, v[i]);
        }
    }
}

/* Any row: read three times. */
DEVICE void norm_from_memory(const struct cuda_layernorm *a, int row, int from, int lane)
{
    const float *x = (const float *)a->x.data + (int64_t)from * a->x.stride;
    int64_t y = (int64_t)row * a->y.stride;
    int cols = a->x.cols;
    float mean;
    struct moments m = moments_of_row(x, cols, a->eps, &mean);

    for (int c = lane; c < cols; c += 32)
        set_number(a->y.data, a->y.dtype, y + c,
                   fmaf((x[c] - mean - m.shift) * m.over, a->weight[c], a->bias[c]));
}

/* A warp owns row 4 block + warp of y. No shared memory. */
KERNEL(dn_layernorm_kernel, struct cuda_layernorm, 128)
{
    int row = 4 * block_x() + thread_x() / 32, lane = thread_x() % 32, from = row;

    if (row >= a.y.rows)
        return;
    if (a.rows)
        from = a.rows[row];
    if (a.quads && a.x.cols <= 128 * NORM_QUADS)
        norm_in_registers(&a, row, from, lane);
    else
        norm_from_memory(&a, row, from, lane);
}

/* ---- put_rows ---- */

/* A block owns row to[block]. No shared memory. */
KERNEL(dn_put_rows_kernel, struct cuda_put_rows, 128)
{
    int i = block_x();
    int64_t from = a.x.rows == 1 ? 0 : i, more = a.add.rows == 1 ? 0 : i, to = i;

    if (a.from)
        from = a.from[i];
    if (a.to)
        to = a.to[i];
    const float *x = (const float *)a.x.data + from * a.x.stride;
    const float *add = (const float *)a.add.data;
    float *y = (float *)a.y.data + to * a.y.stride;
    for (int c = thread_x(); c < a.y.cols; c += 128)
        y[c] = add ? x[c] + add[more * a.add.stride + c] : x[c];
}

/* ---- mean_rows ---- */

struct mean_shared {
    double sums[8][32];
};

/* A block owns 32 columns of one sequence; each of its 8 warps sums every eighth row in f64,
 * and the sums meet in shared memory. */
KERNEL(dn_mean_rows_kernel, struct cuda_mean_rows, 256)
{
    SHARED(struct mean_shared, s);
    int lane = thread_x() % 32, warp = thread_x() / 32, sequence = block_y();
    int col = 32 * block_x() + lane, first = a.starts[sequence] + a.skip;
    int last = a.starts[sequence + 1];
    double sum = 0;

    for (int r = first + warp; r < last && col < a.x.cols; r += 8)
        sum += ((const float *)a.x.data)[(int64_t)r * a.x.stride + col];
    s->sums[warp][lane] = sum;
    block_sync();
    if (warp > 0 || col >= a.x.cols)
        return;
    for (int w = 1; w < 8; w++)
        sum += s->sums[w][lane];
    ((float *)a.y.data)[(int64_t)sequence * a.y.stride + col] = (float)(sum / (last - first));
}

/* ---- patchify, place_tokens ---- */

/* The picture that has this row: the last of those, beginning at ascending rows, that begins at
 * it or before. Where they begin stands every `step` numbers. */
DEVICE int picture_of(const int32_t *first, int step, int count, int row)
{
    int picture = 0;

    while (count > 1) {
        int half = count / 2;
        if (first[(picture + half) * step] <= row)
            picture += half;
        count -= half;
    }
    return picture;
}

/* A block owns one patch, a row of y. No shared memory. */
KERNEL(dn_patchify_kernel, struct cuda_patchify, 128)
{
    const int step = sizeof *a.pictures / sizeof a.pictures->first;
    int picture = picture_of(&a.pictures->first, step, a.count, block_x());
    const struct cuda_picture *p = &a.pictures[picture];
    int across = p->width / a.patch, area = a.patch * a.patch, nth = block_x() - p->first;
    int top = nth / across * a.patch, left = nth % across * a.patch;
    int64_t y = (int64_t)block_x() * a.y.stride;

    for (int c = thread_x(); c < a.y.cols; c += 128) {
        int channel = c / area, row = top + c % area / a.patch, col = left + c % a.patch;
        float value;
        if (p->planes) {
            value = p->planes[((int64_t)channel * p->height + row) * p->width + col];
        } else {
            int64_t pixel = (int64_t)row * p->width + col;
            value = (float)p->pixels[3 * pixel + channel] / 255.0F;
            value = (value - p->mean[channel]) / p->std[channel];
        }
        set_number(a.y.data, a.y.dtype, y + c, value);
    }
}

/* A block owns one row of y. No shared memory. */
KERNEL(dn_place_tokens_kernel, struct cuda_place_tokens, 128)
{
    int row = a.starts[0] + block_x(), front = 1 + a.register_count;
    int picture = picture_of(a.starts, 1, a.count, row);
    int token = row - a.starts[picture];
    float *y = (float *)a.y.data + (int64_t)row * a.y.stride;

    if (token < front) {
        const float *from = token ? a.registers + (int64_t)(token - 1) * a.y.cols : a.cls;
        for (int c = thread_x(); c < a.y.cols; c += 128)
            y[c] = from[c];
        return;
    }
    const float *x =
        (const float *)a.x.data + (int64_t)(block_x() - (picture + 1) * front) * a.x.stride;
    const float *add = a.positions[picture] + (int64_t)(token - front) * a.y.cols;
    for (int c = thread_x(); c < a.y.cols; c += 128)
        y[c] = x[c] + add[c];
}
