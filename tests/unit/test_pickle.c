/* Hostile and odd pickles, in a zip that is otherwise in order. */
#include "testing.h"

#include "make_zip.h"

/* Opens a zip of data.pkl and a storage "0" of 64 bytes; fails with a message or not. */
static bool open_pickle(struct tensors *t, const char *pickle, size_t size,
                        struct dino_error *err)
{
    static const uint8_t storage[64];
    const struct zip_part parts[] = {
        {.name = "r/data.pkl", .data = pickle, .size = size},
        {.name = "r/byteorder", .data = "little", .size = 6},
        {.name = "r/data/0", .data = storage, .size = sizeof storage},
    };
    struct str bytes = make_zip(parts, 3, false);
    struct span file = exact(&bytes);
    bool ok = dn_tensors_open_bytes(t, file, "x", err);

    dn_str_release(&bytes);
    if (ok) {
        float values[16];
        for (size_t i = 0; i < t->count; i++)
            dn_tensor_read(&t->items[i], 0, (size_t)dn_tensor_elements(&t->items[i]), values);
        dn_tensors_release(t);
    }
    free((void *)(uintptr_t)file.data);
    return ok;
}

#define REFUSE(pickle, message) refuse("" pickle, sizeof pickle - 1, message)

static void refuse(const char *pickle, size_t size, const char *message)
{
    struct dino_error err = {0};
    struct tensors t;

    if (open_pickle(&t, pickle, size, &err))
        fail_msg("opened, wanted: %s", message);
    assert_string_equal(err.message, message);
}

/* ("storage", torch.FloatStorage, "0", "cpu", 16) as a persistent id */
#define STORAGE                                            \
    "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" \
    "0X\x03\0\0\0cpuK\x10tQ"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n("
#define HOOKS "\x89}tR"
/* {"x": a tensor of the storage, with this offset, size and stride} */
#define TENSOR(rest) "\x80\x02}X\x01\0\0\0x" REBUILD STORAGE rest HOOKS "s."

TEST(an_honest_pickle_opens)
{
    struct dino_error err = {0};
    struct tensors t;
    static const char honest[] = TENSOR("K\0(K\x04K\x04t(K\x04K\x01t");
    static const char edge[] = TENSOR("K\x0f(K\x01t(K\x64t");
    static const char empty[] = TENSOR("K\x10(K\0K\x63t(K\x63K\x01t");

    CHECK_OK(open_pickle(&t, honest, sizeof honest - 1, &err), err);
    CHECK_OK(open_pickle(&t, edge, sizeof edge - 1, &err), err);
    CHECK_OK(open_pickle(&t, empty, sizeof empty - 1, &err), err);
}

TEST(names_off_the_list_are_refused_by_name)
{
    REFUSE("\x80\x02"
           "cos\nsystem\n(X\x02\0\0\0lstR.",
           "x: the pickle names os.system, which is not needed to describe tensors: refused");
    REFUSE(
        "\x80\x04\x8c\x08"
        "builtins\x8c\x04"
        "eval\x93.",
        "x: the pickle names builtins.eval, which is not needed to describe tensors: refused");
    REFUSE("\x80\x02"
           "cargparse\nNamespace\n)\x81.",
           "x: the pickle names argparse.Namespace, which is not needed to describe tensors: "
           "refused");
    REFUSE("\x80\x02"
           "ctorch\nload\n.",
           "x: the pickle names torch.load, which is not needed to describe tensors: refused");
}

TEST(calls_of_what_cannot_be_called_are_refused)
{
    REFUSE("\x80\x02"
           "ctorch\nFloatStorage\n)R.",
           "x: bad pickle: it calls something that cannot be called");
    REFUSE("\x80\x02X\x02\0\0\0os)R.",
           "x: bad pickle: it calls something that cannot be called");
    REFUSE("\x80\x02"
           "ccollections\nOrderedDict\n]R.",
           "x: bad pickle: it calls something that cannot be called");
    REFUSE("\x80\x02"
           "ccollections\nOrderedDict\nK\x01\x85R.",
           "x: bad pickle: an OrderedDict of something odd");
    REFUSE("\x80\x02" REBUILD "K\0K\0))" HOOKS ".",
           "x: bad pickle: a tensor is made of something odd, or has more than 8 dimensions");
    REFUSE("\x80\x02"
           "ctorch._utils\n_rebuild_parameter\n)R.",
           "x: bad pickle: a call lacks its argument");
}

TEST(tensors_outside_their_storage_are_refused)
{
    REFUSE(TENSOR("K\x01(K\x10t(K\x01t"),
           "x: tensor 'x' reaches outside its storage of 16 elements");
    REFUSE(TENSOR("J\xff\xff\xff\xff(K\x01t(K\x01t"),
           "x: tensor 'x' reaches outside its storage of 16 elements");
    REFUSE(TENSOR("K\x0f(K\x02t(J\xff\xff\xff\xfft"),
           "x: tensor 'x' reaches outside its storage of 16 elements");
    REFUSE(TENSOR("K\0(K\x02t(K\x10t"),
           "x: tensor 'x' reaches outside its storage of 16 elements");
    REFUSE(TENSOR("K\0(K\x11t(K\0t"), /* 17 copies of one element */
           "x: tensor 'x' reaches outside its storage of 16 elements");
    REFUSE(TENSOR("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f(K\x02t(K\x01t"),
           "x: tensor 'x' reaches outside its storage of 16 elements");
    REFUSE(TENSOR("K\0(K\x03t(\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7ft"),
           "x: tensor 'x' reaches outside its storage of 16 elements");
    REFUSE(TENSOR("K\0(\x8a\x08\0\0\0\0\0\0\0\x10K\x10t(K\x10K\x01t"), /* 2^60 x 16 */
           "x: tensor 'x' has an absurd shape");
    REFUSE(TENSOR("K\0(J\xff\xff\xff\xfft(K\x01t"), "x: tensor 'x' has an absurd shape");
    REFUSE(TENSOR("K\0(K\x01K\x01t(K\x01t"),
           "x: bad pickle: a tensor is made of something odd, or has more than 8 dimensions");
}

TEST(storages_that_are_not_there_are_refused)
{
    REFUSE("\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
           "1X\x03\0\0\0cpuK\x10tQ.",
           "x: no zip member 'r/data/1' for a storage");
    REFUSE("\x80\x02(X\x07\0\0\0storagectorch\nDoubleStorage\nX\x01\0\0\0"
           "0X\x03\0\0\0cpuK\x10tQ.",
           "x: zip member 'r/data/0' has 64 bytes, wanted 128");
    REFUSE("\x80\x02(X\x07\0\0\0storagectorch\nDoubleStorage\nX\x01\0\0\0"
           "0X\x03\0\0\0cpu\x8a\x08\0\0\0\0\0\0\0\x10tQ.",
           "x: bad pickle: a storage of 1152921504606846976 elements");
    REFUSE("\x80\x02(X\x07\0\0\0storagectorch\nfloat32\nX\x01\0\0\0"
           "0X\x03\0\0\0cpuK\x10tQ.",
           "x: bad pickle: a storage has no storage type");
    REFUSE("\x80\x02X\x06\0\0\0moduleQ.", "x: bad pickle: a persistent id is no storage");
}

TEST(machines_that_run_dry_are_refused)
{
    REFUSE("\x80\x02.", "x: bad pickle: it ends with other than one value");
    REFUSE("\x80\x02NN.", "x: bad pickle: it ends with other than one value");
    REFUSE("\x80\x02(N.", "x: bad pickle: it ends with other than one value");
    REFUSE("\x80\x02N", "x: bad pickle: it is cut short");
    REFUSE("\x80\x02X\xff\xff\xff\xff.", "x: bad pickle: it is cut short");
    REFUSE("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "x: bad pickle: it is cut short");
    REFUSE("\x80\x02R.", "x: bad pickle: it takes a value where there is none");
    REFUSE("\x80\x02N(\x85.", "x: bad pickle: it takes a value where there is none");
    REFUSE("\x80\x02t.", "x: bad pickle: it takes a mark where there is none");
    REFUSE("\x80\x02Na.", "x: bad pickle: it adds to something that is no list, dict or set");
    REFUSE("\x80\x02NNa.", "x: bad pickle: it adds to something that is no list, dict or set");
    REFUSE("\x80\x02}(Nu.", "x: bad pickle: a dict has a key without a value");
    REFUSE("\x80\x02h\x07.", "x: bad pickle: it takes from the memo what was never put there");
    REFUSE("\x80\x02Nr\xff\xff\xff\xff.",
           "x: bad pickle: memo 4294967295, at most 9 are sensible");
    REFUSE("\x80\x02i.", "x: bad pickle: opcode 0x69, which torch.save never writes");
    REFUSE("\x80\x06N.", "x: pickle protocol 6, wanted 2 to 5");
}

TEST(pickles_without_tensors_are_refused)
{
    REFUSE("\x80\x02N.", "x: the pickle holds no dict of tensors");
    REFUSE("\x80\x02(t.", "x: the pickle holds no dict of tensors");
    REFUSE("\x80\x02}X\x01\0\0\0xK\x01s.", "x: the pickle holds no dict of tensors");
}

TEST(dicts_that_hold_themselves_are_refused)
{
    /* d = {}; d["a"] = d */
    REFUSE("\x80\x02}q\0X\x01\0\0\0ah\0s.", "x: dicts are shared more than is sensible");
}

TEST(dicts_nested_without_end_are_refused)
{
    struct str pickle = {0};

    dn_str_add(&pickle, "\x80\x02");
    for (int i = 0; i < 100000; i++)
        dn_str_add_bytes(&pickle, "}K\x01", 3);
    dn_str_add(&pickle, "}");
    for (int i = 0; i < 100000; i++)
        dn_str_add(&pickle, "s");
    dn_str_add(&pickle, ".");
    refuse(pickle.text, pickle.size, "x: dicts are nested more than 32 deep");
    dn_str_release(&pickle);
}

TEST(a_small_pickle_cannot_unfold_into_a_large_tree)
{
    struct str pickle = {0};

    /* each of 30 dicts holds the one before twice: 2^30 leaves */
    dn_str_add_bytes(&pickle, "\x80\x02}q\0", 5);
    for (int i = 1; i < 30; i++) {
        uint8_t next[] = {
            '0', '}', 'K',       1, 'h', (uint8_t)(i - 1), 's', 'K', 2, 'h', (uint8_t)(i - 1),
            's', 'q', (uint8_t)i};
        dn_str_add_bytes(&pickle, next, sizeof next);
    }
    dn_str_add(&pickle, ".");
    refuse(pickle.text, pickle.size, "x: dicts are shared more than is sensible");
    dn_str_release(&pickle);
}

TEST(a_names_length_is_bounded)
{
    struct str pickle = {0};
    char name[600];

    memset(name, 'n', sizeof name);
    dn_str_add_bytes(&pickle, "\x80\x02}X\x58\x02\0\0", 8);
    dn_str_add_bytes(&pickle, name, sizeof name);
    dn_str_add_bytes(&pickle, "}s.", 3);
    refuse(pickle.text, pickle.size, "x: a tensor's name is no text, or absurdly long");
    dn_str_release(&pickle);
}

static void refuse_zip(const struct zip_part *parts, size_t count, const char *message)
{
    struct dino_error err = {0};
    struct tensors t;
    struct str bytes = make_zip(parts, count, false);
    struct span file = exact(&bytes);

    CHECK(!dn_tensors_open_bytes(&t, file, "x", &err));
    assert_string_equal(err.message, message);
    free((void *)(uintptr_t)file.data);
    dn_str_release(&bytes);
}

TEST(zips_that_torch_did_not_write_are_refused)
{
    struct zip_part parts[2] = {{.name = "a.txt", .data = "hello", .size = 5}};

    refuse_zip(parts, 1, "x: this zip has no data.pkl: not written by torch.save");
    parts[0] = (struct zip_part){.name = "a/data.pkl", .data = "\x80\x02N.", .size = 4};
    parts[1] = (struct zip_part){.name = "b/data.pkl", .data = "\x80\x02N.", .size = 4};
    refuse_zip(parts, 2, "x: this zip has 'a/data.pkl' and 'b/data.pkl', wanted one");
    parts[1] = (struct zip_part){.name = "a/byteorder", .data = "big", .size = 3};
    refuse_zip(parts, 2, "x: byteorder is 'big', wanted little");
    parts[0].bad_crc = true;
    refuse_zip(parts, 1, "x: 'a/data.pkl' is damaged: its CRC-32 differs");
}
