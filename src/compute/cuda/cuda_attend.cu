/* Attention of any head width in f32 arithmetic, from numbers of any dtype; and its
 * probabilities. */
#include "compute/cuda/cuda_numbers.h"

/* rows [count, width] of part 0 (q), 1 (k) or 2 (v) of one head to shared memory, from row
 * `begin` of the sequence on; zeros behind its end. */
DEVICE void load_rows(float *to, const struct cuda_attend *a, struct cuda_attend_block b,
                      int part, int begin, int count)
{
    int width = a->width, pitch = width + 1;
    int64_t from = (int64_t)part * a->heads * width + (int64_t)block_y() * width;

    for (int i = thread_x(); i < count * width; i += 256) {
        int row = i / width, col = i % width;
        int64_t at = (int64_t)(b.first + begin + row) * a->qkv_stride + from + col;
        to[row * pitch + col] = begin + row < b.tokens ? number(a->qkv, a->dtype, at) : 0;
    }
}

/*
 * What a thread has of 16 R queries against tiles of 16 K keys: thread (ty, tx) = (t / 16,
 * t % 16) the scores of queries ty R + i with keys tx + 16 j, i < R, j < K, and columns
 * tx + 16 j, j < C, of their output. R, K and C are constants where attend_block is called.
 */
struct attend_thread {
    int ty, tx, width, pitch, share_pitch;
    const float *query;
    float *key, *share; /* keys, then values, of a tile; shares [16 R, 16 K] */
    float top[4], sum[4], score[4][4], out[4][16];
};

DEVICE void score_keys(struct attend_thread *h, const int R, const int K)
{
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < K; j++)
            h->score[i][j] = 0;
    }
    for (int c = 0; c < h->width; c++) {
        float q[4], k[4];
        UNROLL
        for (int i = 0; i < R; i++)
            q[i] = h->query[(h->ty * R + i) * h->pitch + c];
        UNROLL
        for (int j = 0; j < K; j++)
            k[j] = h->key[(h->tx + 16 * j) * h->pitch + c];
        UNROLL
        for (int i = 0; i < R; i++) {
            UNROLL
            for (int j = 0; j < K; j++)
                h->score[i][j] = fmaf(q[i], k[j], h->score[i][j]);
        }
    }
}

/* Scores to shares, and what came before to the new largest score. left: keys of the tile that
 * the sequence has. */
DEVICE void soften_scores(struct attend_thread *h, float scale, int left, const int R,
                          const int K, const int C)
{
    UNROLL
    for (int i = 0; i < R; i++) {
        float most = h->top[i];
        UNROLL
        for (int j = 0; j < K; j++) {
            float score = h->tx + 16 * j < left ? h->score[i][j] * scale : -INFINITY;
            h->score[i][j] = score;
            most = fmaxf(most, score);
        }
        most = lanes_max(most, 16);
        float fade = expf(h->top[i] - most);
        h->top[i] = most;
        h->sum[i] *= fade;
        UNROLL
        for (int j = 0; j < C; j++)
            h->out[i][j] *= fade;
        UNROLL
        for (int j = 0; j < K; j++) {
            float p = expf(h->score[i][j] - most);
            h->sum[i] += p;
            h->share[(h->ty * R + i) * h->share_pitch + h->tx + 16 * j] = p;
        }
    }
}

DEVICE void sum_values(struct attend_thread *h, const int R, const int K, const int C)
{
    for (int t = 0; t < 16 * K; t++) {
        float p[4];
        UNROLL
        for (int i = 0; i < R; i++)
            p[i] = h->share[(h->ty * R + i) * h->share_pitch + t];
        UNROLL
        for (int j = 0; j < C; j++) {
            int col = h->tx + 16 * j;
            float v = h->key[t * h->pitch + (col < h->width ? col : 0)];
            UNROLL
            for (int i = 0; i < R; i++)
                h->out[i][j] = fmaf(p[i], v, h->out[i][j]);
        }
    }
}

DEVICE void attend_block(const struct cuda_attend *a, float *shared, const int R, const int K,
                         const int C)
{
    struct cuda_attend_block b = a->blocks[block_x()];
    struct attend_thread h;

    h.ty = thread_x() / 16;
    h.tx = thread_x() % 16;
    h.width = a->width;
    h.pitch = a->width + 1;
    h.share_pitch = 16 * K + 1;
    h.query = shared;
    h.key = shared + 16 * R * h.pitch;
    h.share = h.key + 16 * K * h.pitch;
    UNROLL
    for (int i = 0; i < R; i++) {
        h.top[i] = -INFINITY;
        h.sum[i] = 0;
        UNROLL
        for (int j = 0; j < C; j++)
            h.out[i][j] = 0;
    }
    load_rows(shared, a, b, 0, b.query, 16 * R);
    for (int begin = 0; begin < b.tokens; begin += 16 * K) {
        block_sync();
        load_rows(h.key, a, b, 1, begin, 16 * K);
        block_sync();
        score_keys(&h, R, K);
        soften_scores(&h, a->scale, b.tokens - begin, R, K, C);
        block_sync();
        load_rows(h.key, a, b, 2, begin, 16 * K);
        block_sync();
        sum_values(&h, R, K, C);
    }
    UNROLL
    for (int i = 0; i < R; i++) {
        float total = lanes_sum(h.sum[i], 16);
        int row = b.query + h.ty * R + i;
        int64_t y = (int64_t)(b.first + row) * a->y_stride + (int64_t)block_y() * a->width;
        UNROLL
        for (int j = 0; j < C; j++) {
            int col = h.tx + 16 * j;
            if (row < b.tokens && col < a->width)
                set_number(a->y, a->dtype, y + col, h.out[i][j] / total);
        }
    }
}

/* Heads of up to 64. A block owns 64 queries of one head of one sequence; shared: its queries,
 * 64 keys or values, and their shares. */
KERNEL(dn_attend_64_kernel, struct cuda_attend, 256)
{
    SHARED(float, shared);
    attend_block(&a, shared, 4, 4, 4);
}

/* Heads of up to 256. A block owns 32 queries; shared as above, 32 keys at a time. */
KERNEL(dn_attend_256_kernel, struct cuda_attend, 256)
{
    SHARED(float, shared);
    attend_block(&a, shared, 2, 2, 16);
}

/* ---- attention_map ---- */

struct map_shared {
    float query[256];
    float most[4], sum[4];
};

/* A block owns one row of y: one query of one head. Shared: the query, and what its four warps
 * found. */
KERNEL(dn_attention_map_kernel, struct cuda_attention_map, 128)
{
    SHARED(struct map_shared, s);
    int head = block_y(), width = a.width, warp = thread_x() / 32;
    const int64_t part = (int64_t)a.heads * width, column = (int64_t)head * width;
    float *y = a.y + ((int64_t)head * a.tokens + block_x()) * a.y_stride;
    float most = -INFINITY, sum = 0;

    for (int c = thread_x(); c < width; c += 128)
        s->query[c] = number(a.qkv, a.dtype, block_x() * a.qkv_stride + column + c);
    block_sync();
    for (int t = thread_x(); t < a.tokens; t += 128) {
        float score = 0;
        for (int c = 0; c < width; c++)
            score = fmaf(s->query[c],
                         number(a.qkv, a.dtype, t * a.qkv_stride + part + column + c), score);
        y[t] = score * a.scale;
        most = fmaxf(most, y[t]);
    }
    most = warp_max(most);
    s->most[warp] = most;
    block_sync();
    most = fmaxf(fmaxf(s->most[0], s->most[1]), fmaxf(s->most[2], s->most[3]));
    for (int t = thread_x(); t < a.tokens; t += 128) {
        y[t] = expf(y[t] - most);
        sum += y[t];
    }
    s->sum[warp] = warp_sum(sum);
    block_sync();
    sum = s->sum[0] + s->sum[1] + (s->sum[2] + s->sum[3]);
    for (int t = thread_x(); t < a.tokens; t += 128)
        y[t] /= sum;
}
