/* Names and sizes of the number types (declared in dino.h). */
#include <string.h>

#include "dino.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[DINO_DTYPE_COUNT] = {
    [DINO_F32] = {"f32", 4},   [DINO_F64] = {"f64", 8},   [DINO_F16] = {"f16", 2},
    [DINO_BF16] = {"bf16", 2}, [DINO_I8] = {"int8", 1},   [DINO_U8] = {"uint8", 1},
    [DINO_I16] = {"int16", 2}, [DINO_I32] = {"int32", 4}, [DINO_I64] = {"int64", 8},
    [DINO_BOOL] = {"bool", 1},
};

const char *dino_dtype_name(enum dino_dtype dtype)
{
    if (dtype == DINO_AUTO)
        return "auto";
    if (dtype == DINO_TF32)
        return "tf32";
    return (unsigned)dtype < DINO_DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

bool dino_dtype_parse(const char *text, enum dino_dtype *dtype)
{
    if (strcmp(text, "auto") == 0) {
        *dtype = DINO_AUTO;
        return true;
    }
    for (int i = 0; i < DINO_DTYPE_COUNT; i++)
        if (strcmp(text, dtypes[i].name) == 0) {
            *dtype = (enum dino_dtype)i;
            return true;
        }
    return false;
}

size_t dino_dtype_size(enum dino_dtype dtype)
{
    return (unsigned)dtype < DINO_DTYPE_COUNT ? dtypes[dtype].size : 0;
}
