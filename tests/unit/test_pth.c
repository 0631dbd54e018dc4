/* torch.save files: the golden ones, what PyTorch wrote in other forms, our own, cut ones. */
#include "testing.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/half.h"
#include "format/pth.h"

static void open_file(struct tensors *t, const char *path)
{
    struct dino_error err = {0};
    CHECK_OK(dn_tensors_open(t, path, &err), err);
}

/* Tensor `name` has this dtype and these values. */
static void expect(const struct tensors *t, const char *name, enum dino_dtype dtype,
                   size_t count, const float *values)
{
    size_t n;
    float *read = testing_tensor(t, name, &n);

    CHECK(dn_tensors_find(t, name)->dtype == dtype);
    assert_int_equal(n, count);
    assert_memory_equal(read, values, count * sizeof *values);
    free(read);
}

TEST(every_form_of_torch_save_yields_the_same_tensors)
{
    static const char *const names[] = {"mixed_protocol2.pth", "mixed_protocol4.pth",
                                        "mixed_stream.pth"};
    static const float turned[] = {4, 8, 12, 5, 9, 13, 6, 10, 14, 7, 11, 15};
    float whole[24], matrix[12], transposed[12];

    for (int i = 0; i < 24; i++)
        whole[i] = (float)i / 8;
    for (int i = 0; i < 12; i++) {
        matrix[i] = whole[4 + i];
        transposed[i] = turned[i] / 8;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tensors t;
        open_file(&t, testing_data(names[i]));
        CHECK(t.kind == (i == 2 ? TENSORS_PTH_STREAM : TENSORS_PTH_ZIP));
        assert_int_equal(t.count, 15);
        expect(&t, "teacher.backbone.whole", DINO_F32, 24, whole);
        expect(&t, "teacher.backbone.matrix", DINO_F32, 12, matrix);
        expect(&t, "teacher.backbone.turned", DINO_F32, 12, transposed);
        expect(&t, "teacher.backbone.half", DINO_F16, 4, (float[]){1.5F, -2, 65504, 0x1p-24F});
        expect(&t, "teacher.backbone.brain", DINO_BF16, 2, (float[]){1.5F, -0x1.c4p127F});
        expect(&t, "teacher.backbone.double", DINO_F64, 1, (float[]){0.1F});
        expect(&t, "teacher.backbone.long", DINO_I64, 2, (float[]){-1, 0x1p40F});
        expect(&t, "teacher.backbone.int", DINO_I32, 1, (float[]){-7});
        expect(&t, "teacher.backbone.short", DINO_I16, 1, (float[]){-300});
        expect(&t, "teacher.backbone.char", DINO_I8, 1, (float[]){-3});
        expect(&t, "teacher.backbone.byte", DINO_U8, 1, (float[]){200});
        expect(&t, "teacher.backbone.bool", DINO_BOOL, 2, (float[]){1, 0});
        expect(&t, "teacher.backbone.none", DINO_F32, 0, NULL);
        expect(&t, "teacher.backbone.parameter", DINO_F32, 2, (float[]){1, 1});
        expect(&t, "5", DINO_F32, 2, (float[]){5, 5});
        CHECK(!dn_tensor_contiguous(dn_tensors_find(&t, "teacher.backbone.turned")));
        dn_tensors_release(&t);
    }
}

TEST(a_bare_tensor_is_called_tensor)
{
    struct tensors t;
    open_file(&t, testing_data("bare.pth"));
    expect(&t, "tensor", DINO_F32, 4, (float[]){1, 0, 0, 1});
    dn_tensors_release(&t);
}

/* Every tensor of `a` is in `b` under prefix + name, with the same shape and values. */
static void check_same(const struct tensors *a, const struct tensors *b, const char *prefix)
{
    for (size_t i = 0; i < a->count; i++) {
        char name[300];
        size_t count, other;

        snprintf(name, sizeof name, "%s%s", prefix, a->items[i].name);
        float *x = testing_tensor(a, a->items[i].name, &count);
        float *y = testing_tensor(b, name, &other);
        assert_int_equal(count, other);
        assert_memory_equal(a->items[i].shape, dn_tensors_find(b, name)->shape,
                            sizeof a->items[i].shape);
        assert_memory_equal(x, y, count * sizeof *x);
        free(x);
        free(y);
    }
}

TEST(golden_views_and_teacher_equal_the_plain_file)
{
    struct tensors plain, views, teacher;

    open_file(&plain, testing_golden("tiny_t1.pth"));
    open_file(&views, testing_golden("tiny_t1_views.pth"));
    open_file(&teacher, testing_golden("tiny_t1_teacher.pth"));
    assert_int_equal(plain.count, 63);
    assert_int_equal(views.count, 63);
    check_same(&plain, &views, "");
    check_same(&plain, &teacher, "teacher.backbone.");
    CHECK(!dn_tensor_contiguous(dn_tensors_find(&views, "blocks.2.mlp.fc2.weight")));
    dn_tensors_release(&plain);
    dn_tensors_release(&views);
    dn_tensors_release(&teacher);
}

TEST(the_golden_half_precision_file_is_the_plain_one_rounded)
{
    struct tensors plain, half;

    open_file(&plain, testing_golden("tiny_t1.pth"));
    open_file(&half, testing_golden("tiny_t1_fp16.pth"));
    assert_int_equal(plain.count, half.count);
    for (size_t i = 0; i < plain.count; i++) {
        size_t count;
        float *x = testing_tensor(&plain, plain.items[i].name, &count);
        float *y = testing_tensor(&half, plain.items[i].name, &count);
        CHECK(dn_tensors_find(&half, plain.items[i].name)->dtype == DINO_F16);
        for (size_t k = 0; k < count; k++)
            CHECK(dn_f16_to_f32(dn_f32_to_f16(x[k])) == y[k]);
        free(x);
        free(y);
    }
    dn_tensors_release(&plain);
    dn_tensors_release(&half);
}

TEST(every_golden_model_file_opens)
{
    static const struct {
        const char *name;
        size_t count;
        const char *tensor;
    } files[] = {
        {"tiny_t2.pth", 64, "register_tokens"},
        {"tiny_t3.pth", 63, "blocks.3.3.mlp.w12.weight"},
        {"tiny_t1_linear_head.pth", 2, "weight"},
        {"tiny_t1_linear4_head.pth", 2, "bias"},
        {"depth_tiny_t1_linear_head.pth", 2, "state_dict.decode_head.conv_depth.weight"},
        {"depth_tiny_t1_linear4_head.pth", 2, "state_dict.decode_head.conv_depth.bias"},
        {"depth_tiny_t1_dpt_head.pth", 56, "state_dict.decode_head.conv_depth.head.0.weight"},
        {"seg_tiny_t1_linear_head.pth", 7, "state_dict.decode_head.bn.running_mean"},
        {"seg_tiny_t1_ms_head.pth", 7, "state_dict.decode_head.conv_seg.weight"},
        {"tiny_t2_hf", 80, "embeddings.register_tokens"},
        {"tiny_t3_hf", 79, "layernorm.weight"},
        {"tiny_cls_hf", 81, "classifier.weight"},
        {"tiny_cls_reg_hf", 82, "dinov2_with_registers.embeddings.register_tokens"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct tensors t;
        open_file(&t, testing_golden(files[i].name));
        assert_int_equal(t.count, files[i].count);
        if (!dn_tensors_find(&t, files[i].tensor))
            fail_msg("%s: no %s", files[i].name, files[i].tensor);
        dn_tensors_release(&t);
    }
}

/* Part `part` (of 3) of the rows of `whole` in the official file is `name` in the other. */
static void check_third(const struct tensors *official, const char *whole, int part,
                        const struct tensors *hf, const char *name)
{
    size_t count, third;
    float *x = testing_tensor(official, whole, &count);
    float *y = testing_tensor(hf, name, &third);

    assert_int_equal(count, 3 * third);
    assert_memory_equal(x + (size_t)part * third, y, third * sizeof *y);
    free(x);
    free(y);
}

TEST(the_golden_hugging_face_directory_holds_the_same_values)
{
    static const char *const parts[] = {"query", "key", "value"};
    struct tensors official, hf;
    char from[100], to[100];

    open_file(&official, testing_golden("tiny_t1.pth"));
    open_file(&hf, testing_golden("tiny_t1_hf"));
    for (int block = 0; block < 4; block++)
        for (int part = 0; part < 3; part++) {
            snprintf(from, sizeof from, "blocks.%d.attn.qkv.weight", block);
            snprintf(to, sizeof to, "encoder.layer.%d.attention.attention.%s.weight", block,
                     parts[part]);
            check_third(&official, from, part, &hf, to);
        }
    size_t a, b;
    float *x = testing_tensor(&official, "patch_embed.proj.weight", &a);
    float *y = testing_tensor(&hf, "embeddings.patch_embeddings.projection.weight", &b);
    assert_int_equal(a, b);
    assert_memory_equal(x, y, a * sizeof *x);
    free(x);
    free(y);
    dn_tensors_release(&official);
    dn_tensors_release(&hf);
}

static bool fill_from(void *context, size_t index, struct output *out, struct dino_error *err)
{
    const struct tensors *t = context;
    const struct dino_tensor *tensor = &t->items[index];
    size_t count = (size_t)dn_tensor_elements(tensor), size = dino_dtype_size(tensor->dtype);
    float *values = malloc(count * sizeof *values + 1);
    uint8_t *bytes = malloc(count * size + 1);

    dn_tensor_read(tensor, 0, count, values);
    if (tensor->dtype == DINO_F32 || tensor->dtype == DINO_F16 || tensor->dtype == DINO_BF16)
        dn_from_f32(bytes, tensor->dtype, values, count);
    else if (count)
        memcpy(bytes, tensor->data, count * size);
    bool ok = dn_output_write(out, bytes, count * size, err);
    free(values);
    free(bytes);
    return ok;
}

TEST(what_is_written_is_read_back)
{
    struct dino_error err = {0};
    struct tensors mixed, back;
    struct pth_tensor list[16];
    char path[256];

    open_file(&mixed, testing_data("mixed_protocol2.pth"));
    for (size_t i = 0; i < mixed.count; i++) {
        list[i] = (struct pth_tensor){.name = mixed.items[i].name,
                                      .dtype = mixed.items[i].dtype,
                                      .dims = mixed.items[i].dims};
        memcpy(list[i].shape, mixed.items[i].shape, sizeof list[i].shape);
    }
    snprintf(path, sizeof path, "%s/written.pth", testing_scratch());
    CHECK_OK(dn_pth_write(path, list, mixed.count, fill_from, &mixed, &err), err);
    open_file(&back, path);
    assert_int_equal(back.count, mixed.count);
    check_same(&mixed, &back, "");
    for (size_t i = 0; i < back.count; i++) {
        CHECK(back.items[i].dtype == mixed.items[i].dtype);
        CHECK((uintptr_t)back.items[i].data % 64 == 0);
        CHECK(dn_tensor_contiguous(&back.items[i]));
    }
    dn_tensors_release(&mixed);
    dn_tensors_release(&back);
}

/* Writes as many bytes as the context says. */
static bool fill_bytes(void *context, size_t index, struct output *out, struct dino_error *err)
{
    (void)index;
    return dn_output_write(out, "0123456789", *(size_t *)context, err);
}

static bool fill_zeros(void *context, size_t index, struct output *out, struct dino_error *err)
{
    static const uint8_t zeros[1000000];
    (void)index;
    return dn_output_write(out, zeros, *(size_t *)context, err);
}

TEST(a_tensor_filled_with_too_little_or_too_much_leaves_no_file)
{
    const struct pth_tensor tensor = {"x", DINO_F32, 1, {2}};
    char path[256];

    snprintf(path, sizeof path, "%s/wrong.pth", testing_scratch());
    for (size_t size = 7; size <= 9; size++) {
        struct dino_error err = {0};
        bool ok = dn_pth_write(path, &tensor, 1, fill_bytes, &size, &err);
        CHECK(ok == (size == 8));
        CHECK(dn_exists(path) == ok);
        CHECK(ok || err.message[0]);
        remove(path);
    }
}

TEST(a_full_disk_is_named_and_leaves_no_file)
{
    const struct rlimit tight = {2000, RLIM_INFINITY};
    struct rlimit before;
    char path[256];

    snprintf(path, sizeof path, "%s/full.pth", testing_scratch());
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    signal(SIGXFSZ, SIG_IGN); /* so that writing fails, as on a full disk */
    for (int many = 0; many < 2; many++) {
        const struct pth_tensor tensor = {"x", DINO_U8, 1, {many ? 1000000 : 3000}};
        size_t size = (size_t)tensor.shape[0];
        struct dino_error err = {0};
        CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
        bool ok = dn_pth_write(path, &tensor, 1, fill_zeros, &size, &err);
        CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
        CHECK(!ok && err.code == DINO_EIO && strstr(err.message, "full.pth: File too large"));
        CHECK(!dn_exists(path));
    }
}

/* The first `size` bytes of a file must be refused with one line; `whole` is a heap copy. */
static void refuse_cut(const uint8_t *whole, size_t size, const char *name)
{
    struct dino_error err = {0};
    struct tensors t;
    uint8_t *part = malloc(size ? size : 1);

    memcpy(part, whole, size);
    if (dn_tensors_open_bytes(&t, (struct span){part, size}, name, &err))
        fail_msg("%s opened, cut to %zu bytes", name, size);
    CHECK(err.code == DINO_EFORMAT || err.code == DINO_EUNSUPPORTED);
    CHECK(strncmp(err.message, name, strlen(name)) == 0);
    free(part);
}

TEST(small_files_cut_at_any_byte_are_refused)
{
    static const char *const names[] = {"mixed_protocol2.pth", "mixed_protocol4.pth",
                                        "mixed_stream.pth", "bare.pth"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct dino_error err = {0};
        uint8_t *whole;
        size_t size;

        CHECK_OK(dn_read_all(testing_data(names[i]), 1 << 20, &whole, &size, &err), err);
        for (size_t cut = 0; cut < size; cut++)
            refuse_cut(whole, cut, names[i]);
        free(whole);
    }
}

TEST(golden_files_cut_at_any_4_kib_are_refused)
{
    static const char *const names[] = {"tiny_t1.pth", "tiny_t1_fp16.pth", "tiny_t1_views.pth",
                                        "tiny_t1_teacher.pth", "tiny_t1_hf/model.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct dino_error err = {0};
        uint8_t *whole;
        size_t size;

        CHECK_OK(dn_read_all(testing_golden(names[i]), 1 << 24, &whole, &size, &err), err);
        for (size_t cut = 0; cut < size; cut += 4096)
            refuse_cut(whole, cut, names[i]);
        free(whole);
    }
}

/* A file with any byte changed opens or does not, but never reads outside. */
TEST(small_files_with_any_byte_changed_do_no_harm)
{
    static const char *const names[] = {"mixed_protocol4.pth", "mixed_stream.pth"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct dino_error err = {0};
        struct tensors t;
        uint8_t *whole;
        float values[64];
        size_t size;

        CHECK_OK(dn_read_all(testing_data(names[i]), 1 << 20, &whole, &size, &err), err);
        for (size_t at = 0; at < size; at++) {
            uint8_t kept = whole[at];
            whole[at] ^= (uint8_t)(1U << at % 8);
            if (dn_tensors_open_bytes(&t, (struct span){whole, size}, "x", &err)) {
                for (size_t k = 0; k < t.count; k++) {
                    size_t n = (size_t)dn_tensor_elements(&t.items[k]);
                    dn_tensor_read(&t.items[k], 0, n < 64 ? n : 64, values);
                }
                dn_tensors_release(&t);
            }
            whole[at] = kept;
        }
        free(whole);
    }
}
