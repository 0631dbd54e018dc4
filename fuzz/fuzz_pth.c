/*
 * Any bytes as a torch.save file. What begins like a bare pickle is put into a zip in order,
 * with two storages: the CRC-32 would keep a changed pickle from ever being run.
 */
#include "fuzz_tensors.h"

#include "../tests/unit/make_zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t storage[4096];
    const struct zip_part parts[] = {
        {.name = "r/data.pkl", .data = data, .size = size},
        {.name = "r/data/0", .data = storage, .size = sizeof storage},
        {.name = "r/data/1", .data = storage, .size = 64},
    };

    if (size < 2 || data[0] != 0x80 || dn_pth_is_stream((struct span){data, size})) {
        fuzz_tensors(data, size);
        return 0;
    }
    struct str bytes = make_zip(parts, 3, false);
    struct span file = exact(&bytes);
    fuzz_tensors(file.data, file.size);
    free((void *)(uintptr_t)file.data);
    dn_str_release(&bytes);
    return 0;
}
