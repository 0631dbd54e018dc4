#include "download.h"

#ifndef HAVE_CURL

#include "base/error.h"

bool dn_download(const char *url, const char *path,
                 bool (*check)(const char *path, struct dino_error *err), struct report *report,
                 struct dino_error *err)
{
    (void)path, (void)check, (void)report;
    return dn_fail(err, DINO_EUNSUPPORTED,
                   "%s: this build has no libcurl; fetch it by other means", url);
}

#else

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "curl.h"

enum { TRIES = 4, TAG = 256 };

struct download {
    const char *url;
    char *part, *tag_path; /* path + ".part", ".part.tag" */
    struct report *report;
    const struct curl_calls *call;
    CURL *curl;
    int fd;
    int64_t have;     /* bytes in the part */
    int64_t total;    /* of the whole file; -1: not said */
    int64_t offset;   /* where the answer's body begins */
    long status;      /* of the answer */
    char tag[TAG];    /* ETag or date of what stands in the part; "" if unknown */
    char answer[TAG]; /* that of the answer */
    bool begun;       /* its body has begun */
    int write_error;  /* errno */
};

/* The value of "Name: value\r\n" if it is that header. */
static bool header_is(const char *line, const char *name, char *value, size_t room)
{
    size_t size = strlen(name);

    if (strncasecmp(line, name, size) != 0 || line[size] != ':')
        return false;
    line += size + 1;
    line += strspn(line, " \t");
    snprintf(value, room, "%.*s", (int)strcspn(line, "\r\n"), line);
    return true;
}

static size_t on_header(char *bytes, size_t one, size_t size, void *context)
{
    struct download *d = context;
    char line[512], value[TAG];
    long long start, whole;

    (void)one;
    snprintf(line, sizeof line, "%.*s", (int)(size < 500 ? size : 500), bytes);
    if (dn_starts_with(line, "HTTP/")) { /* each answer of a chain of redirects begins anew */
        d->total = -1;
        d->offset = 0;
        d->answer[0] = 0;
        const char *space = strchr(line, ' ');
        d->status = space ? strtol(space, NULL, 10) : 0;
    } else if (header_is(line, "Content-Range", value, sizeof value)) {
        if (sscanf(value, "bytes %lld-%*d/%lld", &start, &whole) == 2) {
            d->offset = start;
            d->total = whole;
        } else if (sscanf(value, "bytes */%lld", &whole) == 1) {
            d->total = whole;
        }
    } else if (header_is(line, "Content-Length", value, sizeof value)) {
        if (d->status == 200)
            d->total = strtoll(value, NULL, 10);
    } else if (header_is(line, "ETag", value, sizeof value)) {
        if (value[0] == '"') /* weak ones do not promise the same bytes */
            memcpy(d->answer, value, sizeof value);
    } else if (header_is(line, "Last-Modified", value, sizeof value)) {
        if (!d->answer[0])
            memcpy(d->answer, value, sizeof value);
    }
    return size;
}

/* Remember what the part is a part of; a lost tag only costs the comparison. */
static void keep_tag(struct download *d)
{
    FILE *file = fopen(d->tag_path, "we");

    memcpy(d->tag, d->answer, sizeof d->tag);
    if (file) {
        fputs(d->tag, file);
        fclose(file);
    }
}

static bool begin_body(struct download *d)
{
    if (d->status == 206 && d->offset != d->have)
        return false; /* not what was asked for */
    d->begun = true;
    if (d->status == 206)
        return true;
    if (ftruncate(d->fd, 0) != 0) {
        d->write_error = errno;
        return false;
    }
    d->have = 0;
    keep_tag(d);
    return true;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *context)
{
    struct download *d = context;

    (void)one;
    if (d->status != 200 && d->status != 206)
        return size; /* the text of an error page */
    if (!d->begun && !begin_body(d))
        return 0;
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(d->fd, bytes + done, size - done, (off_t)d->have);
        if (put < 0 && errno != EINTR) {
            d->write_error = errno;
            return 0;
        }
        if (put > 0) {
            done += (size_t)put;
            d->have += put;
        }
    }
    return size;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t e)
{
    struct download *d = context;
    struct dino_progress progress = {
        .stage = dn_path_base(d->url),
        .done = d->have,
        .total = d->total > 0 ? d->total : 0,
    };

    (void)a, (void)b, (void)c, (void)e;
    return !dn_report_progress(d->report, &progress);
}

static bool make_curl(struct download *d, struct dino_error *err)
{
    d->call = dn_curl_open(err);
    if (!d->call)
        return false;
    d->curl = d->call->init();
    if (!d->curl)
        return dn_fail(err, DINO_ENOMEM, "libcurl does not start");
    d->call->set(d->curl, CURLOPT_URL, d->url);
    d->call->set(d->curl, CURLOPT_NOSIGNAL, 1L);
    d->call->set(d->curl, CURLOPT_FOLLOWLOCATION, 1L);
    d->call->set(d->curl, CURLOPT_MAXREDIRS, 10L);
    d->call->set(d->curl, CURLOPT_CONNECTTIMEOUT, 30L);
    d->call->set(d->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    d->call->set(d->curl, CURLOPT_LOW_SPEED_TIME, 60L);
    d->call->set(d->curl, CURLOPT_USERAGENT, "dino");
    d->call->set(d->curl, CURLOPT_HEADERFUNCTION, on_header);
    d->call->set(d->curl, CURLOPT_HEADERDATA, d);
    d->call->set(d->curl, CURLOPT_WRITEFUNCTION, on_body);
    d->call->set(d->curl, CURLOPT_WRITEDATA, d);
    d->call->set(d->curl, CURLOPT_NOPROGRESS, 0L);
    d->call->set(d->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    d->call->set(d->curl, CURLOPT_XFERINFODATA, d);
    return true;
}

static bool open_part(struct download *d, struct dino_error *err)
{
    struct stat info;
    FILE *file;

    d->fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (d->fd < 0)
        return dn_fail_errno(err, "%s", d->part);
    if (flock(d->fd, LOCK_EX | LOCK_NB) != 0)
        return dn_fail(err, DINO_EIO, "%s: another dino get is at it", d->part);
    if (fstat(d->fd, &info) != 0)
        return dn_fail_errno(err, "%s", d->part);
    d->have = info.st_size;
    file = fopen(d->tag_path, "re");
    if (file) {
        d->tag[fread(d->tag, 1, sizeof d->tag - 1, file)] = 0;
        fclose(file);
    }
    return true;
}

/* One request, from where the part ends. */
static CURLcode ask(struct download *d)
{
    struct curl_slist *headers = NULL;
    char range[32], line[TAG + 16];

    d->begun = false;
    d->total = -1;
    d->status = 0;
    snprintf(range, sizeof range, "%lld-", (long long)d->have);
    d->call->set(d->curl, CURLOPT_RANGE, d->have > 0 ? range : NULL);
    if (d->have > 0 && d->tag[0]) { /* a file that has changed comes from its beginning */
        snprintf(line, sizeof line, "If-Range: %s", d->tag);
        headers = d->call->append(NULL, line);
    }
    d->call->set(d->curl, CURLOPT_HTTPHEADER, headers);
    CURLcode code = d->call->perform(d->curl);
    d->call->set(d->curl, CURLOPT_HTTPHEADER, NULL);
    d->call->free_all(headers);
    return code;
}

enum verdict { DONE, AGAIN, FAILED };

/* What became of a request. AGAIN with err filled: worth another try. */
static enum verdict judge(struct download *d, CURLcode code, struct dino_error *err)
{
    char have[16], total[16];

    dn_bytes_text((double)d->have, have);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        dn_fail(err, DINO_ECANCELLED, "stopped");
        return FAILED;
    }
    if (d->write_error) {
        errno = d->write_error;
        dn_fail_errno(err, "%s", d->part);
        return FAILED;
    }
    bool elsewhere = d->status == 206 && !d->begun && d->offset != d->have;
    if (d->status == 416 || elsewhere) {
        if (d->have > 0 && d->total == d->have)
            return DONE; /* it was complete before */
        dn_fail(err, DINO_EIO, "%s: the server has other bytes than %s", d->url, d->part);
        if (ftruncate(d->fd, 0) != 0)
            return FAILED;
        d->have = 0;
        return AGAIN;
    }
    if (code == CURLE_OK && d->status != 200 && d->status != 206) {
        dn_fail(err, DINO_EIO, "%s: the server answers %ld%s", d->url, d->status,
                d->status == 404 ? ", no such file" : "");
        return d->status >= 500 || d->status == 429 ? AGAIN : FAILED;
    }
    if (code == CURLE_OK && (d->total < 0 || d->have == d->total))
        return DONE;
    if (code == CURLE_OK || code == CURLE_PARTIAL_FILE) {
        dn_fail(err, DINO_EIO, "%s: the connection ended at %s of %s", d->url, have,
                dn_bytes_text((double)d->total, total));
        return AGAIN;
    }
    dn_fail(err, DINO_EIO, "%s: %s", d->url, d->call->text(code));
    bool passing = code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING ||
                   code == CURLE_OPERATION_TIMEDOUT || code == CURLE_SEND_ERROR;
    return passing ? AGAIN : FAILED;
}

static void wait_a_while(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds};

    time.tv_nsec = (long)(1e9 * (seconds - (double)time.tv_sec));
    nanosleep(&time, NULL); /* a signal ends it early */
}

/* Ask until the whole file is there; a try that brought bytes does not count. */
static bool fetch(struct download *d, struct dino_error *err)
{
    for (int failures = 0;;) {
        int64_t before = d->have;
        enum verdict verdict = judge(d, ask(d), err);
        if (verdict == DONE)
            return true;
        bool moved = d->have > before;
        failures = moved ? 1 : failures + 1;
        if (verdict == FAILED || failures == TRIES || dn_report_stop(d->report))
            return false;
        dn_note(d->report, "%s; trying again", err->message);
        wait_a_while(moved ? 0.2 : 0.5 * failures);
    }
}

static char *with_ending(const char *path, const char *ending, struct dino_error *err)
{
    struct str text = {0};

    dn_str_addf(&text, "%s%s", path, ending);
    if (text.failed) {
        dn_str_release(&text);
        dn_fail_memory(err, strlen(path), "a path");
        return NULL;
    }
    return text.text;
}

bool dn_download(const char *url, const char *path,
                 bool (*check)(const char *path, struct dino_error *err), struct report *report,
                 struct dino_error *err)
{
    struct download d = {.url = url, .report = report, .fd = -1};
    char kept[16];
    bool ok = false;

    report->bytes = true;
    d.part = with_ending(path, ".part", err);
    d.tag_path = with_ending(path, ".part.tag", err);
    if (!d.part || !d.tag_path || !dn_make_parents(path, err) || !open_part(&d, err) ||
        !make_curl(&d, err))
        goto done;
    ok = fetch(&d, err);
    if (!ok && d.have > 0)
        dn_note(report, "%s are kept: the same command goes on from there",
                dn_bytes_text((double)d.have, kept));
    if (!ok && d.have == 0)
        unlink(d.part);
    if (!ok)
        goto done;
    if (fsync(d.fd) != 0)
        ok = dn_fail_errno(err, "%s", d.part);
    if (ok && check && !check(d.part, err)) {
        unlink(d.part);
        d.have = 0;
        ok = false;
    }
    if (ok && rename(d.part, path) != 0)
        ok = dn_fail_errno(err, "%s", path);
done:
    if (d.tag_path && d.have == 0)
        unlink(d.tag_path);
    if (ok)
        unlink(d.tag_path);
    if (d.curl)
        d.call->cleanup(d.curl);
    if (d.fd >= 0)
        close(d.fd);
    free(d.part);
    free(d.tag_path);
    return ok;
}

#endif
