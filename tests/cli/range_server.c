/*
 * A web server for the tests of dino get: GET with Range, and on purpose all the ways in which
 * a download goes wrong. The first part of the path says how it behaves:
 *
 *     /ok/FILE        as it should          /moved/FILE  redirects to /ok/FILE
 *     /norange/FILE   ignores Range         /none/FILE   answers 404
 *     /cut/FILE       hangs up half-way     /busy/FILE   answers 503
 *     /slow/FILE      a tenth, then waits   /page/FILE   a page of HTML with status 200
 *     /longer/FILE promises more than it has
 *     /other/FILE  as ok, but the ETag differs each time
 *
 * usage: range_server FOLDER PORTFILE; writes its port there and serves until it is killed.
 * Each request is a line on standard output.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
    char how[32], file[200];
    long long from; /* of "Range: bytes=N-"; -1 without */
    char tag[64];   /* of If-Range */
};

static bool send_all(int client, const char *bytes, size_t size)
{
    while (size) {
        ssize_t put = send(client, bytes, size, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        bytes += put;
        size -= (size_t)put;
    }
    return true;
}

static bool read_request(int client, struct request *request)
{
    char text[8192];
    size_t size = 0;

    while (size < sizeof text - 1) {
        ssize_t got = recv(client, text + size, sizeof text - 1 - size, 0);
        if (got <= 0)
            return false;
        size += (size_t)got;
        text[size] = 0;
        if (strstr(text, "\r\n\r\n"))
            break;
    }
    *request = (struct request){.from = -1};
    if (sscanf(text, "GET /%31[^/ ]/%199[^ ]", request->how, request->file) != 2)
        return false;
    const char *range = strstr(text, "\r\nRange: bytes="),
               *tag = strstr(text, "\r\nIf-Range: ");
    if (range)
        request->from = strtoll(range + 15, NULL, 10);
    if (tag)
        sscanf(tag + 12, "%63[^\r]", request->tag);
    printf("%s %s from %lld\n", request->how, strrchr(request->file, '/') + 1, request->from);
    fflush(stdout);
    return true;
}

static char *read_file(const char *folder, const char *name, long long *size)
{
    char path[600];
    char *bytes = NULL;

    /* the files lie flat in the folder, whatever the path in the URL */
    snprintf(path, sizeof path, "%s/%s", folder, strrchr(name, '/') + 1);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = ftell(file);
    rewind(file);
    bytes = malloc((size_t)*size + 1);
    if (bytes && fread(bytes, 1, (size_t)*size, file) != (size_t)*size) {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    return bytes;
}

static void answer_short(int client, const char *status, const char *more, const char *body)
{
    char text[600];
    int size = snprintf(text, sizeof text,
                        "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                        status, more, strlen(body), body);
    send_all(client, text, (size_t)size);
}

static void answer_file(int client, const struct request *request, const char *bytes,
                        long long size)
{
    static int count;
    char head[600], tag[64] = "\"one\"", range[120] = "";
    const char *how = request->how;
    long long from = request->from;

    if (strcmp(how, "other") == 0)
        snprintf(tag, sizeof tag, "\"number %d\"", ++count);
    long long whole = strcmp(how, "longer") == 0 ? size + 1000 : size;
    bool stale = request->tag[0] && strcmp(request->tag, tag) != 0;
    if (strcmp(how, "norange") == 0 || from < 0 || stale)
        from = 0;
    else if (from >= whole) {
        snprintf(range, sizeof range, "Content-Range: bytes */%lld\r\n", whole);
        answer_short(client, "416 Range Not Satisfiable", range, "");
        return;
    } else
        snprintf(range, sizeof range, "Content-Range: bytes %lld-%lld/%lld\r\n", from,
                 whole - 1, whole);
    long long left = size - from, sent = left;
    if (strcmp(how, "cut") == 0 && left > 100000)
        sent = left / 2;
    if (strcmp(how, "slow") == 0)
        sent = left / 10;
    int used = snprintf(head, sizeof head,
                        "HTTP/1.1 %s\r\nETag: %s\r\n%sContent-Length: %lld\r\n"
                        "Connection: close\r\n\r\n",
                        range[0] ? "206 Partial Content" : "200 OK", tag, range, whole - from);
    if (send_all(client, head, (size_t)used) && send_all(client, bytes + from, (size_t)sent) &&
        strcmp(how, "slow") == 0)
        recv(client, head, sizeof head, 0); /* until the other side gives up */
}

static void serve(int client, const char *folder)
{
    struct request request;
    char location[300];
    long long size = 0;

    if (!read_request(client, &request))
        return;
    if (strcmp(request.how, "moved") == 0) {
        snprintf(location, sizeof location, "Location: /ok/%s\r\n", request.file);
        answer_short(client, "302 Found", location, "elsewhere");
    } else if (strcmp(request.how, "busy") == 0) {
        answer_short(client, "503 Service Unavailable", "", "later");
    } else if (strcmp(request.how, "page") == 0) {
        answer_short(client, "200 OK", "", "<html>please log in</html>");
    } else {
        char *bytes =
            strcmp(request.how, "none") == 0 ? NULL : read_file(folder, request.file, &size);
        if (bytes)
            answer_file(client, &request, bytes, size);
        else
            answer_short(client, "404 Not Found", "", "no");
        free(bytes);
    }
}

int main(int count, char **words)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;

    if (count != 3)
        return 2;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&at, size) != 0 || listen(listener, 8) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &size) != 0)
        return 1;
    FILE *file = fopen(words[2], "w");
    if (!file)
        return 1;
    fprintf(file, "%d\n", ntohs(at.sin_port));
    fclose(file);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            return 1;
        serve(client, words[1]);
        close(client);
    }
}
