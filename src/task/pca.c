/*
 * The two-pass picture: one component over all rows splits foreground from background, three
 * components of the foreground become red, green and blue. Arithmetic is in double.
 */
#include "task/pca.h"

#include <math.h>
#include <string.h>

enum { FEWEST_ROWS = 4 }; /* three components and a mean need four */

void dino_pca_free(struct dino_pca *pca)
{
    if (!pca)
        return;
    dn_pca_basis_release(&pca->first);
    dn_pca_basis_release(&pca->colour);
    free(pca);
}

int dino_pca_dim(const struct dino_pca *pca)
{
    return pca->colour.dim;
}

int dino_pca_side(const struct dino_pca *pca)
{
    return pca->side;
}

static bool check(const float *rows, size_t count, int dim,
                  const struct dino_pca_options *options, struct dino_error *err)
{
    size_t width = (size_t)dim, values;

    if (options->size && options->size != sizeof *options)
        return dn_fail(err, DINO_EARG, "dino_pca_options of %zu bytes, this library has %zu",
                       options->size, sizeof *options);
    if (dim < PCA_MOST || dim > PCA_MOST_DIM)
        return dn_fail(err, DINO_EARG, "PCA: rows of %d values, wanted %d to %d", dim,
                       (int)PCA_MOST, (int)PCA_MOST_DIM);
    if (count < FEWEST_ROWS || !dn_size_mul(count, width, &values))
        return dn_fail(err, DINO_EARG, "PCA: %zu rows, wanted at least %d", count,
                       (int)FEWEST_ROWS);
    if (!(options->threshold >= 0 && options->threshold < 1))
        return dn_fail(err, DINO_EARG, "PCA: threshold %g, wanted 0 to 1",
                       (double)options->threshold);
    if (options->side < -1 || options->side > 1)
        return dn_fail(err, DINO_EARG, "PCA: side %d, wanted -1, 0 or 1", options->side);

    bool same = true;
    for (size_t i = 0; i < count; i++) {
        const float *row = rows + i * width;
        for (size_t j = 0; j < width; j++) {
            if (!isfinite(row[j]))
                return dn_fail(err, DINO_EARG, "PCA: row %zu holds a NaN or infinite value", i);
            same = same && row[j] == rows[j];
        }
    }
    if (same)
        return dn_fail(err, DINO_EARG, "PCA: all %zu rows are equal, there is nothing to show",
                       count);
    return true;
}

/* above [count]: is the scaled first component over the threshold? */
static void split(struct dino_pca *pca, const float *rows, size_t count, double *score,
                  uint8_t *above)
{
    size_t dim = (size_t)pca->first.dim;

    dn_pca_basis_empty_range(&pca->first);
    for (size_t i = 0; i < count; i++) {
        dn_pca_basis_score(&pca->first, rows + i * dim, &score[i]);
        dn_pca_basis_widen(&pca->first, &score[i]);
    }
    for (size_t i = 0; i < count; i++)
        above[i] = dn_pca_basis_scaled(&pca->first, 0, score[i]) > pca->threshold;
}

/*
 * Background is the side that holds most of the rim or, without rims, the larger side. A
 * side with too few rows for a basis is never the foreground.
 */
static int choose_side(const uint8_t *above, const uint8_t *rim, size_t count)
{
    size_t rows[2] = {0}, rims[2] = {0};

    for (size_t i = 0; i < count; i++) {
        rows[above[i]]++;
        rims[above[i]] += rim && rim[i] ? 1 : 0;
    }
    bool above_is_back = rims[0] != rims[1] ? rims[1] > rims[0] : rows[1] >= rows[0];
    if (rows[above_is_back ? 0 : 1] < FEWEST_ROWS)
        above_is_back = !above_is_back;
    return above_is_back ? -1 : 1;
}

/* Turn `above` into the foreground mark. */
static bool mark_foreground(struct dino_pca *pca, uint8_t *above, size_t count,
                            struct dino_error *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        above[i] = pca->side > 0 ? above[i] : !above[i];
        kept += above[i];
    }
    if (kept >= FEWEST_ROWS)
        return true;
    return dn_fail(err, DINO_EARG,
                   "PCA: %zu of %zu rows are foreground (%s threshold %g), wanted at least %d: "
                   "try another threshold or side, or the plain form",
                   kept, count, pca->side > 0 ? "above" : "not above", pca->threshold,
                   (int)FEWEST_ROWS);
}

static void find_range(struct pca_basis *basis, const struct pca_rows *rows)
{
    double score[PCA_MOST];

    dn_pca_basis_empty_range(basis);
    for (size_t i = 0; i < rows->count; i++) {
        bool marked = !rows->marked || rows->marked[i];
        if (!marked && !rows->zero_others)
            continue;
        const float *row = rows->data + i * (size_t)rows->dim;
        dn_pca_basis_score(basis, marked ? row : NULL, score);
        dn_pca_basis_widen(basis, score);
    }
}

/* First pass: the component, the split and the mark of foreground rows. */
static bool first_pass(struct dino_pca *pca, struct pca_rows *rows, uint8_t *mark,
                       const uint8_t *rim, int side, struct dino_error *err)
{
    double *score = dn_calloc(rows->count, sizeof *score, "PCA scores", err);
    bool ok = score && dn_pca_basis_fit(&pca->first, rows, 1, err);

    if (ok) {
        split(pca, rows->data, rows->count, score, mark);
        if (side == 0) /* the notebook's background is what lies above */
            side = pca->form == PCA_NOTEBOOK ? -1 : choose_side(mark, rim, rows->count);
        pca->side = side;
        ok = mark_foreground(pca, mark, rows->count, err);
        rows->marked = mark;
        rows->zero_others = pca->form == PCA_NOTEBOOK;
    }
    free(score);
    return ok;
}

/* The plain form has no first pass: its first component is the first colour. */
static bool copy_first(struct dino_pca *pca, struct dino_error *err)
{
    size_t bytes = (size_t)pca->colour.dim * sizeof(double);

    if (!dn_pca_basis_alloc(&pca->first, pca->colour.dim, 1, err))
        return false;
    memcpy(pca->first.mean, pca->colour.mean, bytes);
    memcpy(pca->first.components, pca->colour.components, bytes);
    pca->first.variance[0] = pca->colour.variance[0];
    pca->first.ratio[0] = pca->colour.ratio[0];
    pca->first.low[0] = pca->colour.low[0];
    pca->first.high[0] = pca->colour.high[0];
    return true;
}

struct dino_pca *dino_pca_fit(const float *rows, size_t count, int dim,
                              const uint8_t *rows_at_border,
                              const struct dino_pca_options *options, struct dino_error *err)
{
    static const struct dino_pca_options defaults = {0};
    struct pca_rows taken = {.data = rows, .count = count, .dim = dim};
    uint8_t *mark = NULL;
    struct dino_pca *pca = NULL;
    bool ok = false;

    options = options ? options : &defaults;
    if (!check(rows, count, dim, options, err))
        return NULL;
    pca = dn_calloc(1, sizeof *pca, "a PCA", err);
    mark = dn_calloc(count, 1, "a foreground", err);
    if (!pca || !mark)
        goto done;
    pca->form = options->plain ? PCA_PLAIN : options->notebook ? PCA_NOTEBOOK : PCA_TWO_PASS;
    pca->side = 1;
    pca->threshold = options->threshold > 0 ? (double)options->threshold : 0.5;
    if (pca->form != PCA_PLAIN &&
        !first_pass(pca, &taken, mark, rows_at_border, options->side, err))
        goto done;
    if (!dn_pca_basis_fit(&pca->colour, &taken, PCA_MOST, err))
        goto done;
    find_range(&pca->colour, &taken);
    ok = pca->form != PCA_PLAIN || copy_first(pca, err);
done:
    free(mark);
    if (!ok) {
        dino_pca_free(pca);
        pca = NULL;
    }
    return pca;
}

void dino_pca_apply(const struct dino_pca *pca, const float *rows, size_t count, float *rgb,
                    uint8_t *foreground, float *score)
{
    size_t dim = (size_t)pca->colour.dim;
    double first, colour[PCA_MOST];

    for (size_t i = 0; i < count; i++, rows += dim) {
        dn_pca_basis_score(&pca->first, rows, &first);
        double scaled = dn_pca_basis_scaled(&pca->first, 0, first);
        bool front = pca->form == PCA_PLAIN || (scaled > pca->threshold) == (pca->side > 0);
        front = front && !isnan(scaled);
        if (score)
            score[i] = (float)scaled;
        if (foreground)
            foreground[i] = front;
        if (!rgb)
            continue;
        if (front)
            dn_pca_basis_score(&pca->colour, rows, colour);
        for (int k = 0; k < PCA_MOST; k++) {
            double value = front ? dn_pca_basis_scaled(&pca->colour, k, colour[k]) : 0;
            rgb[PCA_MOST * i + (size_t)k] = (float)fmin(fmax(value, 0), 1);
        }
    }
}
