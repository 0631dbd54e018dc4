/* minizip reads the directory (zip64 and all), over memory; what it says is then checked. */
#include "format/zip_directory.h"

#include <string.h>

#include <minizip/unzip.h>

#include "base/alloc.h"

enum { LONGEST_NAME = 1000 };

/* ------------------------------------------------------------ minizip's view of a span */

struct cursor {
    struct span file;
    ZPOS64_T at;
};

/* The stream is the opaque pointer itself: minizip opens exactly one. */
static voidpf memory_open(voidpf opaque, const void *name, int mode)
{
    (void)name;
    (void)mode;
    return opaque;
}

static uLong memory_read(voidpf opaque, voidpf stream, void *buffer, uLong size)
{
    struct cursor *c = stream;
    (void)opaque;
    uLong left = c->at < c->file.size ? (uLong)(c->file.size - c->at) : 0;
    uLong n = size < left ? size : left;
    if (n)
        memcpy(buffer, c->file.data + c->at, n);
    c->at += n;
    return n;
}

static ZPOS64_T memory_tell(voidpf opaque, voidpf stream)
{
    struct cursor *c = stream;
    (void)opaque;
    return c->at;
}

static long memory_seek(voidpf opaque, voidpf stream, ZPOS64_T offset, int origin)
{
    struct cursor *c = stream;
    (void)opaque;
    ZPOS64_T base = origin == ZLIB_FILEFUNC_SEEK_CUR   ? c->at
                    : origin == ZLIB_FILEFUNC_SEEK_END ? c->file.size
                                                       : 0;
    if (offset > c->file.size || base > c->file.size - offset)
        return -1;
    c->at = base + offset;
    return 0;
}

static int memory_nothing(voidpf opaque, voidpf stream)
{
    (void)opaque;
    (void)stream;
    return 0;
}

/* ------------------------------------------------------------ members */

/* The file minizip stands at, into member; name is what it is called. */
static bool locate(unzFile unzip, const unz_file_info64 *info, const char *name,
                   struct span file, uint64_t end, struct zip_member *member,
                   struct dino_error *err)
{
    if (info->compression_method != 0 || info->compressed_size != info->uncompressed_size)
        return dn_fail(err, DINO_EUNSUPPORTED,
                       "zip member '%s' is compressed; torch.save stores members as they are",
                       name);
    if (info->flag & 1)
        return dn_fail(err, DINO_EUNSUPPORTED, "zip member '%s' is encrypted", name);
    if (unzOpenCurrentFile(unzip) != UNZ_OK)
        return dn_fail(err, DINO_EFORMAT,
                       "zip member '%s' is not where, or not what, the directory says", name);
    uint64_t start = unzGetCurrentFileZStreamPos64(unzip);
    unzCloseCurrentFile(unzip);
    if (start > end || info->uncompressed_size > end - start)
        return dn_fail(err, DINO_EFORMAT,
                       "zip member '%s' of %llu bytes at %llu ends behind %llu, where the "
                       "directory begins",
                       name, (unsigned long long)info->uncompressed_size,
                       (unsigned long long)start, (unsigned long long)end);
    member->data = (struct span){file.data + start, (size_t)info->uncompressed_size};
    member->crc = (uint32_t)info->crc;
    member->name = dn_strdup(name, err);
    return member->name != NULL;
}

static bool add_member(struct zip_directory *zip, unzFile unzip, struct span file, uint64_t end,
                       struct dino_error *err)
{
    unz_file_info64 info;
    char name[LONGEST_NAME + 1];

    if (unzGetCurrentFileInfo64(unzip, &info, name, sizeof name, NULL, 0, NULL, 0) != UNZ_OK)
        return dn_fail(err, DINO_EFORMAT, "the zip directory is damaged");
    if (info.size_filename > LONGEST_NAME || strlen(name) != info.size_filename)
        return dn_fail(err, DINO_EFORMAT, "the zip directory has an absurd name");
    if (!dn_grow(&zip->members, &zip->room, zip->count + 1, sizeof *zip->members,
                 "a zip directory", err) ||
        !locate(unzip, &info, name, file, end, &zip->members[zip->count], err))
        return false;
    zip->count++;
    return true;
}

static bool read_members(struct zip_directory *zip, unzFile unzip, struct span file,
                         struct dino_error *err)
{
    int status = unzGoToFirstFile(unzip);
    uint64_t end = unzGetOffset64(unzip); /* of the directory; data lie before it */

    for (; status == UNZ_OK; status = unzGoToNextFile(unzip))
        if (!add_member(zip, unzip, file, end, err))
            return false;
    if (status != UNZ_END_OF_LIST_OF_FILE)
        return dn_fail(err, DINO_EFORMAT, "the zip directory is damaged");
    return true;
}

static int by_name(const void *left, const void *right)
{
    const struct zip_member *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static int by_place(const void *left, const void *right)
{
    const struct zip_member *a = left, *b = right;
    uintptr_t x = (uintptr_t)a->data.data, y = (uintptr_t)b->data.data;

    if (x != y)
        return x < y ? -1 : 1;
    return a->data.size < b->data.size ? -1 : a->data.size > b->data.size;
}

/* Leaves the members sorted by name. */
static bool check_members(struct zip_directory *zip, struct dino_error *err)
{
    struct zip_member *members = zip->members;

    if (!zip->count)
        return true;
    qsort(members, zip->count, sizeof *members, by_place);
    for (size_t i = 1; i < zip->count; i++)
        if (members[i].data.data < members[i - 1].data.data + members[i - 1].data.size)
            return dn_fail(err, DINO_EFORMAT, "zip members '%s' and '%s' overlap",
                           members[i - 1].name, members[i].name);
    qsort(members, zip->count, sizeof *members, by_name);
    for (size_t i = 1; i < zip->count; i++)
        if (strcmp(members[i - 1].name, members[i].name) == 0)
            return dn_fail(err, DINO_EFORMAT, "zip member '%s' is there twice",
                           members[i].name);
    return true;
}

bool dn_zip_read(struct zip_directory *zip, struct span file, struct dino_error *err)
{
    struct cursor cursor = {file, 0};
    zlib_filefunc64_def functions = {
        .zopen64_file = memory_open,
        .zread_file = memory_read,
        .ztell64_file = memory_tell,
        .zseek64_file = memory_seek,
        .zclose_file = memory_nothing,
        .zerror_file = memory_nothing,
        .opaque = &cursor,
    };

    *zip = (struct zip_directory){0};
    unzFile unzip = unzOpen2_64("", &functions);
    if (!unzip)
        return dn_fail(err, DINO_EFORMAT,
                       "begins as a zip, but has no zip directory at its end: cut short?");
    bool ok = read_members(zip, unzip, file, err) && check_members(zip, err);
    unzClose(unzip);
    if (!ok)
        dn_zip_release(zip);
    return ok;
}

void dn_zip_release(struct zip_directory *zip)
{
    for (size_t i = 0; i < zip->count; i++)
        free(zip->members[i].name);
    free(zip->members);
    *zip = (struct zip_directory){0};
}

const struct zip_member *dn_zip_find(const struct zip_directory *zip, const char *name)
{
    struct zip_member key = {.name = (char *)(uintptr_t)name};

    return zip->count ? bsearch(&key, zip->members, zip->count, sizeof *zip->members, by_name)
                      : NULL;
}
