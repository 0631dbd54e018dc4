/* Opens devices by name, and checks every operation's contract before a device sees it. */
#include "compute/device.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu_features.h"
#include "compute/plugin.h"

/* "cuda" or "cuda:N" */
static bool is_cuda(const char *name, int *index)
{
    char *end;

    *index = 0;
    if (strcmp(name, "cuda") == 0)
        return true;
    if (strncmp(name, "cuda:", 5) != 0 || name[5] < '0' || name[5] > '9')
        return false;
    long n = strtol(name + 5, &end, 10);
    *index = n < 1024 ? (int)n : 1024;
    return !*end;
}

struct device *dn_device_open(const char *name, enum dino_dtype dtype, int threads,
                              struct dino_error *err)
{
    int index;

    if (threads <= 0)
        threads = dn_cpu_cores();
    if (!name || strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0)
        return dn_cpu_open(dtype, threads, err);
    if (strcmp(name, "ref") == 0)
        return dn_ref_open(dtype, threads, err);
    if (is_cuda(name, &index))
        return dn_plugin_device("cuda", index, dtype, threads, err);
    dn_fail(err, DINO_EDEVICE,
            "no device '%s' in this build, wanted auto, cpu, ref, cuda or cuda:N", name);
    return NULL;
}

struct device *dn_device_describe(enum dino_dtype dtype, struct dino_error *err)
{
    const struct device_plugin *plugin = dn_plugin_find("cuda", err);

    return plugin ? plugin->describe(dtype, err) : NULL;
}

int dn_device_gpus(struct dino_error *err)
{
    const struct device_plugin *plugin = dn_plugin_find("cuda", err);

    return plugin ? plugin->count(err) : 0;
}

void dn_device_close(struct device *d)
{
    if (d)
        d->ops->close(d);
}

struct queue *dn_queue_new(const struct device *d, int threads, struct dino_error *err)
{
    if (threads <= 0 || threads > d->threads)
        threads = d->threads;
    return d->ops->queue_new(d, threads, err);
}

void dn_queue_free(struct queue *q)
{
    if (q)
        q->device->ops->queue_free(q);
}

void dn_linear(struct queue *q, struct op_linear op)
{
    assert(op.x.rows == op.y.rows && op.x.cols == op.w->cols);
    assert(op.y.cols * (op.act == OP_SWIGLU ? 2 : 1) == op.w->rows);
    assert(op.act != OP_SWIGLU || (q->device->gates && !op.scale && !op.residual.data));
    assert(!op.residual.data || dn_mat_same_shape(op.residual, op.y) ||
           (op.residual.rows == 1 && op.residual.cols == op.y.cols));
    if (!dn_queue_stopped(q) && op.y.rows > 0)
        q->device->ops->linear(q, &op);
}

void dn_attend(struct queue *q, struct op_attend op)
{
    assert(op.qkv.rows == op.y.rows && op.qkv.cols == 3 * op.y.cols);
    assert(op.heads > 0 && op.y.cols % op.heads == 0);
    assert(op.starts[0] == 0 && op.starts[op.sequences] == op.y.rows);
    if (!dn_queue_stopped(q) && op.y.rows > 0)
        q->device->ops->attend(q, &op);
}

void dn_attention_map(struct queue *q, struct op_attention_map op)
{
    assert(op.y.rows == op.heads * op.qkv.rows && op.y.cols == op.qkv.rows);
    assert(op.qkv.cols % (3 * op.heads) == 0);
    if (!dn_queue_stopped(q))
        q->device->ops->attention_map(q, &op);
}

void dn_layernorm(struct queue *q, struct op_layernorm op)
{
    assert(dn_mat_same_shape(op.y, op.x));
    if (!dn_queue_stopped(q))
        q->device->ops->layernorm(q, &op);
}

void dn_swiglu(struct queue *q, struct op_swiglu op)
{
    assert(op.x.rows == op.y.rows && op.x.cols == 2 * op.y.cols);
    if (!dn_queue_stopped(q))
        q->device->ops->swiglu(q, &op);
}

void dn_gelu(struct queue *q, struct op_gelu op)
{
    assert(dn_mat_same_shape(op.y, op.x));
    if (!dn_queue_stopped(q))
        q->device->ops->gelu(q, &op);
}

void dn_put_rows(struct queue *q, struct op_put_rows op)
{
    assert(op.x.cols == op.y.cols);
    assert(op.from || op.x.rows == op.count || op.x.rows == 1);
    assert(!op.add.data ||
           (op.add.cols == op.y.cols && (op.add.rows == op.count || op.add.rows == 1)));
    if (!dn_queue_stopped(q) && op.count > 0)
        q->device->ops->put_rows(q, &op);
}

void dn_copy(struct queue *q, struct op_copy op)
{
    assert(dn_mat_same_shape(op.y, op.x));
    if (!dn_queue_stopped(q))
        q->device->ops->copy(q, &op);
}

void dn_mean_rows(struct queue *q, struct op_mean_rows op)
{
    assert(op.y.rows == op.sequences && op.y.cols == op.x.cols);
    if (!dn_queue_stopped(q))
        q->device->ops->mean_rows(q, &op);
}

static int patches_of(const struct op_picture *p, int patch)
{
    return (p->height / patch) * (p->width / patch);
}

void dn_patchify(struct queue *q, struct op_patchify op)
{
    int rows = 0;

    for (int i = 0; i < op.count; i++) {
        assert(op.pictures[i].planes || (op.pictures[i].pixels && op.channels == 3));
        rows += patches_of(&op.pictures[i], op.patch);
    }
    assert(op.y.rows == rows);
    assert(op.y.cols == op.channels * op.patch * op.patch);
    if (!dn_queue_stopped(q) && rows > 0)
        q->device->ops->patchify(q, &op);
}

void dn_place_tokens(struct queue *q, struct op_place_tokens op)
{
    assert(op.starts[op.count] <= op.y.rows && op.x.cols == op.y.cols);
    assert(op.starts[op.count] - op.starts[0] ==
           op.x.rows + op.count * (1 + op.register_count));
    if (!dn_queue_stopped(q))
        q->device->ops->place_tokens(q, &op);
}
