/*
 * Looks at a scene: rays walk along distance functions until they meet something, whose pattern
 * is then lit by sun and sky.
 */
#include "render_rays.h"

#include <stdint.h>

#include "base/rng.h"

static const float pi = 3.14159265F, far_away = 1e9F;

struct hit {
    float far;
    struct vec normal;
    struct vec place; /* where the pattern is looked up */
    const struct material *material;
};

/* ---------------------------------------------------------------- patterns */

static float corner(int x, int y, int z)
{
    uint64_t key = (uint64_t)(x & 0xFFFF) << 32 | (uint64_t)(y & 0xFFFF) << 16 | (z & 0xFFFF);

    return (float)(dn_splitmix64(key) >> 40) * 0x1p-24F;
}

/* Random values at whole coordinates, smoothly joined: 0 to 1. */
static float noise(struct vec p)
{
    float fx = floorf(p.x), fy = floorf(p.y), fz = floorf(p.z), sum = 0;
    float x = p.x - fx, y = p.y - fy, z = p.z - fz;

    x = x * x * (3 - 2 * x), y = y * y * (3 - 2 * y), z = z * z * (3 - 2 * z);
    for (int i = 0; i < 8; i++)
        sum += ((i & 1) ? x : 1 - x) * ((i & 2) ? y : 1 - y) * ((i & 4) ? z : 1 - z) *
               corner((int)fx + (i & 1), (int)fy + (i >> 1 & 1), (int)fz + (i >> 2));
    return sum;
}

static float clouds(struct vec p)
{
    return 0.5F * noise(p) + 0.3F * noise(scale(p, 2.1F)) + 0.2F * noise(scale(p, 4.3F));
}

static float wave(float at)
{
    return 0.5F + 0.5F * sinf(2 * pi * at);
}

/* How dark the pattern is at p: 0 to 1. */
static float darkness(enum pattern pattern, struct vec p)
{
    struct vec cell = {p.x - floorf(p.x) - 0.5F, p.y - floorf(p.y) - 0.5F,
                       p.z - floorf(p.z) - 0.5F};

    switch (pattern) {
    case STRIPES:
        return wave(p.x + 0.4F * p.y) > 0.5F;
    case CHECKS:
        return ((int)floorf(p.x) + (int)floorf(p.y + 0.01F) + (int)floorf(p.z)) & 1;
    case DOTS:
        return length(cell) < 0.35F;
    case CLOUDS:
        return fminf(fmaxf(2.5F * clouds(p) - 0.75F, 0), 1);
    case RINGS:
        return wave(hypotf(p.x, p.z) + 0.6F * noise(p));
    case BRICKS: {
        float along = p.x + p.z + 0.5F * ((int)floorf(2 * p.y) & 1);
        return along - floorf(along) < 0.08F || 2 * p.y - floorf(2 * p.y) < 0.14F;
    }
    default:
        return 0;
    }
}

static struct vec colour_at(const struct material *material, struct vec place)
{
    struct vec p = scale(place, material->fine);
    float dark = darkness(material->pattern, p);

    return scale(mix(material->light, material->dark, dark), 0.8F + 0.4F * clouds(scale(p, 5)));
}

/* ---------------------------------------------------------------- rays */

static struct vec to_kind(const struct object *object, struct vec p)
{
    p = minus(p, object->at);
    return (struct vec){(object->cos * p.x - object->sin * p.z) / object->size.x,
                        p.y / object->size.y,
                        (object->sin * p.x + object->cos * p.z) / object->size.z};
}

/* At least as near as the surface is; `part` becomes the nearest one. */
static float distance(const struct object *object, struct vec p, int *part)
{
    struct vec q = to_kind(object, p);
    float least = far_away;

    for (int i = 0; i < object->kind->count; i++) {
        float d = part_distance(&object->kind->parts[i], q);
        if (d < least) {
            least = d;
            *part = i;
        }
    }
    return least * object->least;
}

/* Walk along the ray, within the ball around the object, until its surface; far_away: none. */
static float march(const struct object *object, struct vec from, struct vec along, int *part)
{
    struct vec middle = {object->at.x, object->at.y + 0.8F * object->size.y, object->at.z};
    struct vec to_middle = minus(middle, from);
    float nearest = dot(to_middle, along), radius = 1.5F * object->most;
    float half = radius * radius - dot(to_middle, to_middle) + nearest * nearest;

    if (half < 0 || nearest + sqrtf(half) < 0)
        return far_away;
    float far = fmaxf(nearest - sqrtf(half), 0), end = nearest + sqrtf(half);
    for (int step = 0; step < 80 && far < end; step++) {
        float d = distance(object, plus(from, scale(along, far)), part);
        if (d < 0.002F)
            return far;
        far += d;
    }
    return far_away;
}

static struct vec normal_at(const struct object *object, struct vec p)
{
    const float e = 0.003F;
    struct vec sum = {0};
    int part;

    for (int i = 0; i < 4; i++) { /* the corners of a tetrahedron */
        struct vec way = {i & 1 ? 1 : -1, i & 2 ? 1 : -1, (i == 0 || i == 3) ? 1 : -1};
        sum = plus(sum, scale(way, distance(object, plus(p, scale(way, e)), &part)));
    }
    return unit(sum);
}

static struct hit first_hit(const struct scene *scene, struct vec from, struct vec along)
{
    struct hit hit = {.far = far_away};
    int part = 0;

    if (along.y < -1e-4F)
        hit = (struct hit){-from.y / along.y, {0, 1, 0}, {0}, &scene->ground};
    float to_wall = along.z < -1e-4F ? (scene->wall_at - from.z) / along.z : far_away;
    if (scene->indoors && to_wall < hit.far)
        hit = (struct hit){to_wall, {0, 0, 1}, {0}, &scene->wall};
    hit.place = plus(from, scale(along, hit.far));
    for (int i = 0; i < scene->count; i++) {
        const struct object *object = &scene->objects[i];
        float far = march(object, from, along, &part);
        if (far >= hit.far)
            continue;
        struct vec p = plus(from, scale(along, far));
        hit.far = far;
        hit.normal = normal_at(object, p);
        hit.place = to_kind(object, p);
        hit.material = &object->materials[object->kind->parts[part].material];
    }
    return hit;
}

static struct vec sky_at(const struct scene *scene, struct vec along)
{
    float up = fmaxf(along.y, 0);
    struct vec colour = mix(scene->horizon, scene->zenith, fminf(2 * up, 1));
    struct vec where = scale(along, 3 / (up + 0.2F));

    return mix(colour, (struct vec){1, 1, 1}, 0.5F * fmaxf(clouds(where) - 0.45F, 0));
}

/* From the sun, where no object stands before it, and from the sky, less near objects. */
struct vec render_light(const struct scene *scene, struct vec from, struct vec along)
{
    struct hit hit = first_hit(scene, from, along);
    float near = 1;
    int part;

    if (!hit.material)
        return sky_at(scene, along);
    struct vec p = plus(plus(from, scale(along, hit.far)), scale(hit.normal, 0.01F));
    float lit = fmaxf(dot(hit.normal, scene->sun), 0);
    for (int i = 0; i < scene->count; i++) {
        if (lit > 0 && march(&scene->objects[i], p, scene->sun, &part) < far_away)
            lit = 0;
        near = fminf(
            near, distance(&scene->objects[i], plus(p, scale(hit.normal, 0.2F)), &part) / 0.2F);
    }
    float open = (0.35F + 0.65F * fmaxf(near, 0)) * (0.7F + 0.3F * hit.normal.y);
    struct vec light = plus(scale(scene->sunlight, lit), scale(scene->skylight, open));
    struct vec back = minus(along, scale(hit.normal, 2 * dot(along, hit.normal)));
    float shine = hit.material->gloss * powf(fmaxf(dot(back, scene->sun), 0), 20) * (lit > 0);
    struct vec colour = times(colour_at(hit.material, hit.place), light);

    colour = plus(colour, scale(scene->sunlight, shine));
    return mix(scene->horizon, colour, expf(-scene->fog * hit.far));
}
