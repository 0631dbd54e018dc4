/* Conversions of small formula networks: there and back again, and the worst inputs. */
#include "testing.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/half.h"
#include "base/str.h"
#include "format/pth.h"
#include "model/weights.h"

static struct vit_config small(enum dino_ffn ffn, int registers)
{
    return (struct vit_config){.dim = 16,
                               .depth = 2,
                               .heads = 2,
                               .hidden = ffn == DINO_FFN_SWIGLU ? 48 : 64,
                               .patch = 2,
                               .channels = 3,
                               .registers = registers,
                               .grid_rows = 3,
                               .grid_cols = 3,
                               .ffn = ffn,
                               .positions = DINO_POSITIONS_OFFSET,
                               .norm_eps = 1e-6F,
                               .layer_scale = true,
                               .mask_token = true,
                               .qkv_bias = true,
                               .proj_bias = true,
                               .ffn_bias = true};
}

struct source {
    struct vit_config config;
    struct param_ref refs[80];
    struct pth_tensor tensors[80];
    char names[80][128];
    size_t count;
    float factor;
};

static bool fill(void *context, size_t index, struct output *out, struct dino_error *err)
{
    const struct source *s = context;
    size_t count = dn_param_elements(&s->config, s->refs[index].param);
    float *values = malloc(count * sizeof *values);

    dn_param_formula(&s->config, s->refs[index], 5, 0, count, values);
    for (size_t i = 0; i < count; i++)
        values[i] *= s->factor;
    bool ok = dn_output_write(out, values, count * sizeof *values, err);
    free(values);
    return ok;
}

/* An official .pth of this shape in the scratch folder. */
static const char *make_pth(const struct vit_config *config, float factor)
{
    static char path[4][256];
    static unsigned number;
    char *to = path[number++ % 4];
    struct source s = {.config = *config, .factor = factor};
    struct param_ref ref = dn_param_first();
    struct dino_error err = {0};

    do {
        struct pth_tensor *t = &s.tensors[s.count];
        dn_param_name(NAMING_OFFICIAL, ref, s.names[s.count]);
        *t = (struct pth_tensor){.name = s.names[s.count], .dtype = DINO_F32};
        t->dims = dn_param_shape(config, ref.param, t->shape);
        s.refs[s.count++] = ref;
    } while (dn_param_next(config, &ref));
    snprintf(to, sizeof path[0], "%s/made-%u.pth", testing_scratch(), number);
    CHECK_OK(dn_pth_write(to, s.tensors, s.count, fill, &s, &err), err);
    return to;
}

static const char *in_scratch(const char *name)
{
    static char path[6][256];
    static unsigned number;
    char *to = path[number++ % 6];
    snprintf(to, sizeof path[0], "%s/%s", testing_scratch(), name);
    return to;
}

/* Every tensor of a is in b with the same shape and values, rounded through `dtype`. */
static void check_same(const char *a, const char *b, enum dino_dtype dtype)
{
    struct tensors x = {0}, y = {0};
    struct dino_error err = {0};

    CHECK_OK(dn_tensors_open(&x, a, &err), err);
    CHECK_OK(dn_tensors_open(&y, b, &err), err);
    CHECK(x.count == y.count);
    for (size_t i = 0; i < x.count; i++) {
        const struct dino_tensor *t = &x.items[i], *u = dn_tensors_find(&y, t->name);
        if (!u)
            fail_msg("%s: no %s", b, t->name);
        CHECK(u->dims == t->dims && u->dtype == dtype);
        size_t count = (size_t)dn_tensor_elements(t);
        float *p = malloc(count * sizeof *p), *q = malloc(count * sizeof *q);
        uint16_t half;
        CHECK(dn_tensor_elements(u) == (int64_t)count);
        dn_tensor_read(t, 0, count, p);
        dn_tensor_read(u, 0, count, q);
        for (size_t j = 0; j < count && dtype != DINO_F32; j++) {
            dn_from_f32(&half, dtype, &p[j], 1);
            dn_to_f32(&p[j], &half, dtype, 1);
        }
        CHECK(memcmp(p, q, count * sizeof *p) == 0);
        free(p);
        free(q);
    }
    dn_tensors_release(&x);
    dn_tensors_release(&y);
}

static const struct {
    enum dino_ffn ffn;
    int registers;
} SHAPES[] = {{DINO_FFN_MLP, 0}, {DINO_FFN_MLP, 4}, {DINO_FFN_SWIGLU, 0}, {DINO_FFN_SWIGLU, 2}};

TEST(official_to_hugging_face_and_back_changes_no_bit)
{
    struct dino_error err = {0};
    char name[32];

    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        struct vit_config config = small(SHAPES[i].ffn, SHAPES[i].registers);
        const char *pth = make_pth(&config, 1);
        struct dino_convert_options options = {.dtype = DINO_AUTO, .heads = 2};

        snprintf(name, sizeof name, "folder-%zu", i);
        const char *folder = in_scratch(name);
        CHECK_OK(dino_convert(pth, folder, &options, NULL, &err), err);
        struct tensors file = {0};
        CHECK_OK(dn_tensors_open(&file, folder, &err), err);
        struct weights weights;
        CHECK_OK(dn_weights_find(&weights, &file, 0, &err), err);
        CHECK(weights.config.heads == 2); /* through config.json */
        CHECK(weights.config.registers == config.registers &&
              weights.config.hidden == config.hidden && weights.config.ffn == config.ffn &&
              weights.config.norm_eps == config.norm_eps);
        dn_weights_release(&weights);
        dn_tensors_release(&file);

        const char *back = in_scratch("back.pth");
        CHECK_OK(dino_convert(folder, back, NULL, NULL, &err), err);
        check_same(pth, back, DINO_F32);
    }
}

TEST(sixteen_bit_weights_are_the_rounded_ones)
{
    struct vit_config config = small(DINO_FFN_MLP, 0);
    const char *pth = make_pth(&config, 1);
    struct dino_error err = {0};
    static const enum dino_dtype dtypes[] = {DINO_F16, DINO_BF16};

    for (int i = 0; i < 2; i++) {
        struct dino_convert_options options = {.dtype = dtypes[i], .heads = 2};
        const char *to = in_scratch("rounded.pth");
        CHECK_OK(dino_convert(pth, to, &options, NULL, &err), err);
        check_same(pth, to, dtypes[i]);
        /* as stored keeps the 16 bits */
        options.dtype = DINO_AUTO;
        const char *again = in_scratch("again.safetensors");
        CHECK_OK(dino_convert(to, again, &options, NULL, &err), err);
        const char *back = in_scratch("back.pth");
        CHECK_OK(dino_convert(again, back, &options, NULL, &err), err);
        check_same(to, back, dtypes[i]);
    }
}

TEST(a_weight_that_f16_cannot_hold_is_named)
{
    struct vit_config config = small(DINO_FFN_MLP, 0);
    const char *pth = make_pth(&config, 1e6F);
    struct dino_convert_options options = {.dtype = DINO_F16, .heads = 2};
    struct dino_error err = {0};
    const char *to = in_scratch("large.pth");

    CHECK(!dino_convert(pth, to, &options, NULL, &err));
    CHECK(err.code == DINO_EUNSUPPORTED && strstr(err.message, "more than f16 can"));
    CHECK(!dn_exists(to));
    options.dtype = DINO_BF16;
    CHECK_OK(dino_convert(pth, to, &options, NULL, &err), err);
}

TEST(nan_weights_are_written_and_counted)
{
    struct vit_config config = small(DINO_FFN_MLP, 0);
    struct dino_convert_options options = {.dtype = DINO_BF16, .heads = 2};
    struct dino_convert_result sound, spoilt;
    struct dino_error err = {0};
    struct param_ref ref = dn_param_first();
    size_t count = 0, tensors = 0;

    do {
        count += dn_param_elements(&config, ref.param);
        tensors++;
    } while (dn_param_next(&config, &ref));
    const char *good = make_pth(&config, 1), *bad = make_pth(&config, NAN);
    CHECK_OK(dino_convert(good, in_scratch("sound.pth"), &options, &sound, &err), err);
    CHECK(sound.tensors == (int64_t)tensors && sound.bad_values == 0);
    CHECK_OK(dino_convert(bad, in_scratch("folder"), &options, &spoilt, &err), err);
    CHECK(spoilt.tensors > sound.tensors); /* q, k and v by themselves */
    CHECK(spoilt.bad_values == (int64_t)count);
}

/* Is there anything in the scratch folder whose name holds this? */
static bool left_behind(const char *part)
{
    bool found = false;
    DIR *dir = opendir(testing_scratch());
    for (struct dirent *entry; (entry = readdir(dir));)
        found = found || strstr(entry->d_name, part);
    closedir(dir);
    return found;
}

TEST(a_folder_that_is_not_empty_is_refused_and_an_empty_one_filled)
{
    struct vit_config config = small(DINO_FFN_MLP, 0);
    const char *pth = make_pth(&config, 1), *folder = in_scratch("busy");
    struct dino_convert_options options = {.heads = 2};
    struct dino_error err = {0};

    CHECK(mkdir(folder, 0777) == 0);
    CHECK_OK(dino_convert(pth, folder, &options, NULL, &err), err);
    CHECK(!dino_convert(pth, folder, &options, NULL, &err));
    CHECK(err.code == DINO_EIO && strstr(err.message, "not empty"));
    CHECK(!dino_convert(pth, pth, NULL, NULL, &err)); /* width 16 does not tell the heads */
    CHECK(strstr(err.message, "heads"));
    CHECK(!dino_convert(pth, "/nonexistent/folder", &options, NULL, &err));
    CHECK(err.code == DINO_EIO);
    CHECK(!dino_convert(pth, "/nonexistent/x.pth", &options, NULL, &err));
    CHECK(err.code == DINO_EIO);
    CHECK(!dino_convert("/nonexistent/x.pth", in_scratch("y.pth"), &options, NULL, &err));
    CHECK(err.code == DINO_EIO);
    CHECK(!left_behind(".tmp-"));
}

static bool stop_soon(void *context, const struct dino_progress *progress)
{
    *(int *)context = (int)progress->total;
    return progress->done < 5;
}

TEST(a_cancelled_conversion_leaves_nothing)
{
    struct vit_config config = small(DINO_FFN_MLP, 0);
    const char *pth = make_pth(&config, 1);
    static const char *const names[] = {"stopped", "stopped.pth", "stopped.safetensors"};
    struct dino_error err = {0};
    int total = 0;

    for (int i = 0; i < 3; i++) {
        struct dino_convert_options options = {
            .heads = 2, .progress = stop_soon, .context = &total};
        CHECK(!dino_convert(pth, in_scratch(names[i]), &options, NULL, &err));
        CHECK(err.code == DINO_ECANCELLED && total > 30);
    }
    CHECK(!left_behind("stopped"));
}

TEST(a_full_disk_is_reported_and_leaves_nothing)
{
    struct vit_config config = small(DINO_FFN_MLP, 0);
    const char *pth = make_pth(&config, 1);
    static const char *const names[] = {"full", "full.pth", "full.safetensors"};
    struct rlimit before, tight;

    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    for (int i = 0; i < 3; i++) {
        struct dino_convert_options options = {.heads = 2};
        struct dino_error err = {0};
        tight = before;
        tight.rlim_cur = 9000;
        CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
        bool done = dino_convert(pth, in_scratch(names[i]), &options, NULL, &err);
        CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
        CHECK(!done && err.code == DINO_EIO && strstr(err.message, "full"));
    }
    CHECK(!left_behind("full"));
}

/* 3 classes over 16 + 16 values, all zero. */
static bool fill_head(void *context, size_t index, struct output *out, struct dino_error *err)
{
    static const float zeros[3 * 32];
    (void)context;
    return dn_output_write(out, zeros, (index ? 3 : 3 * 32) * sizeof *zeros, err);
}

/* A folder with a classifier whose names are awkward, made from a converted one. */
TEST(awkward_class_names_keep_one_line_each)
{
    struct vit_config config = small(DINO_FFN_MLP, 0);
    struct dino_convert_options options = {.heads = 2};
    struct dino_error err = {0};
    struct pth_tensor head[2] = {
        {.name = "weight", .dtype = DINO_F32, .dims = 2, .shape = {3, 32}},
        {.name = "bias", .dtype = DINO_F32, .dims = 1, .shape = {3}}};
    char *text;

    const char *labels = in_scratch("awkward.txt");
    FILE *file = fopen(labels, "w");
    fputs("two words\ntab\there\nlast\n", file);
    fclose(file);
    options.head = in_scratch("awkward_head.pth");
    options.labels = labels;
    CHECK_OK(dn_pth_write(options.head, head, 2, fill_head, NULL, &err), err);
    const char *folder = in_scratch("awkward");
    CHECK_OK(dino_convert(make_pth(&config, 1), folder, &options, NULL, &err), err);

    /* a line break in a name, and a name that is empty */
    json_t *json = json_load_file(in_scratch("awkward/config.json"), 0, NULL);
    json_t *names = json_object_get(json, "id2label");
    json_object_set_new(names, "1", json_string("tab\nhere"));
    json_object_set_new(names, "2", json_string(""));
    CHECK(json_dump_file(json, in_scratch("awkward/config.json"), 0) == 0);
    json_decref(json);
    CHECK_OK(dino_convert(folder, in_scratch("plain.pth"), NULL, NULL, &err), err);
    size_t size;
    CHECK_OK(dn_read_all(in_scratch("plain_labels.txt"), 1000, (uint8_t **)&text, &size, &err),
             err);
    CHECK(size == strlen("two words\ntab here\nLABEL_2\n"));
    CHECK(memcmp(text, "two words\ntab here\nLABEL_2\n", size) == 0);
    free(text);
}

TEST(what_hugging_face_cannot_hold_is_refused)
{
    struct vit_config config = small(DINO_FFN_IDENTITY, 0);
    struct dino_convert_options options = {.heads = 2};
    struct dino_error err = {0};

    CHECK(!dino_convert(make_pth(&config, 1), in_scratch("none"), &options, NULL, &err));
    CHECK(err.code == DINO_EUNSUPPORTED && strstr(err.message, "no FFN"));
    config = small(DINO_FFN_SWIGLU, 0);
    config.hidden = 44; /* transformers rounds to multiples of 8 */
    CHECK(!dino_convert(make_pth(&config, 1), in_scratch("none"), &options, NULL, &err));
    CHECK(err.code == DINO_EUNSUPPORTED && strstr(err.message, "hidden width of 44"));
    options.layout = DINO_LAYOUT_OFFICIAL;
    CHECK(!dino_convert(make_pth(&config, 1), in_scratch("none"), &options, NULL, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "is a file"));
    options = (struct dino_convert_options){.heads = 2, .dtype = DINO_I16};
    CHECK(!dino_convert(make_pth(&config, 1), in_scratch("none"), &options, NULL, &err));
    CHECK(err.code == DINO_EARG);
}

/* Class token and patches of one picture, computed in `dtype`. */
static void run_once(const char *path, enum dino_dtype dtype, float out[10 * 16])
{
    struct dino_model_options options = {.dtype = dtype, .threads = 1, .heads = 2};
    struct dino_error err = {0};
    uint8_t pixels[3 * 6 * 6];

    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    struct dino_model *model = dino_model_open(path, &options, &err);
    CHECK_OK(model, err);
    CHECK(dtype != DINO_AUTO || dino_model_info(model)->dtype == DINO_I8);
    struct dino_session *session = dino_session_new(model, NULL, &err);
    struct dino_input input = {.pixels = pixels, .height = 6, .width = 6};
    CHECK_OK(session && dino_run(session, &input, 1, NULL, &err), err);
    memcpy(out, dino_result(session, 0)->layer[0], 10 * 16 * sizeof *out);
    dino_session_free(session);
    dino_model_free(model);
}

TEST(int8_files_compute_what_quantising_at_load_does)
{
    static const enum dino_layout layouts[] = {DINO_LAYOUT_OFFICIAL, DINO_LAYOUT_HF};
    struct dino_error err = {0};
    float loaded[160], stored[160], rounded[160];

    for (int i = 0; i < 4; i++) {
        struct vit_config config = small(i & 1 ? DINO_FFN_SWIGLU : DINO_FFN_MLP, 2);
        struct dino_convert_options options = {
            .heads = 2, .dtype = DINO_F32, .layout = layouts[i / 2]};
        const char *pth = make_pth(&config, 1), *plain = in_scratch("plain.safetensors");
        CHECK_OK(dino_convert(pth, plain, &options, NULL, &err), err);
        options.dtype = DINO_I8;
        const char *small_file = in_scratch("int8.safetensors");
        CHECK_OK(dino_convert(pth, small_file, &options, NULL, &err), err);
        run_once(plain, DINO_I8, loaded);
        run_once(small_file, DINO_AUTO, stored);
        CHECK(memcmp(loaded, stored, sizeof loaded) == 0);

        /* byte * scale as f32, quantised again, is nearly the same once more */
        options.dtype = DINO_F32;
        const char *wide = in_scratch("wide.safetensors");
        CHECK_OK(dino_convert(small_file, wide, &options, NULL, &err), err);
        run_once(wide, DINO_I8, rounded);
        run_once(small_file, DINO_F32, stored);
        run_once(wide, DINO_F32, loaded);
        CHECK(memcmp(loaded, stored, sizeof loaded) == 0);

        /* kept as they are, not a bit changes */
        options.dtype = DINO_AUTO;
        const char *again = in_scratch("again.safetensors");
        CHECK_OK(dino_convert(small_file, again, &options, NULL, &err), err);
        uint8_t *a, *b;
        size_t a_size, b_size;
        CHECK_OK(dn_read_all(small_file, 1 << 20, &a, &a_size, &err), err);
        CHECK_OK(dn_read_all(again, 1 << 20, &b, &b_size, &err), err);
        CHECK(a_size == b_size && memcmp(a, b, a_size) == 0);
        free(a);
        free(b);
    }
}

TEST(int8_goes_nowhere_where_others_would_misread_it)
{
    struct vit_config config = small(DINO_FFN_MLP, 0);
    struct dino_convert_options options = {.heads = 2, .dtype = DINO_I8};
    static const char *const names[] = {"int8.pth", "int8.pt", "int8.bin", "int8"};
    const char *pth = make_pth(&config, 1), *bytes = in_scratch("bytes.safetensors");
    struct dino_error err = {0};

    for (int i = 0; i < 4; i++) {
        CHECK(!dino_convert(pth, in_scratch(names[i]), &options, NULL, &err));
        CHECK(err.code == DINO_EARG && strstr(err.message, "only dino reads"));
    }
    CHECK_OK(dino_convert(pth, bytes, &options, NULL, &err), err);
    options.dtype = DINO_AUTO;
    CHECK(!dino_convert(bytes, in_scratch("int8.pth"), &options, NULL, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "only dino reads"));
    options.dtype = DINO_I8;
    CHECK(!dino_convert(make_pth(&config, NAN), bytes, &options, NULL, &err));
    CHECK(err.code == DINO_EUNSUPPORTED && strstr(err.message, "which int8 cannot"));
}

/* A copy of the file with the first `from` in it, or what lies at `at`, overwritten by `to`. */
static const char *spoilt(const char *path, const char *from, size_t at, const char *to,
                          size_t count)
{
    const char *name = in_scratch("spoilt.safetensors");
    struct dino_error err = {0};
    uint8_t *bytes;
    size_t size;

    CHECK_OK(dn_read_all(path, 1 << 20, &bytes, &size, &err), err);
    while (from && memcmp(bytes + at, from, strlen(from)) != 0)
        CHECK(++at + strlen(from) <= size);
    memcpy(bytes + at, to, count);
    FILE *file = fopen(name, "w");
    CHECK(fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    free(bytes);
    return name;
}

static void expect_refusal(const char *path, const char *part)
{
    struct dino_model_options options = {.heads = 2, .threads = 1};
    struct dino_error err = {0};

    CHECK(!dino_model_open(path, &options, &err));
    if (!strstr(err.message, part))
        fail_msg("'%s' says nothing of '%s'", err.message, part);
}

TEST(broken_int8_files_are_refused)
{
    static const float wrong[] = {-1, 0, NAN, INFINITY};
    struct vit_config config = small(DINO_FFN_MLP, 0);
    struct dino_convert_options options = {
        .heads = 2, .dtype = DINO_I8, .layout = DINO_LAYOUT_OFFICIAL};
    struct dino_error err = {0};
    const char *file = in_scratch("scales.safetensors");
    struct tensors t = {0};
    char text[5] = {0};

    CHECK_OK(dino_convert(make_pth(&config, 1), file, &options, NULL, &err), err);
    expect_refusal(spoilt(file, "0.attn.proj.weight_scale", 0, "0.attn.proj.weight_snail", 24),
                   "blocks.0.attn.proj.weight_scale is missing");
    expect_refusal(spoilt(file, "F32\",\"shape\":[64],", 0, "I32", 3), "wanted f32 [64]");
    expect_refusal(spoilt(file, "I8\",\"shape\":[16,3,2,2],", 0, "U8", 2), "is uint8, wanted");

    CHECK_OK(dn_tensors_open(&t, file, &err), err);
    const struct dino_tensor *scale = dn_tensors_find(&t, "blocks.1.mlp.fc2.weight_scale");
    size_t at = (size_t)((const uint8_t *)scale->data - t.maps[0].bytes.data);
    dn_tensors_release(&t);
    for (int i = 0; i < 4; i++) {
        memcpy(text, &wrong[i], 4);
        expect_refusal(spoilt(file, NULL, at + 12, text, 4), "for output 3, wanted a positive");
    }
}

TEST(any_hidden_width_that_a_ratio_can_give_comes_back)
{
    struct dino_error err = {0};
    char name[32];

    for (int hidden = 1; hidden < 200; hidden += 23) {
        struct vit_config config = small(DINO_FFN_MLP, 0);
        config.hidden = hidden;
        struct dino_convert_options options = {.heads = 2};
        snprintf(name, sizeof name, "ratio-%d", hidden);
        const char *folder = in_scratch(name);
        CHECK_OK(dino_convert(make_pth(&config, 1), folder, &options, NULL, &err), err);
        snprintf(name, sizeof name, "ratio-%d/config.json", hidden);
        json_t *json = json_load_file(in_scratch(name), 0, NULL);
        CHECK(json);
        double ratio = json_number_value(json_object_get(json, "mlp_ratio"));
        CHECK((int)(config.dim * ratio) == hidden);
        json_decref(json);
    }
}
