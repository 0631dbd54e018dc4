/* config.json, preprocessor_config.json and the index of shards. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "format/config.h"

TEST(a_backbones_config_is_read)
{
    struct dino_error err = {0};
    struct hf_config c;

    CHECK_OK(dn_hf_config_parse(
                 &c,
                 "{\"model_type\": \"dinov2_with_registers\", \"hidden_size\": 384, "
                 "\"num_hidden_layers\": 12, \"num_attention_heads\": 6, \"mlp_ratio\": 4, "
                 "\"image_size\": [518, 532], \"patch_size\": [14, 14], \"num_channels\": 3, "
                 "\"num_register_tokens\": 2, \"layer_norm_eps\": 1e-5, \"use_swiglu_ffn\": "
                 "true, \"qkv_bias\": false, \"hidden_act\": \"silu\", \"intermediate_size\": "
                 "null, \"unknown\": [{}], \"architectures\": [\"Dinov2Model\"]}",
                 "config.json", &err),
             err);
    assert_string_equal(c.model_type, "dinov2_with_registers");
    assert_string_equal(c.activation, "silu");
    CHECK(c.registers_class && !c.classifier && c.swiglu && !c.qkv_bias);
    CHECK(c.hidden_size == 384 && c.layers == 12 && c.heads == 6 && c.patch == 14);
    CHECK(c.image_height == 518 && c.image_width == 532 && c.channels == 3);
    CHECK(c.registers == 2 && c.intermediate_size == 0 && c.label_count == 0);
    CHECK(c.mlp_ratio == 4 && c.norm_eps == 1e-5);
    dn_hf_config_release(&c);
}

TEST(absent_fields_have_their_classes_defaults)
{
    struct dino_error err = {0};
    struct hf_config c;

    CHECK_OK(dn_hf_config_parse(&c, "{}", "x", &err), err);
    CHECK(c.norm_eps == 1e-6 && c.qkv_bias && !c.swiglu && c.registers == 0 &&
          !c.model_type[0]);
    assert_string_equal(c.activation, "gelu");
    CHECK_OK(dn_hf_config_parse(&c, "{\"model_type\":\"dinov2_with_registers\"}", "x", &err),
             err);
    CHECK(c.registers == 4 && c.registers_class);
}

TEST(labels_are_ordered_by_their_numbers)
{
    struct dino_error err = {0};
    struct hf_config c;

    CHECK_OK(dn_hf_config_parse(&c,
                                "{\"architectures\":[\"Dinov2ForImageClassification\"],"
                                "\"id2label\":{\"10\":\"ten\",\"9\":\"nine\",\"0\":\"zero\"}}",
                                "x", &err),
             err);
    CHECK(c.classifier && c.label_count == 11 && !c.labels[5]);
    assert_string_equal(c.labels[0], "zero");
    assert_string_equal(c.labels[9], "nine");
    assert_string_equal(c.labels[10], "ten");
    dn_hf_config_release(&c);
}

TEST(fields_of_a_wrong_type_are_refused_by_name)
{
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"[]", "x: JSON is no object"},
        {"", "x: bad JSON in line 1, column 0: '[' or '{' expected near end of file"},
        {"{\"hidden_size\":\"a\"}", "x: 'hidden_size' is not a sensible whole number"},
        {"{\"hidden_size\":-1}", "x: 'hidden_size' is not a sensible whole number"},
        {"{\"hidden_size\":1e3}", "x: 'hidden_size' is not a sensible whole number"},
        {"{\"image_size\":[1,2,3]}",
         "x: 'image_size' is not a sensible whole number or a pair of them"},
        {"{\"patch_size\":[14,16]}", "x: patches of 14 x 16, wanted square ones"},
        {"{\"mlp_ratio\":true}", "x: 'mlp_ratio' is not a number"},
        {"{\"layer_norm_eps\":-1}", "x: 'layer_norm_eps' is -1, wanted 0 or more"},
        {"{\"qkv_bias\":1}", "x: 'qkv_bias' is not true or false"},
        {"{\"hidden_act\":\"an activation of no sensible length\"}",
         "x: 'hidden_act' is not a short text"},
        {"{\"architectures\":{}}", "x: 'architectures' is not a list"},
        {"{\"id2label\":[]}", "x: 'id2label' is not an object"},
        {"{\"id2label\":{\"a\":\"b\"}}", "x: 'id2label' is not an object of numbered names"},
        {"{\"id2label\":{\"99999999\":\"b\"}}",
         "x: 'id2label' is not an object of numbered names"},
        {"{\"id2label\":{\"1\":\"b\",\"01\":\"c\"}}",
         "x: 'id2label' is not free of duplicates"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dino_error err = {0};
        struct hf_config c;
        CHECK(!dn_hf_config_parse(&c, cases[i].json, "x", &err));
        assert_string_equal(err.message, cases[i].message);
        CHECK(!c.labels && c.label_count == 0);
    }
}

TEST(every_golden_directory_has_a_config_that_is_understood)
{
    static const char *const names[] = {"tiny_t1_hf", "tiny_t2_hf", "tiny_t3_hf", "tiny_cls_hf",
                                        "tiny_cls_reg_hf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct dino_error err = {0};
        struct tensors t;
        struct hf_config c;
        struct hf_preprocessor p = {0};

        CHECK_OK(dn_tensors_open(&t, testing_golden(names[i]), &err), err);
        CHECK(t.hugging_face && t.config && t.preprocessor);
        CHECK_OK(dn_hf_config_parse(&c, t.config, names[i], &err), err);
        CHECK_OK(dn_hf_preprocessor_parse(&p, t.preprocessor, names[i], &err), err);
        CHECK(c.hidden_size == (i == 2 ? 96 : 64) && c.layers == 4 && c.patch == 14);
        CHECK(c.registers == (i == 1 || i == 4 ? 4 : 0) && c.swiglu == (i == 2));
        CHECK(c.classifier == (i > 2) && c.label_count == (i > 2 ? 10 : 0));
        CHECK(i < 3 || strcmp(c.labels[9], "ostrich, Struthio camelus") == 0);
        CHECK(p.shortest_edge == 256 && p.crop_height == 224 && p.crop_width == 224);
        CHECK(p.mean[0] == 0.485F && p.std[2] == 0.225F);
        dn_hf_config_release(&c);
        dn_tensors_release(&t);
    }
}

static struct hf_preprocessor preprocessor(const char *json)
{
    struct dino_error err = {0};
    struct hf_preprocessor p = {0};
    CHECK_OK(dn_hf_preprocessor_parse(&p, json, "x", &err), err);
    return p;
}

TEST(preprocessors_of_every_style_are_read)
{
    struct hf_preprocessor p = preprocessor("{}");
    CHECK(p.resize && p.center_crop && p.rescale && p.normalize && p.resample == 3);
    CHECK(p.shortest_edge == 224 && p.crop_height == 224 && p.rescale_factor == 1.0 / 255);

    p = preprocessor("{\"size\":{\"height\":300,\"width\":400},\"crop_size\":96,\"resample\":2,"
                     "\"image_mean\":0.5,\"image_std\":[1,2,4],\"do_center_crop\":false}");
    CHECK(p.shortest_edge == 0 && p.size_height == 300 && p.size_width == 400);
    CHECK(p.crop_height == 96 && p.crop_width == 96 && p.resample == 2 && !p.center_crop);
    CHECK(p.mean[2] == 0.5F && p.std[2] == 4);

    p = preprocessor("{\"size\":256,\"crop_size\":{\"height\":10,\"width\":20}}");
    CHECK(p.shortest_edge == 256 && p.crop_height == 10 && p.crop_width == 20);
    p = preprocessor("{\"size\":{\"shortest_edge\":518}}");
    CHECK(p.shortest_edge == 518 && p.size_height == 0);
}

TEST(odd_preprocessors_are_refused_by_name)
{
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{\"size\":{}}", "x: 'size' is not one of shortest_edge or height and width"},
        {"{\"size\":{\"height\":3}}",
         "x: 'size' is not one of shortest_edge or height and width"},
        {"{\"size\":{\"shortest_edge\":3,\"longest_edge\":9}}",
         "x: 'size' asks for a longest_edge"},
        {"{\"size\":\"big\"}", "x: 'size' is not a sensible whole number or an object"},
        {"{\"crop_size\":{\"height\":3}}", "x: 'crop_size' is not a height and a width"},
        {"{\"image_mean\":[1,2]}", "x: 'image_mean' is not a number or three"},
        {"{\"image_std\":0}", "x: 'image_std' is not greater than zero"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dino_error err = {0};
        struct hf_preprocessor p;
        CHECK(!dn_hf_preprocessor_parse(&p, cases[i].json, "x", &err));
        assert_string_equal(err.message, cases[i].message);
    }
}

TEST(an_index_yields_its_distinct_files_sorted)
{
    struct dino_error err = {0};
    char **files;
    size_t count;

    CHECK_OK(dn_hf_index_parse("{\"metadata\":{},\"weight_map\":{\"c\":\"2.st\",\"a\":\"1.st\","
                               "\"b\":\"2.st\"}}",
                               "x", &files, &count, &err),
             err);
    assert_int_equal(count, 2);
    assert_string_equal(files[0], "1.st");
    assert_string_equal(files[1], "2.st");
    free(files[0]);
    free(files[1]);
    free(files);
}

TEST(an_index_cannot_lead_out_of_its_directory)
{
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{\"weight_map\":{\"a\":\"../1.st\"}}",
         "x: tensor 'a' lies in '../1.st', wanted a file name"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}",
         "x: tensor 'a' lies in '/etc/passwd', wanted a file name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "x: tensor 'a' lies in '..', wanted a file name"},
        {"{\"weight_map\":{\"a\":\"\"}}", "x: tensor 'a' lies in '', wanted a file name"},
        {"{\"weight_map\":{\"b\":\"1\",\"a\":3}}",
         "x: tensor 'a' lies in '(no text)', wanted a file name"},
        {"{\"weight_map\":{}}", "x: no 'weight_map' with tensors"},
        {"{}", "x: no 'weight_map' with tensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dino_error err = {0};
        char **files;
        size_t count;
        CHECK(!dn_hf_index_parse(cases[i].json, "x", &files, &count, &err));
        assert_string_equal(err.message, cases[i].message);
    }
}
