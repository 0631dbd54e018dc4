#include "train/ssl_step.h"

#include <string.h>

/* Images [first, first + count) of the share. */
struct part {
    int first, count;
};

static int crops_of(const struct ssl_step *s)
{
    return 2 * s->config.images;
}

static int patches_of(const struct ssl_step *s)
{
    int grid = s->config.global_size / s->table->config.backbone.patch;

    return grid * grid;
}

static struct mat first_rows(struct mat m, int rows)
{
    m.rows = rows;
    return m;
}

static struct part part_at(const struct ssl_step *s, int first)
{
    int left = s->config.images - first;

    return (struct part){first, left < s->config.micro ? left : s->config.micro};
}

/* ---- what comes in ---- */

/* Where the masked patches of each global crop begin, and which they are. */
static bool list_masks(struct ssl_step *s, const struct ssl_batch *batch,
                       struct dino_error *err)
{
    int patches = patches_of(s), crop = 0;

    if (batch->masked_count < 0 || batch->masked_count > s->config.most_masked)
        return dn_fail(err, DINO_EARG, "%d masked patches, at most %d were planned",
                       batch->masked_count, s->config.most_masked);
    s->mask_first[0] = 0;
    for (int i = 0; i < batch->masked_count; i++) {
        int at = batch->masked[i];
        if (at < 0 || at / patches >= crops_of(s) || (i > 0 && at <= batch->masked[i - 1]))
            return dn_fail(err, DINO_EARG, "masked patch %d is %d: not ascending in %d", i, at,
                           crops_of(s) * patches);
        while (crop < at / patches)
            s->mask_first[++crop] = i;
        s->mask_patch[i] = at % patches;
    }
    while (crop < crops_of(s))
        s->mask_first[++crop] = batch->masked_count;
    return true;
}

static int masked_of(const struct ssl_step *s, int crop)
{
    return s->mask_first[crop + 1] - s->mask_first[crop];
}

/* Crop `at` of those that lie behind each other. */
static struct view view_of(const struct ssl_step *s, const float *planes, const uint8_t *pixels,
                           int at, int size)
{
    size_t area = (size_t)size * (size_t)size * (size_t)at;
    size_t channels = (size_t)s->table->config.backbone.channels;

    if (planes)
        return (struct view){.planes = planes + channels * area};
    return (struct view){.pixels = pixels + 3 * area};
}

/* The views of a part: its global crops, then its local ones if wanted. Returns how many. */
static int list_views(struct ssl_step *s, const struct ssl_batch *batch, struct part part,
                      bool masks, bool locals)
{
    const struct ssl_config *c = &s->config;
    int count = 0;

    for (int crop = 0; crop < 2; crop++)
        for (int i = part.first; i < part.first + part.count; i++) {
            int at = crop * c->images + i;
            struct view *view = &s->views[count++];
            *view = view_of(s, batch->global, batch->global_pixels, at, c->global_size);
            view->sample = crop * c->all_images + c->first_image + i;
            view->masked = masks ? s->mask_patch + s->mask_first[at] : NULL;
            view->masked_count = masks ? masked_of(s, at) : 0;
        }
    for (int crop = 0; locals && crop < c->local_crops; crop++)
        for (int i = part.first; i < part.first + part.count; i++) {
            int at = crop * c->images + i;
            struct view *view = &s->views[count++];
            *view = view_of(s, batch->local, batch->local_pixels, at, c->local_size);
            view->group = 1;
            view->sample = crop * c->all_images + c->first_image + i;
        }
    return count;
}

/* The global crop of the share that is view v of a part. */
static int crop_of(const struct ssl_step *s, struct part part, int v)
{
    return v / part.count * s->config.images + part.first + v % part.count;
}

static void normalise(struct ssl_step *s, const struct params_table *t, struct net_params p,
                      struct mat y, struct mat x)
{
    dn_norm(s->queue,
            (struct op_norm){
                .y = y,
                .x = x,
                .weight = dn_params_backbone(t, p.values, p.dtype, PARAM_NORM_WEIGHT, -1),
                .bias = dn_params_backbone(t, p.values, p.dtype, PARAM_NORM_BIAS, -1),
                .eps = (double)t->config.backbone.norm_eps,
            });
}

/* Parameters as products want them, rounded once for all products of a step. */
static struct net_params rounded(struct ssl_step *s, const struct params_table *t, void *values,
                                 void *factors, bool again)
{
    enum dino_dtype dtype = s->rows.dtype, factor = s->queue->device->activation;

    if (!factors)
        return dn_plain_params(values, dtype);
    for (int m = 0; again && m < MODULE_COUNT; m++) {
        struct mat from = dn_params_module(t, values, dtype, (enum net_module)m);
        if (from.data)
            dn_copy(s->queue, (struct op_copy){
                                  .y = dn_params_module(t, factors, factor, (enum net_module)m),
                                  .x = from});
    }
    return (struct net_params){values, factors, dtype, factor};
}

/* ---- teacher ---- */

/* A frozen teacher is rounded once. */
static struct net_params teacher_params(struct ssl_step *s, const struct train_blocks *b)
{
    bool frozen = s->config.frozen.table, again = !frozen || !s->frozen_rounded;

    s->frozen_rounded = frozen;
    return rounded(s, s->teacher_table, frozen ? s->config.frozen.params : b->teacher,
                   s->teacher_factors, again);
}

/* Class tokens of all crops, then the patches at masked places, as rows behind the norm. */
static void teacher_features(struct ssl_step *s, struct net_params params,
                             const struct ssl_batch *batch)
{
    int front = 1 + s->teacher_table->config.backbone.registers;
    struct mat rows = first_rows(s->teacher_rows, crops_of(s) + batch->masked_count);
    struct part part = {0};

    for (; part.first < s->config.images; part.first += part.count) {
        int count = 0;
        part = part_at(s, part.first);
        int views = list_views(s, batch, part, false, false);
        struct mat x = dn_backbone_forward(&s->teacher, params, s->views, views, NULL);
        for (int v = 0; v < views; v++) {
            int crop = crop_of(s, part, v), row = s->teacher.starts[v];
            s->from[count] = row;
            s->to[count++] = crop;
            for (int m = s->mask_first[crop]; m < s->mask_first[crop + 1]; m++) {
                s->from[count] = row + front + s->mask_patch[m];
                s->to[count++] = crops_of(s) + m;
            }
        }
        dn_put_rows(s->queue,
                    (struct op_put_rows){
                        .y = rows, .x = x, .to = s->to, .from = s->from, .count = count});
    }
    normalise(s, s->teacher_table, params, rows, rows);
}

bool dn_ssl_step_features(struct ssl_step *s, const struct train_blocks *b,
                          const struct ssl_batch *batch, struct dino_error *err)
{
    if (!list_masks(s, batch, err))
        return false;
    teacher_features(s, teacher_params(s, b), batch);
    return dn_queue_finish(s->queue, err);
}

static void centre(struct ssl_step *s, const struct target_scratch *scratch,
                   struct target_rows rows, struct mat centre_row, double temperature)
{
    const struct ssl_config *c = &s->config;

    if (c->centering == CENTERING_SINKHORN)
        dn_targets_sinkhorn(s->queue, c->comm, scratch, rows, temperature);
    else
        dn_targets_softmax(s->queue, c->comm, scratch, rows, centre_row, temperature);
}

void dn_ssl_step_follow(struct ssl_step *s)
{
    const struct ssl_config *c = &s->config;

    if (c->centering == CENTERING_SINKHORN)
        return;
    dn_targets_follow(s->queue, &s->dino_scratch, s->dino_centre, c->centre_momentum);
    if (s->all_masked > 0)
        dn_targets_follow(s->queue, &s->ibot_scratch, s->ibot_centre, c->centre_momentum);
}

static void make_targets(struct ssl_step *s, struct net_params params,
                         const struct ssl_batch *batch, double temperature)
{
    int crops = crops_of(s), masked = batch->masked_count;
    struct mat rows = first_rows(s->teacher_rows, crops + masked);

    if (!batch->featured)
        teacher_features(s, params, batch);
    if (s->table->config.separate_ibot) {
        dn_head_forward(&s->teacher_dino, params, first_rows(rows, crops), s->dino_targets);
        if (masked)
            dn_head_forward(&s->teacher_ibot, params, dn_mat_rows(rows, crops, masked),
                            first_rows(s->ibot_targets, masked));
    } else {
        dn_head_forward(&s->teacher_dino, params, rows,
                        first_rows(s->dino_targets, crops + masked));
    }
    centre(s, &s->dino_scratch,
           (struct target_rows){s->dino_targets, 2 * (int64_t)s->config.all_images},
           s->dino_centre, temperature);
    centre(s, &s->ibot_scratch,
           (struct target_rows){first_rows(s->ibot_targets, masked), s->all_masked},
           s->ibot_centre, temperature);
}

/* ---- student ---- */

/* The rows of the stream that the heads see: class tokens of local crops, of global crops,
 * masked patches. */
static void list_rows(struct ssl_step *s, struct part part, bool locals)
{
    int front = 1 + s->table->config.backbone.registers, globals = 2 * part.count, count = 0;

    s->count = (struct ssl_rows){.global = globals};
    if (locals)
        s->count.local = s->config.local_crops * part.count;
    for (int v = 0; v < s->count.local; v++)
        s->from[count++] = s->student.starts[globals + v];
    for (int v = 0; v < globals; v++)
        s->from[count++] = s->student.starts[v];
    for (int v = 0; v < globals; v++) {
        int crop = crop_of(s, part, v);
        for (int m = s->mask_first[crop]; m < s->mask_first[crop + 1]; m++)
            s->from[count++] = s->student.starts[v] + front + s->mask_patch[m];
    }
    s->count.masked = count - s->count.local - globals;
}

static int all_rows(const struct ssl_step *s)
{
    return s->count.local + s->count.global + s->count.masked;
}

static void student_forward(struct ssl_step *s, struct net_params params,
                            const struct ssl_batch *batch, struct part part,
                            const struct drop_path *drop, bool locals)
{
    int views = list_views(s, batch, part, !s->config.show_masked, locals);
    struct mat x = dn_backbone_forward(&s->student, params, s->views, views, drop);

    list_rows(s, part, locals);
    struct mat rows_x = first_rows(s->rows_x, all_rows(s));
    dn_put_rows(s->queue, (struct op_put_rows){
                              .y = rows_x, .x = x, .from = s->from, .count = rows_x.rows});
    normalise(s, s->table, params, first_rows(s->rows, rows_x.rows), rows_x);
}

/* The row among those that repel each other of view v of a part. */
static int class_row_of(const struct ssl_step *s, struct part part, int v)
{
    return v / part.count * s->repelled + s->first_repelled + part.first + v % part.count;
}

/* The class tokens of a part's global crops to their places. */
static void keep_class_rows(struct ssl_step *s, struct part part)
{
    for (int v = 0; v < s->count.global; v++)
        s->to[v] = class_row_of(s, part, v);
    dn_put_rows(s->queue, (struct op_put_rows){
                              .y = s->class_rows,
                              .x = dn_mat_rows(s->rows, s->count.local, s->count.global),
                              .to = s->to,
                              .count = s->count.global,
                          });
}

/* The class tokens of one crop of all images, from all processes; shares are of one size. */
static void gather_class_rows(struct ssl_step *s, int crop)
{
    struct mat all = dn_mat_rows(s->class_rows, crop * s->repelled, s->repelled);
    size_t row = (size_t)all.cols * dino_dtype_size(all.dtype);

    for (int r = 0; r <= dino_comm_size(s->config.comm); r++)
        s->share_starts[r] = (size_t)(r * s->config.images) * row;
    dn_comm_device_all_gather(s->config.comm, all.data, s->share_starts);
}

/* d_class from class_rows: each crop's tokens look for neighbours among their own kind. What
 * concerns the whole batch is computed by every process alike. */
static void koleo(struct ssl_step *s)
{
    const struct ssl_config *c = &s->config;
    int images = s->repelled;

    for (int crop = 0; c->koleo_distributed && crop < 2; crop++)
        gather_class_rows(s, crop);
    dn_comm_device_wait(c->comm);
    dn_l2norm(s->queue, (struct op_l2norm){.y = s->unit_rows, .x = s->class_rows, .eps = 1e-8});
    dn_fill(s->queue, (struct op_fill){.y = s->d_class});
    for (int crop = 0; crop < 2; crop++)
        dn_koleo(s->queue,
                 (struct op_koleo){
                     .d_u = dn_mat_rows(s->d_class, crop * images, images),
                     .losses = dn_mat_rows(s->koleo_losses, crop * images, images),
                     .u = dn_mat_rows(s->unit_rows, crop * images, images),
                     .nearest = s->nearest + (size_t)crop * (size_t)images,
                     .weight = s->scale * c->koleo_weight * ((double)images / c->all_images),
                 });
    dn_l2norm_back(s->queue,
                   (struct op_l2norm_back){
                       .d_x = s->d_class, .d_y = s->d_class, .x = s->class_rows, .eps = 1e-8});
}

/* ---- losses ---- */

static void cross_entropy(struct ssl_step *s, struct mat logits, struct mat targets, int first,
                          int per)
{
    dn_cross_entropy(s->queue, (struct op_cross_entropy){
                                   .d_x = logits,
                                   .losses = dn_mat_rows(s->losses, first, logits.rows),
                                   .x = logits,
                                   .t = targets,
                                   .rows = s->target_rows,
                                   .weights = s->weights,
                                   .per = per,
                                   .temperature = s->config.student_temperature,
                               });
}

/* Every pair of a teacher crop and another crop of the same image weighs the same. */
static void dino_losses(struct ssl_step *s, struct part part)
{
    const struct ssl_config *c = &s->config;
    double pairs = 2 + 2.0 * c->local_crops;
    double weight = s->scale * c->dino_weight / (pairs * c->all_images);

    for (int r = 0; r < s->count.local; r++) {
        int image = part.first + r % part.count;
        s->target_rows[2 * r] = image;
        s->target_rows[2 * r + 1] = c->images + image;
        s->weights[r] = weight;
    }
    cross_entropy(s, first_rows(s->dino_logits, s->count.local), s->dino_targets, 0, 2);
    for (int r = 0; r < s->count.global; r++) { /* the other crop's target */
        s->target_rows[r] = (crop_of(s, part, r) + c->images) % crops_of(s);
        s->weights[r] = weight;
    }
    cross_entropy(s, dn_mat_rows(s->dino_logits, s->count.local, s->count.global),
                  s->dino_targets, s->count.local, 1);
}

static void ibot_loss(struct ssl_step *s, struct part part)
{
    int front = s->count.local + s->count.global, row = 0;
    bool separate = s->table->config.separate_ibot;
    struct mat logits = separate ? first_rows(s->ibot_logits, s->count.masked)
                                 : dn_mat_rows(s->dino_logits, front, s->count.masked);

    for (int v = 0; v < s->count.global; v++) {
        int crop = crop_of(s, part, v), masked = masked_of(s, crop);
        /* as dinov2/data/collate.py: masks_weight is f32 */
        double share = masked ? (double)(1 / (float)masked) : 0;
        for (int m = s->mask_first[crop]; m < s->mask_first[crop + 1]; m++, row++) {
            s->target_rows[row] = m;
            s->weights[row] =
                s->scale * s->config.ibot_weight * share / (2.0 * s->config.all_images);
        }
    }
    cross_entropy(s, logits, s->ibot_targets, front, 1);
}

/* The column m to host_losses; waits for the device. */
static bool fetch(struct ssl_step *s, struct mat m)
{
    if (s->queue->error.code != DINO_OK)
        return false;
    s->queue->device->ops->download(s->queue, s->host_losses, m.data,
                                    (size_t)m.rows * dino_dtype_size(m.dtype));
    return s->queue->error.code == DINO_OK;
}

/* The sum of some of what was fetched, in f64 and not scaled. */
static double sum_of(const struct ssl_step *s, int first, int count)
{
    const float *narrow = (const float *)s->host_losses;
    double sum = 0;

    for (int r = first; r < first + count; r++)
        sum += s->losses.dtype == DINO_F64 ? s->host_losses[r] : (double)narrow[r];
    return sum / s->scale;
}

/* Behind backward, so that a device does not stand still in between. */
static void read_losses(struct ssl_step *s, struct ssl_losses *losses)
{
    struct ssl_rows n = s->count;

    if (!fetch(s, first_rows(s->losses, all_rows(s))))
        return;
    losses->dino_local += sum_of(s, 0, n.local);
    losses->dino_global += sum_of(s, n.local, n.global);
    losses->ibot += sum_of(s, n.local + n.global, n.masked);
}

/* ---- backward ---- */

/* While the last part goes backward: what it has finished begins to be summed. */
static void block_finished(const void *context, int block)
{
    const struct train_blocks *b = context;
    dn_shards_sum(&b->shards, b->grads, b->dtype, dn_range_of_block(b->shards.table, block));
}

static void heads_finished(const struct train_blocks *b)
{
    for (int m = MODULE_DINO_HEAD; m < MODULE_COUNT; m++)
        dn_shards_sum(&b->shards, b->grads, b->dtype,
                      dn_range_of_module(b->shards.table, (enum net_module)m));
}

/* Through the heads: rows -> logits, losses -> d_logits -> d_rows. */
static void heads(struct ssl_step *s, struct net_params params, void *grads, struct part part)
{
    bool separate = s->table->config.separate_ibot;
    int front = s->count.local + s->count.global, masked = s->count.masked;
    int dino = separate ? front : front + masked;
    struct mat rows = first_rows(s->rows, dino), d_rows = first_rows(s->d_rows, dino);
    struct mat logits = first_rows(s->dino_logits, dino);
    struct mat patches = dn_mat_rows(s->rows, front, masked);
    struct mat d_patches = dn_mat_rows(s->d_rows, front, masked);
    struct mat patch_logits = first_rows(s->ibot_logits, masked);

    dn_head_forward(&s->dino, params, rows, logits);
    if (separate && masked)
        dn_head_forward(&s->ibot, params, patches, patch_logits);
    dino_losses(s, part);
    ibot_loss(s, part);
    dn_head_backward(&s->dino, params, grads, rows, logits, d_rows);
    if (separate && masked)
        dn_head_backward(&s->ibot, params, grads, patches, patch_logits, d_patches);
}

static void student_backward(struct ssl_step *s, struct net_params params,
                             const struct train_blocks *b, struct part part, bool last)
{
    const struct params_table *t = s->table;
    enum dino_dtype dtype = s->rows.dtype;
    struct mat d_rows = first_rows(s->d_rows, all_rows(s));
    struct mat d_x = first_rows(s->d_x, s->student.tokens);

    if (s->config.koleo_weight != 0) {
        for (int v = 0; v < s->count.global; v++)
            s->to[v] = class_row_of(s, part, v);
        dn_add_rows(s->queue, (struct op_add_rows){
                                  .y = dn_mat_rows(d_rows, s->count.local, s->count.global),
                                  .x = s->d_class,
                                  .from = s->to,
                                  .count = s->count.global,
                                  .alpha = 1,
                              });
    }
    dn_layernorm_back(
        s->queue,
        (struct op_layernorm_back){
            .d_x = d_rows,
            .d_weight = dn_params_backbone(t, b->grads, dtype, PARAM_NORM_WEIGHT, -1),
            .d_bias = dn_params_backbone(t, b->grads, dtype, PARAM_NORM_BIAS, -1),
            .d_y = d_rows,
            .x = first_rows(s->rows_x, d_rows.rows),
            .weight = dn_params_backbone(t, params.values, dtype, PARAM_NORM_WEIGHT, -1),
            .eps = (double)t->config.backbone.norm_eps,
        });
    dn_fill(s->queue, (struct op_fill){.y = d_x});
    dn_add_rows(s->queue,
                (struct op_add_rows){
                    .y = d_x, .x = d_rows, .to = s->from, .count = d_rows.rows, .alpha = 1});
    s->student.finished = last ? block_finished : NULL;
    s->student.context = b;
    dn_backbone_backward(&s->student, params, b->grads, d_x);
}

/* KoLeo on more than one part needs all class tokens before the first backward. */
static void class_tokens_first(struct ssl_step *s, struct net_params params,
                               const struct ssl_batch *batch, const struct drop_path *drop)
{
    struct part part = {0};

    for (; part.first < s->config.images; part.first += part.count) {
        part = part_at(s, part.first);
        student_forward(s, params, batch, part, drop, false);
        keep_class_rows(s, part);
    }
    koleo(s);
}

/* ---- many processes ---- */

static void count_masked(struct ssl_step *s, const struct ssl_batch *batch)
{
    double count = batch->masked_count;

    dn_comm_sum(s->config.comm, &count, 1, DINO_F64);
    s->all_masked = (int64_t)count;
}

/* Each process has the sums over its rows. */
static void sum_losses(struct ssl_step *s, struct ssl_losses *losses)
{
    int images = s->config.images;

    for (int crop = 0; s->config.koleo_weight != 0 && crop < 2; crop++)
        if (fetch(s,
                  dn_mat_rows(s->koleo_losses, crop * s->repelled + s->first_repelled, images)))
            losses->koleo += sum_of(s, 0, images);
    double sums[] = {losses->dino_local, losses->dino_global, losses->koleo, losses->ibot};
    dn_comm_sum(s->config.comm, sums, 4, DINO_F64);
    *losses = (struct ssl_losses){.dino_local = sums[0],
                                  .dino_global = sums[1],
                                  .koleo = sums[2],
                                  .ibot = sums[3],
                                  .total = sums[0] + sums[1] + sums[2] + sums[3]};
}

/* ---- the step ---- */

bool dn_ssl_step_run(struct ssl_step *s, const struct train_blocks *b,
                     const struct ssl_batch *batch, double teacher_temperature, uint64_t seed,
                     struct ssl_losses *losses, struct dino_error *err)
{
    const struct ssl_config *c = &s->config;
    bool repel = c->koleo_weight != 0, parts = c->micro < c->images;
    struct drop_path drop = {.rate = c->drop_path,
                             .seed = seed,
                             .samples = {2 * c->all_images, c->local_crops * c->all_images}};
    struct part part = {0};

    *losses = (struct ssl_losses){0};
    s->scale = b->scale;
    if (!dn_comm_agree(c->comm, list_masks(s, batch, err), err))
        return false;
    count_masked(s, batch);
    make_targets(s, teacher_params(s, b), batch, teacher_temperature);
    struct net_params student = rounded(s, s->table, b->student, s->student_factors, true);
    if (repel && parts)
        class_tokens_first(s, student, batch, &drop);
    for (; part.first < c->images; part.first += part.count) {
        part = part_at(s, part.first);
        bool last = part.first + part.count == c->images;
        student_forward(s, student, batch, part, &drop, true);
        keep_class_rows(s, part);
        if (repel && !parts)
            koleo(s);
        heads(s, student, b->grads, part);
        if (last)
            heads_finished(b);
        student_backward(s, student, b, part, last);
        read_losses(s, losses);
    }
    dn_comm_device_wait(c->comm);
    sum_losses(s, losses);
    return dn_comm_agree(c->comm, dn_queue_finish(s->queue, err), err);
}
