/* What render.c puts into a scene, and render_rays.c looks at. */
#ifndef TOOLS_RENDER_RAYS_H
#define TOOLS_RENDER_RAYS_H

#include <stdbool.h>

#include "render_solids.h"

enum { MOST_OBJECTS = 9, MATERIALS = 3 };

enum pattern { PLAIN, STRIPES, CHECKS, DOTS, CLOUDS, RINGS, BRICKS, PATTERNS };

struct material {
    struct vec light, dark; /* colours, 0 to 1 */
    enum pattern pattern;
    float fine, gloss; /* patterns a unit of length; share of the highlight */
};

/* p of the scene is at + turn(size * q) for q of the kind. */
struct object {
    const struct kind *kind;
    struct vec at, size;
    float cos, sin, least, most; /* of turn; of size */
    struct material materials[MATERIALS];
};

struct scene {
    struct object objects[MOST_OBJECTS];
    int count;
    struct material ground, wall;
    bool indoors; /* a wall stands behind */
    float wall_at, fog, exposure;
    struct vec sun, sunlight, skylight, zenith, horizon;
    struct vec eye, forward, right, up;
};

/* The light that comes to `from` out of the direction of `along`, a unit vector. */
struct vec render_light(const struct scene *scene, struct vec from, struct vec along);

#endif
