/*
 * NumPy's .npy. The header is a Python dict literal with three known keys; only what
 * numpy.save writes is understood, and numbers only: no structures, no text, no objects.
 */
#include "format/npy.h"

#include <string.h>

#include "format/tensors.h"

/* Indexed by enum dino_dtype; single bytes have no order. bf16 is unknown to NumPy. */
static const char *const descriptions[DINO_DTYPE_COUNT] = {
    [DINO_F32] = "<f4", [DINO_F64] = "<f8", [DINO_F16] = "<f2",
    [DINO_I8] = "|i1",  [DINO_U8] = "|u1",  [DINO_I16] = "<i2",
    [DINO_I32] = "<i4", [DINO_I64] = "<i8", [DINO_BOOL] = "|b1",
};

static void skip_blanks(struct span *s)
{
    while (s->size && strchr(" \t\r\n", s->data[0]) && s->data[0]) {
        s->data++;
        s->size--;
    }
}

/* Blanks, then `text`. */
static bool eat(struct span *s, const char *text)
{
    skip_blanks(s);
    if (!dn_span_starts(*s, text))
        return false;
    s->data += strlen(text);
    s->size -= strlen(text);
    return true;
}

static bool eat_string(struct span *s, struct span *text)
{
    if (eat(s, "'"))
        return dn_span_until(s, '\'', text, NULL);
    return eat(s, "\"") && dn_span_until(s, '"', text, NULL);
}

/* A decimal number below 2^63. */
static bool eat_number(struct span *s, int64_t *number)
{
    int64_t n = 0;

    skip_blanks(s);
    if (!s->size || s->data[0] < '0' || s->data[0] > '9')
        return false;
    for (; s->size && s->data[0] >= '0' && s->data[0] <= '9'; s->data++, s->size--)
        if (__builtin_mul_overflow(n, (int64_t)10, &n) ||
            __builtin_add_overflow(n, (int64_t)(s->data[0] - '0'), &n))
            return false;
    *number = n;
    return true;
}

static bool eat_descr(struct span *s, struct npy_header *header, struct dino_error *err)
{
    struct span text;

    if (!eat_string(s, &text))
        return dn_fail(err, DINO_EUNSUPPORTED, "npy 'descr' is no plain number type");
    for (int i = 0; i < DINO_DTYPE_COUNT; i++)
        if (descriptions[i] && dn_span_equals(text, descriptions[i])) {
            header->dtype = (enum dino_dtype)i;
            return true;
        }
    return dn_fail(err, DINO_EUNSUPPORTED,
                   "npy 'descr' is '%.*s', wanted a little-endian number type",
                   (int)(text.size < 40 ? text.size : 40), (const char *)text.data);
}

static bool eat_shape(struct span *s, struct npy_header *header, struct dino_error *err)
{
    int64_t size;

    if (!eat(s, "("))
        return dn_fail(err, DINO_EFORMAT, "npy 'shape' is no tuple");
    while (!eat(s, ")")) {
        if (!eat_number(s, &size))
            return dn_fail(err, DINO_EFORMAT, "npy 'shape' has a bad size");
        if (header->dims == DINO_MAX_DIMS)
            return dn_fail(err, DINO_EUNSUPPORTED, "npy 'shape' has more than %d sizes",
                           DINO_MAX_DIMS);
        header->shape[header->dims++] = size;
        bool comma = eat(s, ",");
        skip_blanks(s);
        if (!comma && (!s->size || s->data[0] != ')'))
            return dn_fail(err, DINO_EFORMAT, "npy 'shape' has a bad size");
    }
    return true;
}

/* {'descr': ..., 'fortran_order': ..., 'shape': ...} in any order, each exactly once. */
static bool parse_dict(struct span s, struct npy_header *header, struct dino_error *err)
{
    enum { DESCR = 1, FORTRAN = 2, SHAPE = 4 };
    unsigned seen = 0;

    if (!eat(&s, "{"))
        return dn_fail(err, DINO_EFORMAT, "npy header is no Python dict");
    while (!eat(&s, "}")) {
        struct span key;
        unsigned field = 0;
        if (!eat_string(&s, &key) || !eat(&s, ":"))
            return dn_fail(err, DINO_EFORMAT, "npy header is no Python dict");
        if (dn_span_equals(key, "descr")) {
            field = DESCR;
            if (!eat_descr(&s, header, err))
                return false;
        } else if (dn_span_equals(key, "fortran_order")) {
            field = FORTRAN;
            header->fortran = eat(&s, "True");
            if (!header->fortran && !eat(&s, "False"))
                return dn_fail(err, DINO_EFORMAT, "npy 'fortran_order' is no bool");
        } else if (dn_span_equals(key, "shape")) {
            field = SHAPE;
            if (!eat_shape(&s, header, err))
                return false;
        }
        if (!field || seen & field)
            return dn_fail(err, DINO_EFORMAT, "npy header has a bad key '%.*s'",
                           (int)(key.size < 40 ? key.size : 40), (const char *)key.data);
        seen |= field;
        eat(&s, ",");
    }
    skip_blanks(&s);
    if (seen != (DESCR | FORTRAN | SHAPE) || s.size)
        return dn_fail(err, DINO_EFORMAT,
                       "npy header wants descr, fortran_order and shape, nothing else");
    return true;
}

/* The header's text, and what lies behind it. */
static bool split(struct span *rest, struct span *dict, struct dino_error *err)
{
    uint8_t major, minor;
    uint16_t small;
    uint32_t length;

    if (!dn_span_starts(*rest, "\x93NUMPY"))
        return dn_fail(err, DINO_EFORMAT, "does not begin as a .npy does");
    rest->data += 6;
    rest->size -= 6;
    if (!dn_span_u8(rest, &major, err) || !dn_span_u8(rest, &minor, err))
        return false;
    if (major < 1 || major > 3)
        return dn_fail(err, DINO_EUNSUPPORTED, "npy version %d.%d, wanted 1 to 3", major,
                       minor);
    if (major == 1) {
        if (!dn_span_u16(rest, &small, err))
            return false;
        length = small;
    } else if (!dn_span_u32(rest, &length, err)) {
        return false;
    }
    if (length > rest->size)
        return dn_fail(err, DINO_EFORMAT, "npy header of %u bytes, %zu follow", length,
                       rest->size);
    return dn_span_take(rest, length, dict, err);
}

bool dn_npy_parse(struct span file, struct npy_header *header, const char *name,
                  struct dino_error *err)
{
    struct npy_header found = {0};
    struct span rest = file, dict;
    int64_t elements;

    if (!split(&rest, &dict, err) || !parse_dict(dict, &found, err))
        return dn_fail_prefix(err, name);
    found.data_offset = file.size - rest.size;
    if (!dn_shape_elements(found.shape, found.dims, found.dtype, &elements))
        return dn_fail(err, DINO_EFORMAT, "%s: npy 'shape' is absurdly large", name);
    size_t wanted = (size_t)elements * dino_dtype_size(found.dtype);
    if (rest.size < wanted)
        return dn_fail(err, DINO_EFORMAT, "%s: %zu bytes of data, wanted %zu", name, rest.size,
                       wanted);
    *header = found;
    return true;
}

bool dn_npy_read(struct tensors *t, size_t map, const char *name, struct dino_error *err)
{
    struct span file = t->maps[map].bytes;
    struct npy_header header;
    int64_t elements, stride = 1;

    if (!dn_npy_parse(file, &header, name, err))
        return false;
    struct dino_tensor tensor = {
        .name = "array",
        .dtype = header.dtype,
        .dims = header.dims,
        .data = file.data + header.data_offset,
    };
    memcpy(tensor.shape, header.shape, sizeof tensor.shape);
    dn_tensor_pack_strides(&tensor);
    for (int i = 0; i < tensor.dims && header.fortran; i++) {
        tensor.stride[i] = stride;
        stride *= tensor.shape[i] ? tensor.shape[i] : 1;
    }
    dn_shape_elements(tensor.shape, tensor.dims, tensor.dtype, &elements);
    tensor.bytes = (size_t)elements * dino_dtype_size(tensor.dtype);
    if (file.size - header.data_offset != tensor.bytes)
        return dn_fail(err, DINO_EFORMAT, "%s: %zu bytes of data, wanted %zu", name,
                       file.size - header.data_offset, tensor.bytes);
    return dn_tensors_add(t, &tensor, err);
}

bool dn_npy_header(uint8_t header[DN_NPY_HEADER], enum dino_dtype dtype, const int64_t *shape,
                   int dims, struct dino_error *err)
{
    enum { PREFIX = 10 };
    char text[512];
    size_t used;
    const char *descr = (unsigned)dtype < DINO_DTYPE_COUNT ? descriptions[dtype] : NULL;

    if (!descr)
        return dn_fail(err, DINO_EUNSUPPORTED, "NumPy has no type for %s",
                       dino_dtype_name(dtype));
    used = (size_t)snprintf(text, sizeof text,
                            "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < dims && i < DINO_MAX_DIMS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld%s", i ? " " : "",
                                 (long long)shape[i], dims == 1 || i < dims - 1 ? "," : "");
    used += (size_t)snprintf(text + used, sizeof text - used, "), }");
    if (dims > DINO_MAX_DIMS || used > DN_NPY_HEADER - PREFIX - 1)
        return dn_fail(err, DINO_EARG, "a shape of %d sizes does not fit a .npy header", dims);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", PREFIX); /* 0x76 = 128 - 10 */
    memcpy(header + PREFIX, text, used);
    memset(header + PREFIX + used, ' ', DN_NPY_HEADER - PREFIX - used);
    header[DN_NPY_HEADER - 1] = '\n';
    return true;
}
