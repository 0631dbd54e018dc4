/*
 * What an embed job is to write: which vectors of each picture, into which file, in which
 * form, and the request that says so in JSON, by which an interrupted job knows its own part.
 */
#ifndef TASK_EMBED_PLAN_H
#define TASK_EMBED_PLAN_H

#include <jansson.h>

#include "base/str.h"

enum embed_format { EMBED_NPY, EMBED_SAFETENSORS, EMBED_JSONL };

/* One array over all pictures. */
struct embed_stream {
    char name[48]; /* "patches", "cls.layer11" */
    enum dino_tokens token;
    int layer;   /* index into the request's layers */
    int vectors; /* a picture; 0: as many as it has patches */
};

struct embed_plan {
    enum embed_format format;
    enum dino_dtype dtype;
    bool l2;
    unsigned tokens;
    int dim, registers;
    int *layers; /* [layer_count]: block indices */
    int layer_count;
    struct embed_stream *streams; /* the largest first */
    int stream_count;
    int64_t pictures;
    struct dino_view view;
    json_t *request;
};

/* Anything with an order and names; dino_source in the product. */
struct embed_names {
    int64_t count;
    const char *(*name)(const void *context, int64_t index);
    const void *context;
};

bool dn_embed_plan_init(struct embed_plan *plan, const struct dino_embed_options *options,
                        const struct dino_model_info *info, const struct embed_names *names,
                        struct dino_error *err);
void dn_embed_plan_release(struct embed_plan *plan);

/* Pictures a batch and tokens a run where the caller leaves it open. */
int dn_embed_default_batch(const struct embed_plan *plan, const struct dino_model_info *info,
                           int64_t *tokens);

#endif
