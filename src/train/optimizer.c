#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

enum { BLOCKS = 5 };

static bool blocks_bytes(const struct params_table *table, enum dino_dtype dtype, size_t *one,
                         size_t *all)
{
    return dn_size_mul(table->elements, dino_dtype_size(dtype), one) &&
           dn_size_mul(*one, BLOCKS, all);
}

static struct mat module_of(const struct params_table *table, void *block,
                            enum dino_dtype dtype, int module)
{
    return dn_params_module(table, block, dtype, (enum net_module)module);
}

static void zero(struct queue *queue, const struct params_table *table, void *block,
                 enum dino_dtype dtype)
{
    for (int m = 0; m < MODULE_COUNT; m++) {
        struct mat y = module_of(table, block, dtype, m);
        if (y.data)
            dn_fill(queue, (struct op_fill){.y = y});
    }
}

bool dn_train_blocks_init(struct train_blocks *blocks, struct queue *queue,
                          const struct params_table *table, struct dino_error *err)
{
    const struct device *device = queue->device;
    enum dino_dtype dtype = device->activation;
    size_t one, all;

    if (!blocks_bytes(table, dtype, &one, &all))
        return dn_fail_memory(err, SIZE_MAX, "parameters and moments");
    char *memory = device->ops->alloc(device, all, err);
    if (!memory)
        return false;
    *blocks = (struct train_blocks){
        .dtype = dtype,
        .student = memory,
        .teacher = memory + one,
        .grads = memory + 2 * one,
        .first = memory + 3 * one,
        .second = memory + 4 * one,
    };
    for (size_t i = 0; i < BLOCKS; i++)
        zero(queue, table, memory + i * one, dtype);
    return true;
}

void dn_train_blocks_release(struct train_blocks *blocks, const struct device *device,
                             const struct params_table *table)
{
    size_t one, all;

    if (blocks->student && blocks_bytes(table, blocks->dtype, &one, &all))
        device->ops->free(device, blocks->student, all);
    *blocks = (struct train_blocks){0};
}

void dn_zero_grads(struct queue *queue, const struct params_table *table,
                   const struct train_blocks *blocks)
{
    zero(queue, table, blocks->grads, blocks->dtype);
}

bool dn_clip(struct queue *queue, const struct params_table *table,
             const struct train_blocks *blocks, double limit, struct clipping *clip,
             struct dino_error *err)
{
    const struct device *device = queue->device;
    double squares[MODULE_COUNT] = {0};
    double *sums = device->ops->alloc(device, sizeof squares, err);

    if (!sums)
        return false;
    for (int m = 0; m < MODULE_COUNT; m++) {
        struct mat x = module_of(table, blocks->grads, blocks->dtype, m);
        dn_sum_squares(queue,
                       (struct op_sum_squares){.y = dn_mat(sums + m, 1, 1, DINO_F64), .x = x});
    }
    bool good = dn_queue_finish(queue, err);
    if (good)
        device->ops->download(queue, squares, sums, sizeof squares);
    device->ops->free(device, sums, sizeof squares);

    for (int m = 0; m < MODULE_COUNT; m++) {
        clip->norm[m] = sqrt(squares[m]);
        clip->coefficient[m] = limit > 0 ? fmin(1, limit / (clip->norm[m] + 1e-6)) : 1;
    }
    return good;
}

void dn_param_rates(const struct params_table *table, const struct group_rule *rule, double lr,
                    double last_layer_lr, double decay, struct param_rate *rates)
{
    for (int i = 0; i < table->count; i++) {
        const struct param_slice *p = &table->items[i];
        struct param_group group =
            p->module == MODULE_BACKBONE
                ? dn_group_of_backbone(&table->config.backbone, p->ref, rule)
                : dn_group_of_head(strchr(p->name, '.') + 1);
        rates[i].lr = group.lr * (group.last_layer ? last_layer_lr : lr);
        rates[i].decay = group.wd * decay;
    }
}

void dn_optimizer_step(struct queue *queue, const struct params_table *table,
                       const struct train_blocks *b, const struct clipping *clip,
                       const struct adamw_options *o)
{
    for (int i = 0; i < table->count; i++)
        dn_adamw(queue, (struct op_adamw){
                            .p = dn_params_vector(table, b->student, b->dtype, i),
                            .m = dn_params_vector(table, b->first, b->dtype, i),
                            .v = dn_params_vector(table, b->second, b->dtype, i),
                            .g = dn_params_vector(table, b->grads, b->dtype, i),
                            .lr = o->rates[i].lr,
                            .decay = o->rates[i].decay,
                            .beta1 = o->beta1,
                            .beta2 = o->beta2,
                            .eps = o->eps,
                            .grad_scale = clip->coefficient[table->items[i].module],
                            .step = o->step,
                        });
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
