/* What is inside a struct dino_pca; shared by fitting (pca.c) and its file (pca_file.c). */
#ifndef TASK_PCA_H
#define TASK_PCA_H

#include "task/pca_basis.h"

enum pca_form {
    PCA_TWO_PASS = 0, /* colours from the foreground rows alone */
    PCA_NOTEBOOK,     /* colours from all rows, background rows zeroed */
    PCA_PLAIN,        /* one pass; every row is foreground */
};

struct dino_pca {
    enum pca_form form;
    int side;                /* foreground: +1 above the threshold, -1 not above */
    double threshold;        /* on the scaled first component */
    struct pca_basis first;  /* one component of all rows */
    struct pca_basis colour; /* three components */
};

#endif
