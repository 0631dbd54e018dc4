/* Beginning with a file: every layout, positions resampled as the official code does, heads,
 * what does not fit, and the golden first steps from weights that were loaded. */
#include "train/warm_start.h"

#include "format/safetensors.h"
#include "model/positions.h"
#include "train/testing_step.h"

enum { HEADS = 4, GRID = 5 };

static const char *scratch(const char *name)
{
    static char path[400];

    snprintf(path, sizeof path, "%s/%s", testing_scratch(), name);
    return path;
}

/* A table of the file's own network at another grid, and its block. */
struct loaded {
    struct warm_start start;
    struct params_table table;
    float *values;
};

static void load(struct loaded *l, const char *path, int grid)
{
    struct dino_error err = {0};
    struct net_config net;

    CHECK_OK(dn_warm_start_open(&l->start, path, HEADS, &err), err);
    net = l->start.net;
    net.backbone.grid_rows = net.backbone.grid_cols = grid;
    net.backbone.mask_token = true;
    bool heads = net.dino.layers > 0;
    if (!heads)
        net.dino = (struct head_config){net.backbone.dim, 1, 1, 4, 4};
    CHECK_OK(dn_params_table_init(&l->table, &net, &err), err);
    l->values = calloc(l->table.elements, sizeof *l->values);
    CHECK_OK(dn_warm_start_read(&l->start, &l->table, heads, l->values, &err), err);
}

static void unload(struct loaded *l)
{
    dn_params_table_release(&l->table);
    dn_warm_start_release(&l->start);
    free(l->values);
}

static const float *value(const struct loaded *l, const char *name, size_t *count)
{
    int i = dn_params_find(&l->table, name);

    CHECK(i >= 0);
    *count = l->table.items[i].count;
    return l->values + l->table.items[i].first;
}

/* l's parameter against a tensor of another file, the largest difference at most bar. */
static void check_tensor(const struct loaded *l, const char *name, const struct tensors *file,
                         const char *tensor, double bar)
{
    size_t count, wanted;
    const float *have = value(l, name, &count);
    float *truth = testing_tensor(file, tensor, &wanted);

    CHECK(count == wanted);
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)have[i] - (double)truth[i]) <= bar))
            fail_msg("%s: %zu is %.9g, wanted %.9g", tensor, i, (double)have[i],
                     (double)truth[i]);
    free(truth);
}

TEST(positions_of_another_grid_are_those_of_the_official_code)
{
    static const char *const names[] = {"tiny_t1", "tiny_t2", "tiny_t3"};

    for (int i = 0; i < 3; i++) {
        struct dino_error err = {0};
        struct tensors out, file;
        struct loaded l;
        char path[64];
        snprintf(path, sizeof path, "%s.pth", names[i]);
        if (i < 2) {
            load(&l, testing_golden(path), 8);
        } else { /* its width of 96 has 6 heads */
            CHECK_OK(dn_warm_start_open(&l.start, testing_golden(path), 6, &err), err);
            struct net_config net = l.start.net;
            net.backbone.grid_rows = net.backbone.grid_cols = 8;
            net.dino = (struct head_config){96, 1, 1, 4, 4};
            CHECK_OK(dn_params_table_init(&l.table, &net, &err), err);
            l.values = calloc(l.table.elements, sizeof *l.values);
            CHECK_OK(dn_warm_start_read(&l.start, &l.table, false, l.values, &err), err);
        }
        CHECK_OK(dn_tensors_open(&file, testing_golden(path), &err), err);
        snprintf(path, sizeof path, "%s_out.safetensors", names[i]);
        CHECK_OK(dn_tensors_open(&out, testing_golden(path), &err), err);
        check_tensor(&l, "backbone.pos_embed", &out, "112x112.pos_embed", 1e-6);
        check_tensor(&l, "backbone.cls_token", &file, "cls_token", 0);
        check_tensor(&l, "backbone.mask_token", &file, "mask_token", 0);
        check_tensor(&l, "backbone.blocks.3.attn.qkv.weight", &file,
                     i < 2 ? "blocks.3.attn.qkv.weight" : "blocks.3.3.attn.qkv.weight", 0);
        check_tensor(&l, "backbone.norm.bias", &file, "norm.bias", 0);
        dn_tensors_release(&out);
        dn_tensors_release(&file);
        unload(&l);
    }
}

TEST(every_layout_gives_the_same_block)
{
    static const char *const files[] = {"tiny_t1.pth", "tiny_t1_teacher.pth",
                                        "tiny_t1_views.pth", "tiny_t1_hf"};
    struct loaded first, other;

    load(&first, testing_golden(files[0]), GRID);
    for (size_t i = 1; i < sizeof files / sizeof *files; i++) {
        load(&other, testing_golden(files[i]), GRID);
        size_t backbone = (size_t)first.table.items[first.table.module_items[1]].first;
        CHECK(memcmp(first.values, other.values, backbone * sizeof *first.values) == 0);
        unload(&other);
    }
    unload(&first);
}

TEST(heads_beside_a_backbone_are_found_and_read)
{
    struct dino_error err = {0};
    struct tensors file;
    struct loaded l;

    load(&l, testing_golden("tiny_t1_teacher.pth"), GRID);
    struct net_config net = l.start.net;
    CHECK(!net.separate_ibot && net.ibot.layers == 0);
    CHECK(net.dino.in == 64 && net.dino.layers == 3 && net.dino.hidden == 64);
    CHECK(net.dino.bottleneck == 32 && net.dino.prototypes == 64);
    CHECK_OK(dn_tensors_open(&file, testing_golden("tiny_t1_teacher.pth"), &err), err);
    for (int i = l.table.module_items[1]; i < l.table.count; i++) {
        char name[200];
        snprintf(name, sizeof name, "teacher.%s", l.table.items[i].name);
        check_tensor(&l, l.table.items[i].name, &file, name, 0);
    }
    CHECK(dn_warm_start_has_heads(&l.start, &net));
    net.dino.prototypes++;
    CHECK(!dn_warm_start_has_heads(&l.start, &net));
    net.dino.prototypes--;
    net.separate_ibot = true;
    net.ibot = net.dino;
    CHECK(!dn_warm_start_has_heads(&l.start, &net));
    dn_tensors_release(&file);
    unload(&l);
}

/* Tensors of `from` whose names begin with `old`, under `new` instead, as a file; but not
 * `without`. */
static void copy_tensors(const struct tensors *from, const char *old, const char *new,
                         const char *without, const char *path)
{
    struct safetensors_writer w;
    struct dino_error err = {0};

    CHECK_OK(dn_safetensors_create(&w, path, &err), err);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < from->count; i++) {
            const struct dino_tensor *t = &from->items[i];
            char name[200];
            size_t count;
            if (strncmp(t->name, old, strlen(old)) != 0 || strcmp(t->name, without) == 0)
                continue;
            snprintf(name, sizeof name, "%s%s", new, t->name + strlen(old));
            float *values = testing_tensor(from, t->name, &count);
            if (pass == 0)
                CHECK_OK(dn_safetensors_declare(&w, name, DINO_F32, t->shape, t->dims, &err),
                         err);
            else
                CHECK_OK(dn_safetensors_write(&w, values, count * sizeof *values, &err), err);
            free(values);
        }
    CHECK_OK(dn_safetensors_commit(&w, &err), err);
    dn_safetensors_release(&w);
}

/* As the official trainer names what it saves: model.teacher.backbone.cls_token. */
static void load_side(struct golden_run *r, const char *side, void *block)
{
    struct dino_error err = {0};
    struct warm_start start;
    char old[20], new[40];

    snprintf(old, sizeof old, "%s.", side);
    snprintf(new, sizeof new, "model.%s.", side);
    copy_tensors(&r->b->file, old, new, "", scratch("side.safetensors"));
    CHECK_OK(dn_warm_start_open(&start, scratch("side.safetensors"), HEADS, &err), err);
    start.weights.config.positions = r->table.config.backbone.positions;
    CHECK(dn_warm_start_has_heads(&start, &r->table.config));
    CHECK(start.net.separate_ibot == r->info->separate);
    float *values = calloc(r->table.elements, sizeof *values);
    CHECK_OK(dn_warm_start_read(&start, &r->table, true, values, &err), err);
    for (size_t i = 0; i < r->table.elements; i++)
        ((double *)block)[i] = (double)values[i];
    free(values);
    dn_warm_start_release(&start);
}

TEST(first_steps_from_loaded_weights_have_the_golden_losses)
{
    for (int i = 0; i < GOLDEN_CASES; i++) {
        const struct golden_case *c = &golden_cases[i];
        struct trainer_bench b = train_open(0, NULL);
        struct ssl_config config = golden_config(c);
        struct ssl_losses losses;
        struct clipping clip;
        struct golden_run r;

        golden_open(&r, &b, c, &config);
        size_t bytes = r.table.elements * sizeof(double);
        double *student = malloc(bytes), *teacher = malloc(bytes);
        memcpy(student, r.blocks.student, bytes);
        memcpy(teacher, r.blocks.teacher, bytes);
        memset(r.blocks.student, 0, bytes);
        memset(r.blocks.teacher, 0, bytes);
        load_side(&r, "student", r.blocks.student);
        load_side(&r, "teacher", r.blocks.teacher);
        CHECK(memcmp(student, r.blocks.student, bytes) == 0);
        CHECK(memcmp(teacher, r.blocks.teacher, bytes) == 0);

        golden_gradient(&r, &losses);
        golden_update(&r, 1, &clip);
        json_t *step = json_object_get(r.meta, "step1");
        double total = json_number_value(json_object_get(step, "backprop_loss"));
        double norm =
            json_number_value(json_object_get(json_object_get(step, "grad_norm"), "backbone"));
        CHECK(total > 0 && fabs(losses.total - total) <= 1e-10 * total);
        CHECK(norm > 0 && fabs(clip.norm[MODULE_BACKBONE] - norm) <= 1e-10 * norm);
        free(student);
        free(teacher);
        golden_close(&r);
        train_close(&b);
    }
}

TEST(what_does_not_fit_is_named)
{
    struct dino_error err = {0};
    struct warm_start start;
    struct {
        const char *words;
        struct vit_config to;
    } cases[8];

    CHECK_OK(dn_warm_start_open(&start, testing_golden("tiny_t1.pth"), HEADS, &err), err);
    for (int i = 0; i < 8; i++)
        cases[i].to = start.net.backbone;
    cases[0].words = "width is 64, but student.embed_dim is 65";
    cases[0].to.dim++;
    cases[1].words = "number of blocks is 4, but student.depth is 5";
    cases[1].to.depth++;
    cases[2].words = "registers is 0, but student.num_register_tokens is 4";
    cases[2].to.registers = 4;
    cases[3].words = "feed-forward is mlp, but student.ffn_layer is swiglufused";
    cases[3].to.ffn = DINO_FFN_SWIGLU;
    cases[4].words = "is 1, but that of student.layerscale is 0";
    cases[4].to.layer_scale = false;
    cases[5].words = "patch size is 14, but student.patch_size is 16";
    cases[5].to.patch = 16;
    cases[6].words = "attention heads is 4, but student.num_heads is 1";
    cases[6].to.heads = 1;
    cases[7].words = "LayerNorm";
    cases[7].to.norm_eps = 1e-5F;
    for (int i = 0; i < 8; i++) {
        err = (struct dino_error){0};
        CHECK(!dn_warm_start_fits(&start, &cases[i].to, &err));
        if (!strstr(err.message, cases[i].words))
            fail_msg("%s", err.message);
    }
    struct vit_config other = start.net.backbone;
    other.grid_rows = other.grid_cols = 3;
    other.positions = DINO_POSITIONS_ANTIALIAS;
    CHECK_OK(dn_warm_start_fits(&start, &other, &err), err);
    dn_warm_start_release(&start);
}

TEST(no_model_and_damaged_heads_are_refused)
{
    struct dino_error err = {0};
    struct tensors file;
    struct loaded l;

    CHECK(!dn_warm_start_open(&l.start, scratch("missing.pth"), 0, &err));
    CHECK(strstr(err.message, "missing.pth"));
    dn_warm_start_release(&l.start);
    CHECK(!dn_warm_start_open(&l.start, testing_golden("train/images.safetensors"), 0, &err));
    CHECK(strstr(err.message, "cls_token"));
    dn_warm_start_release(&l.start);

    /* a head without its biases */
    load(&l, testing_golden("tiny_t1_teacher.pth"), GRID);
    CHECK_OK(dn_tensors_open(&file, testing_golden("tiny_t1_teacher.pth"), &err), err);
    copy_tensors(&file, "teacher.", "teacher.", "teacher.dino_head.mlp.2.bias",
                 scratch("lacks.safetensors"));
    struct warm_start lacks;
    CHECK_OK(dn_warm_start_open(&lacks, scratch("lacks.safetensors"), HEADS, &err), err);
    CHECK(!dn_warm_start_read(&lacks, &l.table, true, l.values, &err));
    CHECK(strstr(err.message, "no dino_head.mlp.2.bias"));
    dn_warm_start_release(&lacks);
    dn_tensors_release(&file);
    unload(&l);
}
