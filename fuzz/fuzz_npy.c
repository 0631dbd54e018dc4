/* Any bytes as a .npy, and what its header says written again. */
#include "fuzz_tensors.h"

#include "format/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[DN_NPY_HEADER];
    struct npy_header header;

    if (dn_npy_parse((struct span){data, size}, &header, "input", NULL))
        dn_npy_header(bytes, header.dtype, header.shape, header.dims, NULL);
    fuzz_tensors(data, size);
    return 0;
}
