/* Any text as each of the JSON files of a Hugging Face directory. */
#include <stdlib.h>
#include <string.h>

#include "format/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dino_error err = {0};
    struct hf_config config;
    struct hf_preprocessor preprocessor;
    char **files, *text = malloc(size + 1);
    size_t count;

    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    if (dn_hf_config_parse(&config, text, "input", &err))
        dn_hf_config_release(&config);
    else if (!err.message[0])
        abort(); /* failed without a word */
    dn_hf_preprocessor_parse(&preprocessor, text, "input", &err);
    if (dn_hf_index_parse(text, "input", &files, &count, &err)) {
        for (size_t i = 0; i < count; i++)
            free(files[i]);
        free(files);
    }
    free(text);
    return 0;
}
