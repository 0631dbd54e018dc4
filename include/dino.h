/*
 * dino.h - DINOv2 in C: open a checkpoint, look at pictures, use the features.
 *
 *     struct dino_error err = {0};
 *     struct dino_model *model = dino_model_open("dinov2_vits14_pretrain.pth", NULL, &err);
 *     struct dino_session *session = dino_session_new(model, NULL, &err);
 *     struct dino_view view;
 *     struct dino_image photo = {0}, seen = {0};
 *
 *     dino_view_named(&view, "classify", 0, model, &err);
 *     dino_image_read(&photo, "cat.jpg", NULL, &err);
 *     dino_view_apply(&view, &photo, &seen, &err);
 *     dino_run(session, &(struct dino_input){.pixels = seen.pixels, .height = seen.height,
 *              .width = seen.width}, 1, NULL, &err);
 *     const float *feature = dino_result(session, 0)->cls;      // [dim]
 *
 * Rules that hold everywhere
 * - Functions that can fail take a caller's `struct dino_error *` last (NULL is allowed)
 *   and return false or NULL; they fill it once and leave their outputs untouched or empty.
 *   Whoever calls several of them begins with an empty one, `struct dino_error err = {0}`.
 * - Pointers may be NULL only where that is said: options, outputs that are not wanted, and
 *   what is freed.
 * - Nothing is printed, nothing exits, nothing is global. A model is immutable and may be
 *   shared by any number of threads; a session, feed or file belongs to one thread at a time.
 * - `_open`/`_new` objects are released with the matching `_close`/`_free`, which take NULL.
 * - Zero in an options struct means the default; set `size` to sizeof the struct, so that it
 *   can grow. Passing NULL for options means all defaults.
 * - Arrays are row-major; shapes stand in brackets: patches [rows * columns, dim].
 *
 * Names, shapes and values follow the official code (facebookresearch/dinov2).
 */
#ifndef DINO_H
#define DINO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DINO_API __attribute__((visibility("default")))
#else
#define DINO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define DINO_VERSION_MAJOR 0
#define DINO_VERSION_MINOR 1
#define DINO_VERSION_PATCH 0

/* "0.1.0", of the library that is loaded; static. */
DINO_API const char *dino_version(void);

/* ---------------------------------------------------------------- errors */

enum dino_code {
    DINO_OK = 0,
    DINO_EARG,         /* the caller asked for something impossible */
    DINO_EIO,          /* the operating system refused: missing, denied, no space */
    DINO_EFORMAT,      /* a file is not what it claims to be */
    DINO_EUNSUPPORTED, /* understood, but not done by this build or device */
    DINO_ENOMEM,       /* out of memory */
    DINO_EDEVICE,      /* a device is missing or failed */
    DINO_ECANCELLED,   /* the caller's callback asked to stop */
};

/* One line without newline: which file, what was found, what was wanted. */
struct dino_error {
    enum dino_code code;
    char message[500];
};

/* ---------------------------------------------------------------- number types */

enum dino_dtype {
    DINO_F32 = 0, /* the default everywhere */
    DINO_F64,
    DINO_F16,
    DINO_BF16,
    DINO_I8,
    DINO_U8,
    DINO_I16,
    DINO_I32,
    DINO_I64,
    DINO_BOOL,
    DINO_DTYPE_COUNT,
    DINO_AUTO = 100, /* choose by processor */
    DINO_TF32 = 101, /* of arithmetic alone: f32, products by tensor cores (cuda) */
};

DINO_API const char *dino_dtype_name(enum dino_dtype dtype); /* "f32", "bf16", ... */
DINO_API bool dino_dtype_parse(const char *text, enum dino_dtype *dtype);
DINO_API size_t dino_dtype_size(enum dino_dtype dtype); /* bytes; 0 if none */

/* ---------------------------------------------------------------- files of tensors */

/*
 * A checkpoint as it lies on disk: official .pth (zip or the old stream form), .safetensors,
 * a Hugging Face directory with one file or shards. Recognised by content, never by name.
 * Mapped, not read; tensor bytes are valid until dino_file_close.
 */
struct dino_file;

#define DINO_MAX_DIMS 8

struct dino_tensor {
    const char *name;
    enum dino_dtype dtype;
    int dims;
    int64_t shape[DINO_MAX_DIMS];
    int64_t stride[DINO_MAX_DIMS]; /* in elements; row-major unless the file says otherwise */
    const void *data;              /* first element, may be unaligned */
    size_t bytes;                  /* mapped bytes from data on that the tensor spans */
};

DINO_API struct dino_file *dino_file_open(const char *path, struct dino_error *err);
DINO_API void dino_file_close(struct dino_file *file);
DINO_API const char *dino_file_kind(const struct dino_file *file); /* "safetensors", ... */
DINO_API int dino_file_count(const struct dino_file *file);
DINO_API const struct dino_tensor *dino_file_tensor(const struct dino_file *file, int index);

/* ---------------------------------------------------------------- models */

struct dino_model;

enum dino_ffn { DINO_FFN_MLP = 0, DINO_FFN_SWIGLU, DINO_FFN_IDENTITY };

/* How the stored position grid is resampled to the picture's grid (model card, section 4). */
enum dino_positions {
    DINO_POSITIONS_AUTO = 0,  /* as the file's kind says */
    DINO_POSITIONS_OFFSET,    /* official without registers: scale (g + 0.1)/M, a = -0.75 */
    DINO_POSITIONS_ANTIALIAS, /* registers: by size, antialiased, a = -0.5 */
    DINO_POSITIONS_SIZE,      /* Hugging Face without registers: by size, a = -0.75 */
};

struct dino_model_info {
    const char *source; /* the path it was opened from, or "formula" */
    const char *kind;   /* "official pth", "hugging face", "timm", "formula", ... */
    const char *arch;   /* "vits14", "vitb14_reg", ... or "custom" */
    int dim, depth, heads, hidden, patch, channels, registers;
    int grid_rows, grid_cols; /* stored position grid */
    enum dino_ffn ffn;
    enum dino_positions positions;
    float norm_eps;
    bool layer_scale, mask_token;
    int64_t parameters;     /* of the backbone */
    enum dino_dtype stored; /* of most weights on disk */
    enum dino_dtype dtype;  /* of the arithmetic; as stored for a file that is only inspected */
    const char *device;     /* "cpu", ... ; NULL for a file that is only inspected */
    int threads;            /* on that device; 0 for a file that is only inspected */
    int head_layers;        /* 0: no head; 1 or 4 class tokens + patch mean */
    int classes;            /* outputs of the head */
    bool labelled;          /* the head's classes have names */
    size_t packed_bytes;    /* memory that the weights take once packed */
    int64_t bad_values;     /* NaN or infinite weights met while packing */
};

struct dino_model_options {
    size_t size;
    const char *device;            /* NULL = "auto"; "cpu", "ref", "cuda", "cuda:1" */
    enum dino_dtype dtype;         /* arithmetic: DINO_F32, DINO_BF16, DINO_I8; DINO_AUTO: int8
                                      for an int8 file, else bf16 where the processor has it */
    int threads;                   /* 0 = all cores this process may use */
    const char *head;              /* official linear head file, or NULL */
    const char *labels;            /* text file, one class name a line, or NULL */
    enum dino_positions positions; /* DINO_POSITIONS_AUTO = as the file says */
    int heads;                     /* 0 = config.json's, else width / 64 */
    const char *arch;              /* dino_model_formula only */
    uint64_t seed;                 /* dino_model_formula only */
};

/*
 * Open a backbone (and its head, if the file or options->head has one). `path` is a file or
 * a Hugging Face directory. Weights are packed once for the device; the mapping is let go.
 */
DINO_API struct dino_model *dino_model_open(const char *path,
                                            const struct dino_model_options *options,
                                            struct dino_error *err);

/* An official architecture ("vits14", "vitb14_reg", "vitg14", ...) with formula weights. */
DINO_API struct dino_model *dino_model_formula(const char *arch,
                                               const struct dino_model_options *options,
                                               struct dino_error *err);
DINO_API void dino_model_free(struct dino_model *model);

/*
 * The model that ships with dino: a small backbone of its own training
 * (models/dino-tiny/README.md). Writes the path of its folder into `path`, `size` bytes, for
 * dino_model_open: beside the program or library that asks, in its installation or its build
 * tree, wherever they were moved to, else where `make install` put it. DINO_EIO where there is
 * none, or its path does not fit (PATH_MAX bytes always do).
 */
#define DINO_SHIPPED_MODEL "dino-tiny"
DINO_API bool dino_shipped_model(char *path, size_t size, struct dino_error *err);
DINO_API const struct dino_model_info *dino_model_info(const struct dino_model *model);

/* Name of class `index`, or NULL without labels. Owned by the model. */
DINO_API const char *dino_model_label(const struct dino_model *model, int index);

/* The architecture of a file, without packing anything. Strings are owned by the file. */
DINO_API bool dino_file_info(struct dino_file *file, struct dino_model_info *info,
                             struct dino_error *err);

/* Name of class `index` after dino_file_info, or NULL. Owned by the file. */
DINO_API const char *dino_file_label(const struct dino_file *file, int index);

/* ---------------------------------------------------------------- pictures */

/* 8-bit RGB, pixels [height, width, 3], heap-owned by the image. */
struct dino_image {
    int width, height;
    uint8_t *pixels;
};

struct dino_decode_options {
    size_t size;
    bool exif;  /* turn as the EXIF orientation says; Pillow and the official code do not */
    bool white; /* composite transparency onto white; default: drop alpha, as Pillow does */
    bool
        gray16_high; /* 16-bit gray: keep the high byte; default: clip at 255, as Pillow does */
    int64_t max_pixels; /* 0 = 500 million; larger pictures are refused before decoding */
};

/* JPEG, PNG or WebP by content. An image that is filled is overwritten, not released: begin
 * with {0}, and dino_image_release what was read. */
DINO_API bool dino_image_read(struct dino_image *image, const char *path,
                              const struct dino_decode_options *options,
                              struct dino_error *err);
/* The same of a file that lies in memory, which may be let go afterwards. `name` is used in
 * messages only; NULL: "picture". */
DINO_API bool dino_image_decode(struct dino_image *image, const void *bytes, size_t size,
                                const char *name, const struct dino_decode_options *options,
                                struct dino_error *err);
/* PNG; written beside and renamed. */
DINO_API bool dino_image_write(const struct dino_image *image, const char *path,
                               struct dino_error *err);
DINO_API bool dino_image_alloc(struct dino_image *image, int width, int height,
                               struct dino_error *err);
DINO_API void dino_image_release(struct dino_image *image);

/*
 * A view: how a picture becomes a network's input. Resize the short side (0: keep), then cut
 * or pad to `crop` (0: keep) or to whole patches, then (v/255 - mean)/std.
 */
enum dino_rounding { DINO_ROUND_HALF_EVEN = 0, DINO_ROUND_FLOOR };
enum dino_filter { DINO_BICUBIC = 0, DINO_BILINEAR };
enum dino_fit { DINO_FIT_CROP = 0, DINO_FIT_PAD };

struct dino_view {
    char name[16];
    int resize;                      /* short side in pixels; 0: no resize */
    int resize_width, resize_height; /* both > 0: exactly this size instead */
    int crop_width, crop_height;     /* 0: no centre crop */
    enum dino_filter filter;
    enum dino_rounding rounding; /* of the crop's offset: torchvision or Hugging Face */
    enum dino_fit fit;           /* how a size that is no multiple of patch is mended */
    int patch;                   /* 0: leave the size alone */
    float mean[3], std[3];
};

/*
 * "classify" (256 -> centre 224), "pca" (560 -> centre 560), "hf" (from the model's
 * preprocessor_config.json), "native" (no resize; cut to whole patches). `size` > 0 replaces
 * the crop (and scales the resize with it, 256/224 for classify; for native: resize the
 * short side to it). `model` gives patch, mean and std; NULL: 14 and ImageNet's.
 */
DINO_API bool dino_view_named(struct dino_view *view, const char *name, int size,
                              const struct dino_model *model, struct dino_error *err);
/* Size and cut: `to` is a new image of its own, to be released, even where nothing changes. Its
 * pixels are not normalised yet: give dino_run view->mean and view->std with them. */
DINO_API bool dino_view_apply(const struct dino_view *view, const struct dino_image *from,
                              struct dino_image *to, struct dino_error *err);

/* ---------------------------------------------------------------- sessions */

struct dino_session; /* scratch memory for running a model; one thread at a time */

/* Shall it go on? Called on the thread that called dino_run or dino_run_begin, before every
 * operation of a pass and many times a second within long ones: it must be quick and may not
 * use the session. */
typedef bool (*dino_keep_going_fn)(void *context);

struct dino_session_options {
    size_t size;
    int threads; /* 0 = the model's; never more than the model's */
    /* Once it returns false, dino_run and what is made of it (dino_embed, ...) fail with
     * DINO_ECANCELLED, within a second on the device "cpu". The session stays usable. NULL:
     * passes run to their end. */
    dino_keep_going_fn keep_going;
    void *context; /* of keep_going */
};

DINO_API struct dino_session *dino_session_new(const struct dino_model *model,
                                               const struct dino_session_options *options,
                                               struct dino_error *err);
DINO_API void dino_session_free(struct dino_session *session);
DINO_API const struct dino_model *dino_session_model(const struct dino_session *session);

/* One picture. Give `pixels` or `planes`. Sizes must be multiples of the patch; models of the
 * Hugging Face kind drop the remainder instead, as they do. */
struct dino_input {
    const uint8_t *pixels; /* [height, width, 3]; normalised inside with mean and std below */
    const float *planes;   /* [channels, height, width], already normalised */
    int height, width;
    const uint8_t *mask; /* [rows * cols], nonzero = replaced by the mask token; or NULL */
    const float *mean;   /* [3] for pixels; NULL = ImageNet's */
    const float *std;
};

struct dino_request {
    size_t size;
    const int *layers; /* 0-based block indices, ascending; NULL: the last one */
    int layer_count;
    bool raw;             /* do not apply the final LayerNorm (norm=False) */
    bool prenorm;         /* x_prenorm of the last block as well */
    bool logits;          /* the head's logits; wants a model with one (info->classes > 0) */
    const int *attention; /* blocks whose attention probabilities are wanted; or NULL */
    int attention_count;
    bool embeddings; /* the tokens that enter block 0 as well */
};

/* What one picture gave; owned by the session, valid until it begins another run. */
struct dino_features {
    int rows, cols;             /* patch grid */
    int dim, registers, tokens; /* tokens = 1 + registers + rows * cols */
    int layer_count;
    const int *layers;
    const float *cls;            /* [dim], last requested layer */
    const float *registers_data; /* [registers, dim] */
    const float *patches;        /* [rows * cols, dim] */
    const float *const *layer;   /* [layer_count] -> [tokens, dim]: class, registers, patches */
    const float *prenorm;        /* [tokens, dim] or NULL */
    const float *embeddings;     /* [tokens, dim] or NULL */
    const float *const *attention; /* [attention_count] -> [heads, tokens, tokens], or NULL */
    const float *logits;           /* [classes] or NULL */
};

/* Run `count` pictures of any sizes in one pass; NULL request: the last block's normed tokens.
 * Results stay in the session. */
DINO_API bool dino_run(struct dino_session *session, const struct dino_input *inputs, int count,
                       const struct dino_request *request, struct dino_error *err);

/*
 * dino_run in two halves, so that the caller reads and decodes the next pictures, and a device
 * that has memory of its own takes them, while the last ones are computed:
 *
 *     dino_run_begin(s, first, n, NULL, &err);
 *     while (there are more) {
 *         dino_run_begin(s, next, n, NULL, &err);
 *         dino_run_end(s, &err);          // the older of the two: its results until the next
 * begin
 *     }
 *     dino_run_end(s, &err);
 *
 * _begin copies what it needs: inputs and request are the caller's again when it returns. At
 * most two runs may be under way, and dino_run wants none. A run that fails to begin is none,
 * and leaves the one under way as it was. _end waits for the run that was begun first and shows
 * its results, or says why it has none; either way it is over. Bits are those of dino_run.
 * Where a session does not overlap, _begin computes, and two runs under way cost memory for
 * nothing.
 */
DINO_API bool dino_run_begin(struct dino_session *session, const struct dino_input *inputs,
                             int count, const struct dino_request *request,
                             struct dino_error *err);
DINO_API bool dino_run_end(struct dino_session *session, struct dino_error *err);
/* Does the device go on by itself after dino_run_begin? Those with memory of their own do. */
DINO_API bool dino_session_overlaps(const struct dino_session *session);

/* What input `index` of the last run that ended gave; NULL if there is none such. */
DINO_API const struct dino_features *dino_result(const struct dino_session *session, int index);

/* The patch tokens of requested layer `nth` as a map [dim, rows, cols] (reshape=True) into out;
 * false if there is no such layer. */
DINO_API bool dino_feature_map(const struct dino_features *features, int nth, float *out);

/* Bytes of scratch that a run of these sizes would hold (an estimate from the plan). */
DINO_API size_t dino_session_bytes(const struct dino_session *session);

/* The k largest logits, descending, ties by lower index, with softmax probabilities.
 * Returns how many were written (at most classes). `probability` may be NULL. */
DINO_API int dino_top(const float *logits, int classes, int k, int *index, float *probability);

/* ---------------------------------------------------------------- many pictures */

/*
 * An ordered list of pictures: files, folders (recursive, sorted by byte value), `@list.txt`,
 * "-" (a list on standard input), tar shards (WebDataset). Names are unique per row.
 */
struct dino_source;

struct dino_source_options {
    size_t size;
    bool flat; /* do not enter sub-folders */
};

DINO_API struct dino_source *dino_source_open(const char *const *paths, int count,
                                              const struct dino_source_options *options,
                                              struct dino_error *err);
DINO_API void dino_source_close(struct dino_source *source);
DINO_API int64_t dino_source_count(const struct dino_source *source);
/* "photos/cat.jpg", or "shard-000.tar:key.jpg" for a member of a shard. */
DINO_API const char *dino_source_name(const struct dino_source *source, int64_t index);

/*
 * A feed reads, decodes and views the pictures of a source in threads of its own, ahead of
 * the caller, and hands them out in order.
 */
struct dino_feed;

struct dino_feed_options {
    size_t size;
    int threads;   /* decoding threads; 0 = one per core */
    int ahead;     /* pictures decoded ahead; 0 = sensible */
    int64_t first; /* index to begin at */
    struct dino_decode_options decode;
    bool keep_original; /* also hand out the picture before the view */
};

struct dino_picture {
    int64_t index; /* in the source */
    const char *name;
    bool ok; /* false: unreadable, see error */
    struct dino_error error;
    struct dino_image image;    /* after the view; owned by the feed until the next call */
    struct dino_image original; /* with keep_original */
};

DINO_API struct dino_feed *dino_feed_open(const struct dino_source *source,
                                          const struct dino_view *view,
                                          const struct dino_feed_options *options,
                                          struct dino_error *err);
/* Up to `count` pictures into `pictures`; returns how many, 0 at the end. They stay valid
 * until the next call. */
DINO_API int dino_feed_next(struct dino_feed *feed, struct dino_picture *pictures, int count);
DINO_API void dino_feed_close(struct dino_feed *feed);

/* ---------------------------------------------------------------- embed */

/* Called between batches; return false to stop (the work so far is kept for resuming). */
struct dino_progress {
    const char *stage;
    int64_t done, total, skipped;
    double seconds;
};
typedef bool (*dino_progress_fn)(void *context, const struct dino_progress *progress);
/* Called for every picture that was skipped. */
typedef void (*dino_skip_fn)(void *context, const char *name, const struct dino_error *why);

enum dino_tokens {
    DINO_TOKENS_CLS = 1,
    DINO_TOKENS_MEAN = 2,
    DINO_TOKENS_PATCHES = 4,
    DINO_TOKENS_REGISTERS = 8,
};

struct dino_embed_options {
    size_t size;
    const char *output; /* .npy, .safetensors or .jsonl by extension */
    unsigned tokens;    /* enum dino_tokens, or-ed; 0 = cls */
    const int *layers;  /* NULL: the last */
    int layer_count;
    bool raw;              /* without the final LayerNorm */
    bool l2;               /* scale each vector to length 1 */
    enum dino_dtype dtype; /* of the file: DINO_F32 or DINO_F16 */
    int batch;             /* 0 = sensible for the model and machine */
    bool strict;           /* stop at the first unreadable picture */
    bool fresh;            /* ignore what an interrupted run left */
    struct dino_view view;
    struct dino_feed_options feed;
    dino_progress_fn progress;
    dino_skip_fn skipped;
    void *context;
};

struct dino_embed_result {
    int64_t rows, skipped, resumed;
    double seconds;
};

/*
 * Features of every picture of `source` into one file, a row a picture, in order, with a
 * sidecar `output.json` that records model, view and the path of each row. An interrupted
 * run leaves `output.part*`; the same call goes on from there and never repeats or loses a row.
 */
DINO_API bool dino_embed(struct dino_session *session, const struct dino_source *source,
                         const struct dino_embed_options *options,
                         struct dino_embed_result *result, struct dino_error *err);

/* ---------------------------------------------------------------- PCA pictures */

/*
 * The two-pass picture: one component over all rows splits foreground from background, three
 * components of the foreground become red, green and blue.
 */
struct dino_pca;

struct dino_pca_options {
    size_t size;
    bool plain;      /* single pass: no foreground, three components of all rows */
    float threshold; /* on the min-max-scaled first component; 0 = 0.5 */
    int side;        /* foreground: +1 above, -1 not above, 0 = chosen automatically */
    bool notebook;   /* the public notebook's form: background rows (side 0: those above)
                        zeroed, fit on all */
};

/* rows_at_border [rows] (nonzero: on its picture's rim) steers the automatic choice of side:
 * the background is the side that holds most of the rim; NULL: the side with more rows. A
 * side of fewer than 4 rows is never chosen as the foreground. Rows must be finite. */
DINO_API struct dino_pca *dino_pca_fit(const float *rows, size_t count, int dim,
                                       const uint8_t *rows_at_border,
                                       const struct dino_pca_options *options,
                                       struct dino_error *err);
/* rgb [count, 3] in 0..1 (clamped for rows unseen by fit), background 0;
 * foreground [count] 0/1; score [count] scaled first component. Outputs may be NULL. */
DINO_API void dino_pca_apply(const struct dino_pca *pca, const float *rows, size_t count,
                             float *rgb, uint8_t *foreground, float *score);
DINO_API int dino_pca_dim(const struct dino_pca *pca);
DINO_API int dino_pca_side(const struct dino_pca *pca);
DINO_API bool dino_pca_save(const struct dino_pca *pca, const char *path,
                            struct dino_error *err);
DINO_API struct dino_pca *dino_pca_load(const char *path, struct dino_error *err);
DINO_API void dino_pca_free(struct dino_pca *pca);

/* ---------------------------------------------------------------- convert */

enum dino_layout { DINO_LAYOUT_AUTO = 0, DINO_LAYOUT_OFFICIAL, DINO_LAYOUT_HF };

struct dino_convert_options {
    size_t size;
    enum dino_layout layout; /* AUTO: .pth -> official, directory or .safetensors -> HF */
    enum dino_dtype dtype;   /* DINO_F32, DINO_F16, DINO_BF16, DINO_I8 (of matrices, in
                                .safetensors only); DINO_AUTO: as stored */
    const char *head;        /* official linear head to write along */
    const char *labels;      /* text file, one class name a line */
    int heads;               /* attention heads; 0 = config.json's, else width / 64 */
    int picture_size;        /* pixels a side that the folder's preprocessor_config.json crops
                                (after a resize to 8/7 of them); 0: the input's, else 224 */
    dino_progress_fn progress;
    void *context;
};

struct dino_convert_result {
    int64_t tensors;    /* written */
    int64_t bad_values; /* NaN or infinite weights among them; they are written as they are */
};

/*
 * Read a checkpoint of any layout, write another. A name without .pth, .pt, .bin or
 * .safetensors is a directory, which must be new or empty: model.safetensors, config.json,
 * preprocessor_config.json. NULL options: layout by name, dtype as stored. A head becomes the
 * classifier of the Hugging Face layout; the official layout gets it beside, "x.pth" and
 * "x_pretrain.pth" as "x_linear_head.pth", its class names as "x_labels.txt". What a layout
 * demands and the source lacks is neutral: a mask token or bias of zeros, a layer scale of 1.
 * `result` may be NULL.
 */
DINO_API bool dino_convert(const char *from, const char *to,
                           const struct dino_convert_options *options,
                           struct dino_convert_result *result, struct dino_error *err);

/* ---------------------------------------------------------------- the machine */

/* One line of facts a call, key and value, until it returns false: processor, ISA, caps,
 * libraries and versions, devices, and the kernel chosen for each op ("cpu f32 linear"; a
 * dtype that a device refuses has one line, "cpu f32"). For `dino doctor`. */
DINO_API bool dino_machine_fact(int index, char key[64], char value[256]);

/* Measured arithmetic peak of this machine in GFLOP/s for a dtype at a thread count; takes
 * about a third of a second. 0 where the processor has no such instructions. */
DINO_API double dino_machine_peak(enum dino_dtype dtype, int threads);

#ifdef __cplusplus
}
#endif

#endif
