/*
 * Where the parameters of one network come from: the tensors of an opened checkpoint, whatever
 * its layout, or the formula. Everything is read in the official shape, one parameter at a
 * time, so that a network never stands in memory twice.
 */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "format/config.h"
#include "format/tensors.h"
#include "model/params.h"

enum { WEIGHT_PARTS = 3 };

/* Where one part of a parameter lies. */
struct weight_part {
    const struct dino_tensor *tensor;
    const struct dino_tensor *scale; /* of an int8 matrix: f32 [outputs], else NULL */
};

struct weights {
    struct vit_config config;
    const char *kind; /* "official pth", "hugging face", "timm", "formula"... */
    enum naming naming;
    char prefix[128];              /* before every backbone name in the file */
    const struct tensors *tensors; /* NULL: formula weights */
    uint64_t seed;
    bool folded_class_position; /* timm: the class token already holds its position */
    struct weight_part *found;  /* [PARAM_COUNT * depth][WEIGHT_PARTS] */
    const struct dino_tensor *head_weight, *head_bias; /* a classifier in the same file */
    char **labels; /* [label_count], owned; entries may be NULL */
    int label_count;
};

/* heads: 0 = from config.json, else width / 64. Tensors must outlive the weights. */
bool dn_weights_find(struct weights *w, const struct tensors *tensors, int heads,
                     struct dino_error *err);
void dn_weights_formula(struct weights *w, const struct vit_config *config, uint64_t seed);
void dn_weights_release(struct weights *w);

/* The parts of a parameter; block -1 where there is one for the network. */
static inline struct weight_part *dn_weights_parts(const struct weights *w, enum param param,
                                                   int block)
{
    size_t index = (size_t)(block < 0 ? 0 : block) * PARAM_COUNT + param;
    return w->found + index * WEIGHT_PARTS;
}

/* The whole parameter in official shape into out. Adds NaN and infinite values to *bad. An
 * int8 matrix becomes byte * scale. */
void dn_weights_read(const struct weights *w, enum param param, int block, float *out,
                     int64_t *bad);
/* The same where it lies in official shape in the mapped file, aligned, as f32, f16 or bf16
 * (*dtype): no copy; else NULL. */
const void *dn_weights_view(const struct weights *w, enum param param, int block,
                            enum dino_dtype *dtype);
/* Does the file hold this matrix as int8? */
bool dn_weights_int8(const struct weights *w, enum param param, int block);
/* Its scales [outputs] into scale; returns its bytes in official shape: where they lie in the
 * mapped file, or in `room`, which must hold them all. */
const int8_t *dn_weights_read_int8(const struct weights *w, enum param param, int block,
                                   int8_t *room, float *scale);
/* The mapped pages of this parameter are not needed any more. */
void dn_weights_drop(const struct weights *w, enum param param, int block);

/* The dtype most of the weights have in the file. */
enum dino_dtype dn_weights_dtype(const struct weights *w);

/* What the weights alone say of a model; source, device and head are the caller's to fill. */
struct dino_model_info dn_weights_info(const struct weights *w);

/* weight [classes, (1 + layers) * dim] and bias [classes] of a linear head file. */
bool dn_weights_find_head(const struct tensors *tensors, const struct dino_tensor **weight,
                          const struct dino_tensor **bias, struct dino_error *err);
/* How many class tokens the head eats (1, 4, ...); an error if it does not fit the network. */
bool dn_weights_head_layers(const struct vit_config *config, const struct dino_tensor *weight,
                            const struct dino_tensor *bias, const char *name, int *layers,
                            struct dino_error *err);

#endif
