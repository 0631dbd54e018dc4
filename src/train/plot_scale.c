#include "train/plot_scale.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "1.50" is 1.5, "2.0" is 2. */
static void cut_zeros(char *text)
{
    char *end = text + strlen(text);

    if (!strchr(text, '.'))
        return;
    while (end[-1] == '0')
        *--end = 0;
    if (end[-1] == '.')
        end[-1] = 0;
}

static void power_text(double value, int digits, char text[16])
{
    char whole[32];

    snprintf(whole, sizeof whole, "%.*e", digits, value);
    char *power = strchr(whole, 'e');
    int exponent = 0;
    if (power && sscanf(power, "e%d", &exponent) == 1)
        *power = 0;
    cut_zeros(whole);
    snprintf(text, 16, "%.8se%d", whole, exponent);
}

/* With so many digits that numbers `step` apart look different; as a power of ten if wanted. */
static void tick_text(double value, double step, bool power, char text[16])
{
    static const struct {
        double size;
        const char *letter;
    } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    double size = fabs(value);

    if (size < step * 1e-6) {
        snprintf(text, 16, "0");
        return;
    }
    if (power) {
        power_text(value, (int)fmin(fmax(floor(log10(size)) - floor(log10(step)), 0), 5), text);
        return;
    }
    const char *letter = "";
    for (int i = 0; i < 4 && !*letter; i++)
        if (size >= 10 * units[i].size || (size >= units[i].size && step >= units[i].size)) {
            value /= units[i].size;
            step /= units[i].size;
            letter = units[i].letter;
        }
    int decimals = (int)fmin(fmax(-floor(log10(step) + 1e-9), 0), 6);
    char number[32];
    snprintf(number, sizeof number, "%.*f", decimals, value);
    cut_zeros(number);
    snprintf(text, 16, "%.12s%s", number, letter);
}

/* Too small or large for plain digits. */
static bool needs_power(double size)
{
    return size < 1e-3 || size >= 1e15;
}

void dn_scale_number(double value, char text[16])
{
    double size = fabs(value);

    tick_text(value, size > 0 ? pow(10, floor(log10(size)) - 2) : 1, needs_power(size), text);
}

static void add_tick(struct scale *s, double value, double step, bool power)
{
    if (s->count == MOST_TICKS)
        return;
    s->ticks[s->count] = value;
    tick_text(value, step, power, s->labels[s->count++]);
}

/* The largest of 1, 2, 5 times a power of ten that gives at least the wanted ticks less one. */
static double round_step(double span, int wanted)
{
    double rough = span / wanted, power = pow(10, floor(log10(rough))), times = rough / power;

    return power * (times < 1.5 ? 1 : times < 3.5 ? 2 : times < 7.5 ? 5 : 10);
}

static void linear_ticks(struct scale *s, int wanted)
{
    double step = round_step(s->high - s->low, wanted), slack = step * 1e-6;
    double most = fmax(fabs(s->low), fabs(s->high));

    for (double i = ceil((s->low - slack) / step); i * step <= s->high + slack; i++)
        add_tick(s, i * step, step, most < 2e-3 || most >= 1e15);
}

/* Powers of ten, and 2 and 5 times them where there are few. */
static void logarithmic_ticks(struct scale *s, int wanted)
{
    static const double times[] = {1, 2, 5};
    double decades = s->high - s->low, every = fmax(ceil(decades / wanted), 1);
    int each = decades < 2 ? 3 : 1;

    for (double power = floor(s->low / every) * every; power <= s->high; power += every)
        for (int i = 0; i < each; i++) {
            double at = power + log10(times[i]);
            if (at >= s->low - 1e-9 && at <= s->high + 1e-9)
                add_tick(s, times[i] * pow(10, power), pow(10, power),
                         needs_power(times[i] * pow(10, power)));
        }
}

struct scale dn_scale(double low, double high, bool logarithmic, int wanted)
{
    struct scale s = {.low = logarithmic ? log10(low) : low,
                      .high = logarithmic ? log10(high) : high,
                      .logarithmic = logarithmic};
    double size = fmax(fabs(s.low), fabs(s.high)), room = size > 0 ? size * 0.05 : 1;

    if (s.high - s.low <= 1e-5 * size) {
        double middle = (s.low + s.high) / 2;
        s.low = middle - room;
        s.high = middle + room;
    }
    if (logarithmic)
        logarithmic_ticks(&s, wanted);
    else
        linear_ticks(&s, wanted);
    return s;
}

double dn_scale_at(const struct scale *s, double value)
{
    double v = !s->logarithmic ? value : value > 0 ? log10(value) : s->low;

    return fmin(fmax((v - s->low) / (s->high - s->low), 0), 1);
}
