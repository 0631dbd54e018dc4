/*
 * Parameters of a student or teacher as one block of numbers. The table says where each
 * parameter lies: backbone in the order of model/params.h, then the DINO head, then the iBOT
 * head if it is a separate one. Gradients, both moments of AdamW and the teacher are blocks of
 * the same layout, so that clipping, averaging and saving are loops over one pointer.
 */
#ifndef TRAIN_PARAMS_BLOCK_H
#define TRAIN_PARAMS_BLOCK_H

#include "compute/device.h"
#include "model/params.h"

/* Linear(in, hidden), GELU, ..., Linear(hidden, bottleneck), unit length, and a weight-normed
 * matrix without bias to the prototypes. layers counts the Linear ones. */
struct head_config {
    int in, layers, hidden, bottleneck, prototypes;
};

struct net_config {
    struct vit_config backbone;
    struct head_config dino, ibot;
    bool separate_ibot; /* else the DINO head serves the patches too */
};

enum net_module { MODULE_BACKBONE, MODULE_DINO_HEAD, MODULE_IBOT_HEAD, MODULE_COUNT };

struct param_slice {
    char name[160]; /* official, with the module in front: "dino_head.mlp.0.weight" */
    enum net_module module;
    struct param_ref ref; /* of a parameter of the backbone */
    int dims;
    int64_t shape[4];
    size_t first, count; /* elements of the block */
};

struct params_table {
    struct net_config config;
    struct param_slice *items;
    int count;
    size_t elements;                    /* of the block, with padding between slices */
    int module_items[MODULE_COUNT + 1]; /* items of module m: [m] .. [m + 1] - 1 */
    int *lookup;                        /* [depth + 1][PARAM_COUNT] item or -1 */
};

/* A block of parameters as the network reads it: vectors and tokens from values, the matrices
 * of products from factors, which is the same block or, in bf16, rounded from it. */
struct net_params {
    void *values, *factors;
    enum dino_dtype dtype, factor; /* of the two */
};

static inline struct net_params dn_plain_params(void *block, enum dino_dtype dtype)
{
    return (struct net_params){block, block, dtype, dtype};
}

bool dn_params_table_init(struct params_table *table, const struct net_config *config,
                          struct dino_error *err);
void dn_params_table_release(struct params_table *table);

/* The item of that name, or -1. */
int dn_params_find(const struct params_table *table, const char *name);

/* Item i of the block at base: vectors [1, n], tokens [count, dim], matrices [out, in]. Item
 * -1 has no data. */
struct mat dn_params_mat(const struct params_table *table, void *base, enum dino_dtype dtype,
                         int i);
/* The same as one vector [1, count]. */
struct mat dn_params_vector(const struct params_table *table, void *base, enum dino_dtype dtype,
                            int i);
/* The whole of one module, padding included: [1, n]. Padding is zero in every block. n above
 * INT_MAX cannot be said in one matrix; dn_params_table_init refuses it. */
struct mat dn_params_module(const struct params_table *table, void *base, enum dino_dtype dtype,
                            enum net_module module);

/* Numbers of a block to the device at `to`, in what travels there: f32, or f64 on ref. */
bool dn_params_upload(struct queue *queue, void *to, const float *values, size_t count,
                      struct dino_error *err);

/* A parameter of the backbone (block -1 where it has none), or no data. */
struct mat dn_params_backbone(const struct params_table *table, void *base,
                              enum dino_dtype dtype, enum param param, int block);

/* A parameter of a head: Linear layer l's weight and bias, and the prototypes' g and v. */
enum head_param { HEAD_WEIGHT, HEAD_BIAS, HEAD_G, HEAD_V };
struct mat dn_params_head(const struct params_table *table, void *base, enum dino_dtype dtype,
                          enum net_module module, enum head_param param, int layer);

#endif
