/* Opening golden models and comparing runs with golden results. */
#ifndef GOLDEN_MODEL_H
#define GOLDEN_MODEL_H

#include "testing.h"

/* An open model with its session and a result file beside it. */
struct golden {
    struct dino_model *model;
    struct dino_session *session;
    struct tensors results;
};

static inline void golden_open(struct golden *g, const char *model_path,
                               struct dino_model_options options, const char *result_path)
{
    struct dino_error err = {0};

    if (!options.device)
        options.device = testing_device();
    g->model = dino_model_open(model_path, &options, &err);
    CHECK_OK(g->model, err);
    g->session = dino_session_new(g->model, NULL, &err);
    CHECK_OK(g->session, err);
    CHECK_OK(dn_tensors_open(&g->results, result_path, &err), err);
}

static inline void golden_close(struct golden *g)
{
    dino_session_free(g->session);
    dino_model_free(g->model);
    dn_tensors_release(&g->results);
}

/* |have - truth| <= bound everywhere, for tensor "SIZE.NAME" from element `first` on. */
static inline void golden_near(const struct golden *g, const char *size, const char *name,
                               size_t first, const float *have, size_t count, double bound)
{
    char full[128];
    size_t total;

    snprintf(full, sizeof full, "%s.%s", size, name);
    float *truth = testing_tensor(&g->results, full, &total);
    CHECK(first + count <= total);
    double error = testing_max_abs(have, truth + first, count);
    free(truth);
    if (!(error <= bound))
        fail_msg("%s: off by %.3g, allowed %.3g", full, error, bound);
}

#endif
