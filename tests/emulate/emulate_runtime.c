/* The emulated part of CUDA's runtime: the machine and its GPUs. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_runtime_api.h"
#include "emulate_fibers.h"

static _Thread_local int current; /* the GPU that this thread chose */

int emulate_current(void)
{
    return current;
}

bool emulate_machine_is(const char *what)
{
    const char *machine = getenv("DINO_EMULATE");

    return machine && strcmp(machine, what) == 0;
}

long emulate_machine_figure(const char *word)
{
    const char *machine = getenv("DINO_EMULATE");
    size_t length = strlen(word);

    if (!machine || strncmp(machine, word, length) != 0 || machine[length] != ':')
        return -1;
    return strtol(machine + length + 1, NULL, 10);
}

bool emulate_vanished(void)
{
    static atomic_long calls;
    long last = emulate_machine_figure("lost-after");

    return last >= 0 && atomic_fetch_add(&calls, 1) >= last;
}

/* ---- the machine ---- */

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = emulate_machine_is("no-driver")    ? 0
               : emulate_machine_is("old-driver") ? 12040
                                                  : 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

static int gpus(void)
{
    const char *wish = getenv("DINO_EMULATE_GPUS");

    return emulate_machine_is("one") ? 1 : wish ? (int)strtol(wish, NULL, 10) : 2;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = gpus();
    if (emulate_machine_is("no-driver") || emulate_machine_is("old-driver"))
        return cudaErrorInsufficientDriver;
    return emulate_machine_is("no-gpu") ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= gpus())
        return cudaErrorInvalidDevice;
    current = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    if (device < 0 || device >= gpus())
        return cudaErrorInvalidDevice;
    *properties = (struct cudaDeviceProp){.name = "emulated",
                                          .major = 9,
                                          .multiProcessorCount = 2,
                                          .totalGlobalMem = (size_t)1 << 30,
                                          .sharedMemPerBlockOptin = 227 << 10};
    properties->uuid.bytes[15] = (char)(1 + device);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    long mebibytes = emulate_machine_figure("memory");

    *total = (size_t)(mebibytes >= 0 ? mebibytes : 1024) << 20;
    size_t taken = emulate_memory_taken();
    *left = emulate_machine_is("full") || taken > *total ? 0 : *total - taken;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
        return "invalid resource handle";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    default:
        return "emulated error";
    }
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes,
                                     const void *memory)
{
    (void)memory;
    attributes->type = cudaMemoryTypeUnregistered;
    return cudaSuccess;
}
