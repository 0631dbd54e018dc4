#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

enum { WHOLE_BLOCKS = 3, MOMENTS = 2, MOST_COLS = 1 << 30 };

/* Bytes of a whole block, of a block of own shards, of the sums, and of everything. */
struct block_sizes {
    size_t whole, own, squares, all;
};

static bool block_sizes(const struct params_table *table, enum dino_dtype dtype,
                        const struct shards *shards, struct block_sizes *sizes)
{
    size_t width = dino_dtype_size(dtype), all;

    if (!dn_size_mul(table->elements, (WHOLE_BLOCKS + MOMENTS) * width, &all))
        return false;
    sizes->whole = table->elements * width;
    sizes->own = shards->own * width;
    sizes->squares = (size_t)shards->count * MODULE_COUNT * sizeof(double);
    sizes->all = WHOLE_BLOCKS * sizes->whole + MOMENTS * sizes->own + sizes->squares;
    return true;
}

static struct mat module_of(const struct params_table *table, void *block,
                            enum dino_dtype dtype, int module)
{
    return dn_params_module(table, block, dtype, (enum net_module)module);
}

static void zero(struct queue *queue, void *block, enum dino_dtype dtype, size_t count)
{
    for (size_t i = 0; i < count; i += MOST_COLS) {
        size_t cols = count - i < MOST_COLS ? count - i : MOST_COLS;
        void *data = (char *)block + i * dino_dtype_size(dtype);
        dn_fill(queue, (struct op_fill){.y = dn_mat(data, 1, (int)cols, dtype)});
    }
}

bool dn_train_blocks_init(struct train_blocks *blocks, struct queue *queue,
                          const struct params_table *table, struct dino_comm *comm,
                          struct dino_error *err)
{
    const struct device *device = queue->device;
    enum dino_dtype dtype = dn_train_dtype(device);
    struct block_sizes sizes;
    struct shards shards;

    if (!dn_shards_init(&shards, comm, table, err))
        return false;
    char *memory = NULL;
    if (block_sizes(table, dtype, &shards, &sizes))
        memory = device->ops->alloc(device, sizes.all, err);
    else
        dn_fail_memory(err, SIZE_MAX, "parameters and moments");
    if (!memory) {
        dn_shards_release(&shards);
        return false;
    }
    char *moments = memory + WHOLE_BLOCKS * sizes.whole;
    *blocks = (struct train_blocks){
        .dtype = dtype,
        .student = memory,
        .teacher = memory + sizes.whole,
        .grads = memory + 2 * sizes.whole,
        .first = moments,
        .second = moments + sizes.own,
        .squares = (double *)(void *)(moments + MOMENTS * sizes.own),
        .scale = 1,
        .shards = shards,
    };
    zero(queue, memory, dtype, (sizes.all - sizes.squares) / dino_dtype_size(dtype));
    return true;
}

size_t dn_train_blocks_bytes(const struct train_blocks *b)
{
    struct block_sizes sizes;

    return block_sizes(b->shards.table, b->dtype, &b->shards, &sizes) ? sizes.all : 0;
}

void dn_train_blocks_release(struct train_blocks *blocks, const struct device *device,
                             const struct params_table *table)
{
    struct block_sizes sizes;

    if (blocks->student && block_sizes(table, blocks->dtype, &blocks->shards, &sizes))
        device->ops->free(device, blocks->student, sizes.all);
    dn_shards_release(&blocks->shards);
    *blocks = (struct train_blocks){0};
}

void dn_zero_grads(struct queue *queue, const struct params_table *table,
                   const struct train_blocks *blocks)
{
    zero(queue, blocks->grads, blocks->dtype, table->elements);
}

/* `count` numbers of a block as a vector. */
static struct mat vector(void *block, enum dino_dtype dtype, size_t first, size_t count)
{
    char *data = (char *)block + first * dino_dtype_size(dtype);

    return dn_mat(data, 1, (int)count, dtype);
}

/* Sums of squares of own shards, a number for each piece and module, into device memory. */
static void sum_shards(struct queue *queue, const struct params_table *table,
                       const struct train_blocks *b)
{
    for (int i = 0; i < b->shards.count * MODULE_COUNT; i++) {
        struct param_range m = dn_range_of_module(table, (enum net_module)(i % MODULE_COUNT));
        const struct shard_piece *p = &b->shards.pieces[i / MODULE_COUNT];
        struct shard own = dn_shard_within(p->own, m.first, m.end - m.first);
        dn_sum_squares(queue, (struct op_sum_squares){
                                  .y = dn_mat(b->squares + i, 1, 1, DINO_F64),
                                  .x = vector(b->grads, b->dtype, own.first, own.count)});
    }
}

/* The sums on the host, or NULL. */
static double *host_sums(struct queue *queue, const struct params_table *table,
                         const struct train_blocks *b, struct dino_error *err)
{
    size_t bytes = (size_t)b->shards.count * MODULE_COUNT * sizeof(double);
    double *sums = dn_calloc(1, bytes, "norms of gradients", err);

    if (!sums)
        return NULL;
    sum_shards(queue, table, b);
    queue->device->ops->download(queue, sums, b->squares, bytes);
    if (dn_queue_finish(queue, err))
        return sums;
    free(sums);
    return NULL;
}

bool dn_clip(struct queue *queue, const struct params_table *table,
             const struct train_blocks *blocks, double limit, struct clipping *clip,
             struct dino_error *err)
{
    struct dino_comm *comm = blocks->shards.comm;
    double squares[MODULE_COUNT] = {0};
    double *sums = host_sums(queue, table, blocks, err);

    for (int i = 0; sums && i < blocks->shards.count * MODULE_COUNT; i++)
        squares[i % MODULE_COUNT] += sums[i];
    dn_comm_sum(comm, squares, MODULE_COUNT, DINO_F64);
    for (int m = 0; m < MODULE_COUNT; m++) {
        clip->norm[m] = sqrt(squares[m]) / blocks->scale;
        clip->coefficient[m] =
            (limit > 0 ? fmin(1, limit / (clip->norm[m] + 1e-6)) : 1) / blocks->scale;
    }
    free(sums);
    return dn_comm_agree(comm, sums != NULL, err);
}

bool dn_clip_finite(const struct clipping *clip)
{
    for (int m = 0; m < MODULE_COUNT; m++)
        if (!isfinite(clip->norm[m]))
            return false;
    return true;
}

void dn_param_rates(const struct params_table *table, const struct group_rule *rule,
                    const struct schedule_values *at, struct param_rate *rates)
{
    for (int i = 0; i < table->count; i++) {
        const struct param_slice *p = &table->items[i];
        bool backbone = p->module == MODULE_BACKBONE;
        struct param_group group =
            backbone ? dn_group_of_backbone(&table->config.backbone, p->ref, rule)
                     : dn_group_of_head(strchr(p->name, '.') + 1);
        double lr = backbone ? at->backbone_lr : group.last_layer ? at->last_layer_lr : at->lr;
        rates[i].lr = group.lr * lr;
        rates[i].decay = group.wd * at->weight_decay;
    }
}

/* One parameter, as far as it lies in the shard. */
static void adamw(struct queue *queue, const struct train_blocks *b, struct shard own,
                  double grad_scale, const struct param_rate *rate,
                  const struct adamw_options *o)
{
    if (own.count > 0)
        dn_adamw(queue, (struct op_adamw){
                            .p = vector(b->student, b->dtype, own.first, own.count),
                            .m = vector(b->first, b->dtype, own.place, own.count),
                            .v = vector(b->second, b->dtype, own.place, own.count),
                            .g = vector(b->grads, b->dtype, own.first, own.count),
                            .lr = rate->lr,
                            .decay = rate->decay,
                            .beta1 = o->beta1,
                            .beta2 = o->beta2,
                            .eps = o->eps,
                            .grad_scale = grad_scale,
                            .step = o->step,
                        });
}

void dn_optimizer_step(struct queue *queue, const struct params_table *table,
                       const struct train_blocks *b, const struct clipping *clip,
                       const struct adamw_options *o)
{
    for (int i = 0; i < table->count; i++) {
        const struct param_slice *p = &table->items[i];
        for (int k = 0; k < b->shards.count; k++)
            adamw(queue, b, dn_shard_within(b->shards.pieces[k].own, p->first, p->count),
                  clip->coefficient[p->module], &o->rates[i], o);
    }
    dn_shards_spread(&b->shards, b->student, b->dtype);
    dn_comm_device_wait(b->shards.comm);
}

void dn_teacher_follow(struct queue *queue, const struct params_table *table,
                       const struct train_blocks *blocks, double momentum)
{
    for (int m = 0; m < MODULE_COUNT; m++) {
        struct mat teacher = module_of(table, blocks->teacher, blocks->dtype, m);
        if (teacher.data)
            dn_lerp(queue, (struct op_lerp){
                               .y = teacher,
                               .x = module_of(table, blocks->student, blocks->dtype, m),
                               .keep = momentum,
                               .add = 1 - momentum,
                           });
    }
}
