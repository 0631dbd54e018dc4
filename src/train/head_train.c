#include "train/head_train.h"

static const double unit_eps = 1e-12;

static const struct head_config *config_of(const struct head_pass *h)
{
    return h->module == MODULE_DINO_HEAD ? &h->table->config.dino : &h->table->config.ibot;
}

void dn_head_layout(struct head_pass *h, struct tape *tape, int rows, bool backward)
{
    const struct head_config *c = config_of(h);

    for (int l = 0; l + 1 < c->layers; l++)
        h->hidden[l] = dn_tape_mat(tape, rows, c->hidden);
    h->active = dn_tape_mat(tape, rows, c->hidden);
    h->z = dn_tape_mat(tape, rows, c->bottleneck);
    h->u = dn_tape_mat(tape, rows, c->bottleneck);
    h->prototypes = dn_tape_mat(tape, c->prototypes, c->bottleneck);
    if (!backward)
        return;
    h->d_prototypes = dn_tape_mat(tape, c->prototypes, c->bottleneck);
    h->d_u = dn_tape_mat(tape, rows, c->bottleneck);
    h->d_active = dn_tape_mat(tape, rows, c->hidden);
    h->d_hidden = dn_tape_mat(tape, rows, c->hidden);
}

static struct mat get(const struct head_pass *h, void *block, enum head_param param, int layer)
{
    return dn_params_head(h->table, block, h->u.dtype, h->module, param, layer);
}

static struct mat first_rows(struct mat m, int rows)
{
    m.rows = rows;
    return m;
}

/* What layer l multiplies: x, or GELU of the layer before, computed (again) into `active`. */
static struct mat layer_input(struct head_pass *h, int l, struct mat x)
{
    if (l == 0)
        return x;
    struct mat active = first_rows(h->active, x.rows);
    dn_gelu(h->queue, (struct op_gelu){.y = active, .x = first_rows(h->hidden[l - 1], x.rows)});
    return active;
}

void dn_head_forward(struct head_pass *h, void *params, struct mat x, struct mat logits)
{
    const struct head_config *c = config_of(h);
    struct mat z = first_rows(h->z, x.rows), u = first_rows(h->u, x.rows);

    for (int l = 0; l < c->layers; l++)
        dn_matmul(h->queue, (struct op_matmul){
                                .y = l == c->layers - 1 ? z : first_rows(h->hidden[l], x.rows),
                                .a = layer_input(h, l, x),
                                .b = get(h, params, HEAD_WEIGHT, l),
                                .bias = get(h, params, HEAD_BIAS, l),
                                .transpose_b = true,
                            });
    dn_l2norm(h->queue, (struct op_l2norm){.y = u, .x = z, .eps = unit_eps});
    dn_l2norm(h->queue, (struct op_l2norm){.y = h->prototypes,
                                           .x = get(h, params, HEAD_V, 0),
                                           .gain = get(h, params, HEAD_G, 0),
                                           .eps = unit_eps});
    dn_matmul(h->queue,
              (struct op_matmul){.y = logits, .a = u, .b = h->prototypes, .transpose_b = true});
}

/* Back through logits = u . prototypes^T to d_z, which takes the place of d_u. */
static struct mat prototypes_back(struct head_pass *h, void *params, void *grads,
                                  struct mat d_logits)
{
    int rows = d_logits.rows;
    struct mat u = first_rows(h->u, rows), d_u = first_rows(h->d_u, rows);

    dn_matmul(h->queue, (struct op_matmul){.y = d_u, .a = d_logits, .b = h->prototypes});
    dn_matmul(h->queue, (struct op_matmul){
                            .y = h->d_prototypes, .a = d_logits, .b = u, .transpose_a = true});
    dn_l2norm_back(h->queue, (struct op_l2norm_back){.d_x = get(h, grads, HEAD_V, 0),
                                                     .d_gain = get(h, grads, HEAD_G, 0),
                                                     .d_y = h->d_prototypes,
                                                     .x = get(h, params, HEAD_V, 0),
                                                     .gain = get(h, params, HEAD_G, 0),
                                                     .eps = unit_eps,
                                                     .accumulate = true});
    dn_l2norm_back(h->queue,
                   (struct op_l2norm_back){
                       .d_x = d_u, .d_y = d_u, .x = first_rows(h->z, rows), .eps = unit_eps});
    return d_u;
}

void dn_head_backward(struct head_pass *h, void *params, void *grads, struct mat x,
                      struct mat d_logits, struct mat d_x)
{
    struct mat d_y = prototypes_back(h, params, grads, d_logits);

    for (int l = config_of(h)->layers - 1; l >= 0; l--) {
        struct mat d_in = l == 0 ? d_x : first_rows(h->d_active, x.rows);
        dn_matmul(h->queue, (struct op_matmul){.y = get(h, grads, HEAD_WEIGHT, l),
                                               .a = d_y,
                                               .b = layer_input(h, l, x),
                                               .transpose_a = true,
                                               .accumulate = true});
        dn_sum_columns(h->queue, (struct op_sum_columns){.y = get(h, grads, HEAD_BIAS, l),
                                                         .x = d_y,
                                                         .alpha = 1,
                                                         .accumulate = true});
        dn_matmul(h->queue,
                  (struct op_matmul){.y = d_in, .a = d_y, .b = get(h, params, HEAD_WEIGHT, l)});
        if (l == 0)
            break;
        d_y = first_rows(h->d_hidden, x.rows);
        dn_gelu_back(h->queue,
                     (struct op_gelu_back){
                         .d_x = d_y, .d_y = d_in, .x = first_rows(h->hidden[l - 1], x.rows)});
    }
}
