/*
 * Renders pictures to learn from where no photographs are at hand: patterned objects of many
 * kinds in clutter, outdoors and in, from all sides. Picture n of a seed is always the same, so
 * several processes may share the work. Each lies in a folder named after the object that it is
 * about, so that the folders are also classes to measure with.
 * usage: render FOLDER COUNT [SEED [FIRST]]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "dino.h"

#include "render_rays.h"

enum { SIDE = 256, DRAWN = 384 };

/* The random numbers of one picture, in order. */
struct chance {
    uint64_t seed, picture, next;
};

static float between(struct chance *chance, double low, double high)
{
    double u = dn_random_f64(chance->seed, chance->picture, chance->next++);

    return (float)(low + u * (high - low));
}

static int below(struct chance *chance, int count)
{
    return (int)between(chance, 0, count);
}

static struct vec any_colour(struct chance *chance)
{
    float grey = between(chance, 0.15, 0.95), vivid = between(chance, 0, 0.85);
    float turn = between(chance, 0, 6.2832);

    return (struct vec){fmaxf(grey * (1 + vivid * vivid * cosf(turn)), 0.02F),
                        fmaxf(grey * (1 + vivid * vivid * cosf(turn - 2.1F)), 0.02F),
                        fmaxf(grey * (1 + vivid * vivid * cosf(turn + 2.1F)), 0.02F)};
}

static struct material any_material(struct chance *chance, double fine_low, double fine_high)
{
    struct material material = {.light = any_colour(chance), .dark = any_colour(chance)};

    material.pattern = below(chance, 3) ? (enum pattern)below(chance, PATTERNS) : PLAIN;
    material.fine = between(chance, fine_low, fine_high);
    material.gloss = fmaxf(between(chance, -0.5, 0.6), 0);
    return material;
}

static void place(struct object *object, const struct kind *kind, struct vec at, float size,
                  struct chance *chance)
{
    float turn = between(chance, 0, 6.2832);

    *object = (struct object){.kind = kind, .at = at, .cos = cosf(turn), .sin = sinf(turn)};
    object->size.x = size * between(chance, 0.8, 1.2);
    object->size.y = size * between(chance, 0.8, 1.2);
    object->size.z = size * between(chance, 0.8, 1.2);
    object->least = fminf(object->size.x, fminf(object->size.y, object->size.z));
    object->most = fmaxf(object->size.x, fmaxf(object->size.y, object->size.z));
    for (int i = 0; i < MATERIALS; i++)
        object->materials[i] = any_material(chance, 1.5, 7);
}

/* Clutter keeps clear of what stands already and of the view onto the first object. */
static void add_clutter(struct scene *scene, int wanted, struct chance *chance)
{
    for (int tries = 0; tries < 60 && scene->count < wanted; tries++) {
        float size = between(chance, 0.4, 1.5), free = 1e9F;
        struct vec at = {between(chance, -6, 6), 0, between(chance, -6, 6)};
        float along = fminf(fmaxf(dot(at, scene->eye) / dot(scene->eye, scene->eye), 0), 1);
        struct vec sight = minus(at, scale(scene->eye, along));
        sight.y = 0;
        for (int i = 0; i < scene->count; i++)
            free =
                fminf(free, length(minus(at, scene->objects[i].at)) - scene->objects[i].most);
        if (free > size && length(sight) > 0.7F + size && at.z - size > scene->wall_at)
            place(&scene->objects[scene->count++], &kinds[below(chance, KINDS)], at, size,
                  chance);
    }
}

static void light_scene(struct scene *scene, struct chance *chance)
{
    float high = between(chance, 0.25, 1.4), turn = between(chance, 0, 6.2832);
    float warm = fmaxf(0.7F - high, 0), strong = between(chance, 0.3, 1.1);

    scene->sun = (struct vec){cosf(high) * cosf(turn), sinf(high), cosf(high) * sinf(turn)};
    scene->sunlight = scale((struct vec){1, 0.95F - 0.5F * warm, 0.9F - warm}, strong);
    scene->skylight = scale((struct vec){0.9F, 0.95F, 1}, 1.15F - 0.7F * strong);
    scene->zenith =
        mix((struct vec){0.3F, 0.5F, 0.85F}, any_colour(chance), between(chance, 0, 0.5));
    scene->horizon =
        mix((struct vec){0.85F, 0.88F, 0.9F}, any_colour(chance), between(chance, 0, 0.4));
    scene->fog = between(chance, 0.005, 0.04);
    scene->exposure = between(chance, 0.75, 1.25);
}

static void make_scene(struct scene *scene, int kind, struct chance *chance)
{
    float turn = between(chance, 0.3, 2.84), high = between(chance, 0.08, 0.8);
    float away = between(chance, 3.2, 6);

    *scene = (struct scene){.indoors = below(chance, 2), .wall_at = -1e9F};
    if (scene->indoors)
        scene->wall_at = -between(chance, 1.6, 5);
    light_scene(scene, chance);
    scene->ground = any_material(chance, 0.4, 2.5);
    scene->wall = any_material(chance, 0.4, 2.5);
    scene->eye = (struct vec){away * cosf(high) * cosf(turn), away * sinf(high) + 0.4F,
                              away * cosf(high) * sinf(turn)};
    struct vec looked_at = {between(chance, -0.5, 0.5), between(chance, 0.4, 1.2),
                            between(chance, -0.5, 0.5)};
    scene->forward = unit(minus(looked_at, scene->eye));
    scene->right = unit(cross(scene->forward, (struct vec){0, 1, 0}));
    scene->up = cross(scene->right, scene->forward);
    place(&scene->objects[scene->count++], &kinds[kind], (struct vec){0},
          between(chance, 0.8, 1.2), chance);
    add_clutter(scene, 1 + below(chance, MOST_OBJECTS), chance);
}

static void draw(const struct scene *scene, struct dino_image *image, uint64_t seed)
{
    uint8_t *pixel = image->pixels;

    for (int row = 0; row < DRAWN; row++)
        for (int col = 0; col < DRAWN; col++) {
            float x = 1.1F * ((float)col / DRAWN - 0.5F),
                  y = 1.1F * (0.5F - (float)row / DRAWN);
            struct vec along =
                plus(scene->forward, plus(scale(scene->right, x), scale(scene->up, y)));
            struct vec colour = render_light(scene, scene->eye, unit(along));
            uint64_t grain = dn_random_u64(seed, 1, (uint64_t)(row * DRAWN + col));
            float part[3] = {colour.x, colour.y, colour.z};
            for (int c = 0; c < 3; c++, grain >>= 8) {
                float v = 255 * sqrtf(scene->exposure * part[c]) * (1 - 0.3F * (x * x + y * y));
                v += (float)(grain & 7) - 3.5F;
                *pixel++ = (uint8_t)fminf(fmaxf(v, 0), 255);
            }
        }
}

static bool render(const char *folder, uint64_t seed, uint64_t number, struct dino_error *err)
{
    struct chance chance = {seed, number, 0};
    struct dino_view view = {.resize = SIDE};
    struct dino_image large = {0}, image = {0};
    struct scene scene;
    char path[4096];
    int kind = (int)(number % KINDS);

    make_scene(&scene, kind, &chance);
    snprintf(path, sizeof path, "%s/%s", folder, kinds[kind].name);
    mkdir(path, 0777); /* a folder that cannot be written shows below */
    snprintf(path, sizeof path, "%s/%s/%06llu.png", folder, kinds[kind].name,
             (unsigned long long)number);
    bool ok = dino_image_alloc(&large, DRAWN, DRAWN, err);
    if (ok) {
        draw(&scene, &large, seed ^ dn_splitmix64(number));
        ok = dino_view_apply(&view, &large, &image, err) && dino_image_write(&image, path, err);
    }
    dino_image_release(&large);
    dino_image_release(&image);
    return ok;
}

int main(int argc, char **argv)
{
    struct dino_error err = {.message = "usage: render FOLDER COUNT [SEED [FIRST]]"};
    bool ok = argc >= 3 && argc <= 5;
    uint64_t count = ok ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    uint64_t first = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;

    ok = ok && count > 0;
    if (ok)
        mkdir(argv[1], 0777);
    for (uint64_t n = first; ok && n < first + count; n++)
        ok = render(argv[1], seed, n, &err);
    if (!ok)
        fprintf(stderr, "render: %s\n", err.message);
    return ok ? 0 : 1;
}
