/* Names for output files: the stem of each picture's name, told apart where two are equal. */
#ifndef CLI_UNIQUE_NAMES_H
#define CLI_UNIQUE_NAMES_H

#include "dino.h"

struct unique_names {
    char **slots; /* open addressing; the names given so far */
    size_t room, count;
};

/* "a/cat.jpg" gives "cat.png", a second one "cat-2.png"; valid until the release. */
const char *dn_unique_name(struct unique_names *names, const char *picture,
                           struct dino_error *err);
void dn_unique_release(struct unique_names *names);

#endif
