/*
 * Any bytes as the settings of a training run: the first byte chooses a file or one
 * key=value. What is accepted must come back unchanged from its own text.
 */
#include <stdlib.h>
#include <string.h>

#include "train/train_config.h"

static void come_back(const struct train_config *config)
{
    struct train_config back;
    struct vit_config vit;
    struct str yaml = {0};

    dn_train_config_text(config, &yaml);
    dn_train_config_defaults(&back);
    if (!dn_train_config_parse(&back, (struct span){(uint8_t *)yaml.text, yaml.size}, "back",
                               NULL))
        abort();
    /* Strings are compared by text: bytes behind their end may differ. */
    struct str again = {0};
    dn_train_config_text(&back, &again);
    if (yaml.size != again.size || memcmp(yaml.text, again.text, yaml.size) != 0)
        abort();
    if (dn_train_config_check(config, NULL) && !dn_train_config_vit(config, &vit, NULL))
        abort();
    dn_str_release(&yaml);
    dn_str_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct train_config config;
    bool ok;

    if (size == 0)
        return 0;
    dn_train_config_defaults(&config);
    if (data[0] % 2 == 0) {
        char *text = calloc(size, 1);
        memcpy(text, data + 1, size - 1);
        ok = dn_train_config_override(&config, text, NULL);
        free(text);
    } else {
        ok = dn_train_config_parse(&config, (struct span){data + 1, size - 1}, "file", NULL);
    }
    if (ok)
        come_back(&config);
    return 0;
}
