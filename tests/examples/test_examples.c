/*
 * The examples of examples/ do what they say, on a drawn scene and a small checkpoint. The
 * expected results were computed by transformers in float64 (tools/example_truth.py).
 */
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/str.h"

/* The folder of drawn scenes, made at the first call. */
static const char *scenes(void)
{
    static char folder[200];
    char command[600];

    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/scenes", testing_scratch());
        snprintf(command, sizeof command, "'%s/draw' '%s'", BUILD_DIR, folder);
        CHECK(system(command) == 0);
    }
    return folder;
}

/* Runs examples/NAME with the rest of its command line; its exit status, and what it printed
 * (heap, ended) in *output. */
static int run(const char *name, const char *arguments, char **output)
{
    const char *printed = "printed";
    char command[2000], path[300];
    size_t size;
    uint8_t *bytes;
    struct str text = {0};

    snprintf(path, sizeof path, "%s/%s", testing_scratch(), printed);
    snprintf(command, sizeof command, "'%s/examples/%s' %s >'%s' 2>'%s.err'", BUILD_DIR, name,
             arguments, path, path);
    int status = system(command);
    CHECK(WIFEXITED(status));
    CHECK(dn_read_all(path, 1 << 24, &bytes, &size, NULL));
    dn_str_add(&text, "");
    dn_str_add_bytes(&text, bytes, size);
    free(bytes);
    *output = text.text;
    return WEXITSTATUS(status);
}

static char *read_text(const char *path)
{
    uint8_t *bytes;
    size_t size;
    struct str text = {0};

    CHECK(dn_read_all(path, 1 << 20, &bytes, &size, NULL));
    dn_str_add_bytes(&text, bytes, size);
    free(bytes);
    return text.text;
}

/* `count` numbers of both texts are as near as f32 and six printed digits allow. */
static void check_numbers(const char *found, const char *wanted, int count)
{
    for (int i = 0; i < count; i++) {
        char *found_end, *wanted_end;
        double a = strtod(found, &found_end), b = strtod(wanted, &wanted_end);
        CHECK(found_end != found && wanted_end != wanted);
        CHECK(a - b < 1e-5 && b - a < 1e-5);
        found = found_end;
        wanted = wanted_end;
    }
}

TEST(show_tensors_lists_every_tensor_with_its_shape)
{
    char arguments[300], *output;
    int lines = 0;

    snprintf(arguments, sizeof arguments, "'%s'", testing_data("tiny_cls_hf"));
    assert_int_equal(run("show_tensors", arguments, &output), 0);
    for (const char *p = output; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 81);
    assert_non_null(strstr(output, "dinov2.embeddings.cls_token f32 1 1 64\n"));
    assert_non_null(strstr(output, "classifier.weight f32 10 128\n"));
    free(output);
}

TEST(one_feature_prints_the_feature_that_transformers_has)
{
    char arguments[600], *output, *wanted = read_text(testing_data("examples/feature.txt"));

    snprintf(arguments, sizeof arguments, "'%s' '%s/scene1.png'", testing_data("tiny_cls_hf"),
             scenes());
    assert_int_equal(run("one_feature", arguments, &output), 0);
    check_numbers(output, wanted, 64);
    free(output);
    free(wanted);
}

TEST(top_labels_names_the_three_classes_that_transformers_names)
{
    char arguments[600], *output, *wanted = read_text(testing_data("examples/labels.txt"));

    snprintf(arguments, sizeof arguments, "'%s' '%s/scene1.png'", testing_data("tiny_cls_hf"),
             scenes());
    assert_int_equal(run("top_labels", arguments, &output), 0);
    assert_string_equal(output, wanted);
    free(output);
    free(wanted);
}

TEST(pca_picture_has_the_colours_that_scikit_learn_gives)
{
    struct dino_error err = {0};
    struct dino_image found = {0}, wanted = {0};
    char arguments[900], path[300], *output;

    snprintf(path, sizeof path, "%s/colours.png", testing_scratch());
    snprintf(arguments, sizeof arguments, "'%s' '%s/scene1.png' '%s'",
             testing_data("tiny_cls_hf"), scenes(), path);
    assert_int_equal(run("pca_picture", arguments, &output), 0);
    CHECK_OK(dino_image_read(&found, path, NULL, &err), err);
    CHECK_OK(dino_image_read(&wanted, testing_data("examples/colours.png"), NULL, &err), err);
    CHECK(found.width == 40 && found.height == 40 && wanted.width == 40);
    for (int i = 0; i < 40 * 40 * 3; i++) /* a rounding of v * 255 may fall the other way */
        CHECK(abs(found.pixels[i] - wanted.pixels[i]) <= 1);
    dino_image_release(&found);
    dino_image_release(&wanted);
    free(output);
}

TEST(many_pictures_prints_a_line_a_picture_in_order)
{
    char arguments[600], *output, *wanted = read_text(testing_data("examples/feature.txt"));
    char name[40], *line;

    snprintf(arguments, sizeof arguments, "'%s' '%s'", testing_data("tiny_cls_hf"), scenes());
    assert_int_equal(run("many_pictures", arguments, &output), 0);
    line = output;
    for (int i = 1; i <= 6; i++) {
        char *end = strchr(line, '\n');
        snprintf(name, sizeof name, "scene%d.png ", i);
        assert_non_null(end);
        *end = 0;
        char *numbers = strstr(line, name);
        assert_non_null(numbers);
        if (i == 1)
            check_numbers(numbers + strlen(name), wanted, 64);
        line = end + 1;
    }
    CHECK(*line == 0);
    free(output);
    free(wanted);
}

TEST(an_example_that_cannot_go_on_says_why_and_fails)
{
    static const char *const names[] = {"show_tensors", "one_feature", "top_labels",
                                        "pca_picture", "many_pictures"};
    static const char *const arguments[] = {"/nowhere/model", "/nowhere/model x",
                                            "/nowhere/model x", "/nowhere/model x y",
                                            "/nowhere/model x"};
    char path[300], *output, *message;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(run(names[i], "", &output), 1);
        snprintf(path, sizeof path, "%s/printed.err", testing_scratch());
        message = read_text(path);
        assert_non_null(strstr(message, "usage: "));
        free(message);
        free(output);
        CHECK(run(names[i], arguments[i], &output) == 1);
        message = read_text(path);
        assert_non_null(strstr(message, "/nowhere/model"));
        free(message);
        free(output);
    }
}
