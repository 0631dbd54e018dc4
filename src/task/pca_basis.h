/*
 * A few principal components of many rows: exact, in double, in memory that does not grow
 * with the number of rows. What the components mean (foreground, colours) is pca.c's affair.
 */
#ifndef TASK_PCA_BASIS_H
#define TASK_PCA_BASIS_H

#include "base/alloc.h"

enum { PCA_MOST = 3, PCA_MOST_DIM = 16384 };

struct pca_basis {
    int dim, count;            /* count components, at most PCA_MOST */
    double *mean;              /* [dim]; heap */
    double *components;        /* [count, dim], unit length; zero where variance is 0 */
    double variance[PCA_MOST]; /* explained, divisor rows - 1 */
    double ratio[PCA_MOST];    /* of the total variance */
    double low[PCA_MOST], high[PCA_MOST]; /* range of the scores that scale to 0..1 */
};

/* Which rows take part: all of them, or those with marked[i] != 0. */
struct pca_rows {
    const float *data; /* [count, dim] */
    size_t count;
    int dim;
    const uint8_t *marked; /* [count] or NULL */
    bool zero_others;      /* unmarked rows take part as rows of zeros */
};

bool dn_pca_basis_alloc(struct pca_basis *basis, int dim, int count, struct dino_error *err);
void dn_pca_basis_release(struct pca_basis *basis);

/*
 * Mean, components and variances of the rows, by eigenvectors of the covariance. Signs as
 * scikit-learn 1.5 and later: the loading of largest absolute value is positive, the first
 * one wins a tie. A component whose variance is lost in rounding is zero. The rows must be
 * finite. Ranges are left alone: dn_pca_basis_widen makes them.
 */
bool dn_pca_basis_fit(struct pca_basis *basis, const struct pca_rows *rows, int count,
                      struct dino_error *err);

/* score [count] of one row; NULL is a row of zeros. The same bits wherever the row lies. */
void dn_pca_basis_score(const struct pca_basis *basis, const float *row, double *score);

/* Begin with an empty range, then let each score widen it. */
void dn_pca_basis_empty_range(struct pca_basis *basis);
void dn_pca_basis_widen(struct pca_basis *basis, const double *score);

/* The score of component k on its range's scale; 0.5 where the range has no width. */
double dn_pca_basis_scaled(const struct pca_basis *basis, int k, double score);

#endif
