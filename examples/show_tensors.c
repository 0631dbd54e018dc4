/* What lies in a checkpoint: every tensor with its type and shape.  usage: show_tensors FILE */
#include <dino.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct dino_error err = {0};
    struct dino_file *file = argc == 2 ? dino_file_open(argv[1], &err) : NULL;

    if (!file) {
        fprintf(stderr, "%s\n", argc == 2 ? err.message : "usage: show_tensors FILE");
        return 1;
    }
    for (int i = 0; i < dino_file_count(file); i++) {
        const struct dino_tensor *tensor = dino_file_tensor(file, i);
        printf("%s %s", tensor->name, dino_dtype_name(tensor->dtype));
        for (int d = 0; d < tensor->dims; d++)
            printf(" %lld", (long long)tensor->shape[d]);
        printf("\n");
    }
    dino_file_close(file);
    return 0;
}
