/* The teacher's backbone for everybody else: what a run is for. */
#ifndef TRAIN_EXPORT_H
#define TRAIN_EXPORT_H

#include "train/optimizer.h"

/* An official .pth: the names and shapes that the hub's constructors load strictly. f32. */
bool dn_export_teacher(const char *path, struct queue *queue, const struct params_table *table,
                       const struct train_blocks *blocks, struct dino_error *err);

/* The same with its heads, laid out as the official teacher_checkpoint.pth: under "teacher" the
 * names of the whole network. */
bool dn_export_all(const char *path, struct queue *queue, const struct params_table *table,
                   const struct train_blocks *blocks, struct dino_error *err);

/* A Hugging Face folder from that file, for pictures of the size of its position grid; what
 * stood there of an earlier export is replaced. */
bool dn_export_folder(const char *folder, const char *pth, const struct vit_config *config,
                      struct dino_error *err);

/* Remove the files of such a folder, and the folder if nothing else is in it. */
void dn_export_remove(const char *folder);

#endif
