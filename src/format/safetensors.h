/* Writing .safetensors: declare every tensor first, then stream the data in that order. */
#ifndef FORMAT_SAFETENSORS_H
#define FORMAT_SAFETENSORS_H

#include "base/file.h"
#include "base/str.h"

struct safetensors_writer {
    struct output out;
    struct str header;
    uint64_t offset;  /* of the next declared tensor, from the end of the header */
    uint64_t written; /* data bytes so far */
    bool noting;      /* the metadata object is still open */
    bool begun;       /* the header is written */
};

/* "F32", "BF16", ...; NULL for a dtype that has none. */
const char *dn_safetensors_dtype(enum dino_dtype dtype);

/* The metadata begin with format = pt, which transformers wants to see. */
bool dn_safetensors_create(struct safetensors_writer *w, const char *path,
                           struct dino_error *err);
/* Metadata strings (false if out of memory, or too late); before the first tensor is declared.
 */
bool dn_safetensors_note(struct safetensors_writer *w, const char *key, const char *value);
bool dn_safetensors_declare(struct safetensors_writer *w, const char *name,
                            enum dino_dtype dtype, const int64_t *shape, int dims,
                            struct dino_error *err);
/* Data bytes, in the order of declaration, in pieces of any size. */
bool dn_safetensors_write(struct safetensors_writer *w, const void *data, size_t size,
                          struct dino_error *err);
/* Fails if fewer or more bytes were written than declared. */
bool dn_safetensors_commit(struct safetensors_writer *w, struct dino_error *err);
void dn_safetensors_release(struct safetensors_writer *w);

#endif
