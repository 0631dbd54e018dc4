/*
 * What the program says. Results go to stdout and nothing else does; warnings, notes and the
 * progress line go to stderr, progress only where stderr is a terminal.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <stdio.h>

#include "dino.h"

struct report {
    const char *command; /* "embed": stands in front of each message */
    bool quiet;          /* no notes, no progress */
    bool terminal;       /* stderr is one: draw progress */
    bool bytes;          /* progress counts bytes */
    bool drawn;          /* a progress line stands on the screen */
    double drawn_at;     /* seconds, monotonic */
    char stage[64];      /* of the progress below; a copy, its owner may be gone */
    int64_t first;       /* what was done when it began; not counted in the rate */
    double began;
    int write_error; /* errno of the first write to stdout that failed */
};

void dn_report_init(struct report *report, const char *command);

/* Results, to stdout; a failed write is remembered. */
__attribute__((format(printf, 2, 3))) void dn_print(struct report *report, const char *format,
                                                    ...);

/* A name that came from elsewhere, and a newline: no control character reaches a terminal. */
void dn_print_name(struct report *report, const char *name);

/* Something the user should know; the work goes on. */
__attribute__((format(printf, 2, 3))) void dn_warn(struct report *report, const char *format,
                                                   ...);
/* A remark that --quiet silences. */
__attribute__((format(printf, 2, 3))) void dn_note(struct report *report, const char *format,
                                                   ...);
/* Print the error; returns the exit status that belongs to it. */
int dn_report_error(struct report *report, const struct dino_error *err);

/* A dino_progress_fn, with a struct report as its context: draws, and returns false when a
 * signal came or nobody reads stdout any more. */
bool dn_report_progress(void *report, const struct dino_progress *progress);
/* Take the progress line off the screen. */
void dn_report_clear(struct report *report);

/* A dino_skip_fn: one warning a picture. */
void dn_report_skipped(void *report, const char *name, const struct dino_error *why);

/* Should the command stop: a signal came, or stdout cannot be written? */
bool dn_report_stop(const struct report *report);

/* Flush stdout. Returns `status`, or what a failed write or a signal makes of it. */
int dn_report_finish(struct report *report, int status);

/* Seconds since some fixed moment. */
double dn_seconds(void);
/* What a noun of which there are so many ends in: "s", or nothing. */
const char *dn_plural(int64_t count);
/* "4.2 MB", "17 kB": text for people, at most 15 characters. */
const char *dn_bytes_text(double bytes, char text[16]);
/* "86,580,480" */
const char *dn_count_text(int64_t count, char text[32]);

#endif
