/*
 * Weights that a network begins with: a backbone in any layout that dino opens, and the heads
 * that stand beside it in the same file, as in the official teacher_checkpoint.pth and in our
 * own checkpoints. A run's folder stands for its latest checkpoint.
 */
#ifndef TRAIN_WARM_START_H
#define TRAIN_WARM_START_H

#include "model/weights.h"
#include "train/params_block.h"
#include "train/train_config.h"

struct warm_start {
    char *path; /* of the file itself */
    struct tensors tensors;
    struct weights weights;
    /* backbone: as stored. dino.layers, ibot.layers: 0 where the file has no such head;
     * separate_ibot: it has both. */
    struct net_config net;
    struct train_config run; /* what the checkpoint was trained with */
    bool has_run;            /* it is a checkpoint of dino train */
};

/*
 * Open the file or folder; nothing is read but headers. heads: attention heads of the backbone,
 * 0 = as the file says, else width / 64. Where the file says nothing of how its positions are
 * resampled, weights.config.positions is what dino takes for granted. Release it even on
 * failure.
 */
bool dn_warm_start_open(struct warm_start *w, const char *path, int heads,
                        struct dino_error *err);
void dn_warm_start_release(struct warm_start *w);

/* Can this backbone begin with the file's? All but the position grid must agree; the message
 * names what does not, and the setting. */
bool dn_warm_start_fits(const struct warm_start *w, const struct vit_config *backbone,
                        struct dino_error *err);

/* Does the file hold every head of `net`, in its shape? */
bool dn_warm_start_has_heads(const struct warm_start *w, const struct net_config *net);

/*
 * The backbone into values [table->elements], a block of that table in f32: the position grid
 * resampled to the table's, in the way of the table's backbone; a mask token that the file has
 * not stays as it is. With `heads` the heads too, which must be there.
 */
bool dn_warm_start_read(const struct warm_start *w, const struct params_table *table,
                        bool heads, float *values, struct dino_error *err);

#endif
