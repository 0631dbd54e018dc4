/* Three components of the patches as colours, a pixel a patch.
 * usage: pca_picture MODEL PICTURE OUT.png */
#include <dino.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct dino_error err = {.message = "usage: pca_picture MODEL PICTURE OUT.png"};
    struct dino_view view;
    struct dino_image photo = {0}, seen = {0}, map = {0};
    struct dino_pca_options plain = {.size = sizeof plain, .plain = true};
    struct dino_model *model = argc == 4 ? dino_model_open(argv[1], NULL, &err) : NULL;
    struct dino_session *session = model ? dino_session_new(model, NULL, &err) : NULL;

    bool ok = session && dino_view_named(&view, "pca", 0, model, &err) &&
              dino_image_read(&photo, argv[2], NULL, &err) &&
              dino_view_apply(&view, &photo, &seen, &err);
    struct dino_input input = {.pixels = seen.pixels,
                               .height = seen.height,
                               .width = seen.width,
                               .mean = view.mean,
                               .std = view.std};
    if (!ok || !dino_run(session, &input, 1, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const struct dino_features *f = dino_result(session, 0);
    size_t count = (size_t)(f->rows * f->cols);
    float *rgb = malloc(count * 3 * sizeof *rgb);
    struct dino_pca *pca = dino_pca_fit(f->patches, count, f->dim, NULL, &plain, &err);
    ok = rgb && pca && dino_image_alloc(&map, f->cols, f->rows, &err);

    if (ok)
        dino_pca_apply(pca, f->patches, count, rgb, NULL, NULL);
    for (size_t i = 0; ok && i < 3 * count; i++)
        map.pixels[i] = (uint8_t)(rgb[i] * 255 + 0.5F);
    ok = ok && dino_image_write(&map, argv[3], &err);
    if (!ok)
        fprintf(stderr, "%s\n", err.message);
    free(rgb);
    dino_pca_free(pca);
    dino_image_release(&map);
    dino_image_release(&seen);
    dino_image_release(&photo);
    dino_session_free(session);
    dino_model_free(model);
    return ok ? 0 : 1;
}
