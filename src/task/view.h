/* How a picture becomes a network's input: resize, cut, pad. Normalising is arithmetic. */
#ifndef TASK_VIEW_H
#define TASK_VIEW_H

#include "format/config.h"

/* The view that a Hugging Face preprocessor describes, in place of "hf"'s defaults. `size` > 0
 * replaces the crop and scales the resize with it. */
bool dn_view_from_preprocessor(struct dino_view *view, const struct hf_preprocessor *p,
                               int size, struct dino_error *err);

/* dino_view_apply for a picture that nobody needs afterwards: *from is empty on success. Its
 * pixels are handed on where the view changes nothing. */
bool dn_view_take(const struct dino_view *view, struct dino_image *from, struct dino_image *to,
                  struct dino_error *err);

#endif
