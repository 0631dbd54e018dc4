/* Reading and writing .safetensors, and what is refused. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"

/* A file of a header and `data` bytes of data, on the heap and exactly as large as it says. */
static struct span make(const char *header, size_t data)
{
    size_t length = strlen(header);
    uint8_t *bytes = calloc(8 + length + data, 1);

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++)
        bytes[8 + length + i] = (uint8_t)i;
    return (struct span){bytes, 8 + length + data};
}

static void refuse(const char *header, size_t data, const char *message)
{
    struct dino_error err = {0};
    struct tensors t;
    struct span file = make(header, data);

    if (dn_tensors_open_bytes(&t, file, "x", &err))
        fail_msg("opened: %s", header);
    assert_string_equal(err.message, message);
    CHECK(err.code == DINO_EFORMAT || err.code == DINO_EUNSUPPORTED);
    free((void *)(uintptr_t)file.data);
}

TEST(a_small_file_yields_its_tensors_and_notes)
{
    struct dino_error err = {0};
    struct tensors t;
    struct span file =
        make("{\"__metadata__\":{\"seed\":\"1\"},"
             "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[2,10]},"
             "\"none\":{\"dtype\":\"I64\",\"shape\":[3,0],\"data_offsets\":[2,2]},"
             "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
             "\"s\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[10,11]}}",
             11);
    float read[2];

    CHECK_OK(dn_tensors_open_bytes(&t, file, "x", &err), err);
    assert_int_equal(t.count, 4);
    assert_string_equal(dn_tensors_note(&t, "seed"), "1");
    CHECK(!dn_tensors_note(&t, "seeds"));
    CHECK(!dn_tensors_find(&t, "c"));
    const struct dino_tensor *b = dn_tensors_find(&t, "b");
    CHECK(b && b->dtype == DINO_U8 && b->dims == 1 && b->bytes == 2);
    dn_tensor_read(b, 0, 2, read);
    CHECK(read[0] == 0 && read[1] == 1);
    const struct dino_tensor *a = dn_tensors_find(&t, "a");
    char text[128];
    dn_tensor_shape_text(a, text);
    assert_string_equal(text, "[2, 1]");
    dn_tensor_shape_text(dn_tensors_find(&t, "s"), text);
    assert_string_equal(text, "[]");
    CHECK(dn_tensor_elements(dn_tensors_find(&t, "s")) == 1);
    CHECK(dn_tensor_elements(dn_tensors_find(&t, "none")) == 0);
    CHECK(a->stride[0] == 1 && a->stride[1] == 1 && dn_tensor_contiguous(a));
    dn_tensors_release(&t);
    free((void *)(uintptr_t)file.data);
}

TEST(what_is_written_is_read_back)
{
    struct dino_error err = {0};
    struct safetensors_writer w;
    struct tensors t;
    char path[256];
    float weights[6] = {1, -2, 3, 4, 5, 0.5F}, read[6];
    uint16_t half = 0x3c00;

    snprintf(path, sizeof path, "%s/written.safetensors", testing_scratch());
    CHECK_OK(dn_safetensors_create(&w, path, &err), err);
    CHECK(dn_safetensors_note(&w, "who", "a \"test\""));
    CHECK_OK(dn_safetensors_declare(&w, "w", DINO_F32, (int64_t[]){2, 3}, 2, &err), err);
    CHECK_OK(dn_safetensors_declare(&w, "h", DINO_F16, NULL, 0, &err), err);
    CHECK(!dn_safetensors_note(&w, "late", "no"));
    CHECK_OK(dn_safetensors_write(&w, weights, 10, &err), err);
    CHECK_OK(dn_safetensors_write(&w, (char *)weights + 10, 14, &err), err);
    CHECK_OK(dn_safetensors_write(&w, &half, 2, &err), err);
    CHECK(!dn_safetensors_write(&w, &half, 1, &err));
    CHECK_OK(dn_safetensors_commit(&w, &err), err);

    CHECK_OK(dn_tensors_open(&t, path, &err), err);
    assert_string_equal(dn_tensors_note(&t, "who"), "a \"test\"");
    assert_string_equal(dn_tensors_note(&t, "format"), "pt");
    dn_tensor_read(dn_tensors_find(&t, "w"), 1, 5, read);
    assert_memory_equal(read, weights + 1, 5 * sizeof *read);
    dn_tensor_read(dn_tensors_find(&t, "h"), 0, 1, read);
    CHECK(read[0] == 1);
    CHECK((uintptr_t)t.items[0].data % 4 == 0);
    dn_tensor_drop(&t, &t.items[0]);
    dn_tensor_read(dn_tensors_find(&t, "w"), 0, 6, read);
    assert_memory_equal(read, weights, sizeof read);
    dn_tensors_release(&t);
}

TEST(a_file_without_tensors_is_a_file)
{
    struct dino_error err = {0};
    struct safetensors_writer w;
    struct tensors t;
    char path[256];

    snprintf(path, sizeof path, "%s/empty.safetensors", testing_scratch());
    CHECK_OK(dn_safetensors_create(&w, path, &err), err);
    CHECK_OK(dn_safetensors_commit(&w, &err), err);
    CHECK_OK(dn_tensors_open(&t, path, &err), err);
    CHECK(t.count == 0 && !dn_tensors_find(&t, "w"));
    dn_tensors_release(&t);
}

TEST(an_unfinished_file_is_not_committed)
{
    struct dino_error err = {0};
    struct safetensors_writer w;
    char path[256];

    snprintf(path, sizeof path, "%s/unfinished.safetensors", testing_scratch());
    CHECK_OK(dn_safetensors_create(&w, path, &err), err);
    CHECK_OK(dn_safetensors_declare(&w, "w", DINO_F32, (int64_t[]){2}, 1, &err), err);
    CHECK_OK(dn_safetensors_write(&w, "1234", 4, &err), err);
    CHECK(!dn_safetensors_commit(&w, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "4 bytes written, 8 declared"));
    CHECK(!dn_exists(path));
}

TEST(absurd_headers_are_refused_each_with_its_line)
{
    uint8_t huge[16] = {0, 0, 0, 0, 0, 0, 0, 0x10, '{', '}'};
    struct dino_error err = {0};
    struct tensors t;

    CHECK(!dn_tensors_open_bytes(&t, (struct span){huge, sizeof huge}, "x", &err));
    assert_string_equal(err.message,
                        "x: safetensors header of 1152921504606846976 bytes, 8 bytes follow "
                        "and at most 100000000 are sensible");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1152921504606846976],"
           "\"data_offsets\":[0,4611686018427387904]}}",
           8, "x: tensor 'a' lies at [0, 4611686018427387904), outside the 8 bytes of data");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1152921504606846976,16],"
           "\"data_offsets\":[0,8]}}",
           8, "x: tensor 'a' has 8 bytes, which does not fit its shape and dtype");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8,
           "x: tensor 'a' has a bad shape, wanted at most 8 sizes, none negative");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
           4, "x: tensor 'a' has a bad shape, wanted at most 8 sizes, none negative");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8,
           "x: tensor 'a' has bad data_offsets, wanted two numbers, none negative");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8,
           "x: tensor 'a' lies at [8, 0), outside the 8 bytes of data");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
           "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
           12, "x: tensors 'a' and 'b' overlap");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
           "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
           12, "x: 4 bytes before tensor 'b' belong to none");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5,
           "x: 5 bytes of data, 4 by the header");
    refuse("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
           "x: tensor 'a' has dtype F8_E4M3, wanted F32, F16, BF16, F64, an integer or BOOL");
    refuse("{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
           "x: tensor 'a' has dtype missing, wanted F32, F16, BF16, F64, an integer or BOOL");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1e0],\"data_offsets\":[0,4]}}", 4,
           "x: tensor 'a' has a bad shape, wanted at most 8 sizes, none negative");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, "x: __metadata__ 'a' is no string");
    refuse("{\"__metadata__\":[]}", 0, "x: __metadata__ is no object");
    refuse("{\"a\":1,\"a\":2}", 0,
           "x: bad JSON in line 1, column 10: duplicate object key near '\"a\"'");
    refuse("{\"a\":{}", 0, "x: bad JSON in line 1, column 7: '}' expected near end of file");
}

TEST(a_deep_header_is_refused)
{
    struct dino_error err = {0};
    struct tensors t;
    size_t depth = 100000;
    char *header = malloc(6 * depth + 1);

    for (size_t i = 0; i < depth; i++)
        memcpy(header + 5 * i, "{\"a\":", 5);
    memset(header + 5 * depth, '}', depth);
    header[6 * depth] = 0;
    struct span file = make(header, 0);
    CHECK(!dn_tensors_open_bytes(&t, file, "x", &err));
    CHECK(strstr(err.message, "maximum parsing depth reached"));
    free(header);
    free((void *)(uintptr_t)file.data);
}

TEST(a_file_cut_anywhere_is_refused)
{
    struct span file =
        make("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
    struct tensors t;

    for (size_t size = 0; size < file.size; size++) {
        struct dino_error err = {0};
        uint8_t *cut = malloc(size ? size : 1);
        memcpy(cut, file.data, size);
        CHECK(!dn_tensors_open_bytes(&t, (struct span){cut, size}, "x", &err));
        CHECK(err.code == DINO_EFORMAT && err.message[0]);
        free(cut);
    }
    free((void *)(uintptr_t)file.data);
}

TEST(what_is_no_checkpoint_is_told_apart)
{
    static const struct {
        const char *bytes, *message;
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\noid",
         "x: is a Git LFS pointer, not the file itself; wanted safetensors, .pth or .npy"},
        {"<!DOCTYPE html>", "x: is a web page or XML; wanted safetensors, .pth or .npy"},
        {"\x80\x04N.", "x: is a Python pickle, but not one of torch.save; wanted safetensors, "
                       ".pth or .npy"},
        {"\x89PNG\r\n\x1a\n....", "x: is no checkpoint: begins with 89 50 4e 47 0d 0a 1a 0a; "
                                  "wanted safetensors, .pth or .npy"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dino_error err = {0};
        struct tensors t;
        struct span file = {(const uint8_t *)cases[i].bytes, strlen(cases[i].bytes)};
        CHECK(!dn_tensors_open_bytes(&t, file, "x", &err));
        assert_string_equal(err.message, cases[i].message);
    }
}
