/*
 * Colour operations. Pillow rounds to 8 bits after each, and so must we. Whatever depends on
 * one byte alone is a table; the rest works on blocks of sixteen pixels in loops of fixed
 * length, which compilers turn into vectors. Floats hold every integer here exactly (they stay
 * below 2^24), so that float loops may stand in for Pillow's integer and double arithmetic.
 */
#include "image/colour.h"

#include <string.h>

enum { BLOCK = 16 };

static size_t pixel_count(const struct dino_image *image)
{
    return (size_t)image->width * (size_t)image->height;
}

/* Calls op for all pixels, BLOCK at a time; the last block works on a copy. */
typedef void block_op(uint8_t rgb[3 * BLOCK], const void *settings);

static inline void every_block(struct dino_image *image, block_op *op, const void *settings)
{
    size_t count = pixel_count(image), whole = count / BLOCK * BLOCK;
    uint8_t last[3 * BLOCK] = {0};

    for (size_t i = 0; i < whole; i += BLOCK)
        op(image->pixels + i * 3, settings);
    if (whole == count)
        return;
    memcpy(last, image->pixels + whole * 3, (count - whole) * 3);
    op(last, settings);
    memcpy(image->pixels + whole * 3, last, (count - whole) * 3);
}

static void apply_table(struct dino_image *image, const uint8_t table[256])
{
    size_t bytes = pixel_count(image) * 3;

    for (size_t i = 0; i < bytes; i++)
        image->pixels[i] = table[image->pixels[i]];
}

/* Pillow's Image.blend: truncated; clamped, which only matters for factors outside [0, 1]. */
static inline uint8_t blend(float base, float value, float factor)
{
    float v = base + factor * (value - base);

    v = v < 0 ? 0 : v;
    v = v > 255 ? 255 : v;
    return (uint8_t)(int)v;
}

static void blend_with_constant(struct dino_image *image, int base, float factor)
{
    uint8_t table[256];

    for (int v = 0; v < 256; v++)
        table[v] = blend((float)base, (float)v, factor);
    apply_table(image, table);
}

void dn_colour_brightness(struct dino_image *image, float factor)
{
    blend_with_constant(image, 0, factor);
}

struct block {
    float r[BLOCK], g[BLOCK], b[BLOCK];
};

static inline void load_block(struct block *block, const uint8_t *rgb)
{
    for (int i = 0; i < BLOCK; i++) {
        block->r[i] = rgb[3 * i];
        block->g[i] = rgb[3 * i + 1];
        block->b[i] = rgb[3 * i + 2];
    }
}

/* (19595 R + 38470 G + 7471 B + 32768) >> 16 */
static inline void luma_block(int luma[BLOCK], const uint8_t *rgb)
{
    struct block in;

    load_block(&in, rgb);
    for (int i = 0; i < BLOCK; i++) {
        float sum = 19595.0F * in.r[i] + 38470.0F * in.g[i] + 7471.0F * in.b[i] + 32768.0F;
        luma[i] = (int)(sum * (1.0F / 65536));
    }
}

static void add_luma(uint8_t *rgb, const void *settings)
{
    uint64_t *const *sum = settings;
    int luma[BLOCK], total = 0;

    luma_block(luma, rgb);
    for (int i = 0; i < BLOCK; i++)
        total += luma[i];
    **sum += (uint64_t)total;
}

void dn_colour_contrast(struct dino_image *image, float factor)
{
    uint64_t sum = 0, *to = &sum;

    /* The zeros that fill the last block add nothing. */
    every_block(image, add_luma, &to);
    blend_with_constant(image, (int)((double)sum / (double)pixel_count(image) + 0.5), factor);
}

static void saturate_block(uint8_t *rgb, const void *settings)
{
    const float factor = *(const float *)settings;
    float base[3 * BLOCK];
    int luma[BLOCK];

    luma_block(luma, rgb);
    for (int i = 0; i < BLOCK; i++)
        base[3 * i] = base[3 * i + 1] = base[3 * i + 2] = (float)luma[i];
    for (int i = 0; i < 3 * BLOCK; i++)
        rgb[i] = blend(base[i], rgb[i], factor);
}

void dn_colour_saturation(struct dino_image *image, float factor)
{
    every_block(image, saturate_block, &factor);
}

static void gray_block(uint8_t *rgb, const void *settings)
{
    int luma[BLOCK];

    (void)settings;
    luma_block(luma, rgb);
    for (int i = 0; i < BLOCK; i++)
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = (uint8_t)luma[i];
}

void dn_colour_gray(struct dino_image *image)
{
    every_block(image, gray_block, NULL);
}

void dn_colour_solarize(struct dino_image *image, int threshold)
{
    uint8_t table[256];

    for (int v = 0; v < 256; v++)
        table[v] = (uint8_t)(v < threshold ? v : 255 - v);
    apply_table(image, table);
}

/* Four floats or integers: the vector that every processor has. */
enum { LANES = 4 };
typedef float vfloat __attribute__((vector_size(4 * LANES)));
typedef int32_t vint __attribute__((vector_size(4 * LANES)));

/* mask ? a : b, where comparisons make masks of ones and zeros */
static inline vfloat pick(vint mask, vfloat a, vfloat b)
{
    return (vfloat)((mask & (vint)a) | (~mask & (vint)b));
}

static inline vint truncated(vfloat x)
{
    return __builtin_convertvector(x, vint);
}

static inline vfloat load(const float *p)
{
    vfloat v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline vfloat splat(float x)
{
    return x - (vfloat){0};
}

/* 8-bit HSV as floats; grays have h = s = 0. */
struct hsv {
    vfloat h, s, v;
};

static inline vfloat whole(vfloat x)
{
    return __builtin_convertvector(truncated(x), vfloat);
}

/*
 * The hue in sixths of the circle is 1, 3 or 5 less x, or -1, 1 or 3 plus x, where x is how far
 * the middle channel lies below the largest, as a part of the whole range. Pillow writes it
 * with three quotients and doubles; over all colours this gives the same bytes.
 */
static inline struct hsv to_hsv(vfloat r, vfloat g, vfloat b)
{
    const vfloat zero = {0}, one = splat(1);
    vfloat high = pick(r > g, r, g), low = pick(r < g, r, g);
    high = pick(high > b, high, b);
    low = pick(low < b, low, b);
    vfloat range = high - low;
    vint coloured = range > zero;
    vfloat x = (2 * high + low - r - g - b) / pick(coloured, range, one);

    /* The two channels behind the largest in the circle r, g, b, r. */
    vint is_r = r == high, is_g = g == high;
    vfloat next = pick(is_r, g, pick(is_g, b, r));
    vfloat after = pick(is_r, b, pick(is_g, r, g));
    vfloat base = pick(is_r, zero, pick(is_g, splat(2), splat(4)));

    vfloat hue = pick(after <= next, base + 1 - x, base - 1 + x) / 6;
    hue = pick(hue < zero, hue + 1, hue) * 255;
    vfloat saturation = range / pick(coloured, high, one) * 255;
    return (struct hsv){pick(coloured, whole(hue), zero), whole(saturation), high};
}

/*
 * 2h = 85 sixth + m. Of Pillow's three values below v, p has all of the saturation taken off,
 * and q and t, of which a sixth needs only one, a part of it. With the denominator 255 * 85 no
 * quotient lies on half, and none so near that the float before truncation could cross it.
 */
static inline void to_rgb(uint8_t *rgb, const struct hsv *in)
{
    vfloat h = in->h, s = in->s, v = in->v;
    vfloat sixth = whole((2 * h + 0.5F) * (1.0F / 85)); /* 0 to 6 */
    vfloat m = 2 * h - 85 * sixth;
    vint odd = (truncated(sixth) & 1) == 1;
    m = pick(odd, m, 85 - m);
    vfloat low = whole((2 * v * (255 - s) + 255) / 510);
    vfloat part = whole((2 * v * (21675 - s * m) + 21675) / 43350);
    sixth = pick(sixth == 6, (vfloat){0}, sixth);

    vint r = truncated(
        pick((sixth == 0) | (sixth == 5), v, pick((sixth == 1) | (sixth == 4), part, low)));
    vint g = truncated(
        pick((sixth == 1) | (sixth == 2), v, pick((sixth == 0) | (sixth == 3), part, low)));
    vint b = truncated(
        pick((sixth == 3) | (sixth == 4), v, pick((sixth == 2) | (sixth == 5), part, low)));
    for (int i = 0; i < LANES; i++) {
        rgb[3 * i] = (uint8_t)r[i];
        rgb[3 * i + 1] = (uint8_t)g[i];
        rgb[3 * i + 2] = (uint8_t)b[i];
    }
}

static void hue_block(uint8_t *rgb, const void *settings)
{
    int turn = *(const int *)settings;
    struct block in;

    load_block(&in, rgb);
    for (int i = 0; i < BLOCK; i += LANES) {
        struct hsv hsv = to_hsv(load(in.r + i), load(in.g + i), load(in.b + i));
        hsv.h = __builtin_convertvector((truncated(hsv.h) + turn) & 255, vfloat);
        to_rgb(rgb + 3 * i, &hsv);
    }
}

void dn_colour_hue(struct dino_image *image, double turn)
{
    int steps = (int)(turn * 255);

    every_block(image, hue_block, &steps);
}
