/* Metrics become curves, curves a picture; whatever the file holds, the axes stay sensible. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "dino_train.h"
#include "train/curves.h"
#include "train/plot_scale.h"

static struct curves *read_text(const char *text)
{
    struct curves *curves = malloc(sizeof *curves);
    struct dino_error err = {0};
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

    CHECK(curves && file);
    CHECK_OK(dn_curves_read(curves, file, "text", &err), err);
    fclose(file);
    return curves;
}

static const char *scratch(const char *name)
{
    static char paths[4][300];
    static unsigned number;
    char *path = paths[number++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", testing_scratch(), name);
    return path;
}

/* Lines of `steps` steps whose loss is their number. */
static const char *long_run(const char *name, int steps)
{
    const char *path = scratch(name);
    FILE *file = fopen(path, "w");

    CHECK(file);
    for (int i = 0; i < steps; i++)
        fprintf(file, "{\"iteration\": %d, \"total_loss\": %d, \"lr\": 0.001}\n", i, i);
    CHECK(fclose(file) == 0);
    return path;
}

TEST(a_line_that_is_still_being_written_does_not_count)
{
    struct curves *c = read_text("{\"iteration\": 0, \"total_loss\": 4}\n"
                                 "{\"iteration\": 1, \"total_loss\": 3}\n"
                                 "{\"iteration\": 2, \"total_lo");

    CHECK(c->steps == 2 && c->lines == 2 && c->unreadable == 0);
    CHECK(c->last[CURVE_TOTAL] == 3);
    free(c);
}

TEST(lines_that_are_no_steps_are_counted_and_left_out)
{
    struct curves *c = read_text("{\"iteration\": 0, \"total_loss\": NaN}\n"
                                 "{\"iteration\": 1, \"total_loss\": \"three\", \"lr\": 1}\n"
                                 "{\"iteration\": -1}\n[]\n\n{\"iteration\": 1e9}\n"
                                 "{\"iteration\": 9223372036854775807}\n");

    CHECK(c->lines == 1 && c->unreadable == 6 && c->steps == 2);
    CHECK(c->points[CURVE_TOTAL][1].count == 0 && c->points[CURVE_LR][1].count == 1);
    free(c);
}

TEST(a_resumed_official_run_shows_its_last_word)
{
    struct curves *c = read_text("{\"iteration\": 0, \"total_loss\": 9}\n"
                                 "{\"iteration\": 1, \"total_loss\": 8}\n"
                                 "{\"iteration\": 2, \"total_loss\": 7}\n"
                                 "{\"iteration\": 1, \"total_loss\": 5}\n");

    CHECK(c->steps == 2);
    CHECK(c->points[CURVE_TOTAL][0].sum == 9 && c->points[CURVE_TOTAL][1].sum == 5);
    CHECK(c->points[CURVE_TOTAL][1].count == 1 && c->points[CURVE_TOTAL][2].count == 0);
    free(c);
}

TEST(steps_share_points_where_there_are_many)
{
    struct curves *c = malloc(sizeof *c);
    struct dino_error err = {0};
    FILE *file = fopen(long_run("many.json", 5000), "r");
    int64_t count = 0;

    CHECK(c && file);
    CHECK_OK(dn_curves_read(c, file, "many", &err), err);
    fclose(file);
    CHECK(c->width == 16 && c->steps == 5000);
    for (int i = 0; i < CURVE_POINTS; i++) {
        const struct curve_point *p = &c->points[CURVE_TOTAL][i];
        count += p->count;
        if (i < 5000 / 16)
            CHECK(p->count == 16 && p->low == 16 * i && p->high == 16 * i + 15 &&
                  p->sum == 16 * (16 * i + 7.5));
    }
    CHECK(count == 5000);
    free(c);
}

static void check_ticks(double low, double high, bool logarithmic)
{
    struct scale s = dn_scale(low, high, logarithmic, 4);

    if (s.count < 2 || s.count > MOST_TICKS)
        fail_msg("%d ticks between %g and %g", s.count, low, high);
    for (int i = 0; i < s.count; i++) {
        double at = dn_scale_at(&s, s.ticks[i]);
        CHECK(at >= 0 && at <= 1 && s.labels[i][0]);
        CHECK(i == 0 || at > dn_scale_at(&s, s.ticks[i - 1]));
        if (i > 0 && strcmp(s.labels[i], s.labels[i - 1]) == 0)
            fail_msg("%s twice between %g and %g", s.labels[i], low, high);
    }
}

TEST(axes_have_a_few_different_round_numbers)
{
    static const double ends[][2] = {{0, 1},    {0, 12500},     {-3, 4},      {0.994, 1},
                                     {0, 5e-4}, {0, 2e-3},      {7.9, 8.1},   {5, 5},
                                     {0, 0},    {-1e99, 1e99},  {1e-9, 3e-9}, {0.99999, 1},
                                     {0, 1e15}, {0, 123456789}, {0, 1},       {0.04, 0.07}};

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        check_ticks(ends[i][0], ends[i][1], false);
    check_ticks(0.1, 9, true);
    check_ticks(1e-8, 1e8, true);
    check_ticks(1e-99, 1e99, true);
}

TEST(numbers_are_written_as_people_do)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},        {0.378, "0.378"},     {12345, "12.3k"},
                 {65, "65"},      {7.9e-12, "7.9e-12"}, {-0.102, "-0.102"},
                 {4.333, "4.33"}, {1e99, "1e99"}};
    char text[16];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dn_scale_number(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
    }
}

TEST(a_plot_is_an_svg_or_a_picture_by_its_name)
{
    const char *run = long_run("run.json", 700), *svg = scratch("run.svg");
    const char *png = scratch("run.png");
    struct dino_train_curves curves;
    struct dino_error err = {0};
    struct dino_image image;
    uint8_t *text;
    size_t size;

    CHECK_OK(dino_train_plot(run, svg, &curves, &err), err);
    CHECK(curves.steps == 700 && curves.lines == 700 && curves.unreadable == 0);
    CHECK_OK(dn_read_all(svg, 1 << 20, &text, &size, &err), err);
    CHECK(size > 1000 && memcmp(text, "<svg ", 5) == 0);
    free(text);
    CHECK_OK(dino_train_plot(run, png, NULL, &err), err);
    CHECK_OK(dn_read_all(png, 1 << 26, &text, &size, &err), err);
    CHECK_OK(dino_image_decode(&image, text, size, png, NULL, &err), err);
    free(text);
    int dark = 0, blue = 0;
    for (int i = 0; i < image.width * image.height; i++) {
        const uint8_t *p = image.pixels + 3 * i;
        dark += p[0] < 60 && p[1] < 60 && p[2] < 60;
        blue += p[2] > 180 && p[0] < 80;
    }
    CHECK(image.width == 2340 && dark > 1000 && blue > 1000);
    dino_image_release(&image);
}

TEST(what_cannot_be_drawn_is_answered_by_one_line)
{
    const char *empty = scratch("empty.json"), *prose = scratch("prose.json");
    struct dino_error err = {0};
    FILE *file = fopen(empty, "w");

    CHECK(file && fclose(file) == 0);
    file = fopen(prose, "w");
    CHECK(file && fputs("once upon\na time\n", file) >= 0 && fclose(file) == 0);
    CHECK(!dino_train_plot(empty, scratch("x.svg"), NULL, &err));
    CHECK(strstr(err.message, "no step is written down yet"));
    CHECK(!dino_train_plot(prose, scratch("x.svg"), NULL, &err));
    CHECK(strstr(err.message, "none of its 2 lines is a step of a run"));
    CHECK(!dino_train_plot(empty, scratch("x.gif"), NULL, &err));
    CHECK(strstr(err.message, ".svg or .png"));
    CHECK(!dino_train_plot(scratch("absent"), scratch("x.svg"), NULL, &err));
    CHECK(!dn_exists(scratch("x.svg")));
}
