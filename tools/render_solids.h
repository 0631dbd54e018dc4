/*
 * The kinds of objects that render.c knows: solids put together, each within a ball of radius
 * 1.5 around (0, 0.8, 0), standing on y = 0. A solid is given by its distance function.
 */
#ifndef TOOLS_RENDER_SOLIDS_H
#define TOOLS_RENDER_SOLIDS_H

#include <math.h>

struct vec {
    float x, y, z;
};

static inline struct vec plus(struct vec a, struct vec b)
{
    return (struct vec){a.x + b.x, a.y + b.y, a.z + b.z};
}

static inline struct vec minus(struct vec a, struct vec b)
{
    return (struct vec){a.x - b.x, a.y - b.y, a.z - b.z};
}

static inline struct vec times(struct vec a, struct vec b)
{
    return (struct vec){a.x * b.x, a.y * b.y, a.z * b.z};
}

static inline struct vec scale(struct vec a, float s)
{
    return (struct vec){a.x * s, a.y * s, a.z * s};
}

static inline struct vec mix(struct vec a, struct vec b, float share)
{
    return plus(scale(a, 1 - share), scale(b, share));
}

static inline float dot(struct vec a, struct vec b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static inline float length(struct vec a)
{
    return sqrtf(dot(a, a));
}

static inline struct vec unit(struct vec a)
{
    return scale(a, 1 / length(a));
}

static inline struct vec cross(struct vec a, struct vec b)
{
    return (struct vec){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

enum form {
    BALL,  /* size: radii */
    BOX,   /* size: half the sides */
    CONE,  /* size: radius below, half the height, radius above */
    RING,  /* size: radius, radius of the tube */
    WEDGE, /* size: half the sides; a roof whose ridge runs along z */
};

struct part {
    enum form form;
    char axis; /* where the form's own y points */
    int material;
    struct vec at, size;
};

struct kind {
    const char *name;
    int count;
    struct part parts[8];
};

static const struct kind kinds[] = {
    {"ball", 1, {{BALL, 'y', 0, {0, 0.8F, 0}, {0.8F, 0.8F, 0.8F}}}},
    {"crate", 1, {{BOX, 'y', 0, {0, 0.65F, 0}, {0.8F, 0.65F, 0.6F}}}},
    {"ring", 1, {{RING, 'z', 0, {0, 0.9F, 0}, {0.7F, 0.2F, 0}}}},
    {"pyramid", 1, {{CONE, 'y', 0, {0, 0.75F, 0}, {0.9F, 0.75F, 0.02F}}}},
    {"mug",
     2,
     {{CONE, 'y', 0, {0, 0.7F, 0}, {0.5F, 0.7F, 0.6F}},
      {RING, 'z', 0, {0.7F, 0.75F, 0}, {0.35F, 0.09F, 0}}}},
    {"bottle",
     3,
     {{CONE, 'y', 0, {0, 0.6F, 0}, {0.45F, 0.6F, 0.45F}},
      {CONE, 'y', 0, {0, 1.35F, 0}, {0.45F, 0.15F, 0.15F}},
      {CONE, 'y', 1, {0, 1.75F, 0}, {0.14F, 0.25F, 0.14F}}}},
    {"mushroom",
     2,
     {{CONE, 'y', 0, {0, 0.5F, 0}, {0.22F, 0.5F, 0.18F}},
      {BALL, 'y', 1, {0, 1.1F, 0}, {0.85F, 0.4F, 0.85F}}}},
    {"fir",
     4,
     {{CONE, 'y', 1, {0, 0.25F, 0}, {0.14F, 0.25F, 0.14F}},
      {CONE, 'y', 0, {0, 0.8F, 0}, {0.8F, 0.4F, 0.2F}},
      {CONE, 'y', 0, {0, 1.3F, 0}, {0.62F, 0.4F, 0.15F}},
      {CONE, 'y', 0, {0, 1.8F, 0}, {0.45F, 0.4F, 0.01F}}}},
    {"tree",
     4,
     {{CONE, 'y', 1, {0, 0.5F, 0}, {0.17F, 0.5F, 0.12F}},
      {BALL, 'y', 0, {0, 1.5F, 0}, {0.6F, 0.55F, 0.6F}},
      {BALL, 'y', 0, {0.45F, 1.2F, 0.1F}, {0.42F, 0.4F, 0.42F}},
      {BALL, 'y', 0, {-0.4F, 1.15F, -0.2F}, {0.45F, 0.4F, 0.45F}}}},
    {"house",
     4,
     {{BOX, 'y', 0, {0, 0.5F, 0}, {0.7F, 0.5F, 0.9F}},
      {WEDGE, 'y', 1, {0, 1.3F, 0}, {0.9F, 0.32F, 1.0F}},
      {BOX, 'y', 2, {0.05F, 0.35F, 0.9F}, {0.17F, 0.35F, 0.03F}},
      {BOX, 'y', 1, {0.4F, 1.5F, -0.4F}, {0.12F, 0.3F, 0.12F}}}},
    {"tower",
     4,
     {{CONE, 'y', 0, {0, 0.8F, 0}, {0.42F, 0.8F, 0.36F}},
      {CONE, 'y', 1, {0, 1.65F, 0}, {0.5F, 0.1F, 0.5F}},
      {CONE, 'y', 2, {0, 2.0F, 0}, {0.5F, 0.25F, 0.01F}},
      {BOX, 'y', 2, {0, 0.25F, 0.38F}, {0.14F, 0.25F, 0.08F}}}},
    {"table",
     5,
     {{BOX, 'y', 0, {0, 0.95F, 0}, {1.0F, 0.06F, 0.65F}},
      {BOX, 'y', 0, {0.85F, 0.45F, 0.5F}, {0.07F, 0.45F, 0.07F}},
      {BOX, 'y', 0, {-0.85F, 0.45F, 0.5F}, {0.07F, 0.45F, 0.07F}},
      {BOX, 'y', 0, {0.85F, 0.45F, -0.5F}, {0.07F, 0.45F, 0.07F}},
      {BOX, 'y', 0, {-0.85F, 0.45F, -0.5F}, {0.07F, 0.45F, 0.07F}}}},
    {"chair",
     6,
     {{BOX, 'y', 0, {0, 0.75F, 0}, {0.5F, 0.06F, 0.5F}},
      {BOX, 'y', 1, {0, 1.35F, -0.45F}, {0.5F, 0.55F, 0.06F}},
      {CONE, 'y', 0, {0.42F, 0.37F, 0.42F}, {0.06F, 0.37F, 0.06F}},
      {CONE, 'y', 0, {-0.42F, 0.37F, 0.42F}, {0.06F, 0.37F, 0.06F}},
      {CONE, 'y', 0, {0.42F, 0.37F, -0.42F}, {0.06F, 0.37F, 0.06F}},
      {CONE, 'y', 0, {-0.42F, 0.37F, -0.42F}, {0.06F, 0.37F, 0.06F}}}},
    {"lamp",
     3,
     {{CONE, 'y', 0, {0, 0.06F, 0}, {0.45F, 0.06F, 0.4F}},
      {CONE, 'y', 0, {0, 0.75F, 0}, {0.06F, 0.75F, 0.06F}},
      {CONE, 'y', 1, {0, 1.65F, 0}, {0.6F, 0.35F, 0.3F}}}},
    {"snowman",
     4,
     {{BALL, 'y', 0, {0, 0.5F, 0}, {0.6F, 0.52F, 0.6F}},
      {BALL, 'y', 0, {0, 1.2F, 0}, {0.42F, 0.4F, 0.42F}},
      {BALL, 'y', 0, {0, 1.75F, 0}, {0.3F, 0.3F, 0.3F}},
      {CONE, 'z', 1, {0, 1.75F, 0.45F}, {0.09F, 0.2F, 0.01F}}}},
    {"car",
     6,
     {{BOX, 'y', 0, {0, 0.5F, 0}, {1.2F, 0.25F, 0.55F}},
      {BOX, 'y', 1, {-0.1F, 0.95F, 0}, {0.65F, 0.25F, 0.48F}},
      {CONE, 'z', 2, {0.75F, 0.28F, 0.5F}, {0.28F, 0.12F, 0.28F}},
      {CONE, 'z', 2, {0.75F, 0.28F, -0.5F}, {0.28F, 0.12F, 0.28F}},
      {CONE, 'z', 2, {-0.75F, 0.28F, 0.5F}, {0.28F, 0.12F, 0.28F}},
      {CONE, 'z', 2, {-0.75F, 0.28F, -0.5F}, {0.28F, 0.12F, 0.28F}}}},
    {"plane",
     5,
     {{BALL, 'y', 0, {0, 0.9F, 0}, {1.25F, 0.22F, 0.22F}},
      {BOX, 'y', 1, {0.1F, 0.9F, 0}, {0.25F, 0.03F, 1.2F}},
      {BOX, 'y', 1, {-1.0F, 1.2F, 0}, {0.14F, 0.25F, 0.03F}},
      {BOX, 'y', 1, {-1.0F, 1.0F, 0}, {0.12F, 0.03F, 0.4F}},
      {CONE, 'y', 2, {0.2F, 0.4F, 0}, {0.12F, 0.4F, 0.05F}}}},
    {"animal",
     8,
     {{BALL, 'y', 0, {0, 0.95F, 0}, {0.8F, 0.38F, 0.35F}},
      {BALL, 'y', 0, {0.85F, 1.35F, 0}, {0.33F, 0.26F, 0.24F}},
      {CONE, 'x', 1, {-0.9F, 1.05F, 0}, {0.06F, 0.3F, 0.04F}},
      {CONE, 'y', 0, {0.5F, 0.4F, 0.2F}, {0.08F, 0.4F, 0.12F}},
      {CONE, 'y', 0, {0.5F, 0.4F, -0.2F}, {0.08F, 0.4F, 0.12F}},
      {CONE, 'y', 0, {-0.5F, 0.4F, 0.2F}, {0.08F, 0.4F, 0.12F}},
      {CONE, 'y', 0, {-0.5F, 0.4F, -0.2F}, {0.08F, 0.4F, 0.12F}},
      {CONE, 'y', 1, {0.8F, 1.7F, 0}, {0.08F, 0.16F, 0.02F}}}},
    {"hammer",
     2,
     {{CONE, 'y', 0, {0, 0.75F, 0}, {0.1F, 0.75F, 0.1F}},
      {BOX, 'y', 1, {0, 1.6F, 0}, {0.6F, 0.2F, 0.2F}}}},
    {"barbell",
     3,
     {{CONE, 'x', 1, {0, 0.5F, 0}, {0.08F, 0.9F, 0.08F}},
      {BALL, 'y', 0, {0.9F, 0.5F, 0}, {0.45F, 0.45F, 0.45F}},
      {BALL, 'y', 0, {-0.9F, 0.5F, 0}, {0.45F, 0.45F, 0.45F}}}},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* Outside, at least as near as the surface of the part is to p; negative inside. */
static inline float part_distance(const struct part *part, struct vec p)
{
    struct vec size = part->size;

    p = minus(p, part->at);
    if (part->axis == 'x')
        p = (struct vec){p.y, p.x, p.z};
    else if (part->axis == 'z')
        p = (struct vec){p.x, p.z, p.y};
    float x = fabsf(p.x), y = fabsf(p.y), z = fabsf(p.z), around = hypotf(p.x, p.z);
    switch (part->form) {
    case BALL: {
        float inner = length((struct vec){p.x / size.x, p.y / size.y, p.z / size.z});
        return (inner - 1) * fminf(size.x, fminf(size.y, size.z));
    }
    case BOX: {
        struct vec out = {fmaxf(x - size.x, 0), fmaxf(y - size.y, 0), fmaxf(z - size.z, 0)};
        float in = fmaxf(x - size.x, fmaxf(y - size.y, z - size.z));
        return length(out) + fminf(in, 0);
    }
    case CONE: {
        float slope = (size.x - size.z) / (2 * size.y), middle = (size.x + size.z) / 2;
        float side = (around - middle + slope * p.y) / sqrtf(1 + slope * slope);
        return fmaxf(side, y - size.y);
    }
    case RING:
        return hypotf(around - size.x, p.y) - size.y;
    case WEDGE: {
        float rise = 2 * size.y / size.x; /* of the roof, a unit of x */
        float roof = (p.y - size.y + rise * x) / sqrtf(1 + rise * rise);
        return fmaxf(fmaxf(roof, -p.y - size.y), z - size.z);
    }
    }
    return 0;
}

#endif
