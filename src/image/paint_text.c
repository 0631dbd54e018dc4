/*
 * Letters as strokes. A letter is drawn on a grid: x is a digit, y a letter from 'a' (the top
 * of capitals) over 'd' (of small letters) and 'j' (the baseline) to 'm'. "0a3j6a" is a V of
 * two straight lines; '~' before a stroke rounds it (a quadratic spline that begins and ends at
 * its end points), '@' rounds and closes it; one point is a dot.
 */
#include "image/paint.h"

#include <string.h>

enum { FIRST = ' ', LAST = '~', GRID_CAPITALS = 9, MOST_POINTS = 16, CURVE = 6 };

static const double SHARE_OF_CAPITALS = 0.7, GAP = 2.4; /* of the size; between letters */

struct letter {
    int width;
    const char *strokes;
};

static const struct letter letters[LAST - FIRST + 1] = {
    [' ' - FIRST] = {2, ""},
    ['!' - FIRST] = {1, "1a1g 1j"},
    ['"' - FIRST] = {2, "0a0c 2a2c"},
    ['#' - FIRST] = {6, "2a1j 5a4j 0d6d 0g6g"},
    ['$' - FIRST] = {5, "~5c5b0b0e5e5i0i0h 3a3j"},
    ['%' - FIRST] = {7, "@0a2a2d0d 6a1j @5g7g7j5j"},
    ['&' - FIRST] = {6, "~6j1d1a4a4d0e0j4j6f"},
    ['\'' - FIRST] = {1, "1a1c"},
    ['(' - FIRST] = {2, "~2a0c0i2l"},
    [')' - FIRST] = {2, "~0a2c2i0l"},
    ['*' - FIRST] = {4, "2a2e 0b4d 4b0d"},
    ['+' - FIRST] = {6, "0f6f 3c3i"},
    [',' - FIRST] = {1, "1j0l"},
    ['-' - FIRST] = {4, "0f4f"},
    ['.' - FIRST] = {1, "1j"},
    ['/' - FIRST] = {4, "0k4a"},
    ['0' - FIRST] = {5, "@0a5a5j0j"},
    ['1' - FIRST] = {5, "1c3a3j"},
    ['2' - FIRST] = {5, "~0c0a5a5d3f 3f0j5j"},
    ['3' - FIRST] = {5, "~0b0a5a5e2e ~2e5e5j0j0i"},
    ['4' - FIRST] = {5, "4j4a0g5g"},
    ['5' - FIRST] = {5, "5a1a0e ~0e1d5d5j0j0i"},
    ['6' - FIRST] = {5, "~4a0a0g @0d5d5j0j"},
    ['7' - FIRST] = {5, "0a5a2j"},
    ['8' - FIRST] = {5, "@0a5a5e0e @0e5e5j0j"},
    ['9' - FIRST] = {5, "@0a5a5g0g ~5d5j1j"},
    [':' - FIRST] = {1, "1e 1j"},
    [';' - FIRST] = {1, "1e 1j0l"},
    ['<' - FIRST] = {5, "5c0f5i"},
    ['=' - FIRST] = {5, "0e5e 0h5h"},
    ['>' - FIRST] = {5, "0c5f0i"},
    ['?' - FIRST] = {5, "~0c0a5a5d2e2g 2j"},
    ['@' - FIRST] = {8, "@3d6d6h3h ~6d6h8h8a0a0j7j"},
    ['A' - FIRST] = {6, "0j3a6j 1g5g"},
    ['B' - FIRST] = {6, "0a0j 0a3a ~3a6a6e3e 3e0e ~3e6e6j3j 3j0j"},
    ['C' - FIRST] = {6, "~6c6a0a0j6j6h"},
    ['D' - FIRST] = {6, "0a0j 0a2a ~2a6a6j2j 2j0j"},
    ['E' - FIRST] = {5, "5a0a0j5j 0e4e"},
    ['F' - FIRST] = {5, "5a0a0j 0e4e"},
    ['G' - FIRST] = {6, "~6c6a0a0j6j6f 6f3f"},
    ['H' - FIRST] = {6, "0a0j 6a6j 0e6e"},
    ['I' - FIRST] = {2, "1a1j"},
    ['J' - FIRST] = {4, "4a4g ~4g4j0j0g"},
    ['K' - FIRST] = {6, "0a0j 6a0f 2d6j"},
    ['L' - FIRST] = {5, "0a0j5j"},
    ['M' - FIRST] = {8, "0j0a4g8a8j"},
    ['N' - FIRST] = {6, "0j0a6j6a"},
    ['O' - FIRST] = {7, "@0a7a7j0j"},
    ['P' - FIRST] = {6, "0j0a 0a3a ~3a6a6f3f 3f0f"},
    ['Q' - FIRST] = {7, "@0a7a7j0j 4g7j"},
    ['R' - FIRST] = {6, "0j0a 0a3a ~3a6a6f3f 3f0f 3f6j"},
    ['S' - FIRST] = {6, "~6c6a0a0e6e6j0j0h"},
    ['T' - FIRST] = {6, "0a6a 3a3j"},
    ['U' - FIRST] = {6, "0a0f ~0f0j6j6f 6f6a"},
    ['V' - FIRST] = {6, "0a3j6a"},
    ['W' - FIRST] = {8, "0a2j4a6j8a"},
    ['X' - FIRST] = {6, "0a6j 6a0j"},
    ['Y' - FIRST] = {6, "0a3e6a 3e3j"},
    ['Z' - FIRST] = {6, "0a6a0j6j"},
    ['[' - FIRST] = {2, "2a0a0l2l"},
    ['\\' - FIRST] = {4, "0a4k"},
    [']' - FIRST] = {2, "0a2a2l0l"},
    ['^' - FIRST] = {6, "0d3a6d"},
    ['_' - FIRST] = {6, "0k6k"},
    ['`' - FIRST] = {2, "0a2c"},
    ['a' - FIRST] = {5, "@0d5d5j0j 5d5j"},
    ['b' - FIRST] = {5, "@0d5d5j0j 0a0j"},
    ['c' - FIRST] = {5, "~5e5d0d0j5j5i"},
    ['d' - FIRST] = {5, "@0d5d5j0j 5a5j"},
    ['e' - FIRST] = {5, "0g5g ~5g5d0d0j4j5i"},
    ['f' - FIRST] = {4, "~4a2a2d 2d2j 0d4d"},
    ['g' - FIRST] = {5, "@0d5d5j0j 5d5j ~5j5m0m0l"},
    ['h' - FIRST] = {5, "0a0j ~0g0d5d5g 5g5j"},
    ['i' - FIRST] = {2, "1d1j 1b"},
    ['j' - FIRST] = {2, "2d2k ~2k2m0m 2b"},
    ['k' - FIRST] = {5, "0a0j 5d0h 2g5j"},
    ['l' - FIRST] = {2, "1a1j"},
    ['m' - FIRST] = {8, "0d0j ~0f0d4d4f 4f4j ~4f4d8d8f 8f8j"},
    ['n' - FIRST] = {5, "0d0j ~0g0d5d5g 5g5j"},
    ['o' - FIRST] = {5, "@0d5d5j0j"},
    ['p' - FIRST] = {5, "@0d5d5j0j 0d0m"},
    ['q' - FIRST] = {5, "@0d5d5j0j 5d5m"},
    ['r' - FIRST] = {4, "0d0j ~0g0d3d4d"},
    ['s' - FIRST] = {5, "~5e5d0d0g5g5j0j0i"},
    ['t' - FIRST] = {4, "2b2h ~2h2j4j 0d4d"},
    ['u' - FIRST] = {5, "0d0g ~0g0j5j5g 5d5j"},
    ['v' - FIRST] = {6, "0d3j6d"},
    ['w' - FIRST] = {8, "0d2j4d6j8d"},
    ['x' - FIRST] = {5, "0d5j 5d0j"},
    ['y' - FIRST] = {6, "0d3j 6d2m"},
    ['z' - FIRST] = {5, "0d5d0j5j"},
    ['{' - FIRST] = {3, "~3a1a1f0f ~0f1f1l3l"},
    ['|' - FIRST] = {1, "1a1l"},
    ['}' - FIRST] = {3, "~0a2a2f3f ~3f2f2l0l"},
    ['~' - FIRST] = {6, "~0g0e3e3g6g6e"},
};

static const struct letter box = {5, "0a5a5j0j0a"};

/* The letter at *text, which moves on by a character of UTF-8. */
static const struct letter *take(const char **text)
{
    unsigned char c = (unsigned char)*(*text)++;

    if (c < 0x80)
        return c >= FIRST && c <= LAST ? &letters[c - FIRST] : &box;
    while (((unsigned char)**text & 0xc0) == 0x80)
        (*text)++;
    return &box;
}

static double unit_of(double size)
{
    return size * SHARE_OF_CAPITALS / GRID_CAPITALS;
}

double dn_paint_text_width(const char *text, double size)
{
    double width = 0;

    while (*text)
        width += take(&text)->width + GAP;
    return width > 0 ? (width - GAP) * unit_of(size) : 0;
}

static struct point between(struct point a, struct point b, double at)
{
    return (struct point){a.x + at * (b.x - a.x), a.y + at * (b.y - a.y)};
}

/* A parabola from a towards b to c. */
static void cover_curve(struct paint *paint, struct point a, struct point b, struct point c,
                        double thickness)
{
    struct point points[CURVE + 1];

    for (int i = 0; i <= CURVE; i++) {
        double at = (double)i / CURVE;
        points[i] = between(between(a, b, at), between(b, c, at), at);
    }
    dn_paint_cover(paint, points, CURVE + 1, thickness);
}

static void cover_round(struct paint *paint, const struct point *p, int count, bool closed,
                        double thickness)
{
    int first = closed ? 0 : 1, last = closed ? count : count - 1;

    for (int i = first; i < last; i++) {
        struct point from = between(p[(i + count - 1) % count], p[i], 0.5);
        struct point to = between(p[i], p[(i + 1) % count], 0.5);
        if (!closed && i == first)
            from = p[0];
        if (!closed && i == last - 1)
            to = p[count - 1];
        cover_curve(paint, from, p[i], to, thickness);
    }
}

static void cover_letter(struct paint *paint, const char *strokes, struct point origin,
                         double unit, double thickness)
{
    while (*strokes) {
        struct point points[MOST_POINTS];
        char kind = *strokes == '~' || *strokes == '@' ? *strokes++ : 0;
        int count = 0;
        for (; *strokes && *strokes != ' ' && count < MOST_POINTS; strokes += 2)
            points[count++] =
                (struct point){origin.x + unit * (strokes[0] - '0'),
                               origin.y + unit * (strokes[1] - 'a' - GRID_CAPITALS)};
        strokes += *strokes == ' ';
        if (kind)
            cover_round(paint, points, count, kind == '@', thickness);
        else
            dn_paint_cover(paint, points, count, thickness);
    }
}

void dn_paint_cover_text(struct paint *paint, double x, double y, const char *text, double size,
                         double thickness)
{
    double unit = unit_of(size);

    while (*text) {
        const struct letter *letter = take(&text);
        cover_letter(paint, letter->strokes, (struct point){x, y}, unit, thickness);
        x += (letter->width + GAP) * unit;
    }
}
