/* The members of a zip file in memory, where they lie. Stored members only: tensors are
 * mapped, not unpacked. */
#ifndef FORMAT_ZIP_DIRECTORY_H
#define FORMAT_ZIP_DIRECTORY_H

#include "base/span.h"

struct zip_member {
    char *name;
    uint64_t header; /* offset of its local header, which lies before the data */
    struct span data;
    uint32_t crc; /* by the directory; not checked */
};

struct zip_directory {
    struct zip_member *members; /* sorted by name */
    size_t count;
};

/* Refuses members that are compressed, encrypted, twice there, overlapping, or outside the
 * file. On failure nothing is left to release. */
bool dn_zip_read(struct zip_directory *zip, struct span file, struct dino_error *err);
void dn_zip_release(struct zip_directory *zip);

const struct zip_member *dn_zip_find(const struct zip_directory *zip, const char *name);

#endif
