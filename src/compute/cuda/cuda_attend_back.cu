/*
 * The backward of attention for any head width in f32 arithmetic, from numbers of any dtype: as
 * cuda_attend_back_mma.cu says, with natural logarithms. Both kernels are the same loop: a
 * block has rows of its own, (q, d_y) or (k, v), and meets tiles of the others, (k, v) or (q,
 * d_y).
 */
#include "compute/cuda/cuda_numbers.h"
#include "compute/cuda/cuda_train_kernels.h"

/*
 * Thread (ty, tx) = (t / 16, t % 16) has the scores of own rows ty R + i with other rows
 * tx + 16 j, i, j < R, and columns tx + 16 j, j < C, of what its rows become. R and C are
 * constants where back_block is called.
 */
struct back_thread {
    int ty, tx, width, pitch, tokens, own;
    float *own_first, *own_second, *first, *second,
        *share;          /* [16 R, width], share [16 R, 16 R] */
    float *level, *mean; /* [16 R] of the tile's queries */
    float row_level[4], row_mean[4], score[4][4], d_score[4][4];
    float out_first[4][16], out_second[4][16];
};

/* Rows [begin, begin + count) of a head to shared memory; zeros behind its end. */
DEVICE void back_load(float *to, const struct back_thread *h, const void *from, int64_t stride,
                      int dtype, int64_t at, int begin, int count)
{
    for (int i = thread_x(); i < count * h->width; i += 256) {
        int row = i / h->width, col = i % h->width;
        to[row * h->pitch + col] = begin + row < h->tokens
                                       ? number(from, dtype, at + (begin + row) * stride + col)
                                       : 0;
    }
}

/* score = own . other^T */
DEVICE void back_score(float score[4][4], const struct back_thread *h, const float *own,
                       const float *other, const int R)
{
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < R; j++)
            score[i][j] = 0;
    }
    for (int c = 0; c < h->width; c++) {
        float x[4], y[4];
        UNROLL
        for (int i = 0; i < R; i++) {
            x[i] = own[(h->ty * R + i) * h->pitch + c];
            y[i] = other[(h->tx + 16 * i) * h->pitch + c];
        }
        UNROLL
        for (int i = 0; i < R; i++) {
            UNROLL
            for (int j = 0; j < R; j++)
                score[i][j] = fmaf(x[i], y[j], score[i][j]);
        }
    }
}

/* out += share . other, by way of shared memory. All threads. */
DEVICE void back_add(float out[4][16], struct back_thread *h, float share[4][4],
                     const float *other, const int R, const int C)
{
    const int pitch = 16 * R + 1;

    block_sync();
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < R; j++)
            h->share[(h->ty * R + i) * pitch + h->tx + 16 * j] = share[i][j];
    }
    block_sync();
    for (int t = 0; t < 16 * R; t++) {
        UNROLL
        for (int j = 0; j < C; j++) {
            int col = h->tx + 16 * j;
            float v = other[t * h->pitch + (col < h->width ? col : 0)];
            UNROLL
            for (int i = 0; i < R; i++)
                out[i][j] = fmaf(h->share[(h->ty * R + i) * pitch + t], v, out[i][j]);
        }
    }
}

/* Levels and means of own queries: one pass over the keys. */
DEVICE void back_levels(const struct cuda_attend_back *a, struct back_thread *h,
                        struct cuda_attend_block b, int64_t key, const int R)
{
    float top[4], sum[4];

    UNROLL
    for (int i = 0; i < R; i++) {
        top[i] = -INFINITY;
        sum[i] = 0;
    }
    for (int begin = 0; begin < h->tokens; begin += 16 * R) {
        block_sync();
        back_load(h->first, h, a->qkv, a->qkv_stride, a->dtype, key, begin, 16 * R);
        block_sync();
        back_score(h->score, h, h->own_first, h->first, R);
        UNROLL
        for (int i = 0; i < R; i++) {
            float most = top[i], more = 0;
            UNROLL
            for (int j = 0; j < R; j++) {
                float *x = &h->score[i][j];
                *x = begin + h->tx + 16 * j < h->tokens ? *x * a->scale : -INFINITY;
                most = fmaxf(most, *x);
            }
            most = lanes_max(most, 16);
            UNROLL
            for (int j = 0; j < R; j++)
                more += expf(h->score[i][j] - most);
            sum[i] = fmaf(sum[i], expf(top[i] - most), lanes_sum(more, 16));
            top[i] = most;
        }
    }
    UNROLL
    for (int i = 0; i < R; i++) {
        int row = h->own + h->ty * R + i, real = row < h->tokens;
        int64_t y = (int64_t)(b.first + row) * a->y_stride + (int64_t)block_y() * h->width;
        float mean = 0;
        for (int c = h->tx; c < h->width && real; c += 16)
            mean = fmaf(h->own_second[(h->ty * R + i) * h->pitch + c],
                        number(a->y, a->dtype, y + c), mean);
        h->row_mean[i] = lanes_sum(mean, 16);
        h->row_level[i] = top[i] + logf(sum[i]);
        if (real && h->tx == 0) {
            a->levels[(int64_t)block_y() * a->tokens + b.first + row] = h->row_level[i];
            a->means[(int64_t)block_y() * a->tokens + b.first + row] = h->row_mean[i];
        }
    }
}

/* Scores to shares p, and what own . other^T of the second pair says to d_s. */
DEVICE void back_shares(struct back_thread *h, float scale, int begin, const int keys,
                        const int R)
{
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < R; j++) {
            int other = h->tx + 16 * j;
            int real = begin + other < h->tokens;
            float level = keys ? h->level[other] : h->row_level[i];
            float mean = keys ? h->mean[other] : h->row_mean[i];
            float p = real ? expf(h->score[i][j] * scale - level) : 0;
            h->score[i][j] = p;
            h->d_score[i][j] = real ? p * (h->d_score[i][j] - mean) : 0;
        }
    }
}

DEVICE void back_store(const struct cuda_attend_back *a, const struct back_thread *h,
                       struct cuda_attend_block b, float out[4][16], int64_t column,
                       float scale, const int R, const int C)
{
    UNROLL
    for (int i = 0; i < R; i++) {
        int row = h->own + h->ty * R + i;
        UNROLL
        for (int j = 0; j < C; j++) {
            int col = h->tx + 16 * j;
            if (row < h->tokens && col < h->width)
                set_number(a->d_qkv, a->dtype,
                           (int64_t)(b.first + row) * a->d_qkv_stride + column + col,
                           out[i][j] * scale);
        }
    }
}

/* keys: own rows are keys and values, else queries. */
DEVICE void back_block(const struct cuda_attend_back *a, float *shared, const int keys,
                       const int R, const int C)
{
    struct cuda_attend_block b = a->blocks[block_x()];
    const int rows = 16 * R;
    int64_t part = (int64_t)a->heads * a->width, column = (int64_t)block_y() * a->width;
    int64_t qkv = b.first * a->qkv_stride + column, d_y = b.first * a->d_y_stride + column;
    int64_t levels = (int64_t)block_y() * a->tokens + b.first;
    struct back_thread h;

    h.ty = thread_x() / 16;
    h.tx = thread_x() % 16;
    h.width = a->width;
    h.pitch = a->width + 1;
    h.tokens = b.tokens;
    h.own = b.query;
    h.own_first = shared;
    h.own_second = h.own_first + rows * h.pitch;
    h.first = h.own_second + rows * h.pitch;
    h.second = h.first + rows * h.pitch;
    h.share = h.second + rows * h.pitch;
    h.level = h.share + rows * (rows + 1);
    h.mean = h.level + rows;
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < C; j++)
            h.out_first[i][j] = h.out_second[i][j] = 0;
    }
    /* the pairs (q, d_y) and (k, v): one is own, the other comes in tiles */
    const void *second = keys ? a->qkv : a->d_y, *others = keys ? a->d_y : a->qkv;
    int64_t second_stride = keys ? a->qkv_stride : a->d_y_stride;
    int64_t others_stride = keys ? a->d_y_stride : a->qkv_stride;
    int64_t own_at = keys ? qkv + part : qkv, other_at = keys ? qkv : qkv + part;
    back_load(h.own_first, &h, a->qkv, a->qkv_stride, a->dtype, own_at, h.own, rows);
    back_load(h.own_second, &h, second, second_stride, a->dtype, keys ? qkv + 2 * part : d_y,
              h.own, rows);
    if (!keys)
        back_levels(a, &h, b, other_at, R);
    for (int begin = 0; begin < b.tokens; begin += rows) {
        block_sync();
        back_load(h.first, &h, a->qkv, a->qkv_stride, a->dtype, other_at, begin, rows);
        back_load(h.second, &h, others, others_stride, a->dtype, keys ? d_y : qkv + 2 * part,
                  begin, rows);
        for (int i = thread_x(); keys && i < rows && begin + i < b.tokens; i += 256) {
            h.level[i] = a->levels[levels + begin + i];
            h.mean[i] = a->means[levels + begin + i];
        }
        block_sync();
        back_score(h.score, &h, h.own_first, h.first, R);
        back_score(h.d_score, &h, h.own_second, h.second, R);
        back_shares(&h, a->scale, begin, keys, R);
        if (keys)
            back_add(h.out_second, &h, h.score, h.second, R, C);
        back_add(h.out_first, &h, h.d_score, h.first, R, C);
    }
    back_store(a, &h, b, h.out_first, keys ? part + column : column, a->scale, R, C);
    if (keys)
        back_store(a, &h, b, h.out_second, 2 * part + column, 1, R, C);
}

/* Heads of up to 64: a block owns 64 queries (or keys) of one head of one sequence. Shared: own
 * rows, a tile of the others, and shares. */
KERNEL(dn_attend_back_queries_64_kernel, struct cuda_attend_back, 256)
{
    SHARED(float, shared);
    back_block(&a, shared, 0, 4, 4);
}

KERNEL(dn_attend_back_keys_64_kernel, struct cuda_attend_back, 256)
{
    SHARED(float, shared);
    back_block(&a, shared, 1, 4, 4);
}

/* Heads of up to 256: a block owns 16. Shared as above. */
KERNEL(dn_attend_back_queries_256_kernel, struct cuda_attend_back, 256)
{
    SHARED(float, shared);
    back_block(&a, shared, 0, 1, 16);
}

KERNEL(dn_attend_back_keys_256_kernel, struct cuda_attend_back, 256)
{
    SHARED(float, shared);
    back_block(&a, shared, 1, 1, 16);
}
