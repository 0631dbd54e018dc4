/* Any bytes as a checkpoint; the corpus leads to .safetensors. */
#include "fuzz_tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_tensors(data, size);
    return 0;
}
