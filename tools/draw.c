/*
 * Draws pictures for the demonstration and the tests, where no photographs are at hand: six
 * scenes with a house, trees and a sun or moon over hills, always the same to the bit.
 * usage: draw FOLDER
 */
#include <stdio.h>
#include <sys/stat.h>

#include "dino.h"

enum { WIDTH = 480, HEIGHT = 360 };

struct colour {
    int r, g, b;
};

static unsigned hash(unsigned x, unsigned y)
{
    unsigned h = x * 0x9E3779B1u + y * 0x85EBCA77u;

    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    h = (h ^ h >> 12) * 0x297A2D39u;
    return h ^ h >> 15;
}

static uint8_t clamp(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One pixel with a little grain, so that no area is perfectly flat. */
static void dot(struct dino_image *image, int x, int y, struct colour c, int grain)
{
    if (x < 0 || y < 0 || x >= image->width || y >= image->height)
        return;
    int g =
        grain ? (int)(hash((unsigned)x, (unsigned)y) % (unsigned)(2 * grain + 1)) - grain : 0;
    uint8_t *p = image->pixels + 3 * (y * image->width + x);
    p[0] = clamp(c.r + g);
    p[1] = clamp(c.g + g);
    p[2] = clamp(c.b + g);
}

static void box(struct dino_image *image, int x, int y, int w, int h, struct colour c,
                int grain)
{
    for (int j = y; j < y + h; j++)
        for (int i = x; i < x + w; i++)
            dot(image, i, j, c, grain);
}

static void disc(struct dino_image *image, int x, int y, int radius, struct colour c, int grain)
{
    for (int j = -radius; j <= radius; j++)
        for (int i = -radius; i <= radius; i++)
            if (i * i + j * j <= radius * radius)
                dot(image, x + i, y + j, c, grain);
}

/* A triangle that stands on its base: top at (x, y), `h` high, `w` wide below. */
static void gable(struct dino_image *image, int x, int y, int w, int h, struct colour c)
{
    for (int j = 0; j < h; j++)
        for (int i = -w * j / (2 * h); i <= w * j / (2 * h); i++)
            dot(image, x + i, y + j, c, 6);
}

static void sky(struct dino_image *image, struct colour top, struct colour low)
{
    for (int y = 0; y < image->height; y++) {
        int t = y * 256 / image->height;
        struct colour c = {top.r + (low.r - top.r) * t / 256, top.g + (low.g - top.g) * t / 256,
                           top.b + (low.b - top.b) * t / 256};
        for (int x = 0; x < image->width; x++)
            dot(image, x, y, c, 3);
    }
}

/* The ground below a parabola whose top lies at (x, y). */
static void hill(struct dino_image *image, int x, int y, int flatness, struct colour c)
{
    for (int i = 0; i < image->width; i++)
        for (int j = y + (i - x) * (i - x) / flatness; j < image->height; j++)
            dot(image, i, j, c, 14);
}

static void house(struct dino_image *image, int x, int y, int size, struct colour wall)
{
    const struct colour roof = {150, 52, 40}, door = {84, 52, 30}, glass = {250, 226, 140};

    box(image, x, y, size, size * 3 / 4, wall, 5);
    gable(image, x + size / 2, y - size / 2, size * 5 / 4, size / 2, roof);
    box(image, x + size * 3 / 8, y + size / 3, size / 5, size * 3 / 4 - size / 3, door, 4);
    box(image, x + size / 10, y + size / 6, size / 5, size / 5, glass, 2);
    box(image, x + size * 7 / 10, y + size / 6, size / 5, size / 5, glass, 2);
}

static void tree(struct dino_image *image, int x, int y, int size)
{
    const struct colour trunk = {96, 66, 40}, leaves = {38, 96, 44};

    box(image, x - size / 12, y, size / 6, size, trunk, 8);
    disc(image, x, y, size / 2, leaves, 24);
    disc(image, x - size / 3, y + size / 5, size / 3, leaves, 24);
    disc(image, x + size / 3, y + size / 5, size / 3, leaves, 24);
}

static void scene(struct dino_image *image, int number)
{
    const struct colour day = {92, 150, 224}, haze = {206, 226, 244}, dusk = {64, 44, 92},
                        glow = {244, 150, 92}, night = {10, 14, 40}, dark = {40, 48, 88};
    const struct colour sun = {255, 224, 96}, moon = {232, 232, 216};
    const struct colour meadow = {96, 160, 72}, far = {120, 168, 120}, sand = {206, 180, 128};
    const struct colour white = {236, 228, 214}, blue = {120, 150, 190}, ochre = {214, 164, 92};
    const struct colour walls[3] = {white, blue, ochre};
    bool late = number % 3 == 1, dim = number % 3 == 2;

    sky(image, dim ? night : late ? dusk : day, dim ? dark : late ? glow : haze);
    disc(image, 70 + 67 * number, 60 + 9 * (number % 4), 26, dim ? moon : sun, 2);
    hill(image, 340 - 40 * number, 200, 700, far);
    hill(image, 100 + 60 * number, 236, 1600, number == 4 ? sand : meadow);
    if (number != 3)
        house(image, 60 + 50 * number, 200 + 4 * number, 84 + 6 * number, walls[number % 3]);
    for (int i = 0; i <= number % 3 + 1; i++)
        tree(image, (300 + 70 * number + 110 * i) % WIDTH, 206 + 16 * i, 56 + 10 * i);
}

int main(int argc, char **argv)
{
    struct dino_error err = {.message = "usage: draw FOLDER"};
    bool ok = argc == 2;

    if (ok)
        mkdir(argv[1], 0777); /* a folder that cannot be written shows below */
    for (int number = 0; ok && number < 6; number++) {
        struct dino_image image = {0};
        char path[4096];
        snprintf(path, sizeof path, "%s/scene%d.png", argv[1], number + 1);
        ok = dino_image_alloc(&image, WIDTH, HEIGHT, &err);
        if (ok) {
            scene(&image, number);
            ok = dino_image_write(&image, path, &err);
        }
        dino_image_release(&image);
    }
    if (!ok)
        fprintf(stderr, "draw: %s\n", err.message);
    return ok ? 0 : 1;
}
