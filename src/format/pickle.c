/*
 * The machine: one function an opcode family, one table of opcodes. Opcodes of protocol 0,
 * extension codes and whatever else torch.save never writes are not in the table. Depth is no
 * concern here (nothing recurses); memory and work are bounded by the count of values.
 */
#include "format/pickle.h"

#include <string.h>

#include "format/torch_objects.h"

enum {
    MOST_VALUES = 1 << 23, /* a checkpoint of 1000 tensors makes about 30000 */
    LAST_PROTOCOL = 5,
};

struct machine {
    struct pickle *pickle;
    struct span in;
    struct pickle_value *stack, *memo;
    size_t depth, stack_room, memo_count, memo_room, most_memos;
    size_t *marks; /* depths */
    size_t mark_count, mark_room;
    bool stopped;
    struct dino_error *err;
};

void dn_pickle_init(struct pickle *p)
{
    *p = (struct pickle){0};
    dn_arena_init(&p->memory);
}

void dn_pickle_release(struct pickle *p)
{
    dn_arena_release(&p->memory);
}

struct pickle_items *dn_pickle_items(struct pickle *p, struct dino_error *err)
{
    struct pickle_items *items = dn_arena_alloc(&p->memory, sizeof *items, err);
    if (items)
        *items = (struct pickle_items){0};
    return items;
}

bool dn_pickle_append(struct pickle *p, struct pickle_items *items, struct pickle_value value,
                      struct dino_error *err)
{
    if (items->count == items->room) {
        size_t room = items->room ? 2 * items->room : 4;
        struct pickle_value *at = dn_arena_array(&p->memory, room, sizeof *at, err);
        if (!at)
            return false;
        if (items->count)
            memcpy(at, items->at, items->count * sizeof *at);
        items->at = at;
        items->room = room;
    }
    items->at[items->count++] = value;
    return true;
}

const struct pickle_value *dn_pickle_get(const struct pickle_value *dict, const char *key)
{
    if (dict->kind != PICKLE_DICT)
        return NULL;
    for (size_t i = 0; i + 1 < dict->items->count; i += 2) {
        const struct pickle_value *k = &dict->items->at[i];
        if (k->kind == PICKLE_TEXT && dn_span_equals(k->text, key))
            return &dict->items->at[i + 1];
    }
    return NULL;
}

/* ------------------------------------------------------------ the stack */

static bool fail(struct machine *m, const char *what)
{
    dn_fail(m->err, DINO_EFORMAT, "bad pickle: %s", what);
    return false; /* said here, so that the compiler sees it */
}

static bool push(struct machine *m, struct pickle_value value)
{
    if (++m->pickle->values > MOST_VALUES)
        return dn_fail(m->err, DINO_EFORMAT, "bad pickle: more than %d values", MOST_VALUES);
    if (!dn_grow(&m->stack, &m->stack_room, m->depth + 1, sizeof *m->stack, "a pickle's stack",
                 m->err))
        return false;
    m->stack[m->depth++] = value;
    return true;
}

/* Values above the last mark. */
static size_t reachable(const struct machine *m)
{
    return m->depth - (m->mark_count ? m->marks[m->mark_count - 1] : 0);
}

static bool pop(struct machine *m, struct pickle_value *value)
{
    if (!reachable(m))
        return fail(m, "it takes a value where there is none");
    *value = m->stack[--m->depth];
    return true;
}

/* Takes the mark and everything above it, which stays readable until the next push. */
static bool pop_mark(struct machine *m, const struct pickle_value **above, size_t *count)
{
    if (!m->mark_count)
        return fail(m, "it takes a mark where there is none");
    size_t from = m->marks[--m->mark_count];
    *above = m->stack ? m->stack + from : NULL;
    *count = m->depth - from;
    m->depth = from;
    return true;
}

static bool top_of_kind(struct machine *m, enum pickle_kind kind, struct pickle_value **top)
{
    if (!reachable(m) || m->stack[m->depth - 1].kind != kind)
        return fail(m, "it adds to something that is no list, dict or set");
    *top = &m->stack[m->depth - 1];
    return true;
}

/* `size` bytes, little-endian. */
static bool little(struct machine *m, unsigned size, uint64_t *number)
{
    struct span bytes;
    uint64_t n = 0;

    if (!dn_span_take(&m->in, size, &bytes, NULL))
        return fail(m, "it is cut short");
    for (unsigned i = 0; i < size; i++)
        n |= (uint64_t)bytes.data[i] << (8 * i);
    *number = n;
    return true;
}

/* A length of `size` bytes, then that many bytes. */
static bool counted(struct machine *m, unsigned size, struct span *bytes)
{
    uint64_t length;

    if (!little(m, size, &length))
        return false;
    if (length > m->in.size || !dn_span_take(&m->in, (size_t)length, bytes, NULL))
        return fail(m, "it is cut short");
    return true;
}

/* ------------------------------------------------------------ opcodes; `arg` is the table's */

static bool op_protocol(struct machine *m, unsigned arg)
{
    uint64_t version;

    if (!little(m, arg, &version))
        return false;
    if (version > LAST_PROTOCOL)
        return dn_fail(m->err, DINO_EUNSUPPORTED, "pickle protocol %llu, wanted 2 to %d",
                       (unsigned long long)version, LAST_PROTOCOL);
    return true;
}

static bool op_skip(struct machine *m, unsigned arg)
{
    uint64_t ignored;
    return little(m, arg, &ignored);
}

static bool op_stop(struct machine *m, unsigned arg)
{
    (void)arg;
    m->stopped = true;
    return true;
}

static bool op_mark(struct machine *m, unsigned arg)
{
    (void)arg;
    if (m->mark_count >= MOST_VALUES)
        return fail(m, "too many marks");
    if (!dn_grow(&m->marks, &m->mark_room, m->mark_count + 1, sizeof *m->marks,
                 "a pickle's marks", m->err))
        return false;
    m->marks[m->mark_count++] = m->depth;
    return true;
}

static bool op_pop(struct machine *m, unsigned arg)
{
    struct pickle_value ignored;
    (void)arg;
    return pop(m, &ignored);
}

static bool op_pop_mark(struct machine *m, unsigned arg)
{
    const struct pickle_value *above;
    size_t count;
    (void)arg;
    return pop_mark(m, &above, &count);
}

/* A leaf that nobody asks for, of `arg` bytes. */
static bool op_other(struct machine *m, unsigned arg)
{
    return op_skip(m, arg) && push(m, (struct pickle_value){.kind = PICKLE_OTHER});
}

static bool op_bool(struct machine *m, unsigned arg)
{
    return push(m, (struct pickle_value){.kind = PICKLE_BOOL, .number = (int64_t)arg});
}

static bool op_int(struct machine *m, unsigned arg)
{
    uint64_t n;

    if (!little(m, arg, &n))
        return false;
    int64_t number = arg == 4 ? (int32_t)(uint32_t)n : (int64_t)n; /* only BININT is signed */
    return push(m, (struct pickle_value){.kind = PICKLE_INT, .number = number});
}

/* Two's complement of any length; what needs more than 64 bits becomes a leaf. */
static bool op_long(struct machine *m, unsigned arg)
{
    struct span bytes;
    uint64_t n = 0;

    if (!counted(m, arg, &bytes))
        return false;
    if (bytes.size > 8)
        return push(m, (struct pickle_value){.kind = PICKLE_OTHER});
    for (size_t i = 0; i < bytes.size; i++)
        n |= (uint64_t)bytes.data[i] << (8 * i);
    if (bytes.size > 0 && bytes.size < 8 && bytes.data[bytes.size - 1] & 0x80)
        n |= UINT64_MAX << (8 * bytes.size);
    return push(m, (struct pickle_value){.kind = PICKLE_INT, .number = (int64_t)n});
}

static bool op_text(struct machine *m, unsigned arg)
{
    struct span text;
    return counted(m, arg, &text) &&
           push(m, (struct pickle_value){.kind = PICKLE_TEXT, .text = text});
}

static bool op_bytes(struct machine *m, unsigned arg)
{
    struct span bytes;
    return counted(m, arg, &bytes) && push(m, (struct pickle_value){.kind = PICKLE_OTHER});
}

static bool push_items(struct machine *m, enum pickle_kind kind,
                       const struct pickle_value *values, size_t count)
{
    struct pickle_value made = {.kind = kind, .items = dn_pickle_items(m->pickle, m->err)};

    if (!made.items)
        return false;
    if (kind == PICKLE_DICT && count % 2)
        return fail(m, "a dict has a key without a value");
    for (size_t i = 0; i < count; i++)
        if (!dn_pickle_append(m->pickle, made.items, values[i], m->err))
            return false;
    return push(m, made);
}

static bool op_empty(struct machine *m, unsigned arg)
{
    return push_items(m, (enum pickle_kind)arg, NULL, 0);
}

/* A tuple of the `arg` topmost values. */
static bool op_tuple(struct machine *m, unsigned arg)
{
    struct pickle_value values[3];

    for (unsigned i = arg; i-- > 0;)
        if (!pop(m, &values[i]))
            return false;
    return push_items(m, PICKLE_TUPLE, values, arg);
}

/* A container of what is above the mark. */
static bool op_collect(struct machine *m, unsigned arg)
{
    const struct pickle_value *above;
    size_t count;
    return pop_mark(m, &above, &count) && push_items(m, (enum pickle_kind)arg, above, count);
}

/* Add the `arg` topmost values to the list or dict below them. */
static bool op_add(struct machine *m, unsigned arg)
{
    struct pickle_value values[2], *top;

    for (unsigned i = arg; i-- > 0;)
        if (!pop(m, &values[i]))
            return false;
    if (!top_of_kind(m, arg == 1 ? PICKLE_LIST : PICKLE_DICT, &top))
        return false;
    for (unsigned i = 0; i < arg; i++)
        if (!dn_pickle_append(m->pickle, top->items, values[i], m->err))
            return false;
    return true;
}

/* Add what is above the mark to the list, dict or set below it. */
static bool op_add_all(struct machine *m, unsigned arg)
{
    const struct pickle_value *above;
    struct pickle_value *top;
    size_t count;

    if (!pop_mark(m, &above, &count) || !top_of_kind(m, (enum pickle_kind)arg, &top))
        return false;
    if (top->kind == PICKLE_DICT && count % 2)
        return fail(m, "a dict has a key without a value");
    for (size_t i = 0; i < count && top->kind != PICKLE_OTHER; i++)
        if (!dn_pickle_append(m->pickle, top->items, above[i], m->err))
            return false;
    return true;
}

static bool op_frozenset(struct machine *m, unsigned arg)
{
    return op_pop_mark(m, arg) && push(m, (struct pickle_value){.kind = PICKLE_OTHER});
}

static bool push_global(struct machine *m, struct span module, struct span name)
{
    const struct torch_global *global = dn_torch_global(module, name, m->err);
    return global && push(m, (struct pickle_value){.kind = PICKLE_GLOBAL, .global = global});
}

static bool op_global(struct machine *m, unsigned arg)
{
    struct span module, name;

    (void)arg;
    if (!dn_span_until(&m->in, '\n', &module, NULL) ||
        !dn_span_until(&m->in, '\n', &name, NULL))
        return fail(m, "it is cut short");
    return push_global(m, module, name);
}

static bool op_stack_global(struct machine *m, unsigned arg)
{
    struct pickle_value module, name;

    (void)arg;
    if (!pop(m, &name) || !pop(m, &module))
        return false;
    if (module.kind != PICKLE_TEXT || name.kind != PICKLE_TEXT)
        return fail(m, "a name is no text");
    return push_global(m, module.text, name.text);
}

static bool op_call(struct machine *m, unsigned arg)
{
    struct pickle_value callable, arguments, result;

    (void)arg;
    return pop(m, &arguments) && pop(m, &callable) &&
           dn_torch_call(m->pickle, &callable, &arguments, &result, m->err) && push(m, result);
}

/* Attributes of what is on top: an OrderedDict's _metadata, hooks. Nobody asks for them. */
static bool op_build(struct machine *m, unsigned arg)
{
    (void)arg;
    if (reachable(m) < 2)
        return fail(m, "it takes a value where there is none");
    m->depth--;
    return true;
}

static bool op_persistent(struct machine *m, unsigned arg)
{
    struct pickle_value id, result;

    (void)arg;
    return pop(m, &id) && dn_torch_storage(m->pickle, &id, &result, m->err) && push(m, result);
}

static bool remember(struct machine *m, uint64_t index)
{
    if (!reachable(m))
        return fail(m, "it takes a value where there is none");
    if (index >= m->most_memos)
        return dn_fail(m->err, DINO_EFORMAT, "bad pickle: memo %llu, at most %zu are sensible",
                       (unsigned long long)index, m->most_memos);
    if (!dn_grow(&m->memo, &m->memo_room, (size_t)index + 1, sizeof *m->memo, "a pickle's memo",
                 m->err))
        return false;
    for (; m->memo_count <= index; m->memo_count++)
        m->memo[m->memo_count] = (struct pickle_value){.kind = PICKLE_OTHER};
    m->memo[index] = m->stack[m->depth - 1];
    return true;
}

static bool op_put(struct machine *m, unsigned arg)
{
    uint64_t index;
    return little(m, arg, &index) && remember(m, index);
}

static bool op_memoize(struct machine *m, unsigned arg)
{
    (void)arg;
    return remember(m, m->memo_count);
}

static bool op_get(struct machine *m, unsigned arg)
{
    uint64_t index;

    if (!little(m, arg, &index))
        return false;
    if (index >= m->memo_count)
        return fail(m, "it takes from the memo what was never put there");
    return push(m, m->memo[index]);
}

static const struct {
    bool (*run)(struct machine *m, unsigned arg);
    unsigned arg;
} opcodes[256] = {
    [0x80] = {op_protocol, 1},
    [0x95] = {op_skip, 8}, /* FRAME */
    ['.'] = {op_stop, 0},
    ['('] = {op_mark, 0},
    ['0'] = {op_pop, 0},
    ['1'] = {op_pop_mark, 0},
    ['N'] = {op_other, 0},
    ['G'] = {op_other, 8}, /* BINFLOAT */
    [0x88] = {op_bool, 1},
    [0x89] = {op_bool, 0},
    ['K'] = {op_int, 1},
    ['M'] = {op_int, 2},
    ['J'] = {op_int, 4},
    [0x8a] = {op_long, 1},
    [0x8b] = {op_long, 4},
    ['U'] = {op_text, 1}, /* a str of Python 2 */
    ['T'] = {op_text, 4},
    [0x8c] = {op_text, 1},
    ['X'] = {op_text, 4},
    [0x8d] = {op_text, 8},
    ['C'] = {op_bytes, 1},
    ['B'] = {op_bytes, 4},
    [0x8e] = {op_bytes, 8},
    [0x96] = {op_bytes, 8}, /* BYTEARRAY8 */
    [')'] = {op_empty, PICKLE_TUPLE},
    [']'] = {op_empty, PICKLE_LIST},
    ['}'] = {op_empty, PICKLE_DICT},
    [0x8f] = {op_other, 0}, /* EMPTY_SET */
    [0x85] = {op_tuple, 1},
    [0x86] = {op_tuple, 2},
    [0x87] = {op_tuple, 3},
    ['t'] = {op_collect, PICKLE_TUPLE},
    ['l'] = {op_collect, PICKLE_LIST},
    ['d'] = {op_collect, PICKLE_DICT},
    ['a'] = {op_add, 1},
    ['s'] = {op_add, 2},
    ['e'] = {op_add_all, PICKLE_LIST},
    ['u'] = {op_add_all, PICKLE_DICT},
    [0x90] = {op_add_all, PICKLE_OTHER}, /* ADDITEMS, to a set */
    [0x91] = {op_frozenset, 0},
    ['c'] = {op_global, 0},
    [0x93] = {op_stack_global, 0},
    ['R'] = {op_call, 0},
    [0x81] = {op_call, 0}, /* NEWOBJ */
    ['b'] = {op_build, 0},
    ['Q'] = {op_persistent, 0},
    ['q'] = {op_put, 1},
    ['r'] = {op_put, 4},
    [0x94] = {op_memoize, 0},
    ['h'] = {op_get, 1},
    ['j'] = {op_get, 4},
};

static bool run(struct machine *m)
{
    uint8_t code;

    while (!m->stopped) {
        if (!dn_span_u8(&m->in, &code, NULL))
            return fail(m, "it is cut short");
        if (!opcodes[code].run)
            return dn_fail(m->err, DINO_EFORMAT,
                           "bad pickle: opcode 0x%02x, which torch.save never writes", code);
        if (!opcodes[code].run(m, opcodes[code].arg))
            return false;
    }
    if (m->depth != 1 || m->mark_count)
        return fail(m, "it ends with other than one value");
    return true;
}

bool dn_pickle_run(struct pickle *p, struct span *bytes, struct pickle_value *result,
                   struct dino_error *err)
{
    struct machine m = {.pickle = p, .in = *bytes, .err = err};

    m.most_memos = bytes->size < MOST_VALUES ? bytes->size : MOST_VALUES;
    bool ok = run(&m);
    if (ok) {
        *result = m.stack[0];
        *bytes = m.in;
    }
    free(m.stack);
    free(m.memo);
    free(m.marks);
    return ok;
}
