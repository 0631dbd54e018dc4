/* The feature of one picture, a number a line.  usage: one_feature MODEL PICTURE */
#include <dino.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct dino_error err = {.message = "usage: one_feature MODEL PICTURE"};
    struct dino_view view;
    struct dino_image photo = {0}, seen = {0};
    struct dino_model *model = argc == 3 ? dino_model_open(argv[1], NULL, &err) : NULL;
    struct dino_session *session = model ? dino_session_new(model, NULL, &err) : NULL;

    bool ok = session && dino_view_named(&view, "classify", 0, model, &err) &&
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
    for (int i = 0; i < dino_model_info(model)->dim; i++)
        printf("%.6f\n", (double)dino_result(session, 0)->cls[i]);
    dino_image_release(&seen);
    dino_image_release(&photo);
    dino_session_free(session);
    dino_model_free(model);
    return 0;
}
