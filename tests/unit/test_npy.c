/* NumPy's .npy, read and written. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "format/npy.h"

/* A version 1 file with this header and `data` bytes 0, 1, 2, ...; heap. */
static struct span make(const char *dict, size_t data)
{
    size_t length = strlen(dict);
    uint8_t *bytes = malloc(10 + length + data);

    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (uint8_t)length;
    bytes[9] = (uint8_t)(length >> 8);
    memcpy(bytes + 10, dict, length);
    for (size_t i = 0; i < data; i++)
        bytes[10 + length + i] = (uint8_t)i;
    return (struct span){bytes, 10 + length + data};
}

static void refuse(const char *dict, size_t data, const char *message)
{
    struct dino_error err = {0};
    struct tensors t;
    struct span file = make(dict, data);

    if (dn_tensors_open_bytes(&t, file, "x", &err))
        fail_msg("opened: %s", dict);
    assert_string_equal(err.message, message);
    free((void *)(uintptr_t)file.data);
}

TEST(numpys_header_is_understood)
{
    struct dino_error err = {0};
    struct npy_header h;
    struct span file =
        make("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }   \n", 12);

    CHECK_OK(dn_npy_parse(file, &h, "x", &err), err);
    CHECK(h.dtype == DINO_I16 && h.dims == 2 && h.shape[0] == 2 && h.shape[1] == 3);
    CHECK(!h.fortran && h.data_offset == file.size - 12);
    free((void *)(uintptr_t)file.data);
    file = make("{\"shape\":(),\"descr\":\"|b1\",\"fortran_order\":True}", 1);
    CHECK_OK(dn_npy_parse(file, &h, "x", &err), err);
    CHECK(h.dtype == DINO_BOOL && h.dims == 0 && h.fortran);
    free((void *)(uintptr_t)file.data);
}

TEST(a_fortran_array_is_read_in_row_major_order)
{
    struct dino_error err = {0};
    struct tensors t;
    struct span file = make("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", 6);
    const float wanted[6] = {0, 2, 4, 1, 3, 5};
    float read[6];

    CHECK_OK(dn_tensors_open_bytes(&t, file, "x", &err), err);
    const struct dino_tensor *array = dn_tensors_find(&t, "array");
    CHECK(t.kind == TENSORS_NPY && array && !dn_tensor_contiguous(array));
    dn_tensor_read(array, 0, 6, read);
    assert_memory_equal(read, wanted, sizeof read);
    dn_tensors_release(&t);
    free((void *)(uintptr_t)file.data);
}

TEST(what_is_written_is_parsed_back)
{
    const int64_t shapes[][3] = {{0, 0, 0}, {7, 0, 0}, {1000000000000, 384, 0}, {3, 4, 5}};

    for (int dims = 0; dims < 4; dims++) {
        struct dino_error err = {0};
        struct npy_header h;
        uint8_t bytes[DN_NPY_HEADER + 4 * 60] = {0};
        int64_t elements = 0;

        CHECK_OK(dn_npy_header(bytes, DINO_F32, shapes[dims], dims, &err), err);
        CHECK(bytes[DN_NPY_HEADER - 1] == '\n');
        dn_shape_elements(shapes[dims], dims, DINO_F32, &elements);
        bool fits = elements <= 60;
        CHECK(dn_npy_parse((struct span){bytes, sizeof bytes}, &h, "x", &err) == fits);
        CHECK(!fits || (h.dims == dims && h.data_offset == DN_NPY_HEADER &&
                        memcmp(h.shape, shapes[dims], (size_t)dims * 8) == 0));
    }
    struct dino_error err = {0};
    uint8_t bytes[DN_NPY_HEADER];
    CHECK(!dn_npy_header(bytes, DINO_BF16, shapes[3], 3, &err));
    assert_string_equal(err.message, "NumPy has no type for bf16");
}

TEST(absurd_npy_headers_are_refused_each_with_its_line)
{
    refuse("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", 4,
           "x: npy 'descr' is '>f4', wanted a little-endian number type");
    refuse("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8,
           "x: npy 'descr' is '|O', wanted a little-endian number type");
    refuse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4,
           "x: npy 'descr' is no plain number type");
    refuse("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", 4,
           "x: npy 'fortran_order' is no bool");
    refuse("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4,
           "x: npy 'shape' has a bad size");
    refuse("{'descr': '<f4', 'fortran_order': False, 'shape': (1 1), }", 4,
           "x: npy 'shape' has a bad size");
    refuse("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 4,
           "x: npy 'shape' has a bad size");
    refuse("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 4,
           "x: npy 'shape' has more than 8 sizes");
    refuse("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976, 2), }", 4,
           "x: npy 'shape' is absurdly large");
    refuse("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,), }", 4,
           "x: 4 bytes of data, wanted 4611686018427387904");
    refuse("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 5,
           "x: 5 bytes of data, wanted 4");
    refuse("{'descr': '<f4', 'descr': '<f4', 'shape': (1,), }", 4,
           "x: npy header has a bad key 'descr'");
    refuse("{'descr': '<f4', 'shape': (1,), }", 4,
           "x: npy header wants descr, fortran_order and shape, nothing else");
    refuse("[]", 4, "x: npy header is no Python dict");
}

TEST(a_npy_cut_anywhere_is_refused)
{
    struct span file = make("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", 12);

    for (size_t size = 0; size < file.size; size++) {
        struct dino_error err = {0};
        struct npy_header h;
        uint8_t *part = malloc(size + 1);
        memcpy(part, file.data, size);
        CHECK(!dn_npy_parse((struct span){part, size}, &h, "x", &err));
        CHECK(err.code == DINO_EFORMAT || err.code == DINO_EUNSUPPORTED);
        free(part);
    }
    free((void *)(uintptr_t)file.data);
}
