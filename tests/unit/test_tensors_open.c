/* What a path may be: a file, a directory of one file or of shards, an index, or nothing. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/safetensors.h"

/* dir/name under this test's own folder of the scratch directory; four at a time. */
static const char *place(const char *dir, const char *name)
{
    static char paths[4][300];
    static unsigned next;
    struct dino_error err = {0};
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s/%s", testing_scratch(), dir, name);
    CHECK_OK(dn_make_parents(path, &err), err);
    return path;
}

static void write_text(const char *path, const char *text)
{
    struct dino_error err = {0};
    struct output out;

    CHECK_OK(dn_output_open(&out, path, &err), err);
    CHECK_OK(dn_output_write(&out, text, strlen(text), &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
}

/* A file of one tensor of one value. */
static void write_tensor(const char *path, const char *name, float value)
{
    struct dino_error err = {0};
    struct safetensors_writer w;

    CHECK_OK(dn_safetensors_create(&w, path, &err), err);
    CHECK_OK(dn_safetensors_declare(&w, name, DINO_F32, NULL, 0, &err), err);
    CHECK_OK(dn_safetensors_write(&w, &value, sizeof value, &err), err);
    CHECK_OK(dn_safetensors_commit(&w, &err), err);
}

static void expect(const struct tensors *t, const char *name, float value)
{
    float *read = testing_tensor(t, name, NULL);
    CHECK(*read == value);
    free(read);
}

static void refuse(const char *path, enum dino_code code, const char *end_of_message)
{
    struct dino_error err = {0};
    struct tensors t;

    if (dn_tensors_open(&t, path, &err))
        fail_msg("opened: %s", path);
    CHECK(err.code == code && strncmp(err.message, path, strlen(path)) == 0);
    assert_string_equal(err.message + strlen(path), end_of_message);
}

TEST(a_file_alone_has_no_side_texts_unless_its_name_says_so)
{
    struct dino_error err = {0};
    struct tensors t;

    write_text(place("alone", "config.json"), "{}");
    write_tensor(place("alone", "other.safetensors"), "x", 1);
    write_tensor(place("alone", "model.safetensors"), "x", 2);
    CHECK_OK(dn_tensors_open(&t, place("alone", "other.safetensors"), &err), err);
    CHECK(!t.hugging_face && !t.config && !t.preprocessor);
    expect(&t, "x", 1);
    dn_tensors_release(&t);
    CHECK_OK(dn_tensors_open(&t, place("alone", "model.safetensors"), &err), err);
    CHECK(t.hugging_face && strcmp(t.config, "{}") == 0 && !t.preprocessor);
    expect(&t, "x", 2);
    dn_tensors_release(&t);
    CHECK_OK(dn_tensors_open(&t, place("alone", ""), &err), err);
    CHECK(t.hugging_face && t.map_count == 1);
    dn_tensors_release(&t);
}

TEST(a_file_in_the_current_directory_opens)
{
    struct dino_error err = {0};
    struct tensors t;
    char here[500];

    write_text(place("here", "config.json"), "{}");
    write_tensor(place("here", "model.safetensors"), "x", 1);
    CHECK(getcwd(here, sizeof here) && chdir(place("here", "")) == 0);
    bool ok = dn_tensors_open(&t, "model.safetensors", &err);
    CHECK(chdir(here) == 0);
    CHECK_OK(ok, err);
    CHECK(t.hugging_face);
    dn_tensors_release(&t);
}

TEST(shards_open_by_directory_and_by_index)
{
    struct dino_error err = {0};
    struct tensors t;

    write_text(place("shards", "config.json"), "{}");
    write_text(place("shards", "model.safetensors.index.json"),
               "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"}}");
    write_tensor(place("shards", "m-1.safetensors"), "a", 1);
    write_tensor(place("shards", "m-2.safetensors"), "b", 2);
    for (int i = 0; i < 2; i++) {
        const char *path = place("shards", i ? "model.safetensors.index.json" : "");
        CHECK_OK(dn_tensors_open(&t, path, &err), err);
        CHECK(t.hugging_face && t.map_count == 2 && t.count == 2);
        expect(&t, "a", 1);
        expect(&t, "b", 2);
        dn_tensor_drop(&t, dn_tensors_find(&t, "b"));
        expect(&t, "b", 2);
        dn_tensors_release(&t);
    }
}

TEST(shards_that_are_missing_or_repeat_a_tensor_are_refused)
{
    write_text(place("torn", "model.safetensors.index.json"),
               "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"}}");
    write_tensor(place("torn", "m-1.safetensors"), "a", 1);
    refuse(place("torn", ""), DINO_EIO, "m-2.safetensors: No such file or directory");
    write_tensor(place("torn", "m-2.safetensors"), "a", 2);
    refuse(place("torn", ""), DINO_EFORMAT, "m-2.safetensors: tensor 'a' is there twice");
}

TEST(a_directory_of_pytorch_files_opens)
{
    struct dino_error err = {0};
    struct tensors t;
    uint8_t *bytes;
    size_t size;
    struct output out;

    CHECK_OK(dn_read_all(testing_data("bare.pth"), 1 << 20, &bytes, &size, &err), err);
    CHECK_OK(dn_output_open(&out, place("bin", "pytorch_model.bin"), &err), err);
    CHECK_OK(dn_output_write(&out, bytes, size, &err), err);
    CHECK_OK(dn_output_commit(&out, &err), err);
    free(bytes);
    write_text(place("bin", "config.json"), "{}");
    CHECK_OK(dn_tensors_open(&t, place("bin", ""), &err), err);
    CHECK(t.hugging_face && t.kind == TENSORS_PTH_ZIP && t.count == 1);
    dn_tensors_release(&t);
}

TEST(what_cannot_be_opened_is_named)
{
    write_text(place("empty", "config.json"), "{}");
    refuse(place("empty", ""), DINO_EFORMAT,
           ": no model.safetensors, pytorch_model.bin or index of shards in this directory");
    refuse(place("nowhere", "x.pth"), DINO_EIO, ": No such file or directory");
    write_text(place("texts", "x.pth"), "");
    refuse(place("texts", "x.pth"), DINO_EFORMAT, ": is empty");
    write_text(place("texts", "y.pth"), "hello world");
    refuse(place("texts", "y.pth"), DINO_EFORMAT,
           ": is no checkpoint: begins with 68 65 6c 6c 6f 20 77 6f; wanted safetensors, .pth "
           "or .npy");
}

TEST(a_thousand_tensors_are_found_each)
{
    struct dino_error err = {0};
    struct safetensors_writer w;
    struct tensors t;
    char name[40];

    CHECK_OK(dn_safetensors_create(&w, place("many", "x.safetensors"), &err), err);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "blocks.%d.weight", i);
        CHECK_OK(dn_safetensors_declare(&w, name, DINO_I32, NULL, 0, &err), err);
    }
    for (int32_t i = 0; i < 1000; i++)
        CHECK_OK(dn_safetensors_write(&w, &i, sizeof i, &err), err);
    CHECK_OK(dn_safetensors_commit(&w, &err), err);
    CHECK_OK(dn_tensors_open(&t, place("many", "x.safetensors"), &err), err);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "blocks.%d.weight", i);
        expect(&t, name, (float)i);
        snprintf(name, sizeof name, "blocks.%d.bias", i);
        CHECK(!dn_tensors_find(&t, name));
    }
    dn_tensors_release(&t);
}

TEST(strided_tensors_are_read_in_any_pieces)
{
    float values[3000], all[2400], piece[2400];

    for (int i = 0; i < 3000; i++)
        values[i] = (float)i;
    struct dino_tensor tensor = {
        .name = "x",
        .dims = 3,
        .shape = {2, 1200, 1},
        .stride = {1, 2, 7},
        .data = values + 100,
        .bytes = 2400 * sizeof *values,
    };
    dn_tensor_read(&tensor, 0, 2400, all);
    for (int i = 0; i < 2400; i++)
        CHECK(all[i] == (float)(100 + i / 1200 + 2 * (i % 1200)));
    for (size_t first = 0; first < 2400; first += 97)
        for (size_t count = 0; first + count <= 2400; count += 331) {
            dn_tensor_read(&tensor, first, count, piece);
            assert_memory_equal(piece, all + first, count * sizeof *piece);
        }
}
