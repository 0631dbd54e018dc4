#include "base/cpu_features.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const isa_names[DN_ISA_COUNT] = {"c", "avx2", "avx512", "avx512bf16", "amx"};

const char *dn_isa_name(enum dn_isa isa)
{
    return isa_names[isa];
}

bool dn_isa_parse(const char *name, enum dn_isa *isa)
{
    for (int i = 0; i < DN_ISA_COUNT; i++)
        if (strcmp(name, isa_names[i]) == 0) {
            *isa = (enum dn_isa)i;
            return true;
        }
    return false;
}

#if defined(__x86_64__)
/* Linux hands out the 8 KiB tile state only to processes that ask. */
static bool amx_granted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool has_amx(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    unsigned bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25;
    return (d & bf16) && (d & tile) && (d & int8) && amx_granted();
}

static bool has_avx512_bf16(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5) &&
           __builtin_cpu_supports("avx512vnni");
}

static enum dn_isa detect(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return DN_ISA_C;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return DN_ISA_AVX2;
    if (!has_avx512_bf16())
        return DN_ISA_AVX512;
    return has_amx() ? DN_ISA_AMX : DN_ISA_AVX512BF16;
}

static bool detect_vnni(void)
{
    return __builtin_cpu_supports("avx512vnni");
}
#else
static enum dn_isa detect(void)
{
    return DN_ISA_C;
}

static bool detect_vnni(void)
{
    return false;
}
#endif

/* CPUID is slow, microseconds and more in a virtual machine, and never changes its mind. */
static enum dn_isa found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find(void)
{
    found = detect();
}

struct cpu_features dn_cpu_features(void)
{
    enum dn_isa cap;
    const char *wish = getenv("DINO_ISA");

    pthread_once(&once, find);
    struct cpu_features features = {.isa = found, .detected = found};

    if (wish && dn_isa_parse(wish, &cap) && cap < found) {
        features.isa = cap;
        features.capped = true;
    }
    features.vnni = features.isa >= DN_ISA_AVX512 && detect_vnni();
    return features;
}

void dn_cpu_name(char name[64])
{
    char line[256];
    FILE *info = fopen("/proc/cpuinfo", "re");

    snprintf(name, 64, "unknown");
    while (info && fgets(line, sizeof line, info))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            line[strcspn(line, "\n")] = 0;
            snprintf(name, 64, "%.63s", strchr(line, ':') + 2);
            break;
        }
    if (info)
        fclose(info);
}

/* cgroup v2 writes "max 100000" or "<quota> <period>". */
static int quota_cores(void)
{
    long quota, period;
    int cores = 0;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");

    if (file && fscanf(file, "%ld %ld", &quota, &period) == 2 && period > 0)
        cores = (int)((quota + period - 1) / period);
    if (file)
        fclose(file);
    return cores;
}

int dn_cpu_cores(void)
{
    cpu_set_t set;
    int cores = 1, quota = quota_cores();

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        cores = CPU_COUNT(&set);
    if (quota > 0 && quota < cores)
        cores = quota;
    return cores > 0 ? cores : 1;
}
