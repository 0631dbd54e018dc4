/* Steps of processes that train together; see testing_world.h. */
#include "base/rng.h"
#include "train/first_weights.h"
#include "train/ssl_step.h"
#include "train/testing_train.h"
#include "train/testing_world.h"

enum { IMAGES = 2, LOCALS = 3, SIDE = 28, SMALL_SIDE = 14, PATCHES = 16, MOST_IMAGES = 64 };

struct kind {
    const char *name;
    bool separate, sinkhorn, koleo_distributed, checkpointing;
    int micro;
    double koleo, dino, drop;
    bool few_masks; /* some processes have none */
};

/* The arithmetic of a process that has images [first, first + images) of `all`. */
struct run {
    struct trainer_bench b;
    struct params_table table;
    struct train_blocks blocks;
    struct ssl_step step;
    struct ssl_batch batch;
    float *global, *local;
    int *masked;
};

static struct net_config net_of(const struct kind *k)
{
    struct head_config head = {
        .in = 64, .layers = 3, .hidden = 48, .bottleneck = 16, .prototypes = 40};
    struct net_config net = {
        .backbone = {.dim = 64,
                     .depth = 2,
                     .heads = 4,
                     .hidden = 96,
                     .patch = 7,
                     .channels = 3,
                     .registers = 1,
                     .grid_rows = 4,
                     .grid_cols = 4,
                     .positions = DINO_POSITIONS_ANTIALIAS,
                     .norm_eps = 1e-6F,
                     .layer_scale = true,
                     .mask_token = true,
                     .qkv_bias = true,
                     .proj_bias = true,
                     .ffn_bias = true},
        .dino = head,
        .separate_ibot = k->separate,
    };

    if (k->separate)
        net.ibot = head;
    return net;
}

/* Crops of the images, crop-major, each with numbers of its own. */
static float *crops(int kinds, int first, int images, int all, int side)
{
    size_t area = 3 * (size_t)side * (size_t)side;
    float *x = calloc((size_t)(kinds * images) * area + 1, sizeof *x);

    CHECK(x);
    for (int crop = 0; crop < kinds; crop++)
        for (int i = 0; i < images; i++)
            for (size_t p = 0; p < area; p++)
                x[(size_t)(crop * images + i) * area + p] =
                    (float)(2 * dn_random_f64(
                                    11, (uint64_t)(side * 1000 + crop * all + first + i), p) -
                            1);
    return x;
}

static void make_batch(struct run *r, const struct kind *k, int first, int images, int all)
{
    r->global = crops(2, first, images, all, SIDE);
    r->local = crops(LOCALS, first, images, all, SMALL_SIDE);
    r->masked = calloc((size_t)images * 2 * PATCHES, sizeof *r->masked);
    CHECK(r->masked);
    r->batch = (struct ssl_batch){.global = r->global, .local = r->local, .masked = r->masked};
    for (int crop = 0; crop < 2; crop++)
        for (int i = 0; i < images; i++)
            for (int p = 0; p < PATCHES; p++) {
                int whole = crop * all + first + i;
                bool masks = k->few_masks ? first + i == 0 : whole % 3 != 1;
                if (masks && (p * 5 + whole) % 7 < 2 + whole % 3)
                    r->masked[r->batch.masked_count++] = (crop * images + i) * PATCHES + p;
            }
}

static void put_weights(struct run *r, void *block, uint64_t seed)
{
    float *weights = calloc(r->table.elements, sizeof *weights);

    CHECK(weights);
    dn_first_weights(&r->table, 0.5, seed, weights);
    for (size_t i = 0; i < r->table.elements; i++)
        train_set(dn_mat(block, 1, 1, r->b.dtype), i, (double)weights[i]);
    free(weights);
}

/* Images [first, first + images) of `all`; comm NULL: this process alone. */
static void run_open(struct run *r, const struct kind *k, int device, struct dino_comm *comm,
                     int first, int images, int all)
{
    struct net_config net = net_of(k);
    struct dino_error err = {0};

    *r = (struct run){.b = train_open(device, NULL)};
    if (comm)
        CHECK_OK(dn_comm_attach(comm, r->b.queue, &err), err);
    CHECK_OK(dn_params_table_init(&r->table, &net, &err), err);
    CHECK_OK(dn_train_blocks_init(&r->blocks, r->b.queue, &r->table, comm, &err), err);
    make_batch(r, k, first, images, all);
    struct ssl_config config = {
        .images = images,
        .micro = k->micro ? k->micro : images,
        .all_images = comm ? all : 0,
        .first_image = comm ? first : 0,
        .comm = comm,
        .global_size = SIDE,
        .local_size = SMALL_SIDE,
        .local_crops = LOCALS,
        .most_masked = images * 2 * PATCHES,
        .centering = k->sinkhorn ? CENTERING_SINKHORN : CENTERING_SOFTMAX,
        .centre_momentum = 0.9,
        .student_temperature = 0.1,
        .dino_weight = k->dino,
        .ibot_weight = k->dino,
        .koleo_weight = k->koleo,
        .koleo_distributed = k->koleo_distributed,
        .drop_path = k->drop,
        .checkpointing = k->checkpointing,
    };
    CHECK_OK(dn_ssl_step_init(&r->step, r->b.queue, &r->table, &config, &err), err);
    put_weights(r, r->blocks.student, 5);
    put_weights(r, r->blocks.teacher, 6);
}

static void run_close(struct run *r)
{
    dn_ssl_step_release(&r->step);
    dn_train_blocks_release(&r->blocks, r->b.device, &r->table);
    dn_params_table_release(&r->table);
    dn_comm_detach(world());
    train_close(&r->b);
    free(r->global);
    free(r->local);
    free(r->masked);
}

/* The whole gradient comes to every process. */
static void run_gradient(struct run *r, uint64_t seed, struct ssl_losses *losses)
{
    struct dino_error err = {0};

    dn_zero_grads(r->b.queue, &r->table, &r->blocks);
    CHECK_OK(dn_ssl_step_run(&r->step, &r->blocks, &r->batch, 0.05, seed, losses, &err), err);
    dn_shards_spread(&r->blocks.shards, r->blocks.grads, r->b.dtype);
    dn_comm_device_wait(r->blocks.shards.comm);
    CHECK_OK(dn_queue_finish(r->b.queue, &err), err);
}

static void run_update(struct run *r, int step, struct clipping *clip)
{
    struct param_rate rates[128];
    struct group_rule rule = {.layerwise_decay = 0.9, .patch_embed_lr_mult = 0.2};
    struct adamw_options options = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = step, .rates = rates};
    struct dino_error err = {0};

    CHECK(r->table.count <= 128);
    CHECK_OK(dn_clip(r->b.queue, &r->table, &r->blocks, 0.5, clip, &err), err);
    struct schedule_values at = {
        .lr = 1e-3, .backbone_lr = 1e-3, .last_layer_lr = 1e-3, .weight_decay = 0.04};
    dn_param_rates(&r->table, &rule, &at, rates);
    dn_optimizer_step(r->b.queue, &r->table, &r->blocks, clip, &options);
    dn_teacher_follow(r->b.queue, &r->table, &r->blocks, 0.9);
    dn_ssl_step_follow(&r->step);
    CHECK_OK(dn_queue_finish(r->b.queue, &err), err);
}

static double off(const struct run *r, const void *a, const void *b, size_t count)
{
    struct mat x = dn_mat((void *)(uintptr_t)a, 1, 1, r->b.dtype), y = x;
    double difference = 0, norm = 0;

    y.data = (void *)(uintptr_t)b;
    for (size_t i = 0; i < count; i++) {
        double d = train_get(x, i) - train_get(y, i);
        difference += d * d;
        norm += train_get(y, i) * train_get(y, i);
    }
    return sqrt(difference / norm);
}

static void check_off(const struct kind *k, const char *what, double have, double bar)
{
    if (getenv("DINO_TEST_MEASURE"))
        print_message("MEASURE %s %s %.2e\n", k->name, what, have);
    if (!(have <= bar))
        fail_msg("%s: %s is off by %.3g, allowed %.3g", k->name, what, have, bar);
}

static void check_losses(const struct kind *k, const struct ssl_losses *have,
                         const struct ssl_losses *want, double bar)
{
    const double a[] = {have->dino_local, have->dino_global, have->ibot, have->koleo,
                        have->total};
    const double b[] = {want->dino_local, want->dino_global, want->ibot, want->koleo,
                        want->total};

    for (int i = 0; i < 5; i++)
        check_off(k, "a loss", fabs(a[i] - b[i]) / fmax(fabs(b[i]), 1e-2), bar);
}

/* Two steps by all processes are two steps by one with the whole batch. */
static void check_steps(const struct kind *k, int device, double bar, double moved_bar)
{
    int size = dino_comm_size(world()), all = IMAGES * size;
    struct ssl_losses losses, whole_losses;
    struct clipping clip, whole_clip;
    struct run share, whole;

    run_open(&share, k, device, world(), IMAGES * dino_comm_rank(world()), IMAGES, all);
    run_open(&whole, k, device, NULL, 0, all, all);
    for (int step = 1; step <= 2; step++) {
        run_gradient(&share, (uint64_t)step, &losses);
        run_gradient(&whole, (uint64_t)step, &whole_losses);
        check_losses(k, &losses, &whole_losses, bar);
        check_off(k, "the gradient",
                  off(&share, share.blocks.grads, whole.blocks.grads, whole.table.elements),
                  step == 1 ? bar : 5 * bar);
        run_update(&share, step, &clip);
        run_update(&whole, step, &whole_clip);
        for (int m = 0; m < MODULE_COUNT; m++)
            check_off(k, "a norm",
                      fabs(clip.norm[m] - whole_clip.norm[m]) / fmax(whole_clip.norm[m], 1e-9),
                      5 * bar);
        check_off(k, "the student",
                  off(&share, share.blocks.student, whole.blocks.student, whole.table.elements),
                  moved_bar);
        check_off(k, "the teacher",
                  off(&share, share.blocks.teacher, whole.blocks.teacher, whole.table.elements),
                  moved_bar);
        if (!k->sinkhorn)
            check_off(k, "the centre",
                      off(&share, share.step.centres, whole.step.centres,
                          (size_t)(share.step.dino_centre.cols + share.step.ibot_centre.cols)),
                      bar);
    }
    run_close(&share);
    run_close(&whole);
}

static const struct kind kinds[] = {
    {"Sinkhorn-Knopp", false, true, true, false, 0, 0.1, 1, 0, false},
    {"centring, two heads", true, false, true, false, 0, 0.1, 1, 0.3, false},
    {"in parts, recomputed", true, true, true, true, 1, 0.1, 1, 0.4, false},
    {"masks in one share", true, true, true, false, 0, 0, 1, 0, true},
    {"centring, masks in one share", false, false, true, false, 1, 0.1, 1, 0, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

TEST(many_processes_are_one_with_the_whole_batch)
{
    for (int i = 0; i < KINDS; i++)
        check_steps(&kinds[i], 0, 1e-12, 1e-12);
}

TEST(many_processes_are_one_with_the_whole_batch_in_f32)
{
    bool gpu = testing_device() != NULL; /* an emulated one takes its time */

    for (int i = gpu ? 2 : 0; i < (gpu ? 3 : KINDS); i++)
        check_steps(&kinds[i], 1, 3e-6, 1e-5);
}

TEST(steps_of_many_processes_have_the_same_bits_every_time)
{
    int size = dino_comm_size(world());
    struct ssl_losses losses;
    struct clipping clip;
    struct run runs[2];

    for (int i = 0; i < 2; i++) {
        run_open(&runs[i], &kinds[1], 1, world(), IMAGES * dino_comm_rank(world()), IMAGES,
                 IMAGES * size);
        for (int step = 1; step <= 2; step++) {
            run_gradient(&runs[i], (uint64_t)step, &losses);
            run_update(&runs[i], step, &clip);
        }
    }
    size_t bytes = runs[0].table.elements * sizeof(float);
    CHECK(memcmp(runs[0].blocks.student, runs[1].blocks.student, bytes) == 0);
    CHECK(memcmp(runs[0].blocks.teacher, runs[1].blocks.teacher, bytes) == 0);
    void *first = malloc(bytes);
    memcpy(first, runs[0].blocks.student, bytes);
    dn_comm_broadcast(world(), first, bytes, 0);
    CHECK(memcmp(first, runs[0].blocks.student, bytes) == 0);
    free(first);
    run_close(&runs[0]);
    run_close(&runs[1]);
}

/* The gradient of one process with some images, added to `to` with this weight. */
static double add_gradient(const struct kind *k, int first, int images, int all, double weight,
                           double *to)
{
    struct ssl_losses losses;
    struct run r;

    run_open(&r, k, 0, NULL, first, images, all);
    run_gradient(&r, 1, &losses);
    for (size_t i = 0; i < r.table.elements; i++)
        to[i] += weight * ((double *)r.blocks.grads)[i];
    run_close(&r);
    return weight * losses.koleo;
}

TEST(koleo_may_look_in_each_share_alone_as_the_official_one_does)
{
    int size = dino_comm_size(world()), all = IMAGES * size;
    struct kind k = {.name = "KoLeo of shares", .sinkhorn = true, .koleo = 0.1, .dino = 1};
    struct kind rest = k, alone = k;
    struct ssl_losses losses;
    struct run r;
    double koleo = 0;

    run_open(&r, &k, 0, world(), IMAGES * dino_comm_rank(world()), IMAGES, all);
    run_gradient(&r, 1, &losses);
    double *want = calloc(r.table.elements, sizeof *want);
    rest.koleo = 0;
    alone.dino = 0;
    add_gradient(&rest, 0, all, all, 1, want);
    for (int p = 0; p < size; p++)
        koleo += add_gradient(&alone, p * IMAGES, IMAGES, all, 1.0 / size, want);
    check_off(&k, "the gradient", off(&r, r.blocks.grads, want, r.table.elements), 1e-12);
    check_off(&k, "the loss", fabs(losses.koleo - koleo) / fabs(koleo), 1e-12);
    free(want);
    run_close(&r);
}

TEST(moments_lie_in_shards_and_come_together)
{
    struct ssl_losses losses;
    struct clipping clip;
    struct run r;

    run_open(&r, &kinds[0], 0, world(), IMAGES * dino_comm_rank(world()), IMAGES,
             IMAGES * dino_comm_size(world()));
    run_gradient(&r, 1, &losses);
    run_update(&r, 1, &clip);
    size_t own = r.blocks.shards.own, size = (size_t)dino_comm_size(world());
    CHECK(own <= (r.table.elements + size - 1) / size + 16 * (size_t)r.blocks.shards.count);
    for (int i = 0; i < r.table.count; i++) {
        const struct param_slice *p = &r.table.items[i];
        double *m = calloc(p->count, sizeof *m), *g = (double *)r.blocks.grads + p->first;
        dn_shards_gather(&r.blocks.shards, r.blocks.first, DINO_F64, p->first, p->count, m);
        for (size_t k = 0; k < p->count && dino_comm_rank(world()) == 0; k++) {
            double want = (1 - 0.9) * clip.coefficient[p->module] * g[k];
            CHECK(fabs(m[k] - want) <= 1e-12 * fabs(want));
        }
        free(m);
    }
    run_close(&r);
}
