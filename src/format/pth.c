/*
 * Writing .pth as torch.save does: the pickle of an OrderedDict first, then one aligned,
 * stored member a tensor. minizip writes the zip (sizes over 4 GiB and all) onto the output's
 * stream; CRC-32s are known only behind the data, so that stream must be able to seek.
 */
#include "format/pth.h"

#include <errno.h>
#include <string.h>

#include <minizip/zip.h>

#include "base/alloc.h"
#include "base/str.h"
#include "format/tensors.h"

enum {
    ALIGNMENT = 64,
    LOCAL_HEADER = 30,
    LOCAL_ZIP64 = 20,
    MADE_BY = 45,            /* zip version */
    LARGEST_PIECE = 1 << 30, /* minizip counts in unsigned */
};

struct pth_writer {
    struct output *out;
    zipFile zip;
    uint64_t left; /* bytes that the open member still wants */
    int error;     /* errno of the stream's first failure */
};

/* ------------------------------------------------------------ minizip onto a stream */

static voidpf stream_open(voidpf opaque, const void *name, int mode)
{
    (void)name;
    (void)mode;
    return opaque;
}

static uLong stream_read(voidpf opaque, voidpf stream, void *buffer, uLong size)
{
    (void)opaque;
    (void)stream;
    (void)buffer;
    (void)size;
    return 0; /* never asked for: the zip is new */
}

static uLong stream_write(voidpf opaque, voidpf stream, const void *buffer, uLong size)
{
    struct pth_writer *w = stream;
    (void)opaque;
    size_t written = fwrite(buffer, 1, size, w->out->stream);
    if (written != size && !w->error)
        w->error = errno;
    return written;
}

static ZPOS64_T stream_tell(voidpf opaque, voidpf stream)
{
    struct pth_writer *w = stream;
    (void)opaque;
    return (ZPOS64_T)ftello(w->out->stream);
}

static long stream_seek(voidpf opaque, voidpf stream, ZPOS64_T offset, int origin)
{
    struct pth_writer *w = stream;
    (void)opaque;
    int whence = origin == ZLIB_FILEFUNC_SEEK_CUR   ? SEEK_CUR
                 : origin == ZLIB_FILEFUNC_SEEK_END ? SEEK_END
                                                    : SEEK_SET;
    if (fseeko(w->out->stream, (off_t)offset, whence) == 0)
        return 0;
    if (!w->error)
        w->error = errno;
    return -1;
}

static int stream_close(voidpf opaque, voidpf stream)
{
    (void)opaque;
    (void)stream;
    return 0;
}

static int stream_error(voidpf opaque, voidpf stream)
{
    struct pth_writer *w = stream;
    (void)opaque;
    return w->error;
}

static bool fail_write(const struct pth_writer *w, struct dino_error *err)
{
    errno = w->error ? w->error : EIO;
    return dn_fail_errno(err, "%s", w->out->path);
}

/* ------------------------------------------------------------ members */

/* Begin a member of `size` bytes; an extra field pads its header so that the data begin at a
 * multiple of ALIGNMENT. */
static bool begin_member(struct pth_writer *w, const char *name, uint64_t size,
                         struct dino_error *err)
{
    uint8_t pad[ALIGNMENT + 4];
    bool large = size >= UINT32_MAX;
    uint64_t start = (uint64_t)ftello(w->out->stream) + LOCAL_HEADER + strlen(name) +
                     (large ? LOCAL_ZIP64 : 0) + 4;
    uint16_t length = (uint16_t)((ALIGNMENT - start % ALIGNMENT) % ALIGNMENT);
    zip_fileinfo info = {0};

    memset(pad, 'Z', sizeof pad);
    memcpy(pad, "FB", 2); /* the field's id, as PyTorch has it */
    pad[2] = (uint8_t)length;
    pad[3] = 0;
    w->left = size;
    if (zipOpenNewFileInZip4_64(w->zip, name, &info, pad, length + 4U, NULL, 0, NULL, 0, 0, 0,
                                -MAX_WBITS, DEF_MEM_LEVEL, Z_DEFAULT_STRATEGY, NULL, 0, MADE_BY,
                                0, large) != ZIP_OK)
        return fail_write(w, err);
    return true;
}

static bool end_member(struct pth_writer *w, struct dino_error *err)
{
    return zipCloseFileInZip(w->zip) == ZIP_OK || fail_write(w, err);
}

static bool small_member(struct pth_writer *w, const char *name, const void *data, size_t size,
                         struct dino_error *err)
{
    return begin_member(w, name, size, err) &&
           (zipWriteInFileInZip(w->zip, data, (unsigned)size) == ZIP_OK ||
            fail_write(w, err)) &&
           end_member(w, err);
}

/* What `fill` writes goes through here into the open member. Failure is 0, as fopencookie
 * demands. */
static ssize_t member_write(void *cookie, const char *data, size_t size)
{
    struct pth_writer *w = cookie;

    if (size > w->left) {
        errno = EFBIG;
        return 0;
    }
    for (size_t done = 0; done < size;) {
        size_t n = size - done < LARGEST_PIECE ? size - done : LARGEST_PIECE;
        if (zipWriteInFileInZip(w->zip, data + done, (unsigned)n) != ZIP_OK) {
            errno = w->error ? w->error : EIO;
            return 0;
        }
        done += n;
    }
    w->left -= size;
    return (ssize_t)size;
}

static bool tensor_member(struct pth_writer *w, const struct pth_tensor *tensor, size_t index,
                          pth_fill_fn fill, void *context, struct dino_error *err)
{
    struct output member = {.path = w->out->path};
    int64_t elements;
    char name[64];

    dn_shape_elements(tensor->shape, tensor->dims, tensor->dtype, &elements);
    snprintf(name, sizeof name, "archive/data/%zu", index);
    if (!begin_member(w, name, (uint64_t)elements * dino_dtype_size(tensor->dtype), err))
        return false;
    member.stream = fopencookie(w, "w", (cookie_io_functions_t){.write = member_write});
    if (!member.stream)
        return dn_fail_errno(err, "%s", w->out->path);
    setvbuf(member.stream, NULL, _IOFBF, 1 << 18);
    bool ok = fill(context, index, &member, err);
    if (fclose(member.stream) != 0 && ok)
        ok = dn_fail_errno(err, "%s", w->out->path);
    if (ok && w->left)
        ok = dn_fail(err, DINO_EARG, "%s: tensor '%s' lacks %llu bytes", w->out->path,
                     tensor->name, (unsigned long long)w->left);
    return ok && end_member(w, err);
}

/* ------------------------------------------------------------ the pickle, protocol 2 */

static void put_global(struct str *s, const char *module, const char *name)
{
    dn_str_addf(s, "c%s\n%s\n", module, name);
}

/* BINUNICODE */
static void put_text(struct str *s, const char *text)
{
    size_t size = strlen(text);
    uint8_t head[5] = {'X', (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16),
                       (uint8_t)(size >> 24)};

    dn_str_add_bytes(s, head, sizeof head);
    dn_str_add_bytes(s, text, size);
}

/* BININT where it fits, else LONG1 of eight bytes; never negative. */
static void put_number(struct str *s, int64_t number)
{
    uint8_t bytes[10] = {0x8a, 8};

    for (int i = 0; i < 8; i++)
        bytes[2 + i] = (uint8_t)((uint64_t)number >> (8 * i));
    if (number > INT32_MAX) {
        dn_str_add_bytes(s, bytes, 10);
    } else {
        dn_str_add(s, "J");
        dn_str_add_bytes(s, bytes + 2, 4);
    }
}

static void put_sizes(struct str *s, const int64_t *sizes, int dims)
{
    dn_str_add(s, "(");
    for (int i = 0; i < dims; i++)
        put_number(s, sizes[i]);
    dn_str_add(s, "t");
}

static const char *storage_class(enum dino_dtype dtype)
{
    static const char *const names[DINO_DTYPE_COUNT] = {
        [DINO_F32] = "FloatStorage", [DINO_F64] = "DoubleStorage",
        [DINO_F16] = "HalfStorage",  [DINO_BF16] = "BFloat16Storage",
        [DINO_I8] = "CharStorage",   [DINO_U8] = "ByteStorage",
        [DINO_I16] = "ShortStorage", [DINO_I32] = "IntStorage",
        [DINO_I64] = "LongStorage",  [DINO_BOOL] = "BoolStorage",
    };
    return (unsigned)dtype < DINO_DTYPE_COUNT ? names[dtype] : NULL;
}

/* _rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict()) */
static bool put_tensor(struct str *s, const struct pth_tensor *tensor, size_t index,
                       struct dino_error *err)
{
    const char *class = storage_class(tensor->dtype);
    struct dino_tensor packed = {.dims = tensor->dims};
    int64_t elements;
    char key[24];

    if (!class || tensor->dims < 0 || tensor->dims > DINO_MAX_DIMS ||
        !dn_shape_elements(tensor->shape, tensor->dims, tensor->dtype, &elements))
        return dn_fail(err, DINO_EARG, "tensor '%s' has an impossible shape or dtype",
                       tensor->name);
    memcpy(packed.shape, tensor->shape, sizeof packed.shape);
    dn_tensor_pack_strides(&packed);
    snprintf(key, sizeof key, "%zu", index);
    put_text(s, tensor->name);
    put_global(s, "torch._utils", "_rebuild_tensor_v2");
    dn_str_add(s, "((");
    put_text(s, "storage");
    put_global(s, "torch", class);
    put_text(s, key);
    put_text(s, "cpu");
    put_number(s, elements);
    dn_str_add(s, "tQ");
    put_number(s, 0);
    put_sizes(s, packed.shape, packed.dims);
    put_sizes(s, packed.stride, packed.dims);
    dn_str_add(s, "\x89");
    put_global(s, "collections", "OrderedDict");
    dn_str_add(s, ")RtR");
    return true;
}

static bool make_pickle(struct str *s, const char *key, const struct pth_tensor *tensors,
                        size_t count, struct dino_error *err)
{
    dn_str_add(s, "\x80\x02");
    if (key) {
        dn_str_add(s, "}");
        put_text(s, key);
    }
    put_global(s, "collections", "OrderedDict");
    dn_str_add(s, ")R(");
    for (size_t i = 0; i < count; i++)
        if (!put_tensor(s, &tensors[i], i, err))
            return false;
    dn_str_add(s, key ? "us." : "u.");
    return !s->failed || dn_fail_memory(err, s->size, "a pickle");
}

/* ------------------------------------------------------------ */

static bool write_members(struct pth_writer *w, const struct str *pickle,
                          const struct pth_tensor *tensors, size_t count, pth_fill_fn fill,
                          void *context, struct dino_error *err)
{
    if (!small_member(w, "archive/data.pkl", pickle->text, pickle->size, err) ||
        !small_member(w, "archive/byteorder", "little", 6, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!tensor_member(w, &tensors[i], i, fill, context, err))
            return false;
    return small_member(w, "archive/version", "3\n", 2, err);
}

bool dn_pth_write_under(const char *path, const char *key, const struct pth_tensor *tensors,
                        size_t count, pth_fill_fn fill, void *context, struct dino_error *err)
{
    struct str pickle = {0};
    struct output out = {0};
    struct pth_writer w = {.out = &out};
    zlib_filefunc64_def functions = {
        .zopen64_file = stream_open,
        .zread_file = stream_read,
        .zwrite_file = stream_write,
        .ztell64_file = stream_tell,
        .zseek64_file = stream_seek,
        .zclose_file = stream_close,
        .zerror_file = stream_error,
        .opaque = &w,
    };
    bool ok = make_pickle(&pickle, key, tensors, count, err) && dn_output_open(&out, path, err);

    if (ok) {
        w.zip = zipOpen2_64("", APPEND_STATUS_CREATE, NULL, &functions);
        ok = w.zip ? write_members(&w, &pickle, tensors, count, fill, context, err)
                   : dn_fail_memory(err, 0, "a zip");
        if (w.zip && zipClose(w.zip, NULL) != ZIP_OK && ok)
            ok = fail_write(&w, err);
        ok = ok && dn_output_commit(&out, err);
    }
    dn_output_release(&out);
    dn_str_release(&pickle);
    return ok;
}

bool dn_pth_write(const char *path, const struct pth_tensor *tensors, size_t count,
                  pth_fill_fn fill, void *context, struct dino_error *err)
{
    return dn_pth_write_under(path, NULL, tensors, count, fill, context, err);
}
