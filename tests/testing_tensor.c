/* The part of testing.h that needs the format room; linked only into tests that use it. */
#include "testing.h"

#include <stdlib.h>

float *testing_tensor(const struct tensors *file, const char *name, size_t *count)
{
    const struct dino_tensor *tensor = dn_tensors_find(file, name);
    if (!tensor)
        fail_msg("%s: no tensor %s", file->path, name);
    size_t n = (size_t)dn_tensor_elements(tensor);
    float *values = malloc(n * sizeof *values + 1);
    dn_tensor_read(tensor, 0, n, values);
    if (count)
        *count = n;
    return values;
}
