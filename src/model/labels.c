/* Class names from a text file. */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/model.h"

/* "n01440764,tench" gives "tench"; anything else is the name itself. */
static const char *name_of(const char *line)
{
    bool synset = line[0] == 'n' && strspn(line + 1, "0123456789") == 8 && line[9] == ',';
    return synset ? line + 10 : line;
}

static bool add_label(char ***labels, int *count, size_t *room, const char *line,
                      struct dino_error *err)
{
    if (!dn_grow(labels, room, (size_t)*count + 1, sizeof **labels, "labels", err))
        return false;
    (*labels)[*count] = dn_strdup(name_of(line), err);
    return (*labels)[*count] && ++*count;
}

bool dn_labels_read(const char *path, char ***labels, int *count, struct dino_error *err)
{
    enum { MOST_BYTES = 64 << 20 };
    uint8_t *bytes;
    size_t size, room = 0;
    bool ok = true;

    *labels = NULL;
    *count = 0;
    if (!dn_read_all(path, MOST_BYTES, &bytes, &size, err))
        return false;
    char *text = dn_realloc(bytes, size + 1, 1, "labels", err);
    if (!text) {
        free(bytes);
        return false;
    }
    text[size] = 0;
    if (strlen(text) != size)
        ok = dn_fail(err, DINO_EFORMAT, "%s: is not text, wanted one class name a line", path);

    for (char *line = text, *next; ok && *line; line = next) {
        size_t length = strcspn(line, "\n");
        next = line + length + (line[length] == '\n');
        line[length] = 0;
        if (length && line[length - 1] == '\r')
            line[length - 1] = 0;
        if (*line || *next)
            ok = add_label(labels, count, &room, line, err);
    }
    if (ok && *count == 0)
        ok = dn_fail(err, DINO_EFORMAT, "%s: is empty, wanted one class name a line", path);
    free(text);
    if (ok)
        return true;
    for (int i = 0; i < *count; i++)
        free((*labels)[i]);
    free(*labels);
    *labels = NULL;
    *count = 0;
    return false;
}
