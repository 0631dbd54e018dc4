/* The model room's doors: names, shapes, broken checkpoints, misuse. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "model/model.h"
#include "model/params.h"
#include "testing.h"

static const struct vit_config small = {
    .dim = 64,
    .depth = 2,
    .heads = 1,
    .hidden = 128,
    .patch = 14,
    .channels = 3,
    .registers = 2,
    .grid_rows = 3,
    .grid_cols = 3,
    .ffn = DINO_FFN_MLP,
    .positions = DINO_POSITIONS_ANTIALIAS,
    .norm_eps = 1e-6F,
    .layer_scale = true,
    .mask_token = true,
    .qkv_bias = true,
    .proj_bias = true,
    .ffn_bias = true,
};

/* How a written checkpoint differs from a sound one. */
struct spoil {
    enum naming naming;
    const char *prefix;
    enum param missing, reshaped; /* PARAM_COUNT: none */
    bool integers, nan;
};

static const struct spoil sound = {
    .prefix = "", .missing = PARAM_COUNT, .reshaped = PARAM_COUNT};

/* Step through all parts of all parameters; false at the end. */
static bool next_part(const struct vit_config *c, enum naming naming, struct param_ref *ref)
{
    ref->parts = dn_param_parts(naming, ref->param);
    if (++ref->part < ref->parts)
        return true;
    ref->part = 0;
    return dn_param_next(c, ref);
}

static void declare_all(struct safetensors_writer *w, const struct vit_config *c,
                        struct spoil spoil)
{
    struct param_ref ref = dn_param_first();

    do {
        char name[128], full[192];
        int64_t shape[4];
        int dims = dn_param_shape(c, ref.param, shape);
        shape[0] /= dn_param_parts(spoil.naming, ref.param);
        if (ref.param == spoil.missing)
            continue;
        if (ref.param == spoil.reshaped)
            shape[dims - 1]++;
        dn_param_name(spoil.naming, ref, name);
        snprintf(full, sizeof full, "%s%s", spoil.prefix, name);
        CHECK(dn_safetensors_declare(w, full, spoil.integers ? DINO_I32 : DINO_F32, shape, dims,
                                     NULL));
    } while (next_part(c, spoil.naming, &ref));
}

static void write_all(struct safetensors_writer *w, const struct vit_config *c,
                      struct spoil spoil)
{
    struct param_ref ref = dn_param_first();

    do {
        int64_t shape[4], last = 0;
        int dims = dn_param_shape(c, ref.param, shape);
        size_t parts = (size_t)dn_param_parts(spoil.naming, ref.param);
        size_t share = dn_param_elements(c, ref.param) / parts;
        if (ref.param == spoil.missing)
            continue;
        if (ref.param == spoil.reshaped)
            last = (int64_t)share / shape[dims - 1];
        float *values = calloc(share + (size_t)last, sizeof *values);
        dn_param_formula(c, ref, 1, (size_t)ref.part * share, share, values);
        if (spoil.nan && ref.param == PARAM_NORM_WEIGHT)
            values[3] = NAN;
        CHECK(dn_safetensors_write(w, values, (share + (size_t)last) * sizeof *values, NULL));
        free(values);
    } while (next_part(c, spoil.naming, &ref));
}

static const char *write_checkpoint(const struct vit_config *c, struct spoil spoil)
{
    static char path[128];
    struct safetensors_writer w;

    snprintf(path, sizeof path, "%s/model.safetensors", testing_scratch());
    CHECK(dn_safetensors_create(&w, path, NULL));
    declare_all(&w, c, spoil);
    write_all(&w, c, spoil);
    CHECK(dn_safetensors_commit(&w, NULL));
    return path;
}

static void expect_refusal(const char *path, const struct dino_model_options *options,
                           const char *part)
{
    struct dino_error err = {0};
    struct dino_model *model = dino_model_open(path, options, &err);

    CHECK(!model);
    if (!strstr(err.message, part))
        fail_msg("'%s' says nothing of '%s'", err.message, part);
}

TEST(every_name_of_every_naming_is_read_back_as_what_it_names)
{
    struct vit_config c = small;

    for (int naming = 0; naming < NAMING_COUNT; naming++)
        for (int ffn = DINO_FFN_MLP; ffn <= DINO_FFN_SWIGLU; ffn++) {
            c.ffn = (enum dino_ffn)ffn;
            if (naming == NAMING_TIMM && ffn == DINO_FFN_SWIGLU)
                continue; /* timm names both kinds alike */
            struct param_ref ref = dn_param_first(), back;
            do {
                char name[128];
                dn_param_name((enum naming)naming, ref, name);
                CHECK(dn_param_parse((enum naming)naming, name, &back));
                CHECK(back.param == ref.param && back.block == ref.block &&
                      back.part == ref.part);
            } while (next_part(&c, (enum naming)naming, &ref));
        }
}

TEST(names_that_only_look_like_parameters_are_not_read)
{
    static const char *const names[] = {
        "blocks.x.norm1.weight", "blocks.1.norm1.weights",         "blocks.", "", "norm",
        "blocks.1.norm1",        "blocks.99999999999.norm1.weight"};
    struct param_ref ref;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(!dn_param_parse(NAMING_OFFICIAL, names[i], &ref));
    CHECK(dn_param_parse(NAMING_OFFICIAL, "blocks.3.17.norm1.weight", &ref));
    CHECK(ref.block == 17);
}

TEST(the_architecture_is_read_from_the_shapes_whatever_the_names)
{
    static const char *const prefixes[] = {"", "dinov2.", "", ""};
    struct dino_error err = {0};

    for (int naming = NAMING_OFFICIAL; naming <= NAMING_TIMM; naming++) {
        struct spoil as = sound;
        struct vit_config c = small;
        as.naming = (enum naming)naming;
        as.prefix = prefixes[naming];
        c.mask_token = naming != NAMING_TIMM;
        struct dino_model *model = dino_model_open(write_checkpoint(&c, as), NULL, &err);
        CHECK_OK(model, err);
        const struct dino_model_info *info = dino_model_info(model);
        CHECK(info->dim == 64 && info->depth == 2 && info->heads == 1 && info->hidden == 128);
        CHECK(info->registers == 2 && info->grid_rows == 3 && info->patch == 14);
        CHECK(info->parameters == dn_vit_config_parameters(&c));
        CHECK(info->bad_values == 0);
        dino_model_free(model);
    }
}

TEST(the_teacher_is_taken_where_a_file_holds_student_and_teacher)
{
    struct dino_error err = {0};
    struct safetensors_writer w;
    struct spoil student = sound, teacher = sound;
    char path[128];

    snprintf(path, sizeof path, "%s/both.safetensors", testing_scratch());
    student.prefix = "student.backbone.";
    student.nan = true; /* to tell them apart */
    teacher.prefix = "teacher.backbone.";
    CHECK(dn_safetensors_create(&w, path, NULL));
    declare_all(&w, &small, student);
    declare_all(&w, &small, teacher);
    write_all(&w, &small, student);
    write_all(&w, &small, teacher);
    CHECK(dn_safetensors_commit(&w, NULL));
    struct dino_model *model = dino_model_open(path, NULL, &err);
    CHECK_OK(model, err);
    CHECK(dino_model_info(model)->bad_values == 0);
    dino_model_free(model);
}

TEST(a_missing_tensor_is_named)
{
    struct spoil spoil = sound;

    spoil.missing = PARAM_FC2_BIAS;
    expect_refusal(write_checkpoint(&small, spoil), NULL, "mlp.fc");
    spoil.missing = PARAM_PROJ_WEIGHT;
    expect_refusal(write_checkpoint(&small, spoil), NULL,
                   "blocks.0.attn.proj.weight is missing");
    spoil.missing = PARAM_CLS_TOKEN;
    expect_refusal(write_checkpoint(&small, spoil), NULL, "cls_token");
}

TEST(a_tensor_of_the_wrong_shape_or_type_is_named_with_what_was_wanted)
{
    struct spoil spoil = sound;

    spoil.reshaped = PARAM_QKV_WEIGHT;
    expect_refusal(write_checkpoint(&small, spoil), NULL, "wanted [192, 64]");
    spoil = sound;
    spoil.reshaped = PARAM_POS_EMBED;
    expect_refusal(write_checkpoint(&small, spoil), NULL, "wanted [1, 10, 64]");
    spoil = sound;
    spoil.integers = true;
    expect_refusal(write_checkpoint(&small, spoil), NULL, "is int32");
}

TEST(nan_weights_are_counted_not_hidden)
{
    struct dino_error err = {0};
    struct spoil spoil = sound;

    spoil.nan = true;
    struct dino_model *model = dino_model_open(write_checkpoint(&small, spoil), NULL, &err);
    CHECK_OK(model, err);
    CHECK(dino_model_info(model)->bad_values == 1);
    dino_model_free(model);
}

TEST(a_width_that_is_no_multiple_of_64_asks_for_the_heads)
{
    struct dino_error err = {0};
    struct vit_config c = small;

    c.dim = 96;
    expect_refusal(write_checkpoint(&c, sound), NULL, "heads");
    struct dino_model *model = dino_model_open(write_checkpoint(&c, sound),
                                               &(struct dino_model_options){.heads = 6}, &err);
    CHECK_OK(model, err);
    dino_model_free(model);
    expect_refusal(write_checkpoint(&c, sound), &(struct dino_model_options){.heads = 7},
                   "multiple of 7 heads");
}

static const char *write_head(int64_t classes, int64_t width, int64_t biases)
{
    static char path[128];
    struct safetensors_writer w;
    int64_t shape[2] = {classes, width};

    snprintf(path, sizeof path, "%s/head.safetensors", testing_scratch());
    float *zeros = calloc((size_t)(classes * width + biases), sizeof *zeros);
    CHECK(dn_safetensors_create(&w, path, NULL));
    CHECK(dn_safetensors_declare(&w, "weight", DINO_F32, shape, 2, NULL));
    CHECK(dn_safetensors_declare(&w, "bias", DINO_F32, &biases, 1, NULL));
    CHECK(dn_safetensors_write(&w, zeros, (size_t)(classes * width + biases) * 4, NULL));
    CHECK(dn_safetensors_commit(&w, NULL));
    free(zeros);
    return path;
}

TEST(a_head_that_does_not_fit_is_refused)
{
    const char *model = write_checkpoint(&small, sound);
    struct dino_model_options options = {0};

    options.head = write_head(5, 100, 5);
    expect_refusal(model, &options, "does not fit a backbone of width 64");
    options.head = write_head(5, 64, 5);
    expect_refusal(model, &options, "does not fit");
    options.head = write_head(5, 128, 4);
    expect_refusal(model, &options, "as many biases");
    options.head = model;
    expect_refusal(model, &options, "no linear head");
}

static const char *write_text(const char *text)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/labels.txt", testing_scratch());
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    return path;
}

TEST(labels_come_one_a_line_or_as_the_official_list)
{
    struct dino_error err = {0};
    const char *model = write_checkpoint(&small, sound);
    struct dino_model_options options = {.head = write_head(3, 128, 3)};

    options.labels = write_text("n01440764,tench\nn01443537,goldfish\r\nplain name\n");
    struct dino_model *m = dino_model_open(model, &options, &err);
    CHECK_OK(m, err);
    assert_string_equal(dino_model_label(m, 0), "tench");
    assert_string_equal(dino_model_label(m, 1), "goldfish");
    assert_string_equal(dino_model_label(m, 2), "plain name");
    CHECK(!dino_model_label(m, 3) && !dino_model_label(m, -1));
    dino_model_free(m);
    options.labels = write_text("one\ntwo\n");
    expect_refusal(model, &options, "2 labels, the head has 3 classes");
    options.labels = write_text("");
    expect_refusal(model, &options, "empty");
    options.labels = "/nowhere/labels.txt";
    expect_refusal(model, &options, "/nowhere/labels.txt");
}

TEST(misuse_of_a_session_is_answered_and_leaves_it_usable)
{
    struct dino_error err = {0};
    static float planes[3 * 42 * 42];
    static uint8_t pixels[3 * 42 * 42];
    struct dino_model *m = dino_model_open(write_checkpoint(&small, sound), NULL, &err);
    CHECK_OK(m, err);
    struct dino_session *s = dino_session_new(m, NULL, &err);
    CHECK_OK(s, err);
    struct dino_input good = {.planes = planes, .height = 42, .width = 28}, bad = good;

    CHECK(!dino_run(s, &good, 0, NULL, &err));
    bad.height = 41;
    CHECK(!dino_run(s, &bad, 1, NULL, &err) &&
          strstr(err.message, "no multiples of the patch"));
    bad = good;
    bad.pixels = pixels;
    CHECK(!dino_run(s, &bad, 1, NULL, &err) && strstr(err.message, "one of them"));
    CHECK(!dino_run(s, &good, 1, &(struct dino_request){.logits = true}, &err));
    CHECK(strstr(err.message, "no classification head"));
    static const int twice[] = {1, 1}, far[] = {2};
    CHECK(!dino_run(s, &good, 1, &(struct dino_request){.layers = twice, .layer_count = 2},
                    &err));
    CHECK(
        !dino_run(s, &good, 1, &(struct dino_request){.layers = far, .layer_count = 1}, &err));
    CHECK(strstr(err.message, "from 0 to 1"));
    CHECK(!dino_result(s, 0));
    CHECK_OK(dino_run(s, &good, 1, NULL, &err), err);
    CHECK(dino_result(s, 0)->rows == 3 && dino_result(s, 0)->cols == 2 && !dino_result(s, 1));
    dino_session_free(s);
    dino_model_free(m);
}

TEST(an_unknown_architecture_or_device_is_named)
{
    struct dino_error err = {0};

    CHECK(!dino_model_formula("vitx14", NULL, &err) && strstr(err.message, "vitx14"));
    CHECK(!dino_model_formula("vits14_", NULL, &err));
    struct dino_model_options options = {.device = "abacus"};
    CHECK(!dino_model_formula("vits14", &options, &err) && strstr(err.message, "abacus"));
}

TEST(the_same_run_gives_the_same_bits)
{
    struct dino_error err = {0};
    static float planes[3 * 56 * 70], first[(1 + 2 + 20) * 64];
    struct dino_model *m = dino_model_open(write_checkpoint(&small, sound), NULL, &err);
    CHECK_OK(m, err);
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++)
        planes[i] = sinf((float)i);
    struct dino_input input = {.planes = planes, .height = 56, .width = 70};
    for (int round = 0; round < 3; round++) {
        struct dino_session *s = dino_session_new(m, NULL, &err);
        CHECK_OK(s, err);
        CHECK_OK(dino_run(s, &input, 1, NULL, &err), err);
        if (round == 0)
            memcpy(first, dino_result(s, 0)->layer[0], sizeof first);
        CHECK(memcmp(first, dino_result(s, 0)->layer[0], sizeof first) == 0);
        dino_session_free(s);
    }
    dino_model_free(m);
}

/* Goes on `left` times. */
static bool count_down(void *context)
{
    int *left = context;

    return --*left >= 0;
}

TEST(a_run_can_be_stopped_anywhere_and_the_session_goes_on)
{
    static float planes[3 * 56 * 70], whole[(1 + 2 + 20) * 64];
    struct dino_error err = {0};
    int left = 1 << 20, asked;
    struct dino_session_options options = {
        .size = sizeof options, .keep_going = count_down, .context = &left};
    struct dino_model *m = dino_model_open(write_checkpoint(&small, sound), NULL, &err);
    struct dino_session *s = dino_session_new(m, &options, &err);
    struct dino_input input = {.planes = planes, .height = 56, .width = 70};

    CHECK_OK(s, err);
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++)
        planes[i] = sinf((float)i);
    CHECK_OK(dino_run(s, &input, 1, NULL, &err), err);
    memcpy(whole, dino_result(s, 0)->layer[0], sizeof whole);
    asked = (1 << 20) - left;
    CHECK(asked > 20); /* 2 blocks of 7 operations, at least */
    for (int stop = 0; stop < asked / 2; stop++) {
        left = stop;
        CHECK(!dino_run(s, &input, 1, NULL, &err) && err.code == DINO_ECANCELLED);
        CHECK(!dino_result(s, 0));
    }
    left = 1 << 20;
    CHECK_OK(dino_run(s, &input, 1, NULL, &err), err);
    CHECK(memcmp(whole, dino_result(s, 0)->layer[0], sizeof whole) == 0);
    dino_session_free(s);
    options.size = 8;
    CHECK(!dino_session_new(m, &options, &err) && err.code == DINO_EARG);
    dino_model_free(m);
}
