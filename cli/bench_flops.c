#include "bench_flops.h"

double dn_picture_flops(const struct dino_model_info *info, int width, int height)
{
    double patches = (double)(width / info->patch) * (height / info->patch);
    double tokens = 1 + info->registers + patches, dim = info->dim, hidden = info->hidden;
    double embed = 2 * patches * dim * info->channels * info->patch * info->patch;
    double qkv = 2 * tokens * dim * 3 * dim;
    double attention = 2 * 2 * tokens * tokens * dim; /* q k', then p v */
    double projection = 2 * tokens * dim * dim;
    double matrices = info->ffn == DINO_FFN_SWIGLU ? 3 : info->ffn == DINO_FFN_MLP ? 2 : 0;
    double ffn = 2 * tokens * dim * hidden * matrices;

    return embed + info->depth * (qkv + attention + projection + ffn);
}
