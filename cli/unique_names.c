#include "unique_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/str.h"

/* The slot that holds `name`, or the empty one where it belongs. */
static char **slot_of(char **slots, size_t room, const char *name)
{
    size_t at = (size_t)dn_fnv1a64(name) & (room - 1);

    while (slots[at] && strcmp(slots[at], name) != 0)
        at = (at + 1) & (room - 1);
    return &slots[at];
}

static bool make_room(struct unique_names *names, struct dino_error *err)
{
    if (2 * names->count < names->room)
        return true;
    size_t room = names->room ? 2 * names->room : 64;
    char **slots = dn_calloc(room, sizeof *slots, "file names", err);
    if (!slots)
        return false;
    for (size_t i = 0; i < names->room; i++)
        if (names->slots[i])
            *slot_of(slots, room, names->slots[i]) = names->slots[i];
    free(names->slots);
    names->slots = slots;
    names->room = room;
    return true;
}

const char *dn_unique_name(struct unique_names *names, const char *picture,
                           struct dino_error *err)
{
    const char *base = dn_path_base(picture), *dot = strrchr(base, '.');
    int stem = dot && dot > base ? (int)(dot - base) : (int)strlen(base);
    struct str name = {0};

    if (!make_room(names, err))
        return NULL;
    for (int number = 1;; number++) {
        dn_str_clear(&name);
        if (number == 1)
            dn_str_addf(&name, "%.*s.png", stem, base);
        else
            dn_str_addf(&name, "%.*s-%d.png", stem, base, number);
        if (name.failed) {
            dn_fail_memory(err, strlen(base), "a file name");
            return NULL;
        }
        char **slot = slot_of(names->slots, names->room, name.text);
        if (!*slot) {
            *slot = name.text;
            names->count++;
            return name.text;
        }
    }
}

void dn_unique_release(struct unique_names *names)
{
    for (size_t i = 0; i < names->room; i++)
        free(names->slots[i]);
    free(names->slots);
    *names = (struct unique_names){0};
}
