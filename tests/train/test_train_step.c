/* Whole training steps against the golden cases, in f64 on ref to the rounding of the stored
 * values. */
#include "ops/tolerances.h"
#include "train/loss_scale.h"
#include "train/testing_step.h"

static void near(const char *what, double have, double want, double bar)
{
    if (getenv("DINO_TEST_MEASURE"))
        print_message("MEASURE %s %.2e\n", what, fabs(have - want) / fabs(want));
    if (!(fabs(have - want) <= bar * fabs(want) + 1e-30))
        fail_msg("%s is %.12g, wanted %.12g", what, have, want);
}

static double number(json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);

    if (!json_is_number(value))
        fail_msg("meta.json has no %s", name);
    return json_number_value(value);
}

static void check_losses(struct golden_run *r, int step, const struct ssl_losses *have,
                         double bar)
{
    json_t *part = json_object_get(r->meta, step == 1 ? "step1" : "step2");
    json_t *loss = json_object_get(part, "loss");

    near("dino_local", have->dino_local, number(loss, "dino_local_crops_loss"), bar);
    near("dino_global", have->dino_global, number(loss, "dino_global_crops_loss"), bar);
    near("ibot", have->ibot / 2, number(loss, "ibot_loss"), bar);
    if (r->info->koleo > 0)
        near("koleo", have->koleo / 2, number(loss, "koleo_loss"), bar);
    near("total", have->total, number(part, "backprop_loss"), bar);
}

static void check_clip(struct golden_run *r, int step, const struct clipping *clip, double bar)
{
    static const char *const names[] = {"backbone", "dino_head", "ibot_head"};
    json_t *part = json_object_get(r->meta, step == 1 ? "step1" : "step2");

    for (int m = 0; m < (r->info->separate ? 3 : 2); m++) {
        near(names[m], clip->norm[m], number(json_object_get(part, "grad_norm"), names[m]),
             bar);
        near(names[m], clip->coefficient[m],
             number(json_object_get(part, "clip_coef"), names[m]), bar);
    }
}

/* The middle third of a qkv bias has no gradient in exact arithmetic: noise over noise. */
static bool key_bias(const struct param_slice *p, size_t i)
{
    size_t length = strlen(p->name);

    return length > 8 && strcmp(p->name + length - 8, "qkv.bias") == 0 && i >= p->count / 3 &&
           i < 2 * p->count / 3;
}

/* Every tensor of `block` that the file has as PREFIX.NAME, within bar of its largest value.
 * Returns how many. */
static int check_block(struct golden_run *r, void *block, const char *prefix, double bar)
{
    int found = 0;

    for (int i = 0; i < r->table.count; i++) {
        const struct param_slice *p = &r->table.items[i];
        char name[200];
        size_t count;
        double worst = 0, most = 0;
        snprintf(name, sizeof name, "%s.%s", prefix, p->name);
        if (!dn_tensors_find(&r->b->file, name))
            continue;
        float *truth = testing_tensor(&r->b->file, name, &count);
        struct mat m = dn_params_vector(&r->table, block, r->b->dtype, i);
        CHECK(count == p->count);
        for (size_t j = 0; j < count; j++) {
            double d = fabs(train_get(m, j) - (double)truth[j]);
            most = fmax(most, fabs((double)truth[j]));
            if (!key_bias(p, j))
                worst = d <= worst ? worst : d;
        }
        if (getenv("DINO_TEST_MEASURE"))
            print_message("MEASURE %s %s %.2e of %.2e\n", r->info->name, name, worst / most,
                          most);
        if (!(worst <= bar * most))
            fail_msg("%s %s on %s: off by %.3g of %.3g", r->info->name, name,
                     r->b->device->name, worst, most);
        free(truth);
        found++;
    }
    return found;
}

/* Targets, and the student's rows and logits, from what the step left in its memory. */
static void check_middle(struct golden_run *r, double bar)
{
    struct ssl_step *s = &r->step;
    struct ssl_rows n = s->count;
    struct trainer_bench *b = r->b;
    struct mat dino = s->dino_targets, swapped = train_zeros(b, 8, 96);
    size_t half = 4 * 96;
    struct net_params params = dn_plain_params(r->blocks.student, b->dtype);

    for (size_t i = 0; i < 2 * half; i++) /* stored as [0] of teacher crop 1, [1] of crop 0 */
        train_set(swapped, i, train_get(dino, (i + half) % (2 * half)));
    train_check_bar(b, swapped, "target.dino", bar, 0);
    struct mat ibot = s->ibot_targets;
    ibot.rows = n.masked;
    train_check_bar(b, ibot, "target.ibot", bar, 0);

    CHECK(n.local == 16 && n.global == 8 && n.masked == r->batch.masked_count);
    train_check_bar(b, dn_mat_rows(s->rows, 0, 16), "mid.student_local_cls", bar, 0);
    train_check_bar(b, dn_mat_rows(s->rows, 16, 8), "mid.student_global_cls", bar, 0);
    train_check_bar(b, dn_mat_rows(s->rows, 24, n.masked), "mid.student_masked_patches", bar,
                    0);

    struct mat rows = dn_mat_rows(s->rows, 0, 24), logits = dn_mat_rows(s->dino_logits, 0, 24);
    dn_head_forward(&s->dino, params, rows, logits);
    train_check_bar(b, dn_mat_rows(logits, 0, 16), "mid.student_local_cls_after_head", bar, 0);
    train_check_bar(b, dn_mat_rows(logits, 16, 8), "mid.student_global_cls_after_head", bar, 0);
    rows = dn_mat_rows(s->rows, 24, n.masked);
    logits = dn_mat_rows(r->info->separate ? s->ibot_logits : s->dino_logits, 0, n.masked);
    dn_head_forward(r->info->separate ? &s->ibot : &s->dino, params, rows, logits);
    train_check_bar(b, logits, "mid.student_masked_after_head", bar, 0);
    free(swapped.data);
}

static void check_centres(struct golden_run *r, double bar)
{
    if (r->info->centering != CENTERING_SOFTMAX)
        return;
    train_check_bar(r->b, r->step.dino_centre, "dino_loss.center", bar, 0);
    train_check_bar(r->b, r->step.ibot_centre, "ibot_patch_loss.center", bar, 0);
}

/* Two steps of a case, every stored number. */
static void check_case_in_f64(const struct golden_case *c, bool checkpointing)
{
    const double bar = 1e-7;
    struct trainer_bench b = train_open(0, NULL);
    struct ssl_config config = golden_config(c);
    struct golden_run r;

    config.checkpointing = checkpointing;
    golden_open(&r, &b, c, &config);
    for (int step = 1; step <= 2; step++) {
        struct ssl_losses losses;
        struct clipping clip;
        golden_use(&r, step == 1 ? "step1.safetensors" : "step2.safetensors");
        golden_gradient(&r, &losses);
        check_losses(&r, step, &losses, 1e-10);
        if (!checkpointing)
            check_middle(&r, bar);
        int grads = check_block(&r, r.blocks.grads, "grad.student", bar);
        CHECK(grads == (step == 1 ? r.table.count : 0));
        golden_update(&r, step, &clip);
        check_clip(&r, step, &clip, 1e-10);
        int students = check_block(&r, r.blocks.student, "student", bar);
        CHECK(students == r.table.count || (step == 1 && c == &golden_cases[0]));
        check_block(&r, r.blocks.teacher, "teacher", bar);
        check_centres(&r, bar);
    }
    golden_close(&r);
    train_close(&b);
}

TEST(two_steps_of_c0_in_f64_are_the_official_ones)
{
    check_case_in_f64(&golden_cases[0], false);
}

TEST(two_steps_of_c1_in_f64_are_the_official_ones)
{
    check_case_in_f64(&golden_cases[1], false);
}

TEST(two_steps_of_c2_in_f64_are_the_official_ones)
{
    check_case_in_f64(&golden_cases[2], false);
}

TEST(two_steps_of_c3_in_f64_are_the_official_ones)
{
    check_case_in_f64(&golden_cases[3], false);
}

TEST(blocks_computed_again_give_the_same_steps)
{
    check_case_in_f64(&golden_cases[3], true);
}

/* ---- f32: held to the bars of TRAINING.md, section 1.3, and to twice PyTorch's own error ----
 */

static double anchor(const char *name, int step, const char *list)
{
    json_t *all = json_load_file(testing_golden("train/anchors.json"), 0, NULL);
    json_t *part = json_object_get(json_object_get(all, name), step == 1 ? "step1" : "step2");
    json_t *worst = json_array_get(json_array_get(json_object_get(part, list), 0), 0);

    CHECK(json_is_number(worst));
    double value = json_number_value(worst);
    json_decref(all);
    return value;
}

/* How far a tensor's gradient is from the truth of the current file. */
struct distance {
    double difference, norm; /* sums of squares */
    double l2, max;          /* relative to the norm and to the largest value */
};

static struct distance gradient_distance(struct golden_run *r, int item)
{
    const struct param_slice *p = &r->table.items[item];
    struct mat m = dn_params_vector(&r->table, r->blocks.grads, r->b->dtype, item);
    struct distance d = {0};
    double worst = 0, most = 0;
    char name[200];

    snprintf(name, sizeof name, "grad.student.%s", p->name);
    float *truth = testing_tensor(&r->b->file, name, NULL);
    for (size_t j = 0; j < p->count; j++) {
        double off = key_bias(p, j) ? 0 : train_get(m, j) - (double)truth[j];
        worst = fabs(off) <= worst ? worst : fabs(off);
        most = fmax(most, fabs((double)truth[j]));
        d.difference += off * off;
        d.norm += (double)truth[j] * (double)truth[j];
    }
    free(truth);
    d.l2 = sqrt(d.difference / d.norm);
    d.max = worst / most;
    if (getenv("DINO_TEST_MEASURE"))
        print_message("MEASURE %s %s l2 %.2e max %.2e of %.2e\n", r->info->name, name, d.l2,
                      d.max, most);
    return d;
}

/* Gradients by relative L2 norm and relative maximum a tensor. */
static void check_gradients_in_f32(struct golden_run *r)
{
    double l2_bar = fmin(2e-5, 2 * anchor(r->info->name, 1, "grad_rel_l2_worst"));
    double max_bar = fmin(5e-5, 2 * anchor(r->info->name, 1, "grad_rel_max_worst"));

    for (int i = 0; i < r->table.count; i++) {
        struct distance d = gradient_distance(r, i);
        if (!(d.l2 <= l2_bar && d.max <= max_bar))
            fail_msg("%s %s: l2 %.3g (allowed %.3g), max %.3g (allowed %.3g)", r->info->name,
                     r->table.items[i].name, d.l2, l2_bar, d.max, max_bar);
    }
}

/* Parameters after a step from its own gradients: AdamW divides noise by noise where a
 * gradient is near zero, so almost all are held to 0.005 lr, a few to 0.1 lr, none to less than
 * 2.2 lr a step. */
static void check_parameters_in_f32(struct golden_run *r, int step)
{
    struct param_rate rates[128];
    struct group_rule rule = {.layerwise_decay = 0.9, .patch_embed_lr_mult = 0.2};
    int all = 0, loose = 0, far = 0;

    struct schedule_values at = {.lr = 1e-3,
                                 .backbone_lr = 1e-3,
                                 .last_layer_lr = r->info->last_lr[step - 1],
                                 .weight_decay = 0.04};
    dn_param_rates(&r->table, &rule, &at, rates);
    for (int i = 0; i < r->table.count; i++) {
        const struct param_slice *p = &r->table.items[i];
        char name[200];
        snprintf(name, sizeof name, "student.%s", p->name);
        if (!dn_tensors_find(&r->b->file, name))
            continue;
        float *truth = testing_tensor(&r->b->file, name, NULL);
        struct mat m = dn_params_vector(&r->table, r->blocks.student, r->b->dtype, i);
        for (size_t j = 0; j < p->count; j++) {
            double d = fabs(train_get(m, j) - (double)truth[j]), lr = rates[i].lr;
            all++;
            loose += !(d <= 0.005 * lr + 1e-7);
            far += !(d <= 0.1 * lr + 1e-7) && !key_bias(p, j);
            if (!(d <= 2.2 * lr * step + 1e-7))
                fail_msg("%s %s[%zu] after step %d: off by %.3g, lr %.3g", r->info->name, name,
                         j, step, d, lr);
        }
        free(truth);
    }
    if (loose > all / 500 || far > 20)
        fail_msg("%s step %d: %d of %d parameters off by 0.005 lr, %d by 0.1 lr", r->info->name,
                 step, loose, all, far);
}

static void check_case_in_f32(const struct golden_case *c)
{
    struct trainer_bench b = train_open(1, NULL);
    struct ssl_config config = golden_config(c);
    struct golden_run r;

    golden_open(&r, &b, c, &config);
    for (int step = 1; step <= 2; step++) {
        struct ssl_losses losses;
        struct clipping clip;
        golden_use(&r, step == 1 ? "step1.safetensors" : "step2.safetensors");
        golden_gradient(&r, &losses);
        check_losses(&r, step, &losses, step == 1 ? 5e-6 : 5e-5);
        if (step == 1) {
            check_middle(&r, 5e-6);
            check_gradients_in_f32(&r);
        }
        golden_update(&r, step, &clip);
        check_clip(&r, step, &clip, step == 1 ? 5e-6 : 5e-5);
        check_parameters_in_f32(&r, step);
        check_block(&r, r.blocks.teacher, "teacher", 2e-5);
        check_centres(&r, 1e-5);
    }
    golden_close(&r);
    train_close(&b);
}

TEST(two_steps_of_every_case_in_f32_are_within_the_bars)
{
    for (int i = 0; i < GOLDEN_CASES; i++)
        check_case_in_f32(&golden_cases[i]);
}

/* ---- 16 bits: held to the table of tolerances ---- */

/* The gradient at the largest scale up to a run's first that it does not overflow at, and not
 * scaled any more: it is f32, and the scale a power of two. */
static void scaled_gradient(struct golden_run *r, struct ssl_losses *losses)
{
    float *grads = r->blocks.grads;
    struct loss_scale scale = dn_loss_scale_first();
    struct dino_error err = {0};
    struct clipping clip;
    bool finite = false;

    while (!finite) {
        r->blocks.scale = scale.value;
        golden_gradient(r, losses);
        CHECK_OK(dn_clip(r->b->queue, &r->table, &r->blocks, 3, &clip, &err), err);
        finite = dn_clip_finite(&clip);
        dn_loss_scale_follow(&scale, finite);
        CHECK(!dn_loss_scale_lost(&scale));
    }
    print_message("%s: scale %.0f\n", r->info->name, r->blocks.scale);
    for (size_t i = 0; i < r->table.elements; i++)
        grads[i] /= (float)r->blocks.scale;
}

static void check_case_in(const struct golden_case *c, int device)
{
    enum dino_dtype dtype = train_devices[device].dtype;
    const struct tolerance *loss = tolerance_of("train loss", dtype);
    const struct tolerance *gradient = tolerance_of("train gradient", dtype);
    struct trainer_bench b = train_open(device, NULL);
    struct ssl_config config = golden_config(c);
    struct golden_run r;
    struct ssl_losses losses;
    double difference[MODULE_COUNT] = {0}, norm[MODULE_COUNT] = {0};

    golden_open(&r, &b, c, &config);
    golden_use(&r, "step1.safetensors");
    if (dtype == DINO_F16)
        scaled_gradient(&r, &losses);
    else
        golden_gradient(&r, &losses);
    check_losses(&r, 1, &losses, loss->max);
    for (int i = 0; i < r.table.count; i++) {
        struct distance d = gradient_distance(&r, i);
        difference[r.table.items[i].module] += d.difference;
        norm[r.table.items[i].module] += d.norm;
        if (!(d.l2 <= gradient->max))
            fail_msg("%s %s: l2 %.3g", c->name, r.table.items[i].name, d.l2);
    }
    for (int m = 0; m < (c->separate ? 3 : 2); m++) {
        double l2 = sqrt(difference[m] / norm[m]);
        if (getenv("DINO_TEST_MEASURE"))
            print_message("MEASURE %s module %d l2 %.2e\n", c->name, m, l2);
        if (!(l2 <= gradient->l2))
            fail_msg("%s module %d: l2 %.3g", c->name, m, l2);
    }
    golden_close(&r);
    train_close(&b);
}

TEST(the_first_step_of_every_case_in_bf16_is_within_the_budget)
{
    for (int i = 0; i < GOLDEN_CASES; i++)
        check_case_in(&golden_cases[i], TRAIN_BF16);
}

TEST(the_first_step_of_every_case_in_f16_is_within_the_budget)
{
    if (!testing_device())
        SKIP("DINO_TEST_DEVICE names no device that has f16");
    for (int i = 0; i < GOLDEN_CASES; i++)
        check_case_in(&golden_cases[i], TRAIN_F16);
}

/* ---- the scale of the loss ---- */

/* All sums are f32, and powers of two do not round: only what is too small or large differs. */
static void check_scale_is_exact(int device)
{
    struct trainer_bench b = train_open(device, NULL);
    struct ssl_config config = golden_config(&golden_cases[3]);
    struct ssl_losses plain, scaled;
    struct clipping clip, scaled_clip;
    struct dino_error err = {0};
    struct golden_run r;

    golden_open(&r, &b, &golden_cases[3], &config);
    golden_gradient(&r, &plain);
    CHECK_OK(dn_clip(b.queue, &r.table, &r.blocks, 1e-3, &clip, &err), err);
    r.blocks.scale = 64;
    golden_gradient(&r, &scaled);
    CHECK_OK(dn_clip(b.queue, &r.table, &r.blocks, 1e-3, &scaled_clip, &err), err);
    near("a loss of a scaled step", scaled.total, plain.total, 1e-12);
    for (int m = 0; m < MODULE_COUNT; m++) {
        near("a norm of a scaled gradient", scaled_clip.norm[m], clip.norm[m], 1e-6);
        near("64 coefficients", 64 * scaled_clip.coefficient[m], clip.coefficient[m], 1e-6);
    }
    golden_close(&r);
    train_close(&b);
}

TEST(a_scaled_loss_gives_the_same_losses_norms_and_clipping)
{
    check_scale_is_exact(0);
    check_scale_is_exact(1);
}

TEST(a_scale_grows_after_many_good_steps_and_falls_at_once)
{
    struct loss_scale s = dn_loss_scale_first(), off = {0};

    CHECK(s.value == 65536);
    for (int i = 0; i < 1999; i++)
        dn_loss_scale_follow(&s, true);
    CHECK(s.value == 65536 && s.good == 1999);
    dn_loss_scale_follow(&s, true);
    CHECK(s.value == 131072 && s.good == 0 && s.skipped == 0);
    dn_loss_scale_follow(&s, true);
    dn_loss_scale_follow(&s, false);
    CHECK(s.value == 65536 && s.good == 0 && s.skipped == 1);
    while (!dn_loss_scale_lost(&s))
        dn_loss_scale_follow(&s, false);
    CHECK(s.value == 0x1p-17 && s.skipped == 34);
    dn_loss_scale_follow(&off, false);
    CHECK(off.value == 0 && off.skipped == 0);
}

/* The emulated GPU runs its threads in another order the second time. */
static void check_same_bits(int device)
{
    struct trainer_bench b = train_open(device, NULL);
    struct ssl_config config = golden_config(&golden_cases[3]);
    struct golden_run r;
    struct ssl_losses losses;

    config.drop_path = 0.3;
    golden_open(&r, &b, &golden_cases[3], &config);
    size_t bytes = r.table.elements * sizeof(float);
    void *kept = malloc(bytes);
    golden_gradient(&r, &losses);
    memcpy(kept, r.blocks.grads, bytes);
    setenv("DINO_EMULATE_BACKWARDS", "1", 1);
    golden_gradient(&r, &losses);
    unsetenv("DINO_EMULATE_BACKWARDS");
    CHECK(memcmp(kept, r.blocks.grads, bytes) == 0);
    free(kept);
    golden_close(&r);
    train_close(&b);
}

TEST(a_step_has_the_same_bits_every_time)
{
    check_same_bits(1);
    check_same_bits(TRAIN_BF16);
    if (testing_device())
        check_same_bits(TRAIN_F16);
}
