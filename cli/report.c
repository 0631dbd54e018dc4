#include "report.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "signals.h"

double dn_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *dn_bytes_text(double bytes, char text[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    int unit = 0;

    while (bytes >= 999.5 && unit < 6) {
        bytes /= 1000;
        unit++;
    }
    snprintf(text, 16, unit && bytes < 9.95 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

const char *dn_count_text(int64_t count, char text[32])
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%lld", (long long)count);
    char *to = text;

    for (int i = 0; i < size; i++) {
        bool group = i > 0 && (size - i) % 3 == 0 && digits[i - 1] != '-';
        if (group)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return text;
}

const char *dn_plural(int64_t count)
{
    return count == 1 ? "" : "s";
}

void dn_report_init(struct report *report, const char *command)
{
    *report = (struct report){.command = command};
    report->terminal = isatty(STDERR_FILENO) == 1;
}

void dn_report_clear(struct report *report)
{
    if (report->drawn)
        fputs("\r\033[K", stderr);
    report->drawn = false;
}

__attribute__((format(printf, 3, 0))) static void say(struct report *report, const char *kind,
                                                      const char *format, va_list args)
{
    char line[1024];

    vsnprintf(line, sizeof line, format, args);
    for (char *c = line; *c; c++) /* names may hold anything; a message is one line */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    dn_report_clear(report);
    if (fflush(stdout) != 0 && !report->write_error) /* results before what is said of them */
        report->write_error = errno;
    fprintf(stderr, "dino %s: %s%s\n", report->command, kind, line);
}

void dn_print(struct report *report, const char *format, ...)
{
    va_list args;

    dn_report_clear(report);
    va_start(args, format);
    if (vprintf(format, args) < 0 && !report->write_error)
        report->write_error = errno;
    va_end(args);
}

void dn_print_name(struct report *report, const char *name)
{
    dn_report_clear(report);
    for (; *name; name++) {
        bool control = (unsigned char)*name < 0x20 || *name == 0x7f;
        if (putchar(control ? '?' : (unsigned char)*name) < 0 && !report->write_error)
            report->write_error = errno;
    }
    dn_print(report, "\n");
}

void dn_warn(struct report *report, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(report, "warning: ", format, args);
    va_end(args);
}

void dn_note(struct report *report, const char *format, ...)
{
    va_list args;

    if (report->quiet)
        return;
    va_start(args, format);
    say(report, "", format, args);
    va_end(args);
}

__attribute__((format(printf, 2, 3))) static void complain(struct report *report,
                                                           const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(report, "", format, args);
    va_end(args);
}

int dn_report_error(struct report *report, const struct dino_error *err)
{
    if (dn_report_stop(report) && err->code == DINO_ECANCELLED)
        return STATUS_FAILED; /* dn_report_finish says why */
    complain(report, "%s", err->message[0] ? err->message : "failed, without a reason");
    return STATUS_FAILED;
}

void dn_report_skipped(void *context, const char *name, const struct dino_error *why)
{
    size_t same = 0;

    /* messages have their control characters replaced */
    while (name[same] && (why->message[same] == name[same] ||
                          (why->message[same] == '?' &&
                           ((unsigned char)name[same] < 0x20 || name[same] == 0x7f))))
        same++;
    if (!name[same])
        dn_warn(context, "skipped %s", why->message);
    else
        dn_warn(context, "skipped %s: %s", name, why->message);
}

bool dn_report_stop(const struct report *report)
{
    return dn_signal_seen() != 0 || report->write_error != 0;
}

/* "3:07", "2:03:07" */
static void clock_text(double seconds, char text[16])
{
    unsigned all = seconds < 3e6 ? (unsigned)(seconds + 0.5) : 3000000;

    if (all >= 3600)
        snprintf(text, 16, "%u:%02u:%02u", all / 3600, all / 60 % 60, all % 60);
    else
        snprintf(text, 16, "%u:%02u", all / 60, all % 60);
}

static void draw(struct report *report, const struct dino_progress *progress, double now)
{
    char done[32], total[32], rate_text[16], left[16];
    double spent = now - report->began, moved = (double)(progress->done - report->first);
    double rate = spent > 0.2 && moved > 0 ? moved / spent : 0;

    if (report->bytes) {
        dn_bytes_text((double)progress->done, done);
        dn_bytes_text((double)progress->total, total);
    } else {
        dn_count_text(progress->done, done);
        dn_count_text(progress->total, total);
    }
    dn_report_clear(report);
    fprintf(stderr, "%s  %s", report->stage, done);
    if (progress->total > 0)
        fprintf(stderr, " of %s  %d%%", total,
                (int)(100.0 * (double)progress->done / (double)progress->total));
    if (rate > 0 && report->bytes)
        fprintf(stderr, "  %s/s", dn_bytes_text(rate, rate_text));
    else if (rate > 0)
        fprintf(stderr, rate < 10 ? "  %.2f/s" : "  %.1f/s", rate);
    if (rate > 0 && progress->total > progress->done) {
        clock_text((double)(progress->total - progress->done) / rate, left);
        fprintf(stderr, "  %s left", left);
    }
    if (progress->skipped > 0)
        fprintf(stderr, "  %lld skipped", (long long)progress->skipped);
    fflush(stderr);
    report->drawn = true;
    report->drawn_at = now;
}

bool dn_report_progress(void *context, const struct dino_progress *progress)
{
    struct report *report = context;
    double now = dn_seconds();
    const char *stage = progress->stage ? progress->stage : report->command;

    if (strncmp(report->stage, stage, sizeof report->stage - 1) != 0) {
        snprintf(report->stage, sizeof report->stage, "%s", stage);
        report->first = progress->done;
        report->began = now;
        report->drawn_at = 0;
    }
    if (report->terminal && !report->quiet && now - report->drawn_at >= 0.1)
        draw(report, progress, now);
    return !dn_report_stop(report);
}

int dn_report_finish(struct report *report, int status)
{
    int number = dn_signal_seen();

    dn_report_clear(report);
    /* Pages of help go to stdout directly: a write that failed on the way left its mark, and
     * errno as it was, but not always something to flush. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && !report->write_error)
        report->write_error = errno;
    if (number) {
        complain(report, "stopped by %s", number == SIGINT ? "Ctrl-C" : strsignal(number));
        return STATUS_SIGNAL + number;
    }
    if (report->write_error == EPIPE)
        return STATUS_SIGNAL + SIGPIPE; /* the reader had enough: a quiet end */
    if (report->write_error) {
        complain(report, "standard output: %s", strerror(report->write_error));
        return STATUS_FAILED;
    }
    return status;
}
