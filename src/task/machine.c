/* Facts about this machine and this build, one a call: what `dino doctor` prints. */
#include <stdio.h>
#include <string.h>

#include "base/cpu_features.h"
#include "compute/peers.h"
#include "image/image.h"

static const char *const ops[] = {"linear",   "attend", "attention_map", "layernorm",
                                  "gelu",     "swiglu", "patchify",      "place_tokens",
                                  "put_rows", "copy",   "mean_rows"};
static const enum dino_dtype dtypes[] = {DINO_F32, DINO_BF16, DINO_I8};

enum {
    PROCESSOR_FACTS = 4,
    DEVICE_FACTS = 3,
    OPS = sizeof ops / sizeof *ops,
    DTYPES = sizeof dtypes / sizeof *dtypes,
};

/* What the processor is and how much of it may be used. */
static void processor_fact(int index, char key[64], char value[256])
{
    struct cpu_features features = dn_cpu_features();
    char name[64];

    switch (index) {
    case 0:
        snprintf(key, 64, "dino");
        snprintf(value, 256, "%s", dino_version());
        break;
    case 1:
        dn_cpu_name(name);
        snprintf(key, 64, "processor");
        snprintf(value, 256, "%s", name);
        break;
    case 2:
        snprintf(key, 64, "cores");
        snprintf(value, 256, "%d", dn_cpu_cores());
        break;
    default:
        snprintf(key, 64, "instructions");
        snprintf(value, 256, "%s%s%s%s", dn_isa_name(features.isa),
                 features.vnni ? " + vnni" : "", features.capped ? ", capped from " : "",
                 features.capped ? dn_isa_name(features.detected) : "");
    }
}

/* The GPUs, and what processes with one each would exchange numbers with. */
static void cuda_fact(char value[256])
{
    static const char prefix[] = "device cuda: ";
    struct dino_error err = {0}, alone = {0};
    int gpus = dn_device_gpus(&err);
    struct device *device = gpus > 0 ? dn_device_open("cuda", DINO_AUTO, 1, &err) : NULL;
    const char *why = err.message;
    char peers[64];

    if (!device) {
        why += strncmp(why, prefix, sizeof prefix - 1) == 0 ? sizeof prefix - 1 : 0;
        snprintf(value, 256, "experimental; %.200s", why);
        return;
    }
    bool found = device->ops->peers->find(peers, &alone);
    snprintf(value, 256, "experimental; %d GPU%s; %.160s", gpus, gpus == 1 ? "" : "s",
             found ? peers : alone.message);
    dn_device_close(device);
}

/* Which devices this build has, and what `auto` arithmetic means here. */
static void device_fact(int index, char key[64], char value[256])
{
    if (index == 0) {
        snprintf(key, 64, "devices");
        snprintf(value, 256, "cpu, ref");
        return;
    }
    struct dino_error err = {0};
    if (index == 1) {
        snprintf(key, 64, "device cuda");
        cuda_fact(value);
        return;
    }
    struct device *device = dn_device_open("auto", DINO_AUTO, 1, &err);
    snprintf(key, 64, "compute auto");
    snprintf(value, 256, "%.255s", device ? dino_dtype_name(device->dtype) : err.message);
    dn_device_close(device);
}

/* "cpu f32 linear" -> the kernel that this processor gets; a dtype that the device refuses is
 * one fact, "cpu f32". */
static bool kernel_fact(int index, char key[64], char value[256])
{
    for (int i = 0; i < DTYPES; i++) {
        const char *dtype = dino_dtype_name(dtypes[i]);
        struct dino_error err = {0};
        struct device *device = dn_device_open("cpu", dtypes[i], 1, &err);
        int facts = device ? OPS : 1;
        if (index >= facts) {
            dn_device_close(device);
            index -= facts;
            continue;
        }
        const char *kernel = device ? device->ops->kernel_name(device, ops[index]) : NULL;
        snprintf(key, 64, "cpu %s%s%s", dtype, device ? " " : "", device ? ops[index] : "");
        if (kernel)
            snprintf(value, 256, "%.255s", kernel);
        else
            snprintf(value, 256, "not available%s%.200s", device ? "" : ": ", err.message);
        dn_device_close(device);
        return true;
    }
    return false;
}

bool dino_machine_fact(int index, char key[64], char value[256])
{
    int codecs = 0;

    while (dn_image_codec(codecs, key, value))
        codecs++;
    if (index < 0)
        return false;
    if (index < PROCESSOR_FACTS) {
        processor_fact(index, key, value);
        return true;
    }
    index -= PROCESSOR_FACTS;
    if (index < codecs)
        return dn_image_codec(index, key, value);
    index -= codecs;
    if (index < DEVICE_FACTS) {
        device_fact(index, key, value);
        return true;
    }
    index -= DEVICE_FACTS;
    return kernel_fact(index, key, value);
}

double dino_machine_peak(enum dino_dtype dtype, int threads)
{
    struct device *device = dn_device_open("cpu", DINO_F32, threads, NULL);
    double peak = device ? device->ops->peak(device, dtype, device->threads) : 0;

    dn_device_close(device);
    return peak;
}
