/*
 * A PCA basis as a small .safetensors file, in double, so that other pictures get the same
 * colours tomorrow. The tensors alone are the truth; the metadata is for people.
 */
#include "task/pca.h"

#include <math.h>
#include <string.h>

#include "format/safetensors.h"
#include "format/tensors.h"

enum { VERSION = 1, SETTINGS = 4 }; /* version, form, side, threshold */

struct part {
    char name[32];
    int64_t shape[2];
    int dims;
    double *values;
};

enum { BASIS_PARTS = 6, PARTS = 1 + 2 * BASIS_PARTS };

static struct part make_part(const char *prefix, const char *name, double *values, int rows,
                             int cols)
{
    struct part part = {.dims = cols ? 2 : 1, .values = values};

    snprintf(part.name, sizeof part.name, "%s%s", prefix, name);
    part.shape[0] = rows;
    part.shape[1] = cols;
    return part;
}

/* The tensors of the file, pointing into pca: one list for writing and for reading. */
static void list_parts(struct dino_pca *pca, double settings[SETTINGS],
                       struct part parts[PARTS])
{
    struct pca_basis *bases[2] = {&pca->first, &pca->colour};
    static const char *const prefixes[2] = {"first.", "colour."};
    int n = 0;

    parts[n++] = make_part("", "settings", settings, SETTINGS, 0);
    for (int b = 0; b < 2; b++) {
        struct pca_basis *basis = bases[b];
        parts[n++] = make_part(prefixes[b], "mean", basis->mean, basis->dim, 0);
        parts[n++] =
            make_part(prefixes[b], "components", basis->components, basis->count, basis->dim);
        parts[n++] =
            make_part(prefixes[b], "explained_variance", basis->variance, basis->count, 0);
        parts[n++] =
            make_part(prefixes[b], "explained_variance_ratio", basis->ratio, basis->count, 0);
        parts[n++] = make_part(prefixes[b], "low", basis->low, basis->count, 0);
        parts[n++] = make_part(prefixes[b], "high", basis->high, basis->count, 0);
    }
}

static size_t part_bytes(const struct part *part)
{
    return (size_t)part->shape[0] * (size_t)(part->dims == 2 ? part->shape[1] : 1) *
           sizeof(double);
}

bool dino_pca_save(const struct dino_pca *pca, const char *path, struct dino_error *err)
{
    static const char *const forms[] = {"two-pass", "notebook", "plain"};
    double settings[SETTINGS] = {VERSION, pca->form, pca->side, pca->threshold};
    struct safetensors_writer writer;
    struct dino_pca view = *pca; /* the list wants writable pointers and writes nothing */
    struct part parts[PARTS];
    bool ok = false;

    list_parts(&view, settings, parts);
    if (!dn_safetensors_create(&writer, path, err))
        return false;
    if (!dn_safetensors_note(&writer, "kind", "dino pca basis") ||
        !dn_safetensors_note(&writer, "form", forms[pca->form]) ||
        !dn_safetensors_note(&writer, "foreground", pca->side > 0 ? "above" : "not above")) {
        dn_fail_memory(err, 0, path);
        goto done;
    }
    for (int i = 0; i < PARTS; i++)
        if (!dn_safetensors_declare(&writer, parts[i].name, DINO_F64, parts[i].shape,
                                    parts[i].dims, err))
            goto done;
    for (int i = 0; i < PARTS; i++)
        if (!dn_safetensors_write(&writer, parts[i].values, part_bytes(&parts[i]), err))
            goto done;
    ok = dn_safetensors_commit(&writer, err);
done:
    dn_safetensors_release(&writer);
    return ok;
}

/* Copy one tensor of the file into its place, if it is what it should be. */
static bool take_part(const struct tensors *file, const struct part *part,
                      struct dino_error *err)
{
    const struct dino_tensor *tensor = dn_tensors_find(file, part->name);
    char shape[128];

    if (!tensor)
        return dn_fail(err, DINO_EFORMAT, "%s: no tensor %s: not a PCA basis", file->path,
                       part->name);
    bool fits = tensor->dtype == DINO_F64 && tensor->dims == part->dims;
    for (int i = 0; fits && i < part->dims; i++)
        fits = tensor->shape[i] == part->shape[i];
    if (!fits || !dn_tensor_contiguous(tensor)) {
        dn_tensor_shape_text(tensor, shape);
        return dn_fail(err, DINO_EFORMAT, "%s: %s is %s %s, which fits no PCA basis",
                       file->path, part->name, dino_dtype_name(tensor->dtype), shape);
    }
    memcpy(part->values, tensor->data, part_bytes(part));
    for (size_t i = 0; i < part_bytes(part) / sizeof(double); i++)
        if (!isfinite(part->values[i]))
            return dn_fail(err, DINO_EFORMAT, "%s: %s holds a NaN or infinite value",
                           file->path, part->name);
    return true;
}

/* Components of unit length (or zero), ranges in order, variances not negative. */
static bool basis_holds(const struct pca_basis *basis)
{
    for (int k = 0; k < basis->count; k++) {
        const double *component = basis->components + (size_t)k * (size_t)basis->dim;
        double square = 0;
        for (int j = 0; j < basis->dim; j++)
            square += component[j] * component[j];
        if (!(square == 0 || fabs(square - 1) < 1e-6) || basis->low[k] > basis->high[k] ||
            basis->variance[k] < 0 || basis->ratio[k] < 0)
            return false;
    }
    return true;
}

static bool take_settings(struct dino_pca *pca, const double *settings, const char *path,
                          struct dino_error *err)
{
    if (settings[0] != VERSION)
        return dn_fail(err, DINO_EUNSUPPORTED, "%s: PCA basis version %g, wanted %d", path,
                       settings[0], (int)VERSION);
    if (!(settings[1] == PCA_TWO_PASS || settings[1] == PCA_NOTEBOOK ||
          settings[1] == PCA_PLAIN) ||
        !(settings[2] == 1 || settings[2] == -1) || !(settings[3] >= 0 && settings[3] < 1))
        return dn_fail(err, DINO_EFORMAT, "%s: settings form %g, side %g, threshold %g", path,
                       settings[1], settings[2], settings[3]);
    pca->form = (enum pca_form)settings[1];
    pca->side = (int)settings[2];
    pca->threshold = settings[3];
    return true;
}

static bool read_all(struct dino_pca *pca, const struct tensors *file, struct dino_error *err)
{
    const struct dino_tensor *mean = dn_tensors_find(file, "first.mean");
    double settings[SETTINGS];
    struct part parts[PARTS];

    if (!mean || mean->dims != 1 || mean->shape[0] < PCA_MOST || mean->shape[0] > PCA_MOST_DIM)
        return dn_fail(err, DINO_EFORMAT,
                       "%s: no tensor first.mean of %d to %d values: "
                       "not a PCA basis",
                       file->path, (int)PCA_MOST, (int)PCA_MOST_DIM);
    int dim = (int)mean->shape[0];
    if (!dn_pca_basis_alloc(&pca->first, dim, 1, err) ||
        !dn_pca_basis_alloc(&pca->colour, dim, PCA_MOST, err))
        return false;
    list_parts(pca, settings, parts);
    for (int i = 0; i < PARTS; i++)
        if (!take_part(file, &parts[i], err))
            return false;
    if (!take_settings(pca, settings, file->path, err))
        return false;
    if (!basis_holds(&pca->first) || !basis_holds(&pca->colour))
        return dn_fail(err, DINO_EFORMAT,
                       "%s: components are not of unit length, or a range is upside down",
                       file->path);
    return true;
}

struct dino_pca *dino_pca_load(const char *path, struct dino_error *err)
{
    struct tensors file = {0};
    struct dino_pca *pca = NULL;

    if (!dn_tensors_open(&file, path, err))
        return NULL;
    pca = dn_calloc(1, sizeof *pca, "a PCA", err);
    if (pca && !read_all(pca, &file, err)) {
        dino_pca_free(pca);
        pca = NULL;
    }
    dn_tensors_release(&file);
    return pca;
}
