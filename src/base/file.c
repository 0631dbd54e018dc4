#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

bool dn_map_open(struct mapping *map, const char *path, struct dino_error *err)
{
    struct stat info;
    bool ok = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is told, not waited for */

    *map = (struct mapping){0};
    if (fd < 0)
        return dn_fail_errno(err, "%s", path);
    if (fstat(fd, &info) != 0) {
        dn_fail_errno(err, "%s", path);
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        dn_fail(err, DINO_EIO, "%s: is %s, wanted a regular file", path,
                S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe");
        goto done;
    }
    if (info.st_size == 0) {
        dn_fail(err, DINO_EFORMAT, "%s: is empty", path);
        goto done;
    }
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        dn_fail_errno(err, "%s: cannot map %lld bytes", path, (long long)info.st_size);
        goto done;
    }
    map->bytes = (struct span){data, (size_t)info.st_size};
    map->device = (uint64_t)info.st_dev;
    map->inode = (uint64_t)info.st_ino;
    ok = true;
done:
    close(fd);
    return ok;
}

void dn_map_close(struct mapping *map)
{
    if (map->bytes.data)
        munmap((void *)(uintptr_t)map->bytes.data, map->bytes.size);
    *map = (struct mapping){0};
}

bool dn_map_is(const struct mapping *map, const char *path)
{
    struct stat info;
    return map->bytes.data && stat(path, &info) == 0 && (uint64_t)info.st_dev == map->device &&
           (uint64_t)info.st_ino == map->inode;
}

/* Whole pages inside [data, data + size); advice outside the mapping is never given. */
static void advise(const struct mapping *map, const void *data, size_t size, int advice)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t base = (uintptr_t)map->bytes.data, from = (uintptr_t)data;

    if (!map->bytes.data || from < base || from - base > map->bytes.size ||
        size > map->bytes.size - (from - base))
        return;
    uintptr_t start = from / page * page;
    madvise((void *)start, from + size - start, advice);
}

void dn_map_drop(const struct mapping *map, const void *data, size_t size)
{
    advise(map, data, size, MADV_DONTNEED);
}

void dn_map_want(const struct mapping *map, const void *data, size_t size)
{
    advise(map, data, size, MADV_WILLNEED);
}

bool dn_read_all(const char *path, size_t limit, uint8_t **data, size_t *size,
                 struct dino_error *err)
{
    uint8_t *bytes = NULL;
    size_t used = 0, room = 0;
    bool ok = false;
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return dn_fail_errno(err, "%s", path);
    for (;;) {
        if (!dn_grow(&bytes, &room, used + 65536, 1, "a file", err))
            goto done;
        ssize_t got = read(fd, bytes + used, room - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            dn_fail_errno(err, "%s", path);
            goto done;
        }
        if (got == 0)
            break;
        used += (size_t)got;
        if (used > limit) {
            dn_fail(err, DINO_EFORMAT, "%s: more than %zu bytes", path, limit);
            goto done;
        }
    }
    *data = bytes;
    *size = used;
    bytes = NULL;
    ok = true;
done:
    free(bytes);
    if (fd != STDIN_FILENO)
        close(fd);
    return ok;
}

bool dn_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool dn_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool dn_same_file(const char *a, const char *b)
{
    struct stat left, right;
    return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

bool dn_make_parents(const char *path, struct dino_error *err)
{
    char *part = dn_strdup(path, err);
    if (!part)
        return false;
    bool ok = true;
    for (char *slash = strchr(part + 1, '/'); slash && ok; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            ok = dn_fail_errno(err, "%s", part);
        *slash = '/';
    }
    free(part);
    return ok;
}

char *dn_output_target(const char *path, struct dino_error *err)
{
    struct stat info;
    char *target =
        lstat(path, &info) == 0 && S_ISLNK(info.st_mode) ? realpath(path, NULL) : NULL;

    return target ? target : dn_strdup(path, err);
}

bool dn_is_stream(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

bool dn_output_open(struct output *out, const char *path, struct dino_error *err)
{
    *out = (struct output){0};
    if (dn_is_dir(path))
        return dn_fail(err, DINO_EIO, "%s: is a directory, wanted a file to write", path);
    out->path = dn_output_target(path, err);
    if (!out->path)
        goto fail;
    if (!dn_is_stream(out->path)) {
        size_t room = strlen(out->path) + 32;
        out->temporary = dn_calloc(room, 1, "a path", err);
        if (!out->temporary)
            goto fail;
        snprintf(out->temporary, room, "%s.tmp-%ld", out->path, (long)getpid());
    }
    out->stream = fopen(out->temporary ? out->temporary : out->path, "wbe");
    if (!out->stream) {
        dn_fail_errno(err, "%s", path);
        goto fail;
    }
    return true;
fail:
    free(out->path);
    free(out->temporary);
    *out = (struct output){0};
    return false;
}

bool dn_output_try(const char *path, struct dino_error *err)
{
    struct output out;

    if (dn_is_stream(path)) /* opening it would be noticed at its other end */
        return access(path, W_OK) == 0 || dn_fail_errno(err, "%s", path);
    if (!dn_output_open(&out, path, err))
        return false;
    dn_output_release(&out);
    return true;
}

bool dn_output_write(struct output *out, const void *data, size_t size, struct dino_error *err)
{
    if (size && fwrite(data, 1, size, out->stream) != size)
        return dn_fail_errno(err, "%s", out->path);
    return true;
}

bool dn_output_commit(struct output *out, struct dino_error *err)
{
    bool ok = fflush(out->stream) == 0 &&
              (!out->temporary || fsync(fileno(out->stream)) == 0); /* streams know no fsync */

    if (!ok)
        dn_fail_errno(err, "%s", out->path);
    if (fclose(out->stream) != 0 && ok)
        ok = dn_fail_errno(err, "%s", out->path);
    out->stream = NULL;
    if (ok && out->temporary && rename(out->temporary, out->path) != 0)
        ok = dn_fail_errno(err, "%s", out->path);
    if (ok) {
        free(out->temporary);
        out->temporary = NULL;
    }
    dn_output_release(out);
    return ok;
}

void dn_output_release(struct output *out)
{
    if (out->stream)
        fclose(out->stream);
    if (out->temporary)
        unlink(out->temporary);
    free(out->temporary);
    free(out->path);
    *out = (struct output){0};
}
