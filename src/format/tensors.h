/*
 * What every reader of checkpoint files yields: a list of named tensors whose bytes stay
 * where they are on disk, mapped, plus the small texts that travel with them.
 */
#ifndef FORMAT_TENSORS_H
#define FORMAT_TENSORS_H

#include "base/file.h"

enum tensors_kind {
    TENSORS_SAFETENSORS,
    TENSORS_PTH_ZIP,
    TENSORS_PTH_STREAM, /* torch.save before 1.6 */
    TENSORS_NPY,
};

/* Growing list; names are heap strings owned by the list and distinct. */
struct tensors {
    enum tensors_kind kind;
    bool hugging_face;  /* came from a directory with config.json, or beside one */
    char *path;         /* as given by the caller */
    char *config;       /* text of config.json, or NULL */
    char *preprocessor; /* text of preprocessor_config.json, or NULL */
    struct dino_tensor *items;
    size_t count, room;
    struct mapping *maps; /* one a file or shard */
    size_t map_count, map_room;
    bool borrowed;   /* maps belong to somebody else: never unmapped, never dropped */
    uint32_t *slots; /* hashed index by name: item + 1, 0 where empty */
    size_t slot_count;
    struct tensors_note *notes; /* strings of a safetensors header's __metadata__ */
    size_t note_count, note_room;
};

struct tensors_note {
    char *key, *value;
};

/*
 * The one door: a file or a Hugging Face directory, recognised by content. A .npy yields one
 * tensor named "array". A torch.save of nested dicts yields names joined by dots
 * ("teacher.backbone.cls_token"); a bare tensor is named "tensor".
 */
bool dn_tensors_open(struct tensors *t, const char *path, struct dino_error *err);
/* One file's bytes, which stay the caller's and must outlive t; `name` is for messages. */
bool dn_tensors_open_bytes(struct tensors *t, struct span bytes, const char *name,
                           struct dino_error *err);
void dn_tensors_release(struct tensors *t);

/* A string that travels in a safetensors header; NULL if absent. */
const char *dn_tensors_note(const struct tensors *t, const char *key);
bool dn_tensors_add_note(struct tensors *t, const char *key, const char *value,
                         struct dino_error *err);

/* Append a tensor; name is copied, and refused if it is there already. The tensor's bytes must
 * lie inside one of t->maps. */
bool dn_tensors_add(struct tensors *t, const struct dino_tensor *tensor,
                    struct dino_error *err);

/* By exact name; NULL if absent. */
const struct dino_tensor *dn_tensors_find(const struct tensors *t, const char *name);

int64_t dn_tensor_elements(const struct dino_tensor *tensor);
/* Elements of a shape; false if a size is negative or the bytes do not fit in an int64_t. */
bool dn_shape_elements(const int64_t *shape, int dims, enum dino_dtype dtype,
                       int64_t *elements);
/* Row-major strides of tensor->shape. */
void dn_tensor_pack_strides(struct dino_tensor *tensor);
bool dn_tensor_contiguous(const struct dino_tensor *tensor);
/* "[1000, 768]" */
void dn_tensor_shape_text(const struct dino_tensor *tensor, char text[128]);

/* Elements of the row-major order [first, first + count) as f32, honouring strides.
 * Returns how many are NaN or infinite. */
size_t dn_tensor_read(const struct dino_tensor *tensor, size_t first, size_t count, float *out);

/* The pages of this tensor are not needed any more. */
void dn_tensor_drop(const struct tensors *t, const struct dino_tensor *tensor);

/* Readers for the containers; each gets the index of a mapping in t->maps and adds to t. */
bool dn_safetensors_read(struct tensors *t, size_t map, const char *name,
                         struct dino_error *err);
bool dn_pth_read(struct tensors *t, size_t map, const char *name, struct dino_error *err);
bool dn_npy_read(struct tensors *t, size_t map, const char *name, struct dino_error *err);

/* Magic numbers of the two forms that dn_pth_read reads. */
bool dn_pth_is_zip(struct span file);
bool dn_pth_is_stream(struct span file);

#endif
