/* Tiny checkpoints of every kind against the official code's and Hugging Face's outputs. */
#include <stdlib.h>
#include <string.h>

#include "golden/golden_model.h"

/* PyTorch's own f32 errors on these files, twice: full tokens, and probabilities
 * (tiny_errors.json: worst max abs per model). */
static const double TOKENS_BOUND[3] = {2 * 4.8e-6, 2 * 6.0e-6, 2 * 4.5e-6};
static const double MAP_BOUND[3] = {2 * 1.3e-6, 2 * 2.6e-6, 2 * 1.8e-6};

static const struct shape {
    const char *name;
    int height, width;
} sizes[] = {{"70x70", 70, 70}, {"112x112", 112, 112}, {"70x126", 70, 126}};

static const struct dino_model_options heads[3] = {{.heads = 4}, {.heads = 4}, {.heads = 6}};

/* forward_features, four layers, attention: one call over both pictures of the batch. */
static void compare_outputs(struct golden *g, int which, const struct shape *shape)
{
    static const int all[] = {0, 1, 2, 3}, last[] = {3};
    const struct dino_model_info *info = dino_model_info(g->model);
    size_t dim = (size_t)info->dim, heads_count = (size_t)info->heads;
    struct dino_error err = {0};
    char name[64];

    snprintf(name, sizeof name, "%s.input", shape->name);
    float *input = testing_tensor(&g->results, name, NULL);
    size_t plane = 3 * (size_t)shape->height * (size_t)shape->width;
    struct dino_input pictures[2];
    for (int i = 0; i < 2; i++)
        pictures[i] = (struct dino_input){.planes = input + (size_t)i * plane,
                                          .height = shape->height,
                                          .width = shape->width};
    struct dino_request request = {.layers = all,
                                   .layer_count = 4,
                                   .prenorm = true,
                                   .embeddings = true,
                                   .attention = last,
                                   .attention_count = 1};
    CHECK_OK(dino_run(g->session, pictures, 2, &request, &err), err);
    for (size_t i = 0; i < 2; i++) {
        const struct dino_features *f = dino_result(g->session, (int)i);
        size_t tokens = (size_t)f->tokens, patches = (size_t)(f->rows * f->cols);
        double bound = TOKENS_BOUND[which];
        golden_near(g, shape->name, "x_norm_clstoken", i * dim, f->cls, dim, bound);
        golden_near(g, shape->name, "x_norm_patchtokens", i * patches * dim, f->patches,
                    patches * dim, bound);
        if (f->registers)
            golden_near(g, shape->name, "x_norm_regtokens", i * 4 * dim, f->registers_data,
                        4 * dim, bound);
        golden_near(g, shape->name, "x_prenorm", i * tokens * dim, f->prenorm, tokens * dim,
                    bound);
        golden_near(g, shape->name, "tokens0", i * tokens * dim, f->embeddings, tokens * dim,
                    bound);
        golden_near(g, shape->name, "attn_last", i * heads_count * tokens * tokens,
                    f->attention[0], heads_count * tokens * tokens, MAP_BOUND[which]);
        for (int l = 0; l < 4; l++) {
            size_t skip = (size_t)(1 + f->registers) * dim;
            snprintf(name, sizeof name, "last4.%d.cls", l);
            golden_near(g, shape->name, name, i * dim, f->layer[l], dim, bound);
            snprintf(name, sizeof name, "last4.%d.patch", l);
            golden_near(g, shape->name, name, i * patches * dim, f->layer[l] + skip,
                        patches * dim, bound);
            float *map = malloc(patches * dim * sizeof *map);
            CHECK(dino_feature_map(f, l, map) && !dino_feature_map(f, 4, map));
            snprintf(name, sizeof name, "last4.%d.map", l);
            golden_near(g, shape->name, name, i * patches * dim, map, patches * dim, bound);
            free(map);
        }
    }
    free(input);
}

static void compare_raw_layers(struct golden *g, int which, const struct shape *shape)
{
    static const int blocks[] = {1, 3};
    size_t dim = (size_t)dino_model_info(g->model)->dim;
    struct dino_error err = {0};
    char name[64];

    snprintf(name, sizeof name, "%s.input", shape->name);
    float *input = testing_tensor(&g->results, name, NULL);
    struct dino_input picture = {
        .planes = input, .height = shape->height, .width = shape->width};
    struct dino_request request = {.layers = blocks, .layer_count = 2, .raw = true};
    CHECK_OK(dino_run(g->session, &picture, 1, &request, &err), err);
    const struct dino_features *f = dino_result(g->session, 0);
    size_t patches = (size_t)(f->rows * f->cols), skip = (size_t)(1 + f->registers) * dim;
    for (int l = 0; l < 2; l++) {
        snprintf(name, sizeof name, "raw13.%d.cls", l);
        golden_near(g, shape->name, name, 0, f->layer[l], dim, TOKENS_BOUND[which]);
        snprintf(name, sizeof name, "raw13.%d.patch", l);
        golden_near(g, shape->name, name, 0, f->layer[l] + skip, patches * dim,
                    TOKENS_BOUND[which]);
    }
    free(input);
}

static void compare_official(int which, const char *model)
{
    char results[64];
    struct golden g;

    snprintf(results, sizeof results, "tiny_t%d_out.safetensors", which + 1);
    golden_open(&g, testing_golden(model), heads[which], testing_golden(results));
    for (size_t s = 0; s < 3; s++) {
        compare_outputs(&g, which, &sizes[s]);
        compare_raw_layers(&g, which, &sizes[s]);
    }
    golden_close(&g);
}

TEST(a_plain_mlp_model_gives_the_official_outputs)
{
    compare_official(0, "tiny_t1.pth");
}

TEST(a_register_model_gives_the_official_outputs)
{
    compare_official(1, "tiny_t2.pth");
}

TEST(a_swiglu_model_with_chunked_names_gives_the_official_outputs)
{
    compare_official(2, "tiny_t3.pth");
}

TEST(a_teacher_checkpoint_is_opened_as_its_backbone)
{
    compare_official(0, "tiny_t1_teacher.pth");
}

TEST(views_of_one_storage_with_any_strides_are_read_as_they_mean)
{
    compare_official(0, "tiny_t1_views.pth");
}

TEST(a_hugging_face_register_model_gives_the_official_outputs)
{
    compare_official(1, "tiny_t2_hf");
}

TEST(half_precision_files_give_the_outputs_of_the_rounded_weights)
{
    struct golden inputs, g;
    struct dino_error err = {0};

    golden_open(&inputs, testing_golden("tiny_t1.pth"), heads[0],
                testing_golden("tiny_t1_out.safetensors"));
    golden_open(&g, testing_golden("tiny_t1_fp16.pth"), heads[0],
                testing_golden("tiny_t1_fp16_out.safetensors"));
    CHECK(dino_model_info(g.model)->stored == DINO_F16);
    float *input = testing_tensor(&inputs.results, "70x70.input", NULL);
    struct dino_input picture = {.planes = input, .height = 70, .width = 70};
    CHECK_OK(dino_run(g.session, &picture, 1, NULL, &err), err);
    const struct dino_features *f = dino_result(g.session, 0);
    golden_near(&g, "70x70", "x_norm_clstoken", 0, f->cls, 64, TOKENS_BOUND[0]);
    golden_near(&g, "70x70", "x_norm_patchtokens", 0, f->patches, 25 * 64, TOKENS_BOUND[0]);
    free(input);
    golden_close(&g);
    golden_close(&inputs);
}

TEST(masked_patches_become_the_mask_token_at_their_position)
{
    struct golden g;
    struct dino_error err = {0};

    golden_open(&g, testing_golden("tiny_t1.pth"), heads[0],
                testing_golden("tiny_t1_out.safetensors"));
    for (size_t s = 0; s < 3; s += 2) {
        char name[64];
        size_t count;
        snprintf(name, sizeof name, "%s.input", sizes[s].name);
        float *input = testing_tensor(&g.results, name, NULL);
        snprintf(name, sizeof name, "%s.mask", sizes[s].name);
        float *flags = testing_tensor(&g.results, name, &count);
        uint8_t mask[256];
        for (size_t i = 0; i < count / 2; i++)
            mask[i] = flags[i] != 0;
        struct dino_input picture = {
            .planes = input, .height = sizes[s].height, .width = sizes[s].width, .mask = mask};
        CHECK_OK(dino_run(g.session, &picture, 1, NULL, &err), err);
        const struct dino_features *f = dino_result(g.session, 0);
        golden_near(&g, sizes[s].name, "masked.x_norm_clstoken", 0, f->cls, 64,
                    TOKENS_BOUND[0]);
        golden_near(&g, sizes[s].name, "masked.x_norm_patchtokens", 0, f->patches,
                    (size_t)(f->rows * f->cols) * 64, TOKENS_BOUND[0]);
        free(flags);
        free(input);
    }
    golden_close(&g);
}

/* Hugging Face: last_hidden_state is every token after the final LayerNorm. */
static void compare_hugging_face(int which)
{
    char name[64];
    struct golden g, inputs;
    struct dino_error err = {0};

    snprintf(name, sizeof name, "tiny_t%d_out.safetensors", which + 1);
    CHECK_OK(dn_tensors_open(&inputs.results, testing_golden(name), &err), err);
    snprintf(name, sizeof name, "tiny_t%d_hf_out.safetensors", which + 1);
    const char *results = testing_golden(name);
    char folder[64];
    snprintf(folder, sizeof folder, "tiny_t%d_hf", which + 1);
    golden_open(&g, testing_golden(folder), (struct dino_model_options){0}, results);
    for (size_t s = 0; s < 4; s++) {
        struct shape odd = {"75x129", 75, 129};
        const struct shape *shape = s < 3 ? &sizes[s] : &odd;
        snprintf(name, sizeof name, "%s.input", shape->name);
        float *input = testing_tensor(s < 3 ? &inputs.results : &g.results, name, NULL);
        struct dino_input picture = {
            .planes = input, .height = shape->height, .width = shape->width};
        struct dino_request request = {.embeddings = true};
        CHECK_OK(dino_run(g.session, &picture, 1, &request, &err), err);
        const struct dino_features *f = dino_result(g.session, 0);
        size_t values = (size_t)f->tokens * (size_t)f->dim;
        golden_near(&g, shape->name, "last_hidden_state", 0, f->layer[0], values,
                    TOKENS_BOUND[which]);
        golden_near(&g, shape->name, "pooler_output", 0, f->cls, (size_t)f->dim,
                    TOKENS_BOUND[which]);
        golden_near(&g, shape->name, "hidden_states.0", 0, f->embeddings, values,
                    TOKENS_BOUND[which]);
        free(input);
    }
    dn_tensors_release(&inputs.results);
    golden_close(&g);
}

TEST(hugging_face_folders_give_the_outputs_of_transformers)
{
    for (int which = 0; which < 3; which++)
        compare_hugging_face(which);
}

/* Logits of a Hugging Face classifier, one picture after another. */
static void compare_classifier(const char *folder, const char *inputs_name,
                               const char *results_name)
{
    struct golden g;
    struct tensors inputs;
    struct dino_error err = {0};

    CHECK_OK(dn_tensors_open(&inputs, testing_golden(inputs_name), &err), err);
    golden_open(&g, testing_golden(folder), (struct dino_model_options){0},
                testing_golden(results_name));
    CHECK(dino_model_info(g.model)->classes == 10);
    CHECK(dino_model_info(g.model)->labelled);
    for (size_t s = 0; s < 3; s++) {
        char name[64];
        snprintf(name, sizeof name, "%s.input", sizes[s].name);
        float *input = testing_tensor(&inputs, name, NULL);
        struct dino_input picture = {
            .planes = input, .height = sizes[s].height, .width = sizes[s].width};
        struct dino_request request = {.logits = true};
        CHECK_OK(dino_run(g.session, &picture, 1, &request, &err), err);
        golden_near(&g, sizes[s].name, "logits", 0, dino_result(g.session, 0)->logits, 10,
                    2e-5);
        free(input);
    }
    dn_tensors_release(&inputs);
    golden_close(&g);
}

TEST(hugging_face_classifiers_give_the_logits_of_transformers)
{
    compare_classifier("tiny_cls_hf", "tiny_t1_out.safetensors", "tiny_cls_hf_out.safetensors");
    compare_classifier("tiny_cls_reg_hf", "tiny_t2_out.safetensors",
                       "tiny_cls_reg_hf_out.safetensors");
}

TEST(official_linear_heads_of_one_and_four_layers_give_the_official_logits)
{
    static const char *const files[] = {"tiny_t1_linear_head.pth", "tiny_t1_linear4_head.pth"};
    static const char *const names[] = {"linear.logits", "linear4.logits"};
    struct dino_error err = {0};
    struct tensors inputs;

    CHECK_OK(dn_tensors_open(&inputs, testing_golden("tiny_t1_out.safetensors"), &err), err);
    for (int h = 0; h < 2; h++) {
        struct golden g;
        struct dino_model_options options = {.heads = 4, .head = testing_golden(files[h])};
        golden_open(&g, testing_golden("tiny_t1.pth"), options,
                    testing_golden("tiny_t1_linear_out.safetensors"));
        CHECK(dino_model_info(g.model)->head_layers == (h ? 4 : 1));
        for (size_t s = 0; s < 2; s++) {
            char name[64];
            snprintf(name, sizeof name, "%s.input", sizes[s].name);
            float *input = testing_tensor(&inputs, name, NULL);
            size_t plane = 3 * (size_t)sizes[s].height * (size_t)sizes[s].width;
            struct dino_input two[2];
            for (size_t i = 0; i < 2; i++)
                two[i] = (struct dino_input){.planes = input + i * plane,
                                             .height = sizes[s].height,
                                             .width = sizes[s].width};
            struct dino_request request = {.logits = true};
            CHECK_OK(dino_run(g.session, two, 2, &request, &err), err);
            for (size_t i = 0; i < 2; i++)
                golden_near(&g, sizes[s].name, names[h], i * 1000,
                            dino_result(g.session, (int)i)->logits, 1000, 2e-5);
            free(input);
        }
        golden_close(&g);
    }
    dn_tensors_release(&inputs);
}

TEST(pictures_of_unequal_sizes_in_one_call_give_what_they_give_alone)
{
    struct golden g;
    struct dino_error err = {0};
    struct dino_input pictures[3];
    float *alone[3];

    golden_open(&g, testing_golden("tiny_t2.pth"), heads[1],
                testing_golden("tiny_t2_out.safetensors"));
    for (size_t s = 0; s < 3; s++) {
        char name[64];
        snprintf(name, sizeof name, "%s.input", sizes[s].name);
        float *input = testing_tensor(&g.results, name, NULL);
        pictures[s] = (struct dino_input){
            .planes = input, .height = sizes[s].height, .width = sizes[s].width};
        CHECK_OK(dino_run(g.session, &pictures[s], 1, NULL, &err), err);
        const struct dino_features *f = dino_result(g.session, 0);
        size_t bytes = (size_t)f->tokens * (size_t)f->dim * sizeof(float);
        alone[s] = malloc(bytes);
        memcpy(alone[s], f->layer[0], bytes);
    }
    CHECK_OK(dino_run(g.session, pictures, 3, NULL, &err), err);
    for (int s = 0; s < 3; s++) {
        const struct dino_features *f = dino_result(g.session, s);
        size_t values = (size_t)f->tokens * (size_t)f->dim;
        CHECK(testing_max_abs(f->layer[0], alone[s], values) <= TOKENS_BOUND[1]);
        free(alone[s]);
        free((void *)(uintptr_t)pictures[s].planes);
    }
    golden_close(&g);
}
