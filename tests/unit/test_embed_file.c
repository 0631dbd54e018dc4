/* The files that features end in: arrays, lines, sidecar; from made-up features, no model. */
#include "testing.h"

#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/half.h"
#include "base/rng.h"
#include "task/embed_file.h"
#include "task/embed_rows.h"

enum { PICTURES = 11, SKIPPED = 4, DIM = 5, REGISTERS = 2, LAYERS = 2 };

static const char *made_name(const void *context, int64_t index)
{
    static char names[PICTURES][32];
    (void)context;
    snprintf(names[index], sizeof names[0], index == 2 ? "od\"d/%02d\xff.jpg" : "p/%02d.jpg",
             (int)index);
    return names[index];
}

static const struct embed_names NAMES = {PICTURES, made_name, NULL};

static const struct dino_model_info INFO = {.source = "made up",
                                            .kind = "made up",
                                            .arch = "custom",
                                            .dim = DIM,
                                            .depth = 12,
                                            .heads = 1,
                                            .hidden = 20,
                                            .patch = 14,
                                            .channels = 3,
                                            .registers = REGISTERS,
                                            .grid_rows = 5,
                                            .grid_cols = 5,
                                            .device = "cpu",
                                            .threads = 2};

/* Features of picture i: grid 2 x 3, or 3 x (1 + i % 4) where grids differ. */
struct made {
    struct dino_features f;
    const float *layers[LAYERS];
    float data[LAYERS][(1 + REGISTERS + 12) * DIM];
};

static void make_features(struct made *m, int64_t i, bool differ)
{
    m->f = (struct dino_features){
        .rows = differ ? 3 : 2, .cols = differ ? 1 + (int)(i % 4) : 3, .dim = DIM};
    m->f.registers = REGISTERS;
    m->f.tokens = 1 + REGISTERS + m->f.rows * m->f.cols;
    m->f.layer_count = LAYERS;
    for (int l = 0; l < LAYERS; l++) {
        for (int j = 0; j < m->f.tokens * DIM; j++)
            m->data[l][j] =
                (float)(4 * dn_random_f64(1, (uint64_t)(10 * i + l), (uint64_t)j) - 2);
        m->layers[l] = m->data[l];
    }
    m->f.layer = m->layers;
}

struct job {
    struct dino_embed_options options;
    bool differ;
    char output[256];
};

static bool write_job(struct job *job, struct dino_error *err)
{
    struct embed_plan plan;
    struct embed_layout layout;
    struct embed_store store;
    struct embed_rows rows = {.plan = &plan};
    struct made made;
    int batch = 0;

    job->options.output = job->output;
    if (!dn_embed_plan_init(&plan, &job->options, &INFO, &NAMES, err))
        return false;
    CHECK_OK(dn_embed_layout_init(&layout, &plan, err), *err);
    struct embed_store_options options = {.output = job->output,
                                          .files = layout.files,
                                          .head = layout.head,
                                          .row_bytes = layout.row_bytes,
                                          .request = plan.request,
                                          .count = PICTURES};
    CHECK_OK(dn_embed_store_open(&store, &options, &batch, 1, err), *err);
    bool ok = true;
    for (int64_t i = 0; i < PICTURES && ok; i++) {
        make_features(&made, i, job->differ);
        ok = i == SKIPPED ? dn_embed_store_skip(&store, i, "torn", err)
                          : dn_embed_rows_put(&rows, &store, made_name(NULL, i), &made.f, err);
        ok = ok && dn_embed_store_mark(&store, i + 1, err);
    }
    ok = ok && dn_embed_file_finish(&plan, &store, &NAMES, "model.pth", err);
    dn_embed_store_close(&store, !ok);
    dn_embed_rows_release(&rows);
    dn_embed_layout_release(&layout);
    dn_embed_plan_release(&plan);
    return ok;
}

static struct job new_job(const char *extension, unsigned tokens)
{
    static int number;
    struct job job = {.options = {.tokens = tokens}};
    snprintf(job.output, sizeof job.output, "%s/job-%d%s", testing_scratch(), number++,
             extension);
    return job;
}

/* The vectors that picture i should give, in f32. */
static const float *expect(const struct made *m, enum dino_tokens token, int layer, bool l2,
                           size_t *count)
{
    static float out[64 * DIM];
    size_t patches = (size_t)m->f.rows * (size_t)m->f.cols;
    const float *x = m->data[layer];
    size_t first = token == DINO_TOKENS_CLS ? 0 : token == DINO_TOKENS_REGISTERS ? 1 : 3;
    size_t vectors = token == DINO_TOKENS_REGISTERS ? REGISTERS
                     : token == DINO_TOKENS_PATCHES ? patches
                                                    : 1;

    for (size_t j = 0; j < vectors * DIM; j++) {
        double sum = 0;
        for (size_t p = 0; token == DINO_TOKENS_MEAN && p < patches; p++)
            sum += x[(3 + p) * DIM + j];
        out[j] =
            token == DINO_TOKENS_MEAN ? (float)(sum / (double)patches) : x[first * DIM + j];
    }
    for (size_t v = 0; l2 && v < vectors; v++) {
        double square = 0;
        for (int j = 0; j < DIM; j++)
            square += (double)out[v * DIM + (size_t)j] * out[v * DIM + (size_t)j];
        for (int j = 0; j < DIM; j++)
            out[v * DIM + (size_t)j] /= (float)sqrt(square);
    }
    *count = vectors * DIM;
    return out;
}

static void check_array(const struct tensors *file, const char *name, const struct job *job,
                        enum dino_tokens token, int layer)
{
    size_t total, at = 0, count;
    struct made made;
    const struct dino_tensor *tensor = dn_tensors_find(file, name);

    CHECK(tensor && tensor->dtype == job->options.dtype);
    CHECK((uintptr_t)tensor->data % dino_dtype_size(tensor->dtype) == 0);
    float *have = testing_tensor(file, name, &total);
    for (int64_t i = 0; i < PICTURES; i++) {
        if (i == SKIPPED)
            continue;
        make_features(&made, i, job->differ);
        const float *want = expect(&made, token, layer, job->options.l2, &count);
        CHECK(at + count <= total);
        double bound = job->options.dtype == DINO_F16 ? 1e-3 : job->options.l2 ? 1e-7 : 0;
        CHECK(testing_max_abs(have + at, want, count) <= bound);
        at += count;
    }
    CHECK(at == total);
    free(have);
}

static void check_shape(const struct tensors *file, const char *name, const char *shape)
{
    const struct dino_tensor *tensor = dn_tensors_find(file, name);
    char text[128];
    CHECK(tensor);
    dn_tensor_shape_text(tensor, text);
    if (strcmp(text, shape) != 0)
        fail_msg("%s is %s, wanted %s", name, text, shape);
}

TEST(npy_holds_one_array_of_the_right_shape)
{
    static const struct {
        enum dino_tokens token;
        const char *shape;
    } kinds[] = {{DINO_TOKENS_CLS, "[10, 5]"},
                 {DINO_TOKENS_MEAN, "[10, 5]"},
                 {DINO_TOKENS_REGISTERS, "[10, 2, 5]"},
                 {DINO_TOKENS_PATCHES, "[10, 6, 5]"}};

    for (int i = 0; i < 8; i++) {
        struct job job = new_job(".npy", kinds[i / 2].token);
        struct tensors file = {0};
        struct dino_error err = {0};
        job.options.dtype = i % 2 ? DINO_F16 : DINO_F32;
        job.options.l2 = i % 3 == 0;
        CHECK_OK(write_job(&job, &err), err);
        CHECK_OK(dn_tensors_open(&file, job.output, &err), err);
        check_shape(&file, "array", kinds[i / 2].shape);
        check_array(&file, "array", &job, kinds[i / 2].token, 0);
        dn_tensors_release(&file);
    }
}

TEST(npy_of_patches_wants_equal_grids_and_leaves_nothing_otherwise)
{
    struct job job = new_job(".npy", DINO_TOKENS_PATCHES);
    struct dino_error err = {0};
    char part[300];

    job.differ = true;
    CHECK(!write_job(&job, &err));
    CHECK(err.code == DINO_EARG && strstr(err.message, "3x2 patches, but 3x1 before"));
    snprintf(part, sizeof part, "%s.part", job.output);
    CHECK(!dn_exists(part) && !dn_exists(job.output));
}

static const unsigned ALL =
    DINO_TOKENS_CLS | DINO_TOKENS_MEAN | DINO_TOKENS_REGISTERS | DINO_TOKENS_PATCHES;

TEST(safetensors_holds_every_kind_and_layer_by_name)
{
    static const int layers[LAYERS] = {3, 11};

    for (int dtype = 0; dtype < 2; dtype++) {
        struct job job = new_job(".safetensors", ALL);
        struct tensors file = {0};
        struct dino_error err = {0};
        job.options.layers = layers;
        job.options.layer_count = LAYERS;
        job.options.dtype = dtype ? DINO_F16 : DINO_F32;
        CHECK_OK(write_job(&job, &err), err);
        CHECK_OK(dn_tensors_open(&file, job.output, &err), err);
        CHECK(file.count == 10);
        for (int l = 0; l < LAYERS; l++) {
            char name[4][32];
            snprintf(name[0], sizeof name[0], "cls.layer%d", layers[l]);
            snprintf(name[1], sizeof name[1], "mean.layer%d", layers[l]);
            snprintf(name[2], sizeof name[2], "registers.layer%d", layers[l]);
            snprintf(name[3], sizeof name[3], "patches.layer%d", layers[l]);
            check_array(&file, name[0], &job, DINO_TOKENS_CLS, l);
            check_array(&file, name[1], &job, DINO_TOKENS_MEAN, l);
            check_array(&file, name[2], &job, DINO_TOKENS_REGISTERS, l);
            check_array(&file, name[3], &job, DINO_TOKENS_PATCHES, l);
            check_shape(&file, name[2], "[10, 2, 5]");
            check_shape(&file, name[3], "[10, 6, 5]");
        }
        dn_tensors_release(&file);
    }
}

TEST(patches_of_unequal_grids_are_packed_with_their_starts)
{
    struct job job = new_job(".safetensors", DINO_TOKENS_CLS | DINO_TOKENS_PATCHES);
    struct tensors file = {0};
    struct dino_error err = {0};
    struct made made;

    job.differ = true;
    job.options.dtype = DINO_F16; /* the integers stay aligned beside halves */
    CHECK_OK(write_job(&job, &err), err);
    CHECK_OK(dn_tensors_open(&file, job.output, &err), err);
    check_array(&file, "patches", &job, DINO_TOKENS_PATCHES, 0);
    check_array(&file, "cls", &job, DINO_TOKENS_CLS, 0);
    const struct dino_tensor *starts = dn_tensors_find(&file, "patches.starts");
    const struct dino_tensor *grid = dn_tensors_find(&file, "patches.grid");
    CHECK(starts && starts->dtype == DINO_I64 && (uintptr_t)starts->data % 8 == 0);
    CHECK(grid && grid->dtype == DINO_I64);
    check_shape(&file, "patches.starts", "[11]");
    check_shape(&file, "patches.grid", "[10, 2]");
    const int64_t *start = starts->data, *cell = grid->data;
    int64_t at = 0;
    for (int64_t i = 0, row = 0; i < PICTURES; i++) {
        if (i == SKIPPED)
            continue;
        make_features(&made, i, true);
        CHECK(start[row] == at);
        CHECK(cell[2 * row] == made.f.rows && cell[2 * row + 1] == made.f.cols);
        at += made.f.rows * made.f.cols;
        row++;
    }
    CHECK(start[10] == at);
    dn_tensors_release(&file);
}

TEST(jsonl_numbers_read_back_exactly_whatever_the_locale)
{
    struct dino_error err = {0};
    static const char *const locales[] = {"C", "de_DE.UTF-8"};

    for (int round = 0; round < 4; round++) {
        struct job job = new_job(".jsonl", ALL);
        job.differ = true;
        job.options.dtype = round % 2 ? DINO_F16 : DINO_F32;
        setlocale(LC_ALL, locales[round / 2]);
        CHECK_OK(write_job(&job, &err), err);
        setlocale(LC_ALL, "C");
        FILE *file = fopen(job.output, "rb");
        struct made made;
        for (int64_t i = 0; i < PICTURES; i++) {
            if (i == SKIPPED)
                continue;
            json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
            CHECK(line);
            make_features(&made, i, true);
            const char *path = json_string_value(json_object_get(line, "path"));
            CHECK(i == 2 ? strstr(path, "od\"d/02\xef\xbf\xbd.jpg") != NULL
                         : strcmp(path, made_name(NULL, i)) == 0);
            json_t *patches = json_object_get(line, "patches");
            CHECK(json_array_size(patches) == (size_t)(made.f.rows * made.f.cols));
            CHECK(json_array_size(json_object_get(line, "registers")) == REGISTERS);
            CHECK(json_array_size(json_object_get(line, "mean")) == DIM);
            for (int j = 0; j < DIM; j++) {
                float want = made.data[0][j], have = (float)json_number_value(json_array_get(
                                                  json_object_get(line, "cls"), (size_t)j));
                if (job.options.dtype == DINO_F16) {
                    want = dn_f16_to_f32(dn_f32_to_f16(want));
                    have = dn_f16_to_f32(dn_f32_to_f16(have));
                }
                CHECK(want == have);
            }
            json_decref(line);
        }
        CHECK(fgetc(file) == '\n' && fgetc(file) == EOF);
        fclose(file);
    }
}

TEST(the_sidecar_names_every_row_and_every_skipped_picture)
{
    struct job job = new_job(".npy", DINO_TOKENS_PATCHES);
    struct dino_error err = {0};
    char path[300];

    job.options.view = (struct dino_view){.name = "classify", .resize = 256, .crop_width = 224};
    job.options.view.std[0] = 0.229F;
    CHECK_OK(write_job(&job, &err), err);
    snprintf(path, sizeof path, "%s.json", job.output);
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    CHECK(json);
    json_t *paths = json_object_get(json, "paths"), *skipped = json_object_get(json, "skipped");
    CHECK(json_array_size(paths) == PICTURES - 1 && json_array_size(skipped) == 1);
    CHECK(json_integer_value(json_object_get(json, "rows")) == PICTURES - 1);
    for (int64_t i = 0, row = 0; i < PICTURES; i++)
        if (i != SKIPPED && ++row && i != 2)
            CHECK(strcmp(json_string_value(json_array_get(paths, (size_t)row - 1)),
                         made_name(NULL, i)) == 0);
    json_t *torn = json_array_get(skipped, 0);
    CHECK(strcmp(json_string_value(json_object_get(torn, "path")), "p/04.jpg") == 0);
    CHECK(strcmp(json_string_value(json_object_get(torn, "why")), "torn") == 0);
    CHECK(strcmp(json_string_value(json_object_get(json, "source")), "model.pth") == 0);
    CHECK(json_integer_value(json_object_get(json_object_get(json, "view"), "resize")) == 256);
    CHECK(json_integer_value(json_object_get(json_object_get(json, "model"), "dim")) == DIM);
    CHECK(json_integer_value(json_array_get(json_object_get(json, "grid"), 1)) == 3);
    CHECK(json_is_true(json_object_get(json, "norm")));
    json_decref(json);
}

static void expect_refusal(struct job job, const char *why)
{
    struct dino_error err = {0};
    CHECK(!write_job(&job, &err));
    CHECK(err.code == DINO_EARG);
    if (!strstr(err.message, why))
        fail_msg("'%s' does not say '%s'", err.message, why);
}

TEST(impossible_requests_are_refused_before_anything_is_written)
{
    static const int backwards[] = {5, 3}, beyond[] = {12};
    struct job job = new_job(".csv", DINO_TOKENS_CLS);

    expect_refusal(job, "ends in .npy");
    expect_refusal(new_job(".npy", DINO_TOKENS_CLS | DINO_TOKENS_MEAN), "one array");
    expect_refusal(new_job(".npy", 16), "unknown kinds");
    job = new_job(".jsonl", DINO_TOKENS_CLS);
    job.options.layers = backwards;
    job.options.layer_count = 2;
    expect_refusal(job, "layer 3");
    job.options.layers = beyond;
    job.options.layer_count = 1;
    expect_refusal(job, "layer 12");
    job = new_job(".npy", DINO_TOKENS_CLS);
    job.options.dtype = DINO_BF16;
    expect_refusal(job, "bf16: wanted f32 or f16");
    job = new_job(".npy", DINO_TOKENS_CLS);
    job.options.batch = -1;
    expect_refusal(job, "batch -1");
}

TEST(batches_grow_with_threads_and_shrink_with_pictures)
{
    struct dino_embed_options options = {.output = "x.npy"};
    struct dino_model_info info = INFO;
    struct dino_error err = {0};
    struct embed_plan plan;
    int64_t tokens;

    options.view.crop_width = options.view.crop_height = 224;
    CHECK_OK(dn_embed_plan_init(&plan, &options, &info, &NAMES, &err), err);
    CHECK(dn_embed_default_batch(&plan, &info, &tokens) == 7 && tokens == 2048);
    info.threads = 16;
    CHECK(dn_embed_default_batch(&plan, &info, &tokens) == 63);
    plan.view.crop_width = plan.view.crop_height = 14 * 200;
    CHECK(dn_embed_default_batch(&plan, &info, &tokens) == 1);
    dn_embed_plan_release(&plan);
}
