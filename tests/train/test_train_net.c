/* Blocks, heads, tokens and positions against golden f64 values, on every device. */
#include "format/json.h"
#include "train/backbone_train.h"
#include "train/drop_path.h"
#include "train/head_train.h"
#include "train/positions_matrix.h"
#include "train/testing_train.h"

static const char golden[] = "train/ops.safetensors";

#define EACH_DEVICE(b)                                                       \
    for (int device_ = 0; device_ < TRAIN_DEVICES; device_++)                \
        for (struct trainer_bench b = train_open(device_, golden); b.device; \
             train_close(&b), b.device = NULL)

static struct net_config tiny(int dim, int heads, int hidden, enum dino_ffn ffn)
{
    return (struct net_config){
        .backbone = {.dim = dim,
                     .depth = 1,
                     .heads = heads,
                     .hidden = hidden,
                     .patch = 14,
                     .channels = 3,
                     .grid_rows = 4,
                     .grid_cols = 4,
                     .ffn = ffn,
                     .positions = DINO_POSITIONS_OFFSET,
                     .norm_eps = 1e-6F,
                     .layer_scale = true,
                     .mask_token = true,
                     .qkv_bias = true,
                     .proj_bias = true,
                     .ffn_bias = true},
        .dino = {.in = dim, .layers = 1, .hidden = 8, .bottleneck = 4, .prototypes = 4},
    };
}

/* A block of parameters and one of gradients over a table. */
struct blocks {
    struct params_table table;
    struct mat params, grads;
};

static void blocks_init(struct blocks *n, const struct trainer_bench *b,
                        const struct net_config *config)
{
    struct dino_error err = {0};

    CHECK_OK(dn_params_table_init(&n->table, config, &err), err);
    n->params = train_zeros(b, 1, (int)n->table.elements);
    n->grads = train_zeros(b, 1, (int)n->table.elements);
}

static void blocks_release(struct blocks *n)
{
    dn_params_table_release(&n->table);
    free(n->params.data);
    free(n->grads.data);
}

/* Load (or check) every parameter whose name begins with `prefix` and that is in the file. */
static int blocks_each(struct blocks *n, const struct trainer_bench *b, const char *prefix,
                       bool check)
{
    int found = 0;

    for (int i = 0; i < n->table.count; i++) {
        char name[200], full[240];
        if (strncmp(n->table.items[i].name, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(name, sizeof name, "%s.%s", check ? "grad" : "in",
                 n->table.items[i].name + strlen(prefix));
        snprintf(full, sizeof full, "%s.%s", b->op, name);
        if (!dn_tensors_find(&b->file, full))
            continue;
        struct mat m =
            dn_params_vector(&n->table, check ? n->grads.data : n->params.data, b->dtype, i);
        if (check)
            train_check(b, m, name);
        else
            train_fill(b, m, name);
        found++;
    }
    return found;
}

static void *placed(struct tape *tape)
{
    size_t bytes = tape->used;

    *tape = (struct tape){.dtype = tape->dtype, .factor = tape->factor};
    tape->base = aligned_alloc(DN_ALIGN, bytes + DN_ALIGN);
    CHECK(tape->base);
    memset(tape->base, 0xff, bytes); /* NaN: nothing may be read before it is written */
    return tape->base;
}

/* One block on `sequences` of `tokens`; branches as given, or NULL for all. */
static void check_block(struct trainer_bench *b, const struct net_config *config, int sequences,
                        int tokens, const struct branch_rows *branches)
{
    int rows = sequences * tokens, dim = config->backbone.dim, starts[16];
    struct blocks n;
    struct block_tape kept = {0};
    struct block_scratch scratch;
    struct tape tape = {.dtype = b->dtype, .factor = b->dtype};

    blocks_init(&n, b, config);
    CHECK(blocks_each(&n, b, "backbone.blocks.0.", false) == 14);
    for (int s = 0; s <= sequences; s++)
        starts[s] = s * tokens;
    dn_block_tape_layout(&kept, &tape, &config->backbone, rows);
    dn_block_scratch_layout(&scratch, &tape, &config->backbone, rows, true);
    void *memory = placed(&tape);
    dn_block_tape_layout(&kept, &tape, &config->backbone, rows);
    dn_block_scratch_layout(&scratch, &tape, &config->backbone, rows, true);
    kept.x = train_load(b, "in.x", dim);
    struct mat y = train_zeros(b, rows, dim), d_x = train_load(b, "dy.y", dim);

    struct branch_rows all = {.count = rows, .starts = starts, .sequences = sequences};
    struct block_pass pass = {
        .queue = b->queue,
        .config = &config->backbone,
        .p = dn_block_params(&n.table, dn_plain_params(n.params.data, b->dtype), 0),
        .d = dn_block_params(&n.table, dn_plain_params(n.grads.data, b->dtype), 0),
        .attention = branches ? branches[0] : all,
        .ffn = branches ? branches[1] : all,
        .tape = &kept,
        .scratch = &scratch,
        .tokens = rows,
    };
    dn_block_forward(&pass, y);
    train_check(b, y, "out.y");
    dn_block_backward(&pass, d_x);
    train_check(b, d_x, "grad.x");
    CHECK(blocks_each(&n, b, "backbone.blocks.0.", true) == 14);
    free(memory);
    free(kept.x.data);
    free(y.data);
    free(d_x.data);
    blocks_release(&n);
}

TEST(blocks_forward_and_backward)
{
    EACH_DEVICE(b)
    {
        struct net_config mlp = tiny(32, 2, 128, DINO_FFN_MLP);
        b.op = "block_mlp";
        check_block(&b, &mlp, 2, 6, NULL);
        b.op = "block_swiglu";
        struct mat w3 = train_load(&b, "in.mlp.w3.weight", 0);
        struct net_config swiglu = tiny(32, 2, w3.cols / 32, DINO_FFN_SWIGLU);
        check_block(&b, &swiglu, 2, 6, NULL);
        free(w3.data);
    }
}

TEST(stochastic_depth_runs_the_kept_samples_only)
{
    EACH_DEVICE(b)
    {
        static const char *const names[] = {"in.kept_attention", "in.kept_ffn"};
        struct net_config config = tiny(16, 2, 64, DINO_FFN_MLP);
        struct branch_rows branches[2];
        int rows[2][20], starts[] = {0, 5, 10, 15, 20};
        b.op = "drop_path_subset";
        for (int i = 0; i < 2; i++) {
            struct mat kept = train_load(&b, names[i], 0);
            for (int r = 0; r < 20; r++)
                rows[i][r] = (int)train_get(kept, (size_t)(r / 5)) * 5 + r % 5;
            branches[i] = (struct branch_rows){.rows = rows[i],
                                               .count = 20,
                                               .starts = starts,
                                               .sequences = 4,
                                               .part_count = 1};
            branches[i].parts[0].count = 20;
            branches[i].parts[0].scale = 7.0 / 4;
            free(kept.data);
        }
        check_block(&b, &config, 7, 5, branches);
    }
}

TEST(stochastic_depth_keeps_as_many_as_the_official_code)
{
    json_t *all = json_load_file(testing_golden("train/ops.json"), 0, NULL), *counts;
    const char *rate;
    int rates = 0;

    json_object_foreach(json_object_get(all, "drop_path_subset_sizes"), rate, counts)
    {
        if (!json_is_array(counts))
            continue;
        for (size_t b = 0; b < json_array_size(counts); b++)
            CHECK(dn_drop_path_kept((int)b + 1, strtod(rate, NULL)) ==
                  json_integer_value(json_array_get(counts, b)));
        rates++;
    }
    CHECK(rates > 1);
    json_decref(all);
}

TEST(heads_of_one_two_and_three_layers)
{
    EACH_DEVICE(b)
    for (int layers = 1; layers <= 3; layers++) {
        char op[20];
        struct net_config config = tiny(16, 2, 64, DINO_FFN_MLP);
        config.dino = (struct head_config){
            .in = 16, .layers = layers, .hidden = 20, .bottleneck = 12, .prototypes = 40};
        struct blocks n;
        struct tape tape = {.dtype = b.dtype, .factor = b.dtype};
        snprintf(op, sizeof op, "dino_head_%d", layers);
        b.op = op;
        blocks_init(&n, &b, &config);
        CHECK(blocks_each(&n, &b, "dino_head.", false) == 2 * layers + 2);
        struct head_pass head = {
            .queue = b.queue, .table = &n.table, .module = MODULE_DINO_HEAD};
        dn_head_layout(&head, &tape, 6, true);
        void *memory = placed(&tape);
        dn_head_layout(&head, &tape, 6, true);
        struct mat x = train_load(&b, "in.x", 16), d_y = train_load(&b, "dy.y", 40);
        struct mat y = train_zeros(&b, 6, 40), d_x = train_zeros(&b, 6, 16);
        dn_head_forward(&head, dn_plain_params(n.params.data, b.dtype), x, y);
        train_check(&b, y, "out.y");
        dn_head_backward(&head, dn_plain_params(n.params.data, b.dtype), n.grads.data, x, d_y,
                         d_x);
        train_check(&b, d_x, "grad.x");
        CHECK(blocks_each(&n, &b, "dino_head.", true) == 2 * layers + 2);
        struct mat all[] = {x, d_y, y, d_x};
        for (int i = 0; i < 4; i++)
            free(all[i].data);
        free(memory);
        blocks_release(&n);
    }
}

static void check_positions(struct trainer_bench *b, int stored, int rows, int cols, bool aa,
                            bool offset)
{
    char op[64];
    struct dino_error err = {0};
    struct net_config config = tiny(8, 1, 8, DINO_FFN_MLP);

    snprintf(op, sizeof op, "pos_%dto%dx%d_%s_off%s", stored, rows, cols, aa ? "aa" : "noaa",
             offset ? "01" : "0");
    b->op = op;
    config.backbone.grid_rows = config.backbone.grid_cols = stored;
    config.backbone.positions = offset ? DINO_POSITIONS_OFFSET
                                : aa   ? DINO_POSITIONS_ANTIALIAS
                                       : DINO_POSITIONS_SIZE;
    int dim = stored == 37 ? 4 : 8;
    size_t count = (size_t)(rows * cols) * (size_t)(stored * stored);
    double *taps = malloc(count * sizeof *taps);
    CHECK_OK(dn_positions_matrix(&config.backbone, rows, cols, taps, &err), err);
    struct mat matrix = train_zeros(b, rows * cols, stored * stored);
    for (size_t i = 0; i < count; i++)
        train_set(matrix, i, taps[i]);
    struct mat grid = train_load(b, "in.pos_embed", dim), d_y = train_load(b, "dy.y", dim);
    struct mat y = train_zeros(b, rows * cols + 1, dim);
    struct mat d_grid = train_zeros(b, stored * stored + 1, dim);

    for (size_t i = 0; i < (size_t)dim; i++) { /* the class entry passes as it is */
        train_set(y, i, train_get(grid, i));
        train_set(d_grid, i, train_get(d_y, i));
    }
    dn_matmul(b->queue, (struct op_matmul){.y = dn_mat_rows(y, 1, rows * cols),
                                           .a = matrix,
                                           .b = dn_mat_rows(grid, 1, stored * stored)});
    dn_matmul(b->queue, (struct op_matmul){.y = dn_mat_rows(d_grid, 1, stored * stored),
                                           .a = matrix,
                                           .b = dn_mat_rows(d_y, 1, rows * cols),
                                           .transpose_a = true});
    train_check(b, y, "out.y");
    train_check(b, d_grid, "grad.pos_embed");
    struct mat all[] = {matrix, grid, d_y, y, d_grid};
    for (int i = 0; i < 5; i++)
        free(all[i].data);
    free(taps);
}

TEST(positions_are_resampled_and_back)
{
    static const int grids[][3] = {{4, 2, 2},  {4, 3, 5},  {4, 7, 7},   {4, 4, 8},
                                   {16, 7, 7}, {16, 6, 6}, {16, 16, 20}};
    EACH_DEVICE(b)
    {
        for (int i = 0; i < 7; i++) {
            check_positions(&b, grids[i][0], grids[i][1], grids[i][2], false, true);
            check_positions(&b, grids[i][0], grids[i][1], grids[i][2], true, false);
            check_positions(&b, grids[i][0], grids[i][1], grids[i][2], false, false);
        }
        check_positions(&b, 37, 16, 16, false, true);
        check_positions(&b, 37, 16, 16, true, false);
    }
}

/* Tokens are what a backbone has before its first block: the last block's output of a network
 * whose branches are scaled by gammas of zero. */
static void check_tokens(struct trainer_bench *b, int registers, int height, int width)
{
    char op[40];
    struct dino_error err = {0};
    struct net_config config = tiny(8, 2, 8, DINO_FFN_MLP);
    int patches = height / 14 * (width / 14), tokens = 1 + registers + patches;
    int masked[3][16];
    struct view views[3];
    struct blocks n;
    struct backbone net;
    struct tape tape = {.dtype = b->dtype, .factor = b->dtype};
    size_t count;

    snprintf(op, sizeof op, "tokens_r%d_%dx%d", registers, height, width);
    b->op = op;
    config.backbone.registers = registers;
    if (registers)
        config.backbone.positions = DINO_POSITIONS_ANTIALIAS;
    blocks_init(&n, b, &config);
    CHECK(blocks_each(&n, b, "backbone.", false) == 5 + (registers > 0));
    char name[80];
    snprintf(name, sizeof name, "%s.in.x", op);
    float *planes = testing_tensor(&b->file, name, &count);
    snprintf(name, sizeof name, "%s.in.masks", op);
    float *masks =
        dn_tensors_find(&b->file, name) ? testing_tensor(&b->file, name, NULL) : NULL;
    for (int v = 0; v < 3; v++) {
        views[v] =
            (struct view){.planes = planes + v * 3 * height * width, .masked = masked[v]};
        for (int p = 0; masks && p < patches; p++)
            if (masks[v * patches + p] != 0)
                masked[v][views[v].masked_count++] = p;
    }
    struct view_group group = {height, width, 3};
    CHECK_OK(dn_backbone_init(&net, b->queue, &n.table, &group, 1, 3, KEEP_TAPE, &err), err);
    dn_backbone_layout_fixed(&net, &tape);
    dn_backbone_layout(&net, &tape);
    void *memory = placed(&tape);
    dn_backbone_layout_fixed(&net, &tape);
    dn_backbone_layout(&net, &tape);
    CHECK_OK(dn_backbone_prepare(&net, &err), err);
    struct mat x =
        dn_backbone_forward(&net, dn_plain_params(n.params.data, b->dtype), views, 3, NULL);
    CHECK(x.rows == 3 * tokens);
    train_check(b, x, "out.tokens");
    struct mat d_x = train_load(b, "dy.tokens", 8);
    dn_backbone_backward(&net, dn_plain_params(n.params.data, b->dtype), n.grads.data, d_x);
    CHECK(blocks_each(&n, b, "backbone.", true) == 5 + (registers > 0));
    dn_backbone_release(&net);
    free(d_x.data);
    free(memory);
    free(planes);
    free(masks);
    blocks_release(&n);
}

TEST(tokens_are_embedded_and_back)
{
    EACH_DEVICE(b)
    {
        check_tokens(&b, 0, 56, 56);
        check_tokens(&b, 0, 28, 42);
        check_tokens(&b, 4, 56, 56);
        check_tokens(&b, 4, 28, 42);
    }
}

TEST(a_table_of_parameters_names_them_and_refuses_what_cannot_be)
{
    struct dino_error err = {0};
    struct params_table table;
    struct net_config config = tiny(16, 2, 64, DINO_FFN_MLP);
    config.ibot = config.dino;
    config.ibot.layers = 3;
    config.separate_ibot = true;

    CHECK_OK(dn_params_table_init(&table, &config, &err), err);
    CHECK(dn_params_find(&table, "backbone.blocks.0.attn.qkv.weight") >= 0);
    CHECK(dn_params_find(&table, "dino_head.mlp.weight") >= 0);
    int v = dn_params_find(&table, "ibot_head.last_layer.weight_v");
    CHECK(v == table.count - 1);
    CHECK(dn_params_find(&table, "ibot_head.mlp.6.weight") == -1);
    struct mat ibot = dn_params_module(&table, NULL, DINO_F32, MODULE_IBOT_HEAD);
    struct mat dino = dn_params_module(&table, NULL, DINO_F32, MODULE_DINO_HEAD);
    struct mat backbone = dn_params_module(&table, NULL, DINO_F32, MODULE_BACKBONE);
    CHECK((size_t)(ibot.cols + dino.cols + backbone.cols) == table.elements);
    dn_params_table_release(&table);

    config.ibot.in = 17;
    CHECK(!dn_params_table_init(&table, &config, &err) && err.code == DINO_EARG);
    config.ibot.in = 16;
    config.ibot.layers = 0;
    CHECK(!dn_params_table_init(&table, &config, &err) && err.code == DINO_EARG);
}
