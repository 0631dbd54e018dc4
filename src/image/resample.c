/*
 * Pillow's resize of 8-bit pictures, bit for bit (model card, section 11.1): weights in double
 * arithmetic, rounded to 22 bits; two passes with the pixels between them rounded to 8 bits.
 * Only the wanted box is computed, so the crop that follows a resize costs nothing.
 */
#include "image/resample.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu_features.h"

/* How one axis of `in` elements becomes `full` elements, of which `out` from `begin` on are
 * wanted. */
struct stretch {
    int in;
    int64_t full, begin;
    int out;
    enum dino_filter filter;
};

/* Bytes in memory with their limits, so that a pass knows what it may read. */
struct pixels {
    const uint8_t *data;
    size_t stride;
    const uint8_t *end;
};

static double bicubic(double x)
{
    const double a = -0.5;

    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Weights of the output whose centre falls on `centre` of the input, as fixed point. Returns
 * the first input element; *count elements take part. */
static int weigh(const struct stretch *s, double centre, double scale, double support,
                 double *exact, int32_t *weights, int *count)
{
    double sum = 0, shrink = 1.0 / scale;
    int first = (int)(centre - support + 0.5), last = (int)(centre + support + 0.5);

    first = first < 0 ? 0 : first;
    last = last > s->in ? s->in : last;
    for (int j = first; j < last; j++) {
        double x = (j - centre + 0.5) * shrink;
        exact[j - first] = s->filter == DINO_BILINEAR ? bilinear(x) : bicubic(x);
        sum += exact[j - first];
    }
    for (int t = 0; t < last - first; t++) {
        double w = sum != 0.0 ? exact[t] / sum : exact[t];
        assert(fabs(w) < 1.5);
        w *= 1 << RESAMPLE_BITS;
        weights[t] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    *count = last - first;
    return first;
}

/* Count the elements from `base` on, and let no window of `taps` pass the end of `in`. */
static void settle(struct resample_axis *axis, int base, int end)
{
    axis->in = end - base;
    for (int i = 0; i < axis->out; i++) {
        int32_t *weights = axis->weights + (size_t)i * (size_t)axis->taps;
        int first = axis->first[i] - base, most = axis->in - axis->taps;
        int back = most < 0 ? first : first > most ? first - most : 0;

        if (back > 0) {
            size_t kept = (size_t)(axis->taps - back); /* what falls off at the end is zero */
            memmove(weights + back, weights, kept * sizeof *weights);
            memset(weights, 0, (size_t)back * sizeof *weights);
        }
        axis->first[i] = first - back;
    }
    for (int i = axis->out; i < axis->out + RESAMPLE_GROUP; i++)
        axis->first[i] = axis->first[axis->out - 1];
}

static void axis_release(struct resample_axis *axis)
{
    free(axis->first);
    free(axis->weights);
    *axis = (struct resample_axis){0};
}

/* The axis, and the first input element that it reads. */
static bool axis_init(struct resample_axis *axis, int *base, const struct stretch *s,
                      struct dino_error *err)
{
    double scale = (double)s->in / (double)s->full, step = scale;
    size_t rows = (size_t)s->out + RESAMPLE_GROUP, count;
    int end = 0;

    scale = scale < 1.0 ? 1.0 : scale;
    double support = (s->filter == DINO_BILINEAR ? 1.0 : 2.0) * scale;
    double widest = ceil(support) * 2 + 1 + RESAMPLE_GROUP;
    if (widest > INT_MAX)
        return dn_fail(err, DINO_EARG, "cannot shrink %d pixels to %lld", s->in,
                       (long long)s->full);
    *axis = (struct resample_axis){
        .out = s->out, .taps = (int)widest - 1 - ((int)widest - 1) % RESAMPLE_GROUP};
    if (!dn_size_mul(rows, (size_t)axis->taps, &count))
        return dn_fail_memory(err, SIZE_MAX, "resize weights");
    axis->first = dn_calloc(rows, sizeof *axis->first, "resize weights", err);
    axis->weights = dn_calloc(count, sizeof *axis->weights, "resize weights", err);
    double *exact = dn_calloc((size_t)axis->taps, sizeof *exact, "resize weights", err);
    if (!axis->first || !axis->weights || !exact) {
        free(exact);
        axis_release(axis);
        return false;
    }
    for (int i = 0; i < s->out; i++) {
        double centre = ((double)(s->begin + i) + 0.5) * step;
        int taken;
        axis->first[i] = weigh(s, centre, scale, support, exact,
                               axis->weights + (size_t)i * (size_t)axis->taps, &taken);
        end = axis->first[i] + taken > end ? axis->first[i] + taken : end;
    }
    free(exact);
    *base = axis->first[0];
    settle(axis, *base, end);
    return true;
}

/* An axis that keeps its size is not an error: it reads what it writes. */
struct axes {
    struct resample_axis x, y;
    bool resize_x, resize_y;
    int left, top, width, height; /* the part of the input that is read */
};

static void axes_release(struct axes *a)
{
    axis_release(&a->x);
    axis_release(&a->y);
}

static bool axes_init(struct axes *a, const struct dino_image *from,
                      const struct resize_box *box, struct dino_error *err)
{
    struct stretch x = {from->width, box->full_width, box->left, box->width, box->filter};
    struct stretch y = {from->height, box->full_height, box->top, box->height, box->filter};

    *a = (struct axes){.resize_x = x.full != x.in,
                       .resize_y = y.full != y.in,
                       .left = (int)box->left,
                       .top = (int)box->top,
                       .width = box->width,
                       .height = box->height};
    if (a->resize_x) {
        if (!axis_init(&a->x, &a->left, &x, err))
            return false;
        a->width = a->x.in;
    }
    if (a->resize_y) {
        if (!axis_init(&a->y, &a->top, &y, err)) {
            axes_release(a);
            return false;
        }
        a->height = a->y.in;
    }
    return true;
}

/* `rows` rows through the horizontal pass into tight rows of axis->out pixels. */
static bool pass_across(const struct resample_kernels *kernels, struct resample_axis *axis,
                        struct pixels from, int rows, uint8_t *to, struct dino_error *err)
{
    size_t read = (size_t)axis->in * 3, wrote = (size_t)axis->out * 3;
    bool wide = axis->in >= axis->taps;
    uint8_t *copies = NULL;

    if (wide && kernels->pack)
        kernels->pack(axis->weights, (size_t)axis->out * (size_t)axis->taps / RESAMPLE_GROUP);
    for (int y = 0; y < rows; y += RESAMPLE_GROUP) {
        const uint8_t *lines[RESAMPLE_GROUP];
        uint8_t *outs[RESAMPLE_GROUP];

        for (int r = 0; r < RESAMPLE_GROUP; r++) {
            size_t row = (size_t)(y + r < rows ? y + r : rows - 1);
            lines[r] = from.data + row * from.stride;
            outs[r] = to + row * wrote;
            if ((size_t)(from.end - lines[r]) >= read + RESAMPLE_SLACK)
                continue;
            /* the picture's last rows: a copy has bytes behind it */
            if (!copies)
                copies = dn_calloc(RESAMPLE_GROUP, read + RESAMPLE_SLACK, "a few rows", err);
            if (!copies)
                return false;
            uint8_t *copy = copies + (size_t)r * (read + RESAMPLE_SLACK);
            lines[r] = memcpy(copy, lines[r], read);
        }
        (wide ? kernels : &dn_resample_c)->across(axis, outs, lines);
    }
    free(copies);
    return true;
}

/* The vertical pass over rows of `bytes` bytes into axis->out tight rows. */
static bool pass_down(const struct resample_kernels *kernels, struct resample_axis *axis,
                      struct pixels from, size_t bytes, uint8_t *to, struct dino_error *err)
{
    const uint8_t **rows = dn_calloc((size_t)axis->taps, sizeof *rows, "rows", err);

    if (!rows)
        return false;
    if (kernels->pack)
        kernels->pack(axis->weights, (size_t)axis->out * (size_t)axis->taps / RESAMPLE_GROUP);
    for (int i = 0; i < axis->out; i++) {
        for (int t = 0; t < axis->taps; t++) {
            int row = axis->first[i] + t; /* surplus taps read any row: their weight is 0 */
            rows[t] = from.data + (size_t)(row < axis->in ? row : axis->in - 1) * from.stride;
        }
        kernels->down(to + (size_t)i * bytes, rows,
                      axis->weights + (size_t)i * (size_t)axis->taps, axis->taps, bytes);
    }
    free(rows);
    return true;
}

/* Both passes, with the pixels between them in a block of their own. */
static bool two_passes(const struct resample_kernels *kernels, struct axes *a,
                       struct pixels from, bool down_first, uint8_t *to, struct dino_error *err)
{
    size_t width = (size_t)(down_first ? a->width : a->x.out);
    size_t rows = (size_t)(down_first ? a->y.out : a->height), bytes;

    if (!dn_size_mul(width * 3, rows, &bytes) || !dn_size_add(bytes, RESAMPLE_SLACK, &bytes))
        return dn_fail_memory(err, SIZE_MAX, "a half resized picture");
    uint8_t *middle = dn_realloc(NULL, bytes, 1, "a half resized picture", err);
    if (!middle)
        return false;
    memset(middle + bytes - RESAMPLE_SLACK, 0, RESAMPLE_SLACK);
    struct pixels between = {middle, width * 3, middle + bytes};
    bool ok = down_first ? pass_down(kernels, &a->y, from, width * 3, middle, err) &&
                               pass_across(kernels, &a->x, between, a->y.out, to, err)
                         : pass_across(kernels, &a->x, from, a->height, middle, err) &&
                               pass_down(kernels, &a->y, between, width * 3, to, err);
    free(middle);
    return ok;
}

bool dn_resample_with(const struct resample_kernels *kernels, const struct dino_image *from,
                      struct dino_image *to, const struct resize_box *box,
                      struct dino_error *err)
{
    size_t stride = (size_t)from->width * 3;
    struct dino_image out;
    struct axes a;
    bool ok;

    if (box->full_width == from->width && box->full_height == from->height)
        return dn_image_crop(from, to, box->left, box->top, box->width, box->height, err);
    if (!dino_image_alloc(&out, box->width, box->height, err))
        return false;
    if (!axes_init(&a, from, box, err)) {
        dino_image_release(&out);
        return false;
    }
    struct pixels in = {
        .data = from->pixels + (size_t)a.top * stride + (size_t)a.left * 3,
        .stride = stride,
        .end = from->pixels + (size_t)from->height * stride,
    };
    /* Pillow 13 goes down first where that leaves less to do. */
    int64_t lost_x = from->width - box->full_width, lost_y = from->height - box->full_height;
    if (a.resize_x && a.resize_y)
        ok = two_passes(kernels, &a, in, lost_y > 0 && lost_y > 2 * lost_x, out.pixels, err);
    else if (a.resize_x)
        ok = pass_across(kernels, &a.x, in, a.height, out.pixels, err);
    else
        ok = pass_down(kernels, &a.y, in, (size_t)a.width * 3, out.pixels, err);
    axes_release(&a);
    if (ok)
        *to = out;
    else
        dino_image_release(&out);
    return ok;
}

const struct resample_kernels *dn_resample_kernels(void)
{
    struct cpu_features cpu = dn_cpu_features();

    if (DN_X86 && cpu.vnni)
        return &dn_resample_avx512;
    if (DN_X86 && cpu.isa >= DN_ISA_AVX2)
        return &dn_resample_avx2;
    return &dn_resample_c;
}

bool dn_image_resize_box(const struct dino_image *from, struct dino_image *to,
                         const struct resize_box *box, struct dino_error *err)
{
    return dn_resample_with(dn_resample_kernels(), from, to, box, err);
}

bool dn_image_resize(const struct dino_image *from, struct dino_image *to, int width,
                     int height, enum dino_filter filter, struct dino_error *err)
{
    struct resize_box all = {
        .full_width = width,
        .full_height = height,
        .width = width,
        .height = height,
        .filter = filter,
    };

    if (width <= 0 || height <= 0)
        return dn_fail(err, DINO_EARG, "cannot resize %dx%d pixels to %dx%d", from->width,
                       from->height, width, height);
    return dn_image_resize_box(from, to, &all, err);
}
