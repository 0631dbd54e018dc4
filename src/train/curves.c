#include "train/curves.h"

#include <math.h>
#include <string.h>

#include "base/str.h"
#include "format/json.h"

enum { LONGEST_LINE = 1 << 20 };

static const double LARGEST = 1e100; /* beyond, sums and axes would overflow */
static const int64_t MOST_STEPS = (int64_t)1 << 50;

static const char *const keys[CURVE_COUNT] = {
    [CURVE_TOTAL] = "total_loss",
    [CURVE_DINO_GLOBAL] = "dino_global_crops_loss",
    [CURVE_DINO_LOCAL] = "dino_local_crops_loss",
    [CURVE_IBOT] = "ibot_loss",
    [CURVE_KOLEO] = "koleo_loss",
    [CURVE_KNN] = "knn",
    [CURVE_NORM_BACKBONE] = "grad_norm_backbone",
    [CURVE_NORM_DINO] = "grad_norm_dino_head",
    [CURVE_NORM_IBOT] = "grad_norm_ibot_head",
    [CURVE_TEACHER_ENTROPY] = "teacher_entropy",
    [CURVE_PROTOTYPE_ENTROPY] = "prototype_entropy",
    [CURVE_SPREAD] = "feature_spread",
    [CURVE_RANK] = "feature_rank",
    [CURVE_LR] = "lr",
    [CURVE_LAST_LAYER_LR] = "last_layer_lr",
    [CURVE_WEIGHT_DECAY] = "wd",
    [CURVE_MOMENTUM] = "mom",
    [CURVE_TEACHER_TEMP] = "teacher_temp",
    [CURVE_STEP_SECONDS] = "iter_time",
    [CURVE_DATA_SECONDS] = "data_time",
};

static void add_point(struct curve_point *to, struct curve_point from)
{
    if (!from.count)
        return;
    to->low = to->count ? fmin(to->low, from.low) : from.low;
    to->high = to->count ? fmax(to->high, from.high) : from.high;
    to->sum += from.sum;
    to->count += from.count;
}

/* Two neighbours become one. */
static void halve(struct curve_point points[CURVE_POINTS])
{
    for (int i = 0; i < CURVE_POINTS; i++) {
        struct curve_point joined = {0};
        for (int k = 2 * i; k < 2 * i + 2 && k < CURVE_POINTS; k++)
            add_point(&joined, points[k]);
        points[i] = joined;
    }
}

static void forget_from(struct curves *c, int64_t step)
{
    size_t first = (size_t)(step / c->width), count = CURVE_POINTS - first;

    for (int k = 0; k < CURVE_COUNT; k++)
        memset(&c->points[k][first], 0, count * sizeof **c->points);
}

static bool add_step(struct curves *c, const json_t *line)
{
    const json_t *iteration = json_object_get(line, "iteration");
    int64_t step = json_is_integer(iteration) ? json_integer_value(iteration) : -1;

    if (step < 0 || step >= MOST_STEPS)
        return false;
    if (step < c->steps)
        forget_from(c, step);
    for (; step / c->width >= CURVE_POINTS; c->width *= 2)
        for (int k = 0; k < CURVE_COUNT; k++)
            halve(c->points[k]);
    c->steps = step + 1;
    for (int k = 0; k < CURVE_COUNT; k++) {
        const json_t *number = json_object_get(line, keys[k]);
        double value = json_number_value(number);
        if (!json_is_number(number) || !(fabs(value) <= LARGEST))
            continue;
        add_point(&c->points[k][step / c->width], (struct curve_point){value, value, value, 1});
        c->last[k] = value;
    }
    return true;
}

static void add_line(struct curves *c, const struct str *line, const char *name)
{
    struct span text = {(const uint8_t *)line->text, line->size};
    json_t *object = line->size ? dn_json_object(text, name, NULL) : NULL;

    if (object && add_step(c, object))
        c->lines++;
    else
        c->unreadable++;
    json_decref(object);
}

/* The next line into `line`, without its newline; one that is too long is left empty. False
 * where the file ends, whatever stood there. */
static bool next_line(FILE *file, struct str *line)
{
    size_t size = 0;
    int c;

    dn_str_clear(line);
    while ((c = getc_unlocked(file)) != EOF && c != '\n')
        if (++size <= LONGEST_LINE)
            dn_str_add_bytes(line, &(char){(char)c}, 1);
    if (size > LONGEST_LINE)
        dn_str_clear(line);
    return c == '\n';
}

bool dn_curves_read(struct curves *c, FILE *file, const char *name, struct dino_error *err)
{
    struct str line = {0};

    *c = (struct curves){.width = 1};
    while (next_line(file, &line) && !line.failed)
        add_line(c, &line, name);
    bool ok = line.failed    ? dn_fail_memory(err, line.size, "a line of metrics")
              : ferror(file) ? dn_fail_errno(err, "%s", name)
                             : true;
    dn_str_release(&line);
    return ok;
}
