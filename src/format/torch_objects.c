/*
 * The whitelist. A call here only rearranges values that the pickle brought along; whether a
 * tensor's offsets and strides fit its storage is checked where its name is known, in
 * pth_read.c.
 */
#include "format/torch_objects.h"

#include <string.h>

enum role {
    ROLE_STORAGE, /* a storage class, of dtype; untyped ones count bytes */
    ROLE_DTYPE,
    ROLE_OTHER, /* callable, makes a leaf */
    ROLE_FIRST, /* makes its first argument */
    ROLE_DICT,
    ROLE_TENSOR,       /* storage, offset, size, stride, ... */
    ROLE_TENSOR_DTYPE, /* the same, with a dtype in seventh place */
};

struct torch_global {
    const char *module, *name;
    enum role role;
    enum dino_dtype dtype;
};

static const struct torch_global known[] = {
    {"collections", "OrderedDict", ROLE_DICT, 0},
    {"torch._utils", "_rebuild_tensor", ROLE_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v2", ROLE_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v3", ROLE_TENSOR_DTYPE, 0},
    {"torch._utils", "_rebuild_parameter", ROLE_FIRST, 0},
    {"torch._utils", "_rebuild_parameter_with_state", ROLE_FIRST, 0},
    {"torch", "FloatStorage", ROLE_STORAGE, DINO_F32},
    {"torch", "DoubleStorage", ROLE_STORAGE, DINO_F64},
    {"torch", "HalfStorage", ROLE_STORAGE, DINO_F16},
    {"torch", "BFloat16Storage", ROLE_STORAGE, DINO_BF16},
    {"torch", "CharStorage", ROLE_STORAGE, DINO_I8},
    {"torch", "ByteStorage", ROLE_STORAGE, DINO_U8},
    {"torch", "ShortStorage", ROLE_STORAGE, DINO_I16},
    {"torch", "IntStorage", ROLE_STORAGE, DINO_I32},
    {"torch", "LongStorage", ROLE_STORAGE, DINO_I64},
    {"torch", "BoolStorage", ROLE_STORAGE, DINO_BOOL},
    {"torch", "UntypedStorage", ROLE_STORAGE, DINO_U8},
    {"torch.storage", "UntypedStorage", ROLE_STORAGE, DINO_U8},
    {"torch.storage", "_UntypedStorage", ROLE_STORAGE, DINO_U8},
    {"torch", "float32", ROLE_DTYPE, DINO_F32},
    {"torch", "float64", ROLE_DTYPE, DINO_F64},
    {"torch", "float16", ROLE_DTYPE, DINO_F16},
    {"torch", "bfloat16", ROLE_DTYPE, DINO_BF16},
    {"torch", "int8", ROLE_DTYPE, DINO_I8},
    {"torch", "uint8", ROLE_DTYPE, DINO_U8},
    {"torch", "int16", ROLE_DTYPE, DINO_I16},
    {"torch", "int32", ROLE_DTYPE, DINO_I32},
    {"torch", "int64", ROLE_DTYPE, DINO_I64},
    {"torch", "bool", ROLE_DTYPE, DINO_BOOL},
    {"torch", "Size", ROLE_FIRST, 0},
    {"torch", "device", ROLE_OTHER, 0},
    {"_codecs", "encode", ROLE_OTHER, 0}, /* how protocol 2 spells bytes */
    {"__builtin__", "set", ROLE_OTHER, 0},
    {"builtins", "set", ROLE_OTHER, 0},
};

const struct torch_global *dn_torch_global(struct span module, struct span name,
                                           struct dino_error *err)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (dn_span_equals(module, known[i].module) && dn_span_equals(name, known[i].name))
            return &known[i];
    dn_fail(err, DINO_EFORMAT,
            "the pickle names %.*s.%.*s, which is not needed to describe tensors: refused",
            (int)(module.size < 100 ? module.size : 100), (const char *)module.data,
            (int)(name.size < 100 ? name.size : 100), (const char *)name.data);
    return NULL;
}

static bool fail(const char *what, struct dino_error *err)
{
    return dn_fail(err, DINO_EFORMAT, "bad pickle: %s", what);
}

/* A tuple's item if there is one of that kind, else NULL. */
static const struct pickle_value *item(const struct pickle_value *tuple, size_t index,
                                       enum pickle_kind kind)
{
    if (tuple->kind != PICKLE_TUPLE || index >= tuple->items->count ||
        tuple->items->at[index].kind != kind)
        return NULL;
    return &tuple->items->at[index];
}

/* OrderedDict() or OrderedDict([[key, value], ...]), as Python 2 wrote it. */
static bool make_dict(struct pickle *p, const struct pickle_value *arguments,
                      struct pickle_value *result, struct dino_error *err)
{
    const struct pickle_value *pairs = item(arguments, 0, PICKLE_LIST);

    if (arguments->items->count != (pairs ? 1 : 0))
        return fail("an OrderedDict of something odd", err);
    *result = (struct pickle_value){.kind = PICKLE_DICT, .items = dn_pickle_items(p, err)};
    if (!result->items)
        return false;
    for (size_t i = 0; pairs && i < pairs->items->count; i++) {
        const struct pickle_value *pair = &pairs->items->at[i];
        if ((pair->kind != PICKLE_LIST && pair->kind != PICKLE_TUPLE) ||
            pair->items->count != 2)
            return fail("an OrderedDict of something odd", err);
        if (!dn_pickle_append(p, result->items, pair->items->at[0], err) ||
            !dn_pickle_append(p, result->items, pair->items->at[1], err))
            return false;
    }
    return true;
}

/* A tuple of whole numbers into an array; -1 if it is something else. */
static int numbers_of(const struct pickle_value *tuple, int64_t numbers[DINO_MAX_DIMS])
{
    if (!tuple || tuple->items->count > DINO_MAX_DIMS)
        return -1;
    for (size_t i = 0; i < tuple->items->count; i++) {
        const struct pickle_value *number = item(tuple, i, PICKLE_INT);
        if (!number)
            return -1;
        numbers[i] = number->number;
    }
    return (int)tuple->items->count;
}

static bool make_tensor(struct pickle *p, const struct pickle_value *arguments, bool typed,
                        struct pickle_value *result, struct dino_error *err)
{
    const struct pickle_value *storage = item(arguments, 0, PICKLE_STORAGE);
    const struct pickle_value *offset = item(arguments, 1, PICKLE_INT);
    const struct pickle_value *dtype = item(arguments, 6, PICKLE_GLOBAL);
    struct pickle_tensor *tensor = dn_arena_alloc(&p->memory, sizeof *tensor, err);

    if (!tensor)
        return false;
    *tensor = (struct pickle_tensor){0};
    tensor->dims = numbers_of(item(arguments, 2, PICKLE_TUPLE), tensor->shape);
    int strides = numbers_of(item(arguments, 3, PICKLE_TUPLE), tensor->stride);
    if (!storage || !offset || tensor->dims < 0 || strides != tensor->dims)
        return fail("a tensor is made of something odd, or has more than 8 dimensions", err);
    if (typed && (!dtype || dtype->global->role != ROLE_DTYPE))
        return fail("a tensor is made without a dtype", err);
    tensor->storage = storage->storage;
    tensor->dtype = typed ? dtype->global->dtype : storage->storage->dtype;
    tensor->offset = offset->number;
    *result = (struct pickle_value){.kind = PICKLE_TENSOR, .tensor = tensor};
    return true;
}

bool dn_torch_call(struct pickle *p, const struct pickle_value *callable,
                   const struct pickle_value *arguments, struct pickle_value *result,
                   struct dino_error *err)
{
    if (callable->kind != PICKLE_GLOBAL || arguments->kind != PICKLE_TUPLE)
        return fail("it calls something that cannot be called", err);
    switch (callable->global->role) {
    case ROLE_DICT:
        return make_dict(p, arguments, result, err);
    case ROLE_TENSOR:
        return make_tensor(p, arguments, false, result, err);
    case ROLE_TENSOR_DTYPE:
        return make_tensor(p, arguments, true, result, err);
    case ROLE_FIRST:
        if (!arguments->items->count)
            return fail("a call lacks its argument", err);
        *result = arguments->items->at[0];
        return true;
    case ROLE_OTHER:
        *result = (struct pickle_value){.kind = PICKLE_OTHER};
        return true;
    default:
        return fail("it calls something that cannot be called", err);
    }
}

/* The stream form of torch.save lets a storage be a part of another: (key, first, count). */
static bool take_view(struct pickle_storage *storage, const struct pickle_value *view)
{
    const struct pickle_value *first = item(view, 1, PICKLE_INT);
    const struct pickle_value *count = item(view, 2, PICKLE_INT);
    int64_t end;

    if (!first || !count || first->number < 0 || count->number < 0 ||
        __builtin_add_overflow(first->number, count->number, &end) || end > storage->count)
        return false;
    storage->view_first = first->number;
    storage->view_count = count->number;
    return true;
}

bool dn_torch_storage(struct pickle *p, const struct pickle_value *id,
                      struct pickle_value *result, struct dino_error *err)
{
    const struct pickle_value *what = item(id, 0, PICKLE_TEXT);
    const struct pickle_value *type = item(id, 1, PICKLE_GLOBAL);
    const struct pickle_value *key = item(id, 2, PICKLE_TEXT);
    const struct pickle_value *count = item(id, 4, PICKLE_INT);
    const struct pickle_value *view = item(id, 5, PICKLE_TUPLE);
    int64_t bytes;

    if (!what || !dn_span_equals(what->text, "storage") || !type || !key || !count)
        return fail("a persistent id is no storage", err);
    if (type->global->role != ROLE_STORAGE)
        return fail("a storage has no storage type", err);
    enum dino_dtype dtype = type->global->dtype;
    if (count->number < 0 ||
        __builtin_mul_overflow(count->number, (int64_t)dino_dtype_size(dtype), &bytes))
        return dn_fail(err, DINO_EFORMAT, "bad pickle: a storage of %lld elements",
                       (long long)count->number);
    struct pickle_storage *storage = dn_arena_alloc(&p->memory, sizeof *storage, err);
    if (!storage)
        return false;
    *storage = (struct pickle_storage){
        .key = key->text,
        .dtype = dtype,
        .count = count->number,
        .view_count = count->number,
        .previous = p->storages,
    };
    if (view && !take_view(storage, view))
        return fail("a view lies outside its storage", err);
    p->storages = storage;
    *result = (struct pickle_value){.kind = PICKLE_STORAGE, .storage = storage};
    return true;
}
