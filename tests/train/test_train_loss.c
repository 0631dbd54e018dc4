/* Losses, targets and the optimizer against golden f64 values, on every device that trains. */
#include "train/testing_train.h"

static const char golden[] = "train/ops.safetensors";

#define EACH_DEVICE(b)                                                       \
    for (int device_ = 0; device_ < TRAIN_DEVICES; device_++)                \
        for (struct trainer_bench b = train_open(device_, golden); b.device; \
             train_close(&b), b.device = NULL)

static double sum_of(struct mat m)
{
    double sum = 0;

    for (int i = 0; i < m.rows * m.cols; i++)
        sum += train_get(m, (size_t)i);
    return sum;
}

/* Student rows against `per` targets each; loss and gradient as stored. */
static void check_loss(struct trainer_bench *b, const char *op, const int *rows,
                       const double *weights, int per)
{
    b->op = op;
    struct mat x = train_load(b, "in.student", 40), t = train_load(b, "in.teacher", 40);
    struct mat losses = train_zeros(b, x.rows, 1), total = train_zeros(b, 1, 1);

    dn_cross_entropy(b->queue, (struct op_cross_entropy){.d_x = x,
                                                         .losses = losses,
                                                         .x = x,
                                                         .t = t,
                                                         .rows = rows,
                                                         .weights = weights,
                                                         .per = per,
                                                         .temperature = 0.1});
    train_check(b, x, "grad.student");
    train_set(total, 0, sum_of(losses));
    train_check(b, total, "out.loss");
    free(x.data);
    free(t.data);
    free(losses.data);
    free(total.data);
}

TEST(dino_loss_of_local_and_global_crops)
{
    int local[48], global[12];
    double sixth[24], twelfth[12];

    for (int r = 0; r < 24; r++) { /* 4 crops of 6 images against both teacher crops */
        local[2 * r] = r % 6;
        local[2 * r + 1] = 6 + r % 6;
        sixth[r] = 1.0 / 6;
    }
    for (int r = 0; r < 12; r++) {
        global[r] = r;
        twelfth[r] = 1.0 / 12;
    }
    EACH_DEVICE(b)
    {
        check_loss(&b, "dino_loss_local", local, sixth, 2);
        check_loss(&b, "dino_loss_global", global, twelfth, 1);
    }
}

TEST(ibot_loss_weighs_patches_by_their_crop)
{
    EACH_DEVICE(b)
    {
        int rows[14];
        double weights[14];
        b.op = "ibot_loss";
        struct mat w = train_load(&b, "in.masks_weight", 0);
        for (int r = 0; r < 14; r++) {
            rows[r] = r;
            weights[r] = train_get(w, (size_t)r) / 4;
        }
        check_loss(&b, "ibot_loss", rows, weights, 1);
        free(w.data);
    }
}

/* bar 0: everything; else rows 1 and 4 to an absolute tolerance of 1. */
static void check_koleo(struct trainer_bench *b, const char *op, bool pair)
{
    int nearest[16];
    b->op = op;
    struct mat x = train_load(b, "in.x", 24);
    struct mat u = train_zeros(b, x.rows, 24), d_u = train_zeros(b, x.rows, 24);
    struct mat losses = train_zeros(b, x.rows, 1), total = train_zeros(b, 1, 1);
    struct mat truth = train_load(b, "grad.x", 24);
    size_t count;

    dn_l2norm(b->queue, (struct op_l2norm){.y = u, .x = x, .eps = 1e-8});
    dn_koleo(b->queue,
             (struct op_koleo){
                 .d_u = d_u, .losses = losses, .u = u, .nearest = nearest, .weight = 1});
    dn_l2norm_back(b->queue,
                   (struct op_l2norm_back){.d_x = d_u, .d_y = d_u, .x = x, .eps = 1e-8});
    char name[80];
    snprintf(name, sizeof name, "%s.out.neighbour", op);
    float *neighbour = testing_tensor(&b->file, name, &count);
    for (int i = 0; i < x.rows; i++)
        CHECK(nearest[i] == (int)neighbour[i]);
    free(neighbour);
    train_set(total, 0, sum_of(losses));
    train_check(b, total, "out.loss");
    for (size_t i = 0; pair && i < 24; i++)
        for (size_t r = 1; r <= 4; r += 3) { /* two terms of 4e5 cancel here */
            CHECK(fabs(train_get(d_u, r * 24 + i) - train_get(truth, r * 24 + i)) < 1);
            train_set(d_u, r * 24 + i, train_get(truth, r * 24 + i));
        }
    train_check(b, d_u, "grad.x");
    struct mat all[] = {x, u, d_u, losses, total, truth};
    for (int i = 0; i < 6; i++)
        free(all[i].data);
}

TEST(koleo_forward_and_backward_also_of_equal_rows)
{
    EACH_DEVICE(b)
    {
        check_koleo(&b, "koleo", false);
        check_koleo(&b, "koleo_duplicate_pair", true);
        check_koleo(&b, "koleo_duplicate_triple", false);
    }
}

TEST(koleo_of_one_row_is_nothing)
{
    EACH_DEVICE(b)
    {
        int nearest = -1;
        struct mat u = train_zeros(&b, 1, 3), d_u = train_zeros(&b, 1, 3);
        struct mat loss = train_zeros(&b, 1, 1);
        train_set(u, 0, 1);
        train_set(loss, 0, 5);
        dn_koleo(b.queue,
                 (struct op_koleo){
                     .d_u = d_u, .losses = loss, .u = u, .nearest = &nearest, .weight = 1});
        CHECK(nearest == 0 && train_get(loss, 0) == 0 && sum_of(d_u) == 0);
        free(u.data);
        free(d_u.data);
        free(loss.data);
    }
}

static void check_sinkhorn(struct trainer_bench *b, const char *op, double temperature)
{
    b->op = op;
    struct mat x = train_load(b, "in.x", 40), top = train_zeros(b, 1, 1);
    struct mat sums = train_zeros(b, 1, 40);

    dn_largest(b->queue, (struct op_largest){.y = top, .x = x});
    dn_exponential(b->queue, (struct op_exponential){
                                 .y = x, .x = x, .top = top, .temperature = temperature});
    for (int round = 0; round < 3; round++) {
        dn_sum_columns(b->queue, (struct op_sum_columns){.y = sums, .x = x, .alpha = 1});
        dn_sinkhorn(b->queue, (struct op_sinkhorn){.q = x, .sums = sums});
    }
    train_check(b, x, "out.dino");
    train_check(b, x, "out.ibot");
    free(x.data);
    free(top.data);
    free(sums.data);
}

TEST(sinkhorn_knopp_in_three_rounds)
{
    EACH_DEVICE(b)
    {
        check_sinkhorn(&b, "sinkhorn_a", 0.05);
        check_sinkhorn(&b, "sinkhorn_b", 0.04);
        check_sinkhorn(&b, "sinkhorn_c", 0.07);
    }
}

/* A prototype that nobody comes near loses its last digit and is left out, not 0 / 0. */
TEST(sinkhorn_survives_what_underflows)
{
    EACH_DEVICE(b)
    {
        struct mat x = train_zeros(&b, 2, 2), sums = train_zeros(&b, 1, 2);
        train_set(x, 0, 1);
        train_set(x, 2, 1);
        dn_sum_columns(b.queue, (struct op_sum_columns){.y = sums, .x = x, .alpha = 1});
        dn_sinkhorn(b.queue, (struct op_sinkhorn){.q = x, .sums = sums});
        CHECK(train_get(x, 0) == 1 && train_get(x, 1) == 0);
        CHECK(train_get(x, 2) == 1 && train_get(x, 3) == 0);
        free(x.data);
        free(sums.data);
    }
}

static void check_centring(struct trainer_bench *b, const char *in, const char *out, int rows)
{
    char name[40];
    b->op = "centering";
    struct mat x = train_load(b, in, 40), centre = train_load(b, "in.center0", 0);
    struct mat mean = train_zeros(b, 1, 40), t = train_zeros(b, rows, 40);

    for (int i = 0; i < 3; i++) {
        struct mat batch = dn_mat_rows(x, i * rows, rows);
        dn_softmax(b->queue, (struct op_softmax){
                                 .y = t, .x = batch, .centre = centre, .temperature = 0.05});
        dn_sum_columns(b->queue,
                       (struct op_sum_columns){.y = mean, .x = batch, .alpha = 1.0 / rows});
        dn_lerp(b->queue, (struct op_lerp){.y = centre, .x = mean, .keep = 0.9, .add = 0.1});
        snprintf(name, sizeof name, "out.%s_target_%d", out, i);
        train_check(b, t, name);
    }
    snprintf(name, sizeof name, "out.%s_center_3", out);
    train_check(b, centre, name);
    free(x.data);
    free(centre.data);
    free(mean.data);
    free(t.data);
}

TEST(softmax_centring_moves_its_centre)
{
    EACH_DEVICE(b)
    {
        check_centring(&b, "in.cls", "dino", 8);
        check_centring(&b, "in.patch", "ibot", 11);
    }
}

TEST(adamw_in_three_steps)
{
    static const struct {
        const char *name;
        double multiplier, decay;
        bool last;
    } params[] = {{"a.weight", 1, 0.04, false},
                  {"a.bias", 1, 0, false},
                  {"tiny", 0.5, 0.4, false},
                  {"last_layer.weight_v", 1, 0.04, true}};
    static const double lr[] = {1e-3, 2e-3, 1.5e-3};

    EACH_DEVICE(b)
    {
        for (int i = 0; i < 4; i++) {
            char name[80];
            b.op = "adamw";
            snprintf(name, sizeof name, "in.%s", params[i].name);
            struct mat p = train_load(&b, name, 0), g = train_load(&b, name, 0);
            struct mat m = train_zeros(&b, 1, p.cols), v = train_zeros(&b, 1, p.cols);
            for (int step = 1; step <= 3; step++) {
                snprintf(name, sizeof name, "in.%s.grad%d", params[i].name, step);
                train_fill(&b, g, name);
                dn_adamw(b.queue,
                         (struct op_adamw){.p = p,
                                           .m = m,
                                           .v = v,
                                           .g = g,
                                           .lr = params[i].last && step == 1
                                                     ? 0
                                                     : lr[step - 1] * params[i].multiplier,
                                           .decay = params[i].decay,
                                           .beta1 = 0.9,
                                           .beta2 = 0.999,
                                           .eps = 1e-8,
                                           .grad_scale = 1,
                                           .step = step});
                snprintf(name, sizeof name, "out.%s.step%d", params[i].name, step);
                train_check_bar(&b, p, name, b.bar, b.dtype == DINO_F32 ? 1e-6 : 0);
            }
            snprintf(name, sizeof name, "out.%s.exp_avg", params[i].name);
            train_check(&b, m, name);
            snprintf(name, sizeof name, "out.%s.exp_avg_sq", params[i].name);
            train_check(&b, v, name);
            free(p.data);
            free(g.data);
            free(m.data);
            free(v.data);
        }
    }
}

TEST(sum_of_squares_fill_and_scatter_add)
{
    static const int to[] = {2, 0, 2}, from[] = {0, 1, 1};
    EACH_DEVICE(b)
    {
        struct mat x = train_zeros(&b, 2, 3), y = train_zeros(&b, 3, 3);
        double squares = 0;
        for (size_t i = 0; i < 6; i++)
            train_set(x, i, (double)i + 1);
        dn_sum_squares(b.queue,
                       (struct op_sum_squares){.y = dn_mat(&squares, 1, 1, DINO_F64), .x = x});
        CHECK(squares == 91);
        dn_fill(b.queue, (struct op_fill){.y = y, .value = 10});
        dn_add_rows(b.queue,
                    (struct op_add_rows){
                        .y = y, .x = x, .to = to, .from = from, .count = 3, .alpha = 2});
        static const double wanted[] = {18, 20, 22, 10, 10, 10, 20, 24, 28};
        for (size_t i = 0; i < 9; i++)
            CHECK(train_get(y, i) == wanted[i]);
        free(x.data);
        free(y.data);
    }
}
