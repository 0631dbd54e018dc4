/* Distillation: a step whose targets come from a frozen network of another shape, against plain
 * loops in f64 and differences of the loss. */
#include "base/rng.h"
#include "train/testing_step.h"

enum { IMAGES = 4, CROPS = 8 };

/* ---- a frozen copy of the teacher is the teacher ---- */

static void same_step(int device, const struct golden_case *c, int micro)
{
    struct trainer_bench b = train_open(device, NULL);
    struct ssl_config config = golden_config(c);
    struct golden_run r, frozen;
    struct ssl_losses losses, again;
    size_t width = dino_dtype_size(b.dtype);

    config.micro = micro;
    golden_open(&r, &b, c, &config);
    golden_gradient(&r, &losses);
    void *copy = malloc(r.table.elements * width);
    memcpy(copy, r.blocks.teacher, r.table.elements * width);
    config.frozen = (struct ssl_teacher){&r.table, copy};
    golden_open(&frozen, &b, c, &config);
    memset(frozen.blocks.teacher, 0xff, r.table.elements * width); /* NaN: not to be read */
    golden_gradient(&frozen, &again);
    CHECK(memcmp(&losses, &again, sizeof losses) == 0);
    CHECK(memcmp(r.blocks.grads, frozen.blocks.grads, r.table.elements * width) == 0);
    golden_close(&frozen);
    golden_close(&r);
    free(copy);
    train_close(&b);
}

TEST(a_frozen_copy_of_the_teacher_gives_the_bits_of_the_teacher)
{
    for (int i = 0; i < GOLDEN_CASES; i++)
        same_step(0, &golden_cases[i], 4);
    same_step(1, &golden_cases[1], 4);
    same_step(1, &golden_cases[3], 3);
}

/* ---- features ahead of the step ---- */

/* Rows that were kept and put back make the step of rows that were just made. */
static void same_features(int device)
{
    struct trainer_bench b = train_open(device, NULL);
    struct ssl_config config = golden_config(&golden_cases[3]);
    struct dino_error err = {0};
    struct ssl_losses losses, again;
    struct golden_run r;

    config.micro = 3;
    golden_open(&r, &b, &golden_cases[3], &config);
    size_t width = dino_dtype_size(b.dtype), bytes = r.table.elements * width;
    struct mat rows = r.step.teacher_rows;
    size_t row_bytes = (size_t)(CROPS + r.batch.masked_count) * (size_t)rows.cols * width;
    void *grads = malloc(bytes), *kept = malloc(row_bytes);
    golden_gradient(&r, &losses);
    memcpy(grads, r.blocks.grads, bytes);
    CHECK_OK(dn_ssl_step_features(&r.step, &r.blocks, &r.batch, &err), err);
    memcpy(kept, rows.data, row_bytes);
    memset(rows.data, 0xff, row_bytes);
    memcpy(rows.data, kept, row_bytes);
    r.batch.featured = true;
    dn_fill(b.queue, (struct op_fill){.y = dn_params_module(&r.table, r.blocks.teacher, b.dtype,
                                                            MODULE_BACKBONE),
                                      .value = NAN}); /* only its heads are read now */
    golden_gradient(&r, &again);
    CHECK(memcmp(&losses, &again, sizeof losses) == 0);
    CHECK(memcmp(grads, r.blocks.grads, bytes) == 0);
    free(kept);
    free(grads);
    golden_close(&r);
    train_close(&b);
}

TEST(features_that_were_kept_give_the_bits_of_fresh_ones)
{
    same_features(0);
    same_features(1);
}

/* ---- another network, all patches, nothing hidden ---- */

enum { PATCHES = 16, LOCALS = 4, K = 96, MOST = 160 };

struct distil {
    struct trainer_bench b;
    struct params_table table, teacher_table;
    struct train_blocks blocks;
    void *frozen;
    struct golden_run images; /* its crops alone */
    struct ssl_step step;
    struct ssl_batch batch;
    int every[CROPS * PATCHES];
};

/* Narrower heads, other registers, another grid and FFN than any student here. */
static struct net_config teacher_net(bool separate)
{
    struct net_config net = golden_net(&golden_cases[separate ? 3 : 1]);

    net.backbone.dim = 48;
    net.backbone.depth = 2;
    net.backbone.heads = 3;
    net.backbone.registers = separate ? 1 : 3;
    net.backbone.ffn = separate ? DINO_FFN_MLP : DINO_FFN_SWIGLU;
    net.backbone.hidden = 40;
    net.backbone.grid_rows = 5;
    net.backbone.grid_cols = 3;
    net.backbone.mask_token = false;
    net.backbone.positions = separate ? DINO_POSITIONS_OFFSET : DINO_POSITIONS_ANTIALIAS;
    net.dino = (struct head_config){48, 2, 20, 12, K};
    net.ibot = separate ? (struct head_config){48, 1, 20, 48, K} : (struct head_config){0};
    return net;
}

static void random_block(const struct trainer_bench *b, const struct params_table *t,
                         void *block, uint64_t seed)
{
    for (int i = 0; i < t->count; i++) {
        struct mat m = dn_params_vector(t, block, b->dtype, i);
        bool scale = strstr(t->items[i].name, "norm") || strstr(t->items[i].name, "gamma");
        for (size_t j = 0; j < t->items[i].count; j++)
            train_set(m, j, 0.3 * (2 * dn_random_f64(seed, (uint64_t)i, j) - 1) + scale);
    }
}

static struct ssl_config distil_config(bool separate, enum train_centering centering)
{
    struct ssl_config config = golden_config(&golden_cases[separate ? 3 : 1]);

    config.most_masked = CROPS * PATCHES;
    config.show_masked = true;
    config.centering = centering;
    return config;
}

static void distil_open(struct distil *d, bool separate, struct ssl_config config)
{
    struct dino_error err = {0};
    struct net_config net = golden_net(&golden_cases[separate ? 3 : 1]);
    struct net_config teacher = teacher_net(separate);

    *d = (struct distil){.b = train_open(0, NULL)};
    d->images = (struct golden_run){.info = &golden_cases[1], .b = &d->b};
    golden_images(&d->images);
    net.backbone.mask_token = false;
    CHECK_OK(dn_params_table_init(&d->table, &net, &err), err);
    CHECK_OK(dn_params_table_init(&d->teacher_table, &teacher, &err), err);
    CHECK_OK(dn_train_blocks_init(&d->blocks, d->b.queue, &d->table, NULL, &err), err);
    CHECK((d->frozen = calloc(d->teacher_table.elements, sizeof(double))));
    random_block(&d->b, &d->table, d->blocks.student, 1);
    random_block(&d->b, &d->teacher_table, d->frozen, 2);
    config.frozen = (struct ssl_teacher){&d->teacher_table, d->frozen};
    CHECK_OK(dn_ssl_step_init(&d->step, d->b.queue, &d->table, &config, &err), err);
    for (int i = 0; i < CROPS * PATCHES; i++)
        d->every[i] = i;
    d->batch =
        (struct ssl_batch){d->images.global, d->images.local, d->every, CROPS * PATCHES, false};
}

static void distil_close(struct distil *d)
{
    dn_ssl_step_release(&d->step);
    dn_train_blocks_release(&d->blocks, d->b.device, &d->table);
    dn_params_table_release(&d->table);
    dn_params_table_release(&d->teacher_table);
    free(d->frozen);
    free(d->images.global);
    free(d->images.local);
    train_close(&d->b);
}

static double distil_gradient(struct distil *d, struct ssl_losses *losses)
{
    struct dino_error err = {0};

    dn_zero_grads(d->b.queue, &d->table, &d->blocks);
    dn_fill(d->b.queue, (struct op_fill){.y = d->step.dino_centre});
    dn_fill(d->b.queue, (struct op_fill){.y = d->step.ibot_centre});
    CHECK_OK(dn_ssl_step_run(&d->step, &d->blocks, &d->batch, 0.06, 1, losses, &err), err);
    return losses->total;
}

/* ---- the same loss, one crop and one row at a time ---- */

/* [count, size] on the heap */
static double *numbers(size_t count)
{
    double *x = calloc(count, sizeof *x);

    CHECK(x);
    return x;
}

/* Class token and patches of one crop behind the final norm: [1 + patches, dim]. */
static void tokens_of(struct distil *d, const struct params_table *t, void *params,
                      const float *planes, int size, double *out)
{
    const struct vit_config *c = &t->config.backbone;
    struct view_group group = {size, size, 1};
    struct view view = {.planes = planes};
    struct dino_error err = {0};
    struct backbone net;
    struct tape tape = {.dtype = DINO_F64, .factor = DINO_F64};
    int patches = size / c->patch * (size / c->patch);

    CHECK_OK(dn_backbone_init(&net, d->b.queue, t, &group, 1, 1, KEEP_NOTHING, &err), err);
    dn_backbone_layout_fixed(&net, &tape);
    dn_backbone_layout(&net, &tape);
    tape.base = aligned_alloc(DN_ALIGN, tape.used);
    tape.used = 0;
    dn_backbone_layout_fixed(&net, &tape);
    dn_backbone_layout(&net, &tape);
    CHECK_OK(dn_backbone_prepare(&net, &err), err);
    const double *x =
        dn_backbone_forward(&net, dn_plain_params(params, DINO_F64), &view, 1, NULL).data;
    const double *weight = dn_params_backbone(t, params, DINO_F64, PARAM_NORM_WEIGHT, -1).data;
    const double *bias = dn_params_backbone(t, params, DINO_F64, PARAM_NORM_BIAS, -1).data;
    for (int r = 0; r <= patches; r++, out += c->dim) {
        const double *row = x + (size_t)(r ? r + c->registers : 0) * (size_t)c->dim;
        double mean = 0, square = 0;
        for (int i = 0; i < c->dim; i++)
            mean += row[i] / c->dim;
        for (int i = 0; i < c->dim; i++)
            square += (row[i] - mean) * (row[i] - mean) / c->dim;
        for (int i = 0; i < c->dim; i++)
            out[i] = (row[i] - mean) / sqrt(square + (double)c->norm_eps) * weight[i] + bias[i];
    }
    free(tape.base);
    dn_backbone_release(&net);
}

static void to_unit(const double *x, int n, double gain, double *y)
{
    double square = 0;

    for (int i = 0; i < n; i++)
        square += x[i] * x[i];
    for (int i = 0; i < n; i++)
        y[i] = gain * x[i] / fmax(sqrt(square), 1e-12);
}

/* logits [K] of one token */
static void logits_of(const struct params_table *t, void *params, enum net_module module,
                      const double *token, double *logits)
{
    const struct head_config *c =
        module == MODULE_DINO_HEAD ? &t->config.dino : &t->config.ibot;
    double x[MOST], y[MOST];

    memcpy(x, token, (size_t)c->in * sizeof *x);
    for (int l = 0; l < c->layers; l++) {
        struct mat w = dn_params_head(t, params, DINO_F64, module, HEAD_WEIGHT, l);
        struct mat bias = dn_params_head(t, params, DINO_F64, module, HEAD_BIAS, l);
        for (int o = 0; o < w.rows; o++) {
            y[o] = train_get(bias, (size_t)o);
            for (int i = 0; i < w.cols; i++)
                y[o] += train_get(w, (size_t)o * (size_t)w.cols + (size_t)i) * x[i];
            if (l + 1 < c->layers)
                y[o] *= 0.5 * (1 + erf(y[o] / sqrt(2)));
        }
        memcpy(x, y, sizeof x);
    }
    to_unit(x, c->bottleneck, 1, x);
    const double *g = dn_params_head(t, params, DINO_F64, module, HEAD_G, 0).data;
    const double *v = dn_params_head(t, params, DINO_F64, module, HEAD_V, 0).data;
    for (int k = 0; k < c->prototypes; k++) {
        double p[MOST];
        to_unit(v + k * c->bottleneck, c->bottleneck, g[k], p);
        logits[k] = 0;
        for (int i = 0; i < c->bottleneck; i++)
            logits[k] += p[i] * x[i];
    }
}

/* As training.md writes Sinkhorn-Knopp, with one process; or softmax around a centre of 0. */
static void targets_of(double *q, int rows, enum train_centering centering)
{
    double all = 0;

    for (int i = 0; i < rows * K; i++)
        all += q[i] = exp(q[i] / 0.06);
    for (int i = 0; i < rows * K; i++)
        q[i] /= all;
    for (int round = 0; centering == CENTERING_SINKHORN && round < 3; round++) {
        for (int k = 0; k < K; k++) {
            double sum = 0;
            for (int s = 0; s < rows; s++)
                sum += q[s * K + k];
            for (int s = 0; s < rows; s++)
                q[s * K + k] /= sum * K;
        }
        for (int s = 0; s < rows; s++) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += q[s * K + k];
            for (int k = 0; k < K; k++)
                q[s * K + k] /= sum * rows;
        }
    }
    for (int s = 0; s < rows; s++) {
        double sum = 0;
        for (int k = 0; k < K; k++)
            sum += q[s * K + k];
        for (int k = 0; k < K; k++)
            q[s * K + k] /= sum;
    }
}

static double entropy_between(const double *target, const double *logits)
{
    double sum = 0, loss = 0;

    for (int k = 0; k < K; k++)
        sum += exp(logits[k] / 0.1);
    for (int k = 0; k < K; k++)
        loss -= target[k] * (logits[k] / 0.1 - log(sum));
    return loss;
}

static double koleo_of(const double *tokens, int dim, int stride)
{
    double u[IMAGES][MOST], loss = 0;

    for (int i = 0; i < IMAGES; i++)
        to_unit(tokens + i * stride, dim, 1, u[i]);
    for (int i = 0; i < IMAGES; i++) {
        double best = -2, square = 0;
        int nearest = 0;
        for (int j = 0; j < IMAGES; j++) {
            double dot = 0;
            for (int k = 0; k < dim; k++)
                dot += u[i][k] * u[j][k];
            if (j != i && dot > best) {
                best = dot;
                nearest = j;
            }
        }
        for (int k = 0; k < dim; k++)
            square += pow(u[i][k] - u[nearest][k] + 1e-8, 2);
        loss -= log(sqrt(square) + 1e-8) / IMAGES;
    }
    return loss;
}

/* Class and patch logits of `count` crops: [count][1 + patches][K]; the tokens too. */
static double *all_logits(struct distil *d, const struct params_table *t, void *params,
                          const float *planes, int count, int size, double **tokens)
{
    int per = 1 + size / 14 * (size / 14), dim = t->config.backbone.dim;
    double *logits = numbers((size_t)(count * per * K));

    *tokens = numbers((size_t)(count * per * dim));
    for (int c = 0; c < count; c++) {
        double *crop = *tokens + c * per * dim;
        tokens_of(d, t, params, planes + (size_t)c * 3 * (size_t)size * (size_t)size, size,
                  crop);
        for (int r = 0; r < per; r++)
            logits_of(t, params,
                      r && t->config.separate_ibot ? MODULE_IBOT_HEAD : MODULE_DINO_HEAD,
                      crop + r * dim, logits + (c * per + r) * K);
    }
    return logits;
}

static struct ssl_losses plain_losses(struct distil *d, enum train_centering centering)
{
    enum { PER = 1 + PATCHES, LOCAL_PER = 5 };
    double *teacher_tokens, *tokens, *local_tokens, weight = 1.0 / (2 + 2 * LOCALS) / IMAGES;
    double *teacher = all_logits(d, &d->teacher_table, d->frozen, d->batch.global, CROPS, 56,
                                 &teacher_tokens);
    double *student =
        all_logits(d, &d->table, d->blocks.student, d->batch.global, CROPS, 56, &tokens);
    double *local = all_logits(d, &d->table, d->blocks.student, d->batch.local, LOCALS * IMAGES,
                               28, &local_tokens);
    double *cls = numbers((size_t)(CROPS * K)), *patch = numbers((size_t)(CROPS * PATCHES * K));
    int dim = d->table.config.backbone.dim;
    struct ssl_losses sum = {0};

    for (int c = 0; c < CROPS; c++) {
        memcpy(cls + c * K, teacher + c * PER * K, K * sizeof *cls);
        memcpy(patch + c * PATCHES * K, teacher + (c * PER + 1) * K,
               PATCHES * K * sizeof *patch);
    }
    targets_of(cls, CROPS, centering);
    targets_of(patch, CROPS * PATCHES, centering);
    for (int l = 0; l < LOCALS * IMAGES; l++)
        for (int c = l % IMAGES; c < CROPS; c += IMAGES)
            sum.dino_local += weight * entropy_between(cls + c * K, local + l * LOCAL_PER * K);
    for (int c = 0; c < CROPS; c++) {
        int other = (c + IMAGES) % CROPS;
        sum.dino_global += weight * entropy_between(cls + other * K, student + c * PER * K);
        for (int p = 0; p < PATCHES; p++)
            sum.ibot += entropy_between(patch + (c * PATCHES + p) * K,
                                        student + (c * PER + 1 + p) * K) /
                        PATCHES / CROPS;
    }
    for (int half = 0; half < 2; half++)
        sum.koleo += 0.1 * koleo_of(tokens + half * IMAGES * PER * dim, dim, PER * dim);
    sum.total = sum.dino_local + sum.dino_global + sum.ibot + sum.koleo;
    free(teacher_tokens);
    free(tokens);
    free(local_tokens);
    free(teacher);
    free(student);
    free(local);
    free(cls);
    free(patch);
    return sum;
}

static void near(const char *what, double have, double want)
{
    if (getenv("DINO_TEST_MEASURE"))
        print_message("MEASURE %s %.2e of %.4f\n", what, fabs(have - want) / fabs(want), want);
    if (!(fabs(have - want) <= 1e-12 * fabs(want)))
        fail_msg("%s is %.15g, plain loops say %.15g", what, have, want);
}

TEST(a_small_student_of_another_network_has_the_losses_of_plain_loops)
{
    for (int separate = 0; separate < 2; separate++)
        for (int centering = 0; centering < 2; centering++) {
            enum train_centering kind = centering ? CENTERING_SINKHORN : CENTERING_SOFTMAX;
            struct ssl_losses have;
            struct distil d;
            distil_open(&d, separate, distil_config(separate, kind));
            distil_gradient(&d, &have);
            struct ssl_losses want = plain_losses(&d, kind);
            near("dino_local", have.dino_local, want.dino_local);
            near("dino_global", have.dino_global, want.dino_global);
            near("ibot", have.ibot, want.ibot);
            near("koleo", have.koleo, want.koleo);
            near("total", have.total, want.total);
            distil_close(&d);
        }
}

static void move(struct distil *d, int module, double by)
{
    struct mat m =
        dn_params_module(&d->table, d->blocks.student, DINO_F64, (enum net_module)module);

    for (size_t i = 0; i < (size_t)m.cols; i++)
        train_set(m, i, train_get(m, i) + by * (2 * dn_random_f64(7, 0, i) - 1));
}

TEST(gradients_of_distillation_are_what_differences_of_the_loss_say)
{
    const double h = 1e-6;
    struct ssl_config config = distil_config(true, CENTERING_SINKHORN);
    struct ssl_losses losses;
    struct distil d;

    config.micro = 3; /* in parts */
    distil_open(&d, true, config);
    for (int m = 0; m < MODULE_COUNT; m++) {
        double product = 0;
        distil_gradient(&d, &losses);
        struct mat g = dn_params_module(&d.table, d.blocks.grads, DINO_F64, (enum net_module)m);
        for (size_t i = 0; i < (size_t)g.cols; i++)
            product += train_get(g, i) * (2 * dn_random_f64(7, 0, i) - 1);
        move(&d, m, h);
        double up = distil_gradient(&d, &losses);
        move(&d, m, -2 * h);
        double slope = (up - distil_gradient(&d, &losses)) / (2 * h);
        move(&d, m, h);
        if (!(fabs(slope - product) <= 1e-6 * fabs(product)))
            fail_msg("module %d: differences say %.10g, the gradient %.10g", m, slope, product);
    }
    distil_close(&d);
}

TEST(a_teacher_that_does_not_fit_is_refused)
{
    struct ssl_config config = distil_config(false, CENTERING_SINKHORN);
    struct dino_error err = {0};
    struct net_config net = teacher_net(false);
    struct params_table table;
    struct ssl_step step;
    struct distil d;

    distil_open(&d, false, config);
    for (int i = 0; i < 3; i++) {
        static const char *const words[] = {"patches", "prototypes", "iBOT"};
        struct net_config other = net;
        other.backbone.patch = i == 0 ? 7 : 14;
        other.dino.prototypes = i == 1 ? K + 1 : K;
        other.separate_ibot = i == 2;
        other.ibot = other.dino;
        CHECK_OK(dn_params_table_init(&table, &other, &err), err);
        config.frozen = (struct ssl_teacher){&table, d.frozen};
        CHECK(!dn_ssl_step_init(&step, d.b.queue, &d.table, &config, &err));
        CHECK(err.code == DINO_EARG && strstr(err.message, words[i]));
        dn_params_table_release(&table);
    }
    distil_close(&d);
}
