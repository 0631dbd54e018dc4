/* What is in the picture: its three likeliest classes.  usage: top_labels MODEL PICTURE */
#include <dino.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct dino_error err = {.message = "usage: top_labels MODEL PICTURE"};
    struct dino_view view;
    struct dino_image photo = {0}, seen = {0};
    struct dino_request request = {.size = sizeof request, .logits = true};
    struct dino_model *model = argc == 3 ? dino_model_open(argv[1], NULL, &err) : NULL;
    struct dino_session *session = model ? dino_session_new(model, NULL, &err) : NULL;
    int index[3];
    float probability[3];

    bool ok = session && dino_view_named(&view, "hf", 0, model, &err) &&
              dino_image_read(&photo, argv[2], NULL, &err) &&
              dino_view_apply(&view, &photo, &seen, &err);
    struct dino_input input = {.pixels = seen.pixels,
                               .height = seen.height,
                               .width = seen.width,
                               .mean = view.mean,
                               .std = view.std};
    if (!ok || !dino_run(session, &input, 1, &request, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const float *logits = dino_result(session, 0)->logits;
    int count = dino_top(logits, dino_model_info(model)->classes, 3, index, probability);
    for (int i = 0; i < count; i++)
        printf("%.4f %s\n", (double)probability[i], dino_model_label(model, index[i]));
    dino_image_release(&seen);
    dino_image_release(&photo);
    dino_session_free(session);
    dino_model_free(model);
    return 0;
}
