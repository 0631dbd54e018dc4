/* Conversions between the golden checkpoints, which exist in both layouts with equal weights.
 */
#include "testing.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const char *in_scratch(const char *name)
{
    static char path[6][256];
    static unsigned number;
    char *to = path[number++ % 6];
    snprintf(to, sizeof path[0], "%s/%s", testing_scratch(), name);
    return to;
}

/* Every tensor of `want` is in `have` bit for bit, and nothing else. */
static void check_same(const char *have, const char *want)
{
    struct tensors x = {0}, y = {0};
    struct dino_error err = {0};

    CHECK_OK(dn_tensors_open(&x, have, &err), err);
    CHECK_OK(dn_tensors_open(&y, want, &err), err);
    for (size_t i = 0; i < y.count; i++) {
        const struct dino_tensor *u = &y.items[i], *t = dn_tensors_find(&x, u->name);
        if (!t)
            fail_msg("%s: no %s", have, u->name);
        size_t count = (size_t)dn_tensor_elements(u);
        float *p = malloc(count * sizeof *p), *q = malloc(count * sizeof *q);
        CHECK(t->dims == u->dims && t->dtype == u->dtype);
        for (int d = 0; d < t->dims; d++)
            CHECK(t->shape[d] == u->shape[d]);
        dn_tensor_read(t, 0, count, p);
        dn_tensor_read(u, 0, count, q);
        CHECK(memcmp(p, q, count * sizeof *p) == 0);
        free(p);
        free(q);
    }
    if (x.count != y.count)
        fail_msg("%s: %zu tensors, wanted %zu", have, x.count, y.count);
    dn_tensors_release(&x);
    dn_tensors_release(&y);
}

static void convert(const char *from, const char *to, int heads)
{
    struct dino_convert_options options = {.dtype = DINO_AUTO, .heads = heads};
    struct dino_error err = {0};
    CHECK_OK(dino_convert(from, to, &options, NULL, &err), err);
}

TEST(every_official_file_becomes_the_hugging_face_file)
{
    static const struct {
        const char *from, *to;
        int heads;
    } pairs[] = {
        {"tiny_t1.pth", "tiny_t1_hf", 4},         {"tiny_t2.pth", "tiny_t2_hf", 4},
        {"tiny_t3.pth", "tiny_t3_hf", 6}, /* chunked names, SwiGLU */
        {"tiny_t1_teacher.pth", "tiny_t1_hf", 4}, {"tiny_t1_views.pth", "tiny_t1_hf", 4},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char name[32];
        snprintf(name, sizeof name, "hf-%zu", i);
        convert(testing_golden(pairs[i].from), in_scratch(name), pairs[i].heads);
        check_same(in_scratch(name), testing_golden(pairs[i].to));
    }
}

TEST(every_hugging_face_file_becomes_the_official_file)
{
    convert(testing_golden("tiny_t1_hf"), in_scratch("t1.pth"), 0);
    check_same(in_scratch("t1.pth"), testing_golden("tiny_t1.pth"));
    convert(testing_golden("tiny_t2_hf"), in_scratch("t2.pth"), 0);
    check_same(in_scratch("t2.pth"), testing_golden("tiny_t2.pth"));

    /* t3 has chunked names; ours are whole: there and back through Hugging Face is the check */
    convert(testing_golden("tiny_t3_hf"), in_scratch("t3.pth"), 0);
    convert(in_scratch("t3.pth"), in_scratch("t3-hf"), 6);
    check_same(in_scratch("t3-hf"), testing_golden("tiny_t3_hf"));
}

TEST(stored_sixteen_bits_stay_sixteen_bits)
{
    convert(testing_golden("tiny_t1_fp16.pth"), in_scratch("fp16.pth"), 4);
    check_same(in_scratch("fp16.pth"), testing_golden("tiny_t1_fp16.pth"));
}

static void check_labels(const char *have, const char *want)
{
    json_t *a = json_load_file(have, 0, NULL), *b = json_load_file(want, 0, NULL);
    CHECK(a && b);
    CHECK(json_equal(json_object_get(a, "id2label"), json_object_get(b, "id2label")));
    CHECK(json_equal(json_object_get(a, "label2id"), json_object_get(b, "label2id")));
    CHECK(json_equal(json_object_get(a, "architectures"), json_object_get(b, "architectures")));
    json_decref(a);
    json_decref(b);
}

static void round_trip(const char *classifier, const char *stem)
{
    char backbone[64], head[64], labels[64], folder[64], from[128];
    struct dino_error err = {0};

    snprintf(backbone, sizeof backbone, "%s_pretrain.pth", stem);
    snprintf(head, sizeof head, "%s_linear_head.pth", stem);
    snprintf(labels, sizeof labels, "%s_labels.txt", stem);
    snprintf(folder, sizeof folder, "%s_again", stem);
    convert(testing_golden(classifier), in_scratch(backbone), 0);
    CHECK(dn_exists(in_scratch(head)) && dn_exists(in_scratch(labels)));

    struct dino_convert_options options = {
        .dtype = DINO_AUTO, .heads = 4, .head = in_scratch(head), .labels = in_scratch(labels)};
    CHECK_OK(dino_convert(in_scratch(backbone), in_scratch(folder), &options, NULL, &err), err);
    check_same(in_scratch(folder), testing_golden(classifier));
    snprintf(from, sizeof from, "%s/config.json", classifier);
    snprintf(folder, sizeof folder, "%s_again/config.json", stem);
    check_labels(in_scratch(folder), testing_golden(from));
}

TEST(a_classifier_becomes_backbone_head_and_labels_and_back)
{
    round_trip("tiny_cls_hf", "cls");
    round_trip("tiny_cls_reg_hf", "cls_reg");
}

TEST(a_head_on_four_layers_is_no_hugging_face_classifier)
{
    struct dino_convert_options options = {.heads = 4};
    struct dino_error err = {0};

    options.head = testing_golden("tiny_t1_linear4_head.pth");
    CHECK(
        !dino_convert(testing_golden("tiny_t1.pth"), in_scratch("four"), &options, NULL, &err));
    CHECK(err.code == DINO_EUNSUPPORTED && strstr(err.message, "4 class tokens"));
}

TEST(a_head_or_labels_that_do_not_fit_are_refused)
{
    struct dino_convert_options options = {.heads = 6};
    struct dino_error err = {0};

    options.head = testing_golden("tiny_t1_linear_head.pth");
    CHECK(!dino_convert(testing_golden("tiny_t3.pth"), in_scratch("wrong"), &options, NULL,
                        &err));
    CHECK(err.code == DINO_EFORMAT && strstr(err.message, "does not fit"));

    const char *path = in_scratch("two.txt");
    FILE *file = fopen(path, "w");
    fputs("cat\ndog\n", file);
    fclose(file);
    options.heads = 4;
    options.labels = path;
    CHECK(!dino_convert(testing_golden("tiny_t1.pth"), in_scratch("wrong"), &options, NULL,
                        &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "2 labels, but the head has 1000"));
    options.head = NULL;
    CHECK(!dino_convert(testing_golden("tiny_t1.pth"), in_scratch("wrong"), &options, NULL,
                        &err));
    CHECK(strstr(err.message, "without a head"));
}
