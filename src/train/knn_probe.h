/* How good the teacher's features are, by their neighbours: evaluation.md's k-NN, on two
 * folders with a folder a class. */
#ifndef TRAIN_KNN_PROBE_H
#define TRAIN_KNN_PROBE_H

#include "train/trainer.h"

/* Right answers in percent for k = 20, weights softmax(similarity / 0.07), of the pictures of
 * knn_val by those of knn_train. The view is "classify" at the size of the global crops. */
bool dn_knn_probe(const struct trainer *trainer, double *percent, struct dino_error *err);

/* The class of the majority of the k nearest of train [count, dim] to one unit vector, each
 * vote weighed; ties go to the lower class. */
int dn_knn_vote(const float *train, const int *labels, int64_t count, int dim, int classes,
                const float *query, double *votes);

#endif
