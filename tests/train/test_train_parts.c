/* A batch in parts is the same batch; and gradients are what differences of the loss say. */
#include "base/rng.h"
#include "train/testing_step.h"

/* Gradient of a golden case in parts of `micro`, as a heap block of doubles. */
static double *gradient(const struct golden_case *c, int device, int micro, double drop,
                        size_t *count, struct ssl_losses *losses)
{
    struct trainer_bench b = train_open(device, NULL);
    struct ssl_config config = golden_config(c);
    struct golden_run r;

    config.micro = micro;
    config.drop_path = drop;
    golden_open(&r, &b, c, &config);
    golden_gradient(&r, losses);
    *count = r.table.elements;
    double *copy = malloc(*count * sizeof *copy);
    for (size_t i = 0; i < *count; i++)
        copy[i] = train_get(dn_mat(r.blocks.grads, 1, (int)*count, b.dtype), i);
    golden_close(&r);
    train_close(&b);
    return copy;
}

static void check_parts(const struct golden_case *c, int device, double drop, double bar)
{
    size_t count;
    struct ssl_losses whole_losses, losses;
    double *whole = gradient(c, device, 4, drop, &count, &whole_losses), norm = 0;

    for (size_t i = 0; i < count; i++)
        norm += whole[i] * whole[i];
    CHECK(norm > 0);
    for (int micro = 1; micro <= 3; micro++) {
        double difference = 0;
        double *parts = gradient(c, device, micro, drop, &count, &losses);
        for (size_t i = 0; i < count; i++)
            difference += (parts[i] - whole[i]) * (parts[i] - whole[i]);
        if (!(sqrt(difference / norm) <= bar))
            fail_msg("%s in parts of %d: gradient off by %.3g", c->name, micro,
                     sqrt(difference / norm));
        CHECK(fabs(losses.total - whole_losses.total) <= bar * whole_losses.total);
        CHECK(fabs(losses.koleo - whole_losses.koleo) <= bar * fabs(whole_losses.koleo));
        free(parts);
    }
    free(whole);
}

TEST(a_batch_in_parts_has_the_gradient_of_the_whole)
{
    check_parts(&golden_cases[1], 0, 0, 1e-12); /* Sinkhorn-Knopp, shared head, KoLeo */
    check_parts(&golden_cases[2], 0, 0, 1e-12); /* centring, separate heads */
}

TEST(a_batch_in_parts_has_the_gradient_of_the_whole_in_f32)
{
    for (int i = 1; i < GOLDEN_CASES; i++)
        check_parts(&golden_cases[i], 1, 0.3, 3e-6);
}

TEST(a_batch_in_parts_drops_the_same_samples)
{
    size_t count;
    struct ssl_losses without, with;

    check_parts(&golden_cases[3], 0, 0.4, 1e-12);
    free(gradient(&golden_cases[3], 0, 4, 0, &count, &without));
    free(gradient(&golden_cases[3], 0, 4, 0.4, &count, &with));
    CHECK(fabs(without.total - with.total) > 1e-3); /* something was dropped */
}

/* In [-1, 1). */
static double direction(uint64_t seed, size_t i)
{
    return 2 * dn_random_f64(seed, 0, i) - 1;
}

static void move(struct golden_run *r, int module, uint64_t seed, double by)
{
    struct mat m =
        dn_params_module(&r->table, r->blocks.student, r->b->dtype, (enum net_module)module);

    for (size_t i = 0; i < (size_t)m.cols; i++)
        train_set(m, i, train_get(m, i) + by * direction(seed, i));
}

/* loss(p + h d) - loss(p - h d) over 2 h is gradient . d, for random d in each module. */
TEST(gradients_are_what_differences_of_the_loss_say)
{
    const double h = 1e-6;
    struct trainer_bench b = train_open(0, NULL);
    struct ssl_config config = golden_config(&golden_cases[3]);
    struct golden_run r;

    config.drop_path = 0.3;
    golden_open(&r, &b, &golden_cases[3], &config);
    for (int m = 0; m < MODULE_COUNT; m++) {
        struct ssl_losses up, down, here;
        uint64_t seed = 7 + (uint64_t)m;
        double product = 0;
        golden_gradient(&r, &here);
        struct mat g = dn_params_module(&r.table, r.blocks.grads, b.dtype, (enum net_module)m);
        for (size_t i = 0; i < (size_t)g.cols; i++)
            product += train_get(g, i) * direction(seed, i);
        move(&r, m, seed, h);
        golden_gradient(&r, &up);
        move(&r, m, seed, -2 * h);
        golden_gradient(&r, &down);
        move(&r, m, seed, h);
        double slope = (up.total - down.total) / (2 * h);
        if (!(fabs(slope - product) <= 1e-6 * fabs(product)))
            fail_msg("module %d: differences say %.10g, the gradient %.10g", m, slope, product);
    }
    golden_close(&r);
    train_close(&b);
}

TEST(a_step_refuses_what_was_not_planned)
{
    struct trainer_bench b = train_open(0, NULL);
    struct ssl_config config = golden_config(&golden_cases[1]);
    struct golden_run r;
    struct ssl_losses losses;
    struct dino_error err = {0};

    golden_open(&r, &b, &golden_cases[1], &config);
    r.batch.masked_count = 65;
    CHECK(!dn_ssl_step_run(&r.step, &r.blocks, &r.batch, 0.05, 1, &losses, &err));
    CHECK(err.code == DINO_EARG);
    r.batch.masked_count = 2;
    r.masked[1] = r.masked[0];
    CHECK(!dn_ssl_step_run(&r.step, &r.blocks, &r.batch, 0.05, 1, &losses, &err));
    CHECK(err.code == DINO_EARG);
    golden_close(&r);

    struct net_config net = golden_net(&golden_cases[1]);
    struct params_table table;
    struct ssl_step step;
    CHECK_OK(dn_params_table_init(&table, &net, &err), err);
    config.micro = 5;
    CHECK(!dn_ssl_step_init(&step, b.queue, &table, &config, &err) && err.code == DINO_EARG);
    config.micro = 4;
    config.global_size = 57;
    CHECK(!dn_ssl_step_init(&step, b.queue, &table, &config, &err) && err.code == DINO_EARG);
    dn_params_table_release(&table);
    train_close(&b);
}

/* No masked patch at all, no local crop: what is left is the one DINO term, and KoLeo. */
TEST(a_step_without_masks_and_local_crops_still_learns)
{
    struct trainer_bench b = train_open(0, NULL);
    struct ssl_config config = golden_config(&golden_cases[2]);
    struct golden_run r;
    struct ssl_losses losses;

    config.local_crops = 0;
    golden_open(&r, &b, &golden_cases[2], &config);
    r.batch.masked_count = 0;
    golden_gradient(&r, &losses);
    CHECK(losses.dino_local == 0 && losses.ibot == 0 && losses.dino_global > 0);
    CHECK(isfinite(losses.total));
    golden_close(&r);
    train_close(&b);
}
