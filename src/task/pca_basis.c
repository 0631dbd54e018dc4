#include "task/pca_basis.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { BLOCK_ROWS = 512, LANES = 8 };

bool dn_pca_basis_alloc(struct pca_basis *basis, int dim, int count, struct dino_error *err)
{
    *basis = (struct pca_basis){.dim = dim, .count = count};
    basis->mean = dn_calloc((size_t)dim, sizeof *basis->mean, "a PCA basis", err);
    basis->components =
        dn_calloc((size_t)dim * (size_t)count, sizeof *basis->components, "a PCA basis", err);
    if (basis->mean && basis->components)
        return true;
    dn_pca_basis_release(basis);
    return false;
}

void dn_pca_basis_release(struct pca_basis *basis)
{
    free(basis->mean);
    free(basis->components);
    *basis = (struct pca_basis){0};
}

/* Row i, NULL for a row of zeros; false where the row takes no part. */
static bool row_of(const struct pca_rows *rows, size_t i, const float **row)
{
    *row = rows->data + i * (size_t)rows->dim;
    if (rows->marked && !rows->marked[i]) {
        *row = NULL;
        return rows->zero_others;
    }
    return true;
}

/* Sums are of differences from the first row, so that equal rows have no variance at all. */
static size_t find_mean(const struct pca_rows *rows, double *mean)
{
    const float *row, *first = NULL;
    size_t taken = 0, dim = (size_t)rows->dim;

    for (size_t i = 0; i < rows->count; i++) {
        if (!row_of(rows, i, &row))
            continue;
        if (taken++ == 0)
            first = row;
        for (size_t j = 0; j < dim; j++)
            mean[j] += (row ? (double)row[j] : 0.0) - (first ? (double)first[j] : 0.0);
    }
    for (size_t j = 0; j < dim && taken; j++)
        mean[j] = (first ? (double)first[j] : 0.0) + mean[j] / (double)taken;
    return taken;
}

/* covariance [dim, dim], upper triangle, times rows - 1. */
static void add_products(const struct pca_rows *rows, const double *mean, double *block,
                         double *covariance)
{
    size_t dim = (size_t)rows->dim, filled = 0;
    const float *row;

    for (size_t i = 0; i < rows->count; i++) {
        if (row_of(rows, i, &row)) {
            double *to = block + filled++ * dim;
            for (size_t j = 0; j < dim; j++)
                to[j] = (row ? (double)row[j] : 0.0) - mean[j];
        }
        if (filled == BLOCK_ROWS || (i + 1 == rows->count && filled)) {
            cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, rows->dim, (int)filled, 1.0,
                        block, rows->dim, 1.0, covariance, rows->dim);
            filled = 0;
        }
    }
}

/* As svd_flip(u_based_decision=False): the largest loading is positive. */
static void fix_sign(double *component, int dim)
{
    int largest = 0;

    for (int j = 1; j < dim; j++)
        if (fabs(component[j]) > fabs(component[largest]))
            largest = j;
    if (component[largest] < 0)
        for (int j = 0; j < dim; j++)
            component[j] = -component[j];
}

/* The largest eigenvalues of the covariance (destroyed), descending, into the basis. */
static bool solve(struct pca_basis *basis, double *covariance, double total, double floor_,
                  struct dino_error *err)
{
    int dim = basis->dim, k = basis->count;
    lapack_int found = 0, *support = dn_calloc(2 * (size_t)k, sizeof *support, "PCA", err);
    double *values = dn_calloc((size_t)dim, sizeof *values, "PCA", err);
    double *vectors = dn_calloc((size_t)dim * (size_t)k, sizeof *vectors, "PCA", err);
    bool ok = false;

    if (!support || !values || !vectors)
        goto done;
    /* Row-major upper is column-major lower; vectors come as columns, that is as our rows. */
    lapack_int info =
        LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'L', dim, covariance, dim, 0, 0, dim - k + 1,
                       dim, 0, &found, values, vectors, dim, support);
    if (info != 0 || found != k) {
        dn_fail(err, DINO_EARG, "PCA: LAPACK found %d of %d components (info %d)", (int)found,
                k, (int)info);
        goto done;
    }
    for (int c = 0; c < k; c++) {
        double *to = basis->components + (size_t)c * (size_t)dim;
        double value = values[k - 1 - c];
        if (!(value > floor_)) { /* rounding noise has no direction */
            memset(to, 0, (size_t)dim * sizeof *to);
            basis->variance[c] = basis->ratio[c] = 0;
            continue;
        }
        memcpy(to, vectors + (size_t)(k - 1 - c) * (size_t)dim, (size_t)dim * sizeof *to);
        fix_sign(to, dim);
        basis->variance[c] = value;
        basis->ratio[c] = value / total;
    }
    ok = true;
done:
    free(vectors);
    free(values);
    free(support);
    return ok;
}

bool dn_pca_basis_fit(struct pca_basis *basis, const struct pca_rows *rows, int count,
                      struct dino_error *err)
{
    size_t dim = (size_t)rows->dim, area;
    double *covariance = NULL, *block = NULL, total = 0, square = 0;
    bool ok = false;

    if (!dn_pca_basis_alloc(basis, rows->dim, count, err))
        return false;
    if (!dn_size_mul(dim, dim, &area)) {
        dn_fail_memory(err, SIZE_MAX, "a covariance");
        goto done;
    }
    covariance = dn_calloc(area, sizeof *covariance, "a covariance", err);
    block = dn_calloc(BLOCK_ROWS * dim, sizeof *block, "PCA rows", err);
    if (!covariance || !block)
        goto done;

    size_t taken = find_mean(rows, basis->mean);
    add_products(rows, basis->mean, block, covariance);
    double scale = taken > 1 ? 1.0 / (double)(taken - 1) : 0;
    for (size_t i = 0; i < area; i++)
        covariance[i] *= scale;
    for (size_t j = 0; j < dim; j++) {
        total += covariance[j * dim + j];
        square += basis->mean[j] * basis->mean[j];
    }
    /* Centring errs by an epsilon of the mean, the products by an epsilon of the total. */
    double floor_ = (double)dim * DBL_EPSILON * (total + DBL_EPSILON * square);
    ok = solve(basis, covariance, total, floor_, err);
done:
    free(block);
    free(covariance);
    if (!ok)
        dn_pca_basis_release(basis);
    return ok;
}

void dn_pca_basis_score(const struct pca_basis *basis, const float *row, double *score)
{
    int dim = basis->dim;

    for (int c = 0; c < basis->count; c++) {
        const double *component = basis->components + (size_t)c * (size_t)dim;
        double lane[LANES] = {0}; /* independent sums, in a fixed order */
        int j = 0;
        for (; j + LANES <= dim; j += LANES)
            for (int l = 0; l < LANES; l++)
                lane[l] +=
                    ((row ? (double)row[j + l] : 0.0) - basis->mean[j + l]) * component[j + l];
        for (int l = 0; j < dim; j++, l++)
            lane[l] += ((row ? (double)row[j] : 0.0) - basis->mean[j]) * component[j];
        score[c] = ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
                   ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    }
}

void dn_pca_basis_empty_range(struct pca_basis *basis)
{
    for (int k = 0; k < basis->count; k++) {
        basis->low[k] = INFINITY;
        basis->high[k] = -INFINITY;
    }
}

void dn_pca_basis_widen(struct pca_basis *basis, const double *score)
{
    for (int k = 0; k < basis->count; k++) {
        basis->low[k] = fmin(basis->low[k], score[k]);
        basis->high[k] = fmax(basis->high[k], score[k]);
    }
}

double dn_pca_basis_scaled(const struct pca_basis *basis, int k, double score)
{
    double width = basis->high[k] - basis->low[k];
    return width > 0 ? (score - basis->low[k]) / width : 0.5;
}
