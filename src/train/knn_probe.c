#include "train/knn_probe.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "train/export.h"

enum { NEIGHBOURS = 20, BATCH = 16 };

static const double temperature = 0.07;

/* Features at unit length and labels of one folder's readable pictures. */
struct labelled {
    float *rows; /* [count, dim] */
    int *labels;
    int64_t count;
};

/* Class names in the order they were met. */
struct classes {
    char **names;
    size_t count, room;
};

struct probe {
    struct dino_model *model;
    struct dino_session *session;
    struct dino_view view;
    struct classes classes;
    int dim;
};

static void release_classes(struct classes *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->names[i]);
    free(c->names);
}

/* "FOLDER/cat/1.jpg" is a cat. -1 and err where there is no class. */
static int class_of(struct classes *c, const char *folder, const char *name,
                    struct dino_error *err)
{
    size_t prefix = strlen(folder);

    while (prefix > 0 && folder[prefix - 1] == '/')
        prefix--;
    const char *class = name + prefix;
    class += strspn(class, "/");
    size_t size = strcspn(class, "/");
    if (!class[size]) {
        dn_fail(err, DINO_EARG, "%s: k-NN wants a folder a class, but this lies in none", name);
        return -1;
    }
    for (size_t i = 0; i < c->count; i++)
        if (strlen(c->names[i]) == size && memcmp(c->names[i], class, size) == 0)
            return (int)i;
    if (!dn_grow(&c->names, &c->room, c->count + 1, sizeof *c->names, "classes", err))
        return -1;
    char *copy = dn_calloc(size + 1, 1, "a class", err);
    if (!copy)
        return -1;
    memcpy(copy, class, size);
    c->names[c->count] = copy;
    return (int)c->count++;
}

/* Class tokens of a batch, at unit length, behind those that are there. */
static bool add_batch(struct probe *p, const struct dino_picture *pictures, int count,
                      const char *folder, struct labelled *to, struct dino_error *err)
{
    struct dino_input inputs[BATCH];
    int readable = 0;

    for (int i = 0; i < count; i++) {
        if (!pictures[i].ok)
            continue;
        int label = class_of(&p->classes, folder, pictures[i].name, err);
        if (label < 0)
            return false;
        to->labels[to->count + readable] = label;
        inputs[readable++] = (struct dino_input){.pixels = pictures[i].image.pixels,
                                                 .height = pictures[i].image.height,
                                                 .width = pictures[i].image.width,
                                                 .mean = p->view.mean,
                                                 .std = p->view.std};
    }
    if (readable && !dino_run(p->session, inputs, readable, NULL, err))
        return false;
    for (int i = 0; i < readable; i++, to->count++) {
        const float *cls = dino_result(p->session, i)->cls;
        float *row = to->rows + (size_t)to->count * (size_t)p->dim;
        double square = 0;
        for (int d = 0; d < p->dim; d++)
            square += (double)cls[d] * (double)cls[d];
        double scale = 1 / fmax(sqrt(square), 1e-12);
        for (int d = 0; d < p->dim; d++)
            row[d] = (float)((double)cls[d] * scale);
    }
    return true;
}

static bool embed_folder(struct probe *p, const char *folder, int readers, struct labelled *to,
                         struct dino_error *err)
{
    struct dino_feed_options options = {.size = sizeof options, .threads = readers};
    struct dino_source *source = dino_source_open(&folder, 1, NULL, err);
    struct dino_feed *feed = NULL;
    struct dino_picture pictures[BATCH];
    bool ok = false;
    int n;

    if (!source)
        return false;
    size_t count = (size_t)dino_source_count(source);
    to->rows = dn_calloc(count + 1, (size_t)p->dim * sizeof *to->rows, "features", err);
    to->labels = dn_calloc(count + 1, sizeof *to->labels, "labels", err);
    if (!to->rows || !to->labels)
        goto done;
    feed = dino_feed_open(source, &p->view, &options, err);
    ok = feed != NULL;
    while (ok && (n = dino_feed_next(feed, pictures, BATCH)) > 0)
        ok = add_batch(p, pictures, n, folder, to, err);
    if (ok && to->count == 0)
        ok = dn_fail(err, DINO_EARG, "%s: no readable picture for k-NN", folder);
done:
    dino_feed_close(feed);
    dino_source_close(source);
    return ok;
}

int dn_knn_vote(const float *train, const int *labels, int64_t count, int dim, int classes,
                const float *query, double *votes)
{
    float near[NEIGHBOURS];
    int64_t index[NEIGHBOURS];
    int filled = 0, best = 0;

    for (int64_t i = 0; i < count; i++) {
        const float *row = train + (size_t)i * (size_t)dim;
        float dot = 0;
        for (int d = 0; d < dim; d++)
            dot += row[d] * query[d];
        int at = filled < NEIGHBOURS ? filled++ : NEIGHBOURS;
        for (; at > 0 && dot > near[at - 1]; at--)
            if (at < NEIGHBOURS) {
                near[at] = near[at - 1];
                index[at] = index[at - 1];
            }
        if (at < NEIGHBOURS) {
            near[at] = dot;
            index[at] = i;
        }
    }
    memset(votes, 0, (size_t)classes * sizeof *votes);
    for (int i = 0; i < filled; i++)
        votes[labels[index[i]]] += exp((double)(near[i] - near[0]) / temperature);
    for (int c = 1; c < classes; c++)
        if (votes[c] > votes[best])
            best = c;
    return best;
}

static bool score(const struct probe *p, const struct labelled *train,
                  const struct labelled *val, double *percent, struct dino_error *err)
{
    int classes = (int)p->classes.count;
    double *votes = dn_calloc((size_t)classes, sizeof *votes, "votes", err);
    int64_t right = 0;

    for (int64_t i = 0; votes && i < val->count; i++)
        right += dn_knn_vote(train->rows, train->labels, train->count, p->dim, classes,
                             val->rows + (size_t)i * (size_t)p->dim, votes) == val->labels[i];
    *percent = 100.0 * (double)right / (double)val->count;
    free(votes);
    return votes != NULL;
}

/* The teacher as everybody else would open it. */
static bool open_teacher(struct probe *p, const struct trainer *t, struct dino_error *err)
{
    const struct vit_config *vit = &t->table.config.backbone;
    struct dino_model_options options = {
        .size = sizeof options,
        .device = t->options->device,
        .threads = t->options->threads,
        .positions = vit->positions,
        .heads = vit->heads,
    };
    char *path = dn_path_join(t->options->output, "knn.pth", err);
    bool ok = path && dn_export_teacher(path, t->queue, &t->table, &t->blocks, err) &&
              (p->model = dino_model_open(path, &options, err)) != NULL;

    if (path)
        unlink(path);
    free(path);
    p->dim = vit->dim;
    return ok && (p->session = dino_session_new(p->model, NULL, err)) != NULL &&
           dino_view_named(&p->view, "classify", t->config.crops.global_size, p->model, err);
}

bool dn_knn_probe(const struct trainer *t, double *percent, struct dino_error *err)
{
    const struct dino_train_options *o = t->options;
    struct labelled train = {0}, val = {0};
    struct probe p = {0};
    bool ok = open_teacher(&p, t, err) &&
              embed_folder(&p, o->knn_train, o->readers, &train, err) &&
              embed_folder(&p, o->knn_val, o->readers, &val, err) &&
              score(&p, &train, &val, percent, err);

    free(train.rows);
    free(train.labels);
    free(val.rows);
    free(val.labels);
    release_classes(&p.classes);
    dino_session_free(p.session);
    dino_model_free(p.model);
    return ok;
}
