/* The Python names a torch.save file may mention, and what calling them builds. */
#ifndef FORMAT_TORCH_OBJECTS_H
#define FORMAT_TORCH_OBJECTS_H

#include "format/pickle.h"

/* NULL and a message that names it if it is not one of the known. */
const struct torch_global *dn_torch_global(struct span module, struct span name,
                                           struct dino_error *err);

/* callable(*arguments) */
bool dn_torch_call(struct pickle *p, const struct pickle_value *callable,
                   const struct pickle_value *arguments, struct pickle_value *result,
                   struct dino_error *err);

/* ("storage", type, key, location, elements[, view]) */
bool dn_torch_storage(struct pickle *p, const struct pickle_value *id,
                      struct pickle_value *result, struct dino_error *err);

#endif
