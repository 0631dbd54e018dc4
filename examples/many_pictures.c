/* A line of features a picture, decoded in other threads while the model runs.
 * usage: many_pictures MODEL PATHS... (files, folders, tar shards) */
#include <dino.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct dino_error err = {.message = "usage: many_pictures MODEL PATHS..."};
    struct dino_view view;
    struct dino_source *source = NULL;
    struct dino_feed *feed = NULL;
    struct dino_picture p;
    struct dino_model *model = argc > 2 ? dino_model_open(argv[1], NULL, &err) : NULL;
    struct dino_session *session = model ? dino_session_new(model, NULL, &err) : NULL;

    if (!session || !dino_view_named(&view, "classify", 0, model, &err) ||
        !(source = dino_source_open((const char *const *)argv + 2, argc - 2, NULL, &err)) ||
        !(feed = dino_feed_open(source, &view, NULL, &err))) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    while (dino_feed_next(feed, &p, 1) == 1) {
        struct dino_input input = {.pixels = p.image.pixels,
                                   .height = p.image.height,
                                   .width = p.image.width,
                                   .mean = view.mean,
                                   .std = view.std};
        if (!p.ok || !dino_run(session, &input, 1, NULL, &p.error)) {
            fprintf(stderr, "%s\n", p.error.message);
            continue;
        }
        printf("%s", p.name);
        for (int i = 0; i < dino_model_info(model)->dim; i++)
            printf(" %.6f", (double)dino_result(session, 0)->cls[i]);
        printf("\n");
    }
    dino_feed_close(feed);
    dino_source_close(source);
    dino_session_free(session);
    dino_model_free(model);
    return 0;
}
