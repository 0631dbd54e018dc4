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
        h->hidden[l] = dn_tape_factor(tape, rows, c->hidden);
    h->active = dn_tape_factor(tape, rows, c->hidden);
    h->other = dn_tape_factor(tape, rows, c->hidden);
    h->z = dn_tape_mat(tape, rows, c->bottleneck);
    h->u = dn_tape_factor(tape, rows, c->bottleneck);
    h->prototypes = dn_tape_factor(tape, c->prototypes, c->bottleneck);
    if (!backward)
        return;
    h->d_prototypes = dn_tape_mat(tape, c->prototypes, c->bottleneck);
    h->d_u = dn_tape_mat(tape, rows, c->bottleneck);
    h->d_hidden = dn_tape_factor(tape, rows, c->hidden);
    h->d_other = dn_tape_factor(tape, rows, c->hidden);
}

/* A vector of a head, or the prototypes, as they are kept; a Linear layer's weight as products
 * read it. */
static struct mat value(const struct head_pass *h, struct net_params p, enum head_param param,
                        int layer)
{
    return dn_params_head(h->table, p.values, p.dtype, h->module, param, layer);
}

static struct mat weight(const struct head_pass *h, struct net_params p, int layer)
{
    return dn_params_head(h->table, p.factors, p.factor, h->module, HEAD_WEIGHT, layer);
}

static struct mat first_rows(struct mat m, int rows)
{
    m.rows = rows;
    return m;
}

void dn_head_forward(struct head_pass *h, struct net_params params, struct mat x,
                     struct mat logits)
{
    int last = config_of(h)->layers - 1;
    struct mat z = first_rows(h->z, x.rows), u = first_rows(h->u, x.rows), in = x;
    struct mat active = first_rows(h->active, x.rows), other = first_rows(h->other, x.rows);

    for (int l = 0; l <= last; l++) {
        struct op_matmul op = {.y = z,
                               .a = in,
                               .b = weight(h, params, l),
                               .bias = value(h, params, HEAD_BIAS, l),
                               .transpose_b = true};
        if (l < last) {
            op.y = first_rows(h->hidden[l], x.rows);
            op.active = in = l % 2 ? other : active;
        }
        dn_matmul(h->queue, op);
    }
    dn_l2norm(h->queue, (struct op_l2norm){.y = u, .x = z, .eps = unit_eps});
    dn_l2norm(h->queue, (struct op_l2norm){.y = h->prototypes,
                                           .x = value(h, params, HEAD_V, 0),
                                           .gain = value(h, params, HEAD_G, 0),
                                           .eps = unit_eps});
    dn_matmul(h->queue,
              (struct op_matmul){.y = logits, .a = u, .b = h->prototypes, .transpose_b = true});
}

/* Back through logits = u . prototypes^T to d_z, which takes the place of d_u. */
static struct mat prototypes_back(struct head_pass *h, struct net_params params,
                                  struct net_params grads, struct mat d_logits)
{
    int rows = d_logits.rows;
    struct mat u = first_rows(h->u, rows), d_u = first_rows(h->d_u, rows);

    dn_matmul(h->queue, (struct op_matmul){.y = d_u, .a = d_logits, .b = h->prototypes});
    dn_matmul(h->queue, (struct op_matmul){
                            .y = h->d_prototypes, .a = d_logits, .b = u, .transpose_a = true});
    dn_l2norm_back(h->queue, (struct op_l2norm_back){.d_x = value(h, grads, HEAD_V, 0),
                                                     .d_gain = value(h, grads, HEAD_G, 0),
                                                     .d_y = h->d_prototypes,
                                                     .x = value(h, params, HEAD_V, 0),
                                                     .gain = value(h, params, HEAD_G, 0),
                                                     .eps = unit_eps,
                                                     .accumulate = true});
    dn_l2norm_back(h->queue,
                   (struct op_l2norm_back){
                       .d_x = d_u, .d_y = d_u, .x = first_rows(h->z, rows), .eps = unit_eps});
    return d_u;
}

/* Layer l's input has its gradient before the layer's weights have theirs: on the way back
 * through GELU the input itself is computed again. */
void dn_head_backward(struct head_pass *h, struct net_params params, void *grads_block,
                      struct mat x, struct mat d_logits, struct mat d_x)
{
    struct net_params grads = dn_plain_params(grads_block, params.dtype);
    struct mat d_y = prototypes_back(h, params, grads, d_logits);

    for (int l = config_of(h)->layers - 1; l >= 0; l--) {
        struct mat in = x, d_in = d_x;
        struct op_matmul op = {.a = d_y, .b = weight(h, params, l)};
        if (l > 0) {
            op.hidden = first_rows(h->hidden[l - 1], x.rows);
            op.active = in = first_rows(h->active, x.rows);
            d_in = first_rows(l % 2 ? h->d_other : h->d_hidden, x.rows);
        }
        op.y = d_in;
        dn_matmul(h->queue, op);
        dn_matmul(h->queue, (struct op_matmul){.y = value(h, grads, HEAD_WEIGHT, l),
                                               .a = d_y,
                                               .b = in,
                                               .transpose_a = true,
                                               .accumulate = true,
                                               .a_sums = value(h, grads, HEAD_BIAS, l)});
        d_y = d_in;
    }
}
